from argparse import ArgumentTypeError
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from osmo_portal.events.actor import Actor
from profiles.management.door import NOTHING_MATCHED, many
from profiles.rules import require_reason
from tokens import kubernetes
from tokens.management.choosing import ChoosingCommand, instant
from tokens.management.secret_file import SecretFile, as_document, as_line
from tokens.models import AccessToken
from tokens.models.token_set import DEFAULT_GRACE, MAX_GRACE, AccessTokenQuerySet

TOLD = 20  # refused tokens that the story names
EXPLAINED = 1_000  # and that --json does


def hours(text: str) -> timedelta:
    """An argument that is a number of hours."""
    try:
        grace = timedelta(hours=float(text))
    except (ValueError, OverflowError):
        raise ArgumentTypeError(f"{text!r} is no number of hours; write 24, or 0") from None
    if not timedelta(0) <= grace <= MAX_GRACE:
        raise ArgumentTypeError(f"the grace must lie between 0 and {MAX_GRACE // timedelta(hours=1)} hours")
    return grace


class Refusals:
    """How many tokens cannot be rotated, and of the first of them why."""

    def __init__(self) -> None:
        self.count, self.rows = 0, list[dict[str, Any]]()

    @classmethod
    def among(cls, tokens: AccessTokenQuerySet, by: Actor, grace: timedelta) -> "Refusals":
        found = cls()
        for token in tokens.select_related("owner").order_by("pk")[:EXPLAINED]:
            try:
                token.check_rotation(by, grace)
            except (PermissionDenied, ValidationError) as error:
                found.add(token, error)
        if found.count == EXPLAINED:
            found.count = tokens.count()
        return found

    def add(self, token: AccessToken, error: Exception) -> None:
        self.count += 1
        if self.count <= EXPLAINED:
            self.rows.append({"id": token.pk, "owner": token.owner.username, "name": token.name, "why": _words(error)})

    def __str__(self) -> str:
        lines = [f"{row['owner']}/{row['name']}: {row['why']}" for row in self.rows[:TOLD]]
        left = self.count - len(lines)
        return "\n".join([*lines, f"and {left:,} more."] if left else lines)


