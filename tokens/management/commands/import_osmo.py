import os
from typing import Any

from django.core.management.base import CommandError, CommandParser

from profiles.management.door import DoorCommand
from tokens.importing import source
from tokens.importing.findings import Findings, written_to
from tokens.importing.move import move
from tokens.importing.plan import Plan, Wishes
from tokens.importing.report import text

DSN = "OSMO_IMPORT_DSN"


class Command(DoorCommand):
    help = (
        "Imports roles, pools, people and tokens from the PostgreSQL database of an OSMO 6.0 to 6.3. The secrets go on "
        "working. That database is only read. Without --apply nothing is changed here either, and what would come is "
        "told. A second run brings what is new, and changes nothing else."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        dsn = parser.add_mutually_exclusive_group()
        dsn.add_argument("--dsn", help="postgresql://user@host:5432/database. Others see it in the list of processes.")
        dsn.add_argument(
            "--dsn-from-env",
            metavar="NAME",
            default=DSN,
            help=f"The environment variable that holds the DSN, with its password (default: {DSN}).",
        )
        parser.add_argument("--actor", required=True, metavar="USER", help="The administrator who imports.")
        parser.add_argument(
            "--accountable", metavar="USER", help="Who answers for imported service accounts (default: the actor)."
        )
        parser.add_argument(
            "--convert-wide",
            action="store_true",
            help="A person's token that carries more than osmo-user becomes a token of a new service account, with its "
            "roles and its secret. Otherwise it carries osmo-user alone.",
        )
        parser.add_argument(
            "--person",
            action="append",
            default=[],
            metavar="NAME",
            help="6.0: this name of a service token is a person's too. Give it again for another one.",
        )
        do = parser.add_mutually_exclusive_group()
        do.add_argument("--dry-run", action="store_true", help="Tell what would come; change nothing. The default.")
        do.add_argument("--apply", action="store_true", help="Import.")
        parser.add_argument("--report", metavar="FILE", help="A new file for the full lists, one JSON object a line.")
        self.add_json(parser)

    def handle(
        self,
        *args: Any,
        dsn: str | None,
        dsn_from_env: str,
        actor: str,
        accountable: str | None,
        convert_wide: bool,
        person: list[str],
        apply: bool,
        report: str | None,
        json: bool,
        **options: Any,
    ) -> None:
        by = self.acting_as(actor)
        wishes = Wishes(self.user(accountable or actor).username, convert_wide, frozenset(person))
        try:
            with source.opened(dsn or _of_environment(dsn_from_env)) as osmo, written_to(report) as findings:
                with self.progress("Looking at tokens", osmo.count_tokens()) as progress:
                    plan = move(osmo, wishes, by=by, apply=apply, findings=findings, progress=progress)
                self._tell(plan, findings, str(osmo), apply=apply, json=json)
        except source.NoSource as error:
            raise CommandError(str(error)) from None

    def _tell(self, plan: Plan, findings: Findings, about: str, *, apply: bool, json: bool) -> None:
        table = plan.table()
        news = ", ".join(_counted(counts["new"], what) for what, counts in table.items() if counts["new"])
        sentence = f"Imported {news}." if apply else f"Would import {news}. Nothing was changed; --apply imports."
        facts = {
            "source": about,
            "applied": apply,
            "counts": table,
            "lists": findings.facts(),
            "oidc_role_map": plan.role_map,
        }
        self.report(
            sentence if news else "There is nothing new. Nothing was changed.",
            "\n".join(text(plan, findings, about)),
            json=json,
            **facts,
        )


def _counted(number: int, what: str) -> str:
    one = "person" if what == "people" else what.removesuffix("s")
    return f"{number:,} {what if number > 1 else one}"


def _of_environment(name: str) -> str:
    if dsn := os.environ.get(name):
        return dsn
    raise CommandError(f"Which database? Put its DSN into the environment variable {name}, or give --dsn.")
