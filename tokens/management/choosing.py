"""The filters of the commands that are about a set of tokens. They narrow as those of the console's list do."""

from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser

from profiles.management.door import DoorCommand
from profiles.models import Kind, Pool, Role
from tokens.models import AccessToken
from tokens.models.access_token import AccessTokenQuerySet


def instant(text: str) -> datetime:
    """An argument that is a day (its 00:00 UTC) or an instant (UTC where it names no zone)."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no instant; write 2026-01-31 or 2026-01-31T18:00Z") from None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


class ChoosingCommand(DoorCommand):
    """A command about the tokens that match every filter given, or with --all about every token there is."""

    def add_filters(self, parser: CommandParser) -> None:
        filters = parser.add_argument_group("filters", "Each one narrows the set. At least one, or --all alone.")
        filters.add_argument("--owner", metavar="USER", help="Tokens of this person or service account.")
        filters.add_argument("--kind", choices=Kind.values, help="User tokens or service tokens.")
        filters.add_argument("--role", help="Tokens on which this role was put.")
        filters.add_argument("--pool", help="Tokens with a role that allows submit, exec or port-forward on this pool.")
        filters.add_argument("--name-glob", metavar="GLOB", help="Tokens of this name, or of names like ci-*.")
        filters.add_argument(
            "--unused-since", type=instant, metavar="DAY", help="Tokens older than that and not used since."
        )
        filters.add_argument("--all", action="store_true", dest="everything", help="Every token there is.")

    def given(self, options: dict[str, Any]) -> dict[str, Any]:
        """The filters among the options that were given, by name."""
        return {name: options[name] for name in FILTERS if options[name] is not None}

    def chosen(self, options: dict[str, Any]) -> AccessTokenQuerySet:
        """The tokens that match every filter given. What a filter names must exist. Raises CommandError."""
        given = self.given(options)
        if bool(given) == options["everything"]:
            raise CommandError("Give at least one filter, or --all alone for every token there is.")
        tokens = AccessToken.objects.all()
        for name, value in given.items():
            tokens = FILTERS[name](self, tokens, value)
        return tokens

    def _of_role(self, tokens: AccessTokenQuerySet, role: str) -> AccessTokenQuerySet:
        if not Role.objects.filter(name=role).exists():
            raise CommandError(f"There is no role {role!r} and there was none. Look at the spelling.")
        return tokens.carrying([role])

    def _of_pool(self, tokens: AccessTokenQuerySet, pool: str) -> AccessTokenQuerySet:
        if not Pool.objects.filter(name=pool).exists():
            raise CommandError(f"There is no pool {pool!r} and there was none. Look at the spelling.")
        return tokens.reaching(pool)


FILTERS: dict[str, Callable[[ChoosingCommand, AccessTokenQuerySet, Any], AccessTokenQuerySet]] = {
    "owner": lambda command, tokens, username: tokens.owned_by(command.user(username)),
    "kind": lambda command, tokens, kind: tokens.of_kind(kind),
    "role": ChoosingCommand._of_role,
    "pool": ChoosingCommand._of_pool,
    "name_glob": lambda command, tokens, glob: tokens.named_like(glob),
    "unused_since": lambda command, tokens, instant: tokens.unused_since(instant),
}
