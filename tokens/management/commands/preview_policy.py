from argparse import ArgumentTypeError
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from osmo_portal.events.actor import Actor
from profiles.management.door import NOTHING_MATCHED, many
from profiles.models import Role
from profiles.names import MAX_TEXT
from profiles.rules import require_reason
from tokens.management.choosing import ChoosingCommand
from tokens.models import AccessToken
from tokens.shortening import Shortening

MAX_DAYS = 3650


def days(text: str) -> int:
    """An argument that a maximum lifetime may be."""
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MAX_DAYS):
        raise ArgumentTypeError(f"a maximum lifetime lies between 1 and {MAX_DAYS} days")
    return int(text)


class Command(ChoosingCommand):
    help = (
        "Says whom a maximum lifetime of a role, or of the portal, hits and when. It changes nothing, unless --apply "
        "is given: then the tokens are shortened for good. How many is printed on stdout; exit code 2 says that there "
        "is none."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("role", nargs="?", metavar="ROLE", help="The role whose maximum it would be.")
        parser.add_argument("--portal", action="store_true", help="Instead of a role: the maximum of all tokens.")
        parser.add_argument("--max-days", type=days, required=True, metavar="N", help="Days from a token's issue.")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--dry-run", action="store_true", help="Only say it; change nothing. The default.")
        what.add_argument(
            "--apply",
            action="store_true",
            help="Save it with the role and shorten the tokens. With --portal: shorten them to MAX_TOKEN_DAYS.",
        )
        parser.add_argument("--actor", metavar="USER", help="Who applies it: an administrator, for a role.")
        parser.add_argument("--reason", default="", help="Why it is applied; kept with the events.")
        self.add_json(parser)

    def handle(
        self, *args: Any, role: str | None, portal: bool, max_days: int, apply: bool, json: bool, **options: Any
    ) -> None:
        if bool(role) == portal:
            raise CommandError("Name a role, or give --portal.")
        policy = self._role(role) if role else None
        tokens = AccessToken.objects.given(policy) if policy else AccessToken.objects.all()
        if apply:
            by, reason = self._who_and_why(policy, max_days, **options)
        look = Shortening.of(tokens, max_days)
        self.tell(str(look))
        count = look.tokens
        if apply and policy:
            policy.change(by=by, seen=policy.fingerprint, reason=reason, max_token_days=max_days)
        elif apply:
            with self.progress("Shortening tokens", count) as progress:
                why = f"The portal allows {max_days} days: {reason}"[:MAX_TEXT]
                count = tokens.cap_lifetime(max_days, by=by, reason=why, progress=progress)
        self.report(_outcome(policy, max_days, count, apply), count, json=json, **_facts(look, policy, apply))
        if not (count or (apply and policy)):
            raise CommandError("No token lives longer than that.", returncode=NOTHING_MATCHED)

    def _role(self, name: str) -> Role:
        role = Role.objects.existing().filter(name=name).first()
        if role is None:
            raise CommandError(f"There is no role {name!r}. Look at the spelling.")
        return role

    def _who_and_why(
        self, policy: Role | None, max_days: int, *, actor: str | None, reason: str, **options: Any
    ) -> tuple[Actor, str]:
        if policy and not actor:
            raise CommandError("Say who changes the role: --actor USER.")
        if not policy and max_days != settings.MAX_TOKEN_DAYS:
            raise CommandError(
                f"MAX_TOKEN_DAYS is {settings.MAX_TOKEN_DAYS} here. Set it to {max_days}, start the portal anew, "
                "and then apply it."
            )
        return self.acting_as(actor) if actor else Actor.shell(), require_reason(reason)


def _outcome(policy: Role | None, max_days: int, count: int, applied: bool) -> str:
    tokens = many(count, "token")
    if not applied:
        return f"{tokens} would be shortened. Nothing was changed."
    return f"{tokens} shortened." + (f" The role {policy} allows {max_days} days now." if policy else "")


def _facts(look: Shortening, policy: Role | None, applied: bool) -> dict[str, Any]:
    return {
        "role": policy and policy.name,
        "applied": applied,
        "max_days": look.days,
        "tokens": look.tokens,
        "at_once": look.at_once,
        "suspended": look.suspended,
        "never_used": look.never_used,
        "unused": look.unused,
        "owner_count": look.owner_count,
        "owners": [{"owner": owner, "tokens": tokens} for owner, tokens in look.owners],
        "ends": [{"day": day, "tokens": tokens} for day, tokens in look.ends],
        "first": [_fact(token, look.days) for token in look.first],
    }


def _fact(token: AccessToken, days: int) -> dict[str, Any]:
    becomes = token.end_within(days)
    return {"id": token.pk, "token": str(token), "expires_at": token.expires_at, "becomes": becomes}