class Command(ChoosingCommand):
    help = (
        "Gives all active tokens that match every filter a new secret, and writes the secrets to a new file that you "
        "alone can read, never to the screen. An old secret works until its grace ends. Unless all of them can be "
        "rotated, none is. How many is printed on stdout; exit code 2 says that none matched, or not as many as "
        "expected."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.usage = (
            "%(prog)s FILTER [FILTER ...] --actor USER --reason WHY --dry-run\n"
            "       %(prog)s FILTER [FILTER ...] --actor USER --reason WHY (--out FILE | --kubernetes FILE)"
        )
        self.add_filters(parser)
        parser.add_argument("--actor", required=True, metavar="USER", help="Who does it; checked as in the console.")
        parser.add_argument("--reason", required=True, metavar="WHY", help="It is kept with the events.")
        file = parser.add_mutually_exclusive_group()
        file.add_argument(
            "--out", type=Path, metavar="FILE", help="A new file for the secrets: one JSON object a line."
        )
        file.add_argument("--kubernetes", type=Path, metavar="FILE", help="A new file for them as Kubernetes Secrets.")
        parser.add_argument(
            "--grace",
            type=hours,
            default=DEFAULT_GRACE,
            metavar="HOURS",
            help="How long the old secrets go on working (default: 24). 0: no longer.",
        )
        parser.add_argument(
            "--skip-refused", action="store_true", help="Leave out what cannot be rotated, and rotate the others."
        )
        parser.add_argument(
            "--skip-rotated-since",
            type=instant,
            metavar="INSTANT",
            help="Leave out what was rotated since then: to go on after an interruption.",
        )
        parser.add_argument("--expect", type=int, metavar="N", help="Refuse unless N tokens would be rotated.")
        parser.add_argument("--dry-run", action="store_true", help="Say what would be done; change and write nothing.")
        self.add_json(parser)

    def handle(self, *args: Any, actor: str, grace: timedelta, dry_run: bool, **options: Any) -> None:
        by, started = self.acting_as(actor), timezone.now().replace(microsecond=0)
        options["reason"] = require_reason(options["reason"])
        if not (dry_run or options["out"] or options["kubernetes"]):
            raise CommandError("Say where the secrets go: --out FILE or --kubernetes FILE.")
        tokens, refusals = self._look(by, grace, options)
        count = tokens.count()
        if not dry_run:
            self.tell(
                f"If this breaks off, go on with --skip-rotated-since {started:%Y-%m-%dT%H:%M:%SZ} and a new file."
            )
            count = self._rotate(tokens, refusals, by, grace, options)
        self.report(
            f"{many(count, 'token')} {'would be ' * dry_run}rotated. {_afterwards(grace, dry_run)}",
            count,
            json=options["json"],
            dry_run=dry_run,
            started=started,
            rotated=count,
            refused=refusals.count,
            refusals=refusals.rows,
        )

    def _look(self, by: Actor, grace: timedelta, options: dict[str, Any]) -> tuple[AccessTokenQuerySet, Refusals]:
        """The tokens to rotate, and what of those that match cannot be. Raises CommandError where nothing is to be
        done."""
        matching = self.chosen(options)
        if options["skip_rotated_since"]:
            matching = matching.not_rotated_since(options["skip_rotated_since"])
        tokens, refusals = matching.rotatable(by, grace), Refusals.among(matching.not_rotatable(by, grace), by, grace)
        count = tokens.count()
        if refusals.count:
            self.tell(f"{refusals.count:,} of {count + refusals.count:,} tokens cannot be rotated.\n{refusals}")
        elif not count:
            raise CommandError("No active token matches.", returncode=NOTHING_MATCHED)
        if refusals.count and not count:
            raise CommandError("Nothing was rotated.")
        if refusals.count and not options["skip_refused"]:
            raise CommandError("Nothing was rotated. Narrow the filters, or leave these out with --skip-refused.")
        if options["expect"] not in (None, count):
            message = f"Nothing was rotated: it would be {count:,}, not {options['expect']:,}. Look again."
            raise CommandError(message, returncode=NOTHING_MATCHED)
        if options["kubernetes"]:
            _check_names(tokens)
        return tokens, refusals

    def _rotate(
        self, tokens: AccessTokenQuerySet, refusals: Refusals, by: Actor, grace: timedelta, options: dict[str, Any]
    ) -> int:
        path, form = options["out"] or options["kubernetes"], as_document if options["kubernetes"] else as_line

        def refused(token: AccessToken, error: Exception) -> None:
            """What has changed since the look."""
            refusals.add(token, error)
            self.tell(f"{token} was not rotated: {_words(error)}")
            if not options["skip_refused"]:
                raise CommandError(f"Stopped there. {many(file.kept, 'token')} rotated before; {path} has the secrets.")

        words = {"by": by, "grace": grace, "reason": options["reason"], "refused": refused}
        with closing(SecretFile(path, form)) as file, self.progress("Rotating tokens", tokens.count()) as progress:
            try:
                return tokens.rotate(keep=file.keep, progress=progress, **words)
            except OSError as error:
                message = (
                    f"{path} cannot be written: {error.strerror}. {many(file.kept, 'token')} rotated before, then none."
                )
                raise CommandError(message) from None


def _words(error: Exception) -> str:
    return " ".join(error.messages) if isinstance(error, ValidationError) else str(error)


def _check_names(tokens: AccessTokenQuerySet) -> None:
    """kubectl would let the later of two Secrets of one name win."""
    called: dict[str, str] = {}
    for owner, name in tokens.order_by("pk").values_list("owner__username", "name"):
        label = f"{owner}/{name}"
        other = called.setdefault(kubernetes.secret_name(owner, name), label)
        if other != label:
            raise CommandError(
                f"Nothing was rotated: the Secrets of {other} and {label} would have one name. Use a file for each."
            )


def _afterwards(grace: timedelta, dry_run: bool) -> str:
    work = f"The old secrets {'would ' * dry_run}work"
    if not grace:
        return f"{work} no longer."
    return f"{work} until {timezone.now() + grace:%Y-%m-%d %H:%M} UTC, or as long as their tokens."
