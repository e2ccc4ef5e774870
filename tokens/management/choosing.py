"""The filters of the commands that are about a set of tokens. They narrow as those of the console's list do."""

from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import UTC, datetime, time
from typing import Any

from django.core.management.base import CommandError, CommandParser

from osmo_portal.console.listing import SECRETS
from osmo_portal.postgresql import unhurried
from profiles.management.door import DoorCommand
from profiles.models import Kind, Pool, Role, User
from tokens import secrets
from tokens.management.token_numbers import NumberFile
from tokens.models import AccessToken
from tokens.models.keys import CloseKeys
from tokens.models.token_set import AccessTokenQuerySet, State


def instant(text: str) -> datetime:
    """An argument that is a day (its 00:00 UTC) or an instant (UTC where it names no zone)."""
    try:
        parsed = datetime.fromisoformat(text)
        return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ArgumentTypeError(f"{text!r} is no instant; write 2026-01-31 or 2026-01-31T18:00Z") from None


class ChoosingCommand(DoorCommand):
    """A command about the tokens that match every filter given, or with --all about every token there is."""

    def execute(self, *args: Any, **options: Any) -> Any:
        with unhurried():  # to count millions takes longer than a page may
            return super().execute(*args, **options)

    def add_filters(self, parser: CommandParser) -> None:
        rules = "Each one narrows the set. At least one, or --all alone. An INSTANT is 2026-01-31 (its 00:00 UTC) or "
        filters = parser.add_argument_group("filters", rules + "2026-01-31T18:00Z.")
        filters.add_argument("--kind", choices=Kind.values, help="User tokens or service tokens.")
        filters.add_argument("--owner", metavar="USER", help="Tokens of this person or service account.")
        filters.add_argument("--accountable", metavar="USER", help="Tokens of accounts this person is accountable for.")
        filters.add_argument("--role", help="Tokens on which this role was put.")
        filters.add_argument("--pool", help="Tokens with a role that allows submit, exec or port-forward on this pool.")
        filters.add_argument("--name-glob", metavar="GLOB", help="Tokens of this name, or of names like ci-*.")
        filters.add_argument("--state", choices=State.values, help="Tokens in this state.")
        filters.add_argument("--issued-by", metavar="USER", help="Tokens that this user made.")
        for name, meaning in INSTANTS.items():
            filters.add_argument(f"--{name}", type=instant, metavar="INSTANT", help=meaning)
        filters.add_argument("--never-used", action="store_true", default=None, help="Tokens that were never used.")
        filters.add_argument(
            "--ids-from",
            type=NumberFile,
            metavar="FILE",
            help="Tokens of these numbers, one a line; - is the standard input.",
        )
        filters.add_argument("--all", action="store_true", dest="everything", help="Every token there is.")

    def given(self, options: dict[str, Any]) -> dict[str, Any]:
        """The filters among the options that were given, by name."""
        given = {name: options[name] for name in FILTERS if options[name] is not None}
        if any(isinstance(value, str) and secrets.PREFIX in value for value in given.values()):
            raise CommandError("A secret does not belong into a filter. Search for it in the console.")
        return given

    def chosen(self, options: dict[str, Any]) -> AccessTokenQuerySet:
        """The tokens that match every filter given. What a filter names must exist. Raises CommandError."""
        given = self.given(options)
        if bool(given) == options["everything"]:
            raise CommandError("Give at least one filter, or --all alone for every token there is.")
        tokens = AccessToken.objects.all()
        for name, value in given.items():
            tokens = FILTERS[name](self, tokens, value)
        return tokens

    def ever(self, username: str) -> list[User]:
        """The users of that id, those too that were deleted: their tokens are still to be found."""
        found = list(User.objects.ever_named(username))
        if not found:
            raise CommandError(f"There is no user {username!r} and there was none. Look at the spelling.")
        return found

    def _of_role(self, tokens: AccessTokenQuerySet, role: str) -> AccessTokenQuerySet:
        if not Role.objects.filter(name=role).exists():
            raise CommandError(f"There is no role {role!r} and there was none. Look at the spelling.")
        return tokens.carrying([role])

    def _of_pool(self, tokens: AccessTokenQuerySet, pool: str) -> AccessTokenQuerySet:
        if not Pool.objects.filter(name=pool).exists():
            raise CommandError(f"There is no pool {pool!r} and there was none. Look at the spelling.")
        return tokens.reaching(pool)


INSTANTS = {
    "issued-before": "Tokens made before that.",
    "expires-before": "Tokens that end before that.",
    "expires-after": "Tokens that end then or later.",
    "unused-since": "Tokens older than that and not used since.",
}
FILTERS: dict[str, Callable[[ChoosingCommand, AccessTokenQuerySet, Any], AccessTokenQuerySet]] = {
    "kind": lambda command, tokens, kind: tokens.of_kind(kind),
    "owner": lambda command, tokens, username: tokens.owned_by(*command.ever(username)),
    "accountable": lambda command, tokens, username: tokens.accountable_to(*command.ever(username)),
    "role": ChoosingCommand._of_role,
    "pool": ChoosingCommand._of_pool,
    "name_glob": lambda command, tokens, glob: tokens.named_like(glob),
    "state": lambda command, tokens, state: tokens.in_state(state),
    "issued_by": lambda command, tokens, username: tokens.issued_by(*command.ever(username)),
    "issued_before": lambda command, tokens, instant: tokens.issued_before(instant),
    "expires_before": lambda command, tokens, instant: tokens.expiring_between(None, instant),
    "expires_after": lambda command, tokens, instant: tokens.expiring_between(instant, None),
    "unused_since": lambda command, tokens, instant: tokens.unused_since(instant),
    "never_used": lambda command, tokens, never: tokens.never_used(),
    "ids_from": lambda command, tokens, file: tokens.filter(pk__in=CloseKeys(file.numbers)),
}


def said(given: dict[str, Any]) -> dict[str, str]:
    """The filters as they are kept with an operation and its events: in the words of the command line, and without what
    somebody pasted into the wrong one."""
    return {name.replace("_", "-"): _said(value) for name, value in given.items()}


def _said(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d}" if value.time() == time() else f"{value:%Y-%m-%dT%H:%M:%SZ}"
    text = "yes" if value is True else str(value)[:200]
    return "…" if SECRETS.search(text) else text
