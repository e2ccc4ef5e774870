from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone
from rich.console import Console
from rich.progress import Progress

from osmo_portal.events.actor import Actor
from profiles.management.door import NOTHING_MATCHED, DoorCommand
from profiles.models import Kind, Pool, Role
from tokens.models import AccessToken, BulkOperation
from tokens.models.access_token import AccessTokenQuerySet
from tokens.models.bulk_operation import Action, look_at

LARGE = 1_000  # from here on a bar is drawn; below, it would be over before one looks


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no instant; write 2026-01-31 or 2026-01-31T18:00Z") from None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


class Command(DoorCommand):
    help = (
        "Lets all tokens end that match every filter given. It only ever shortens lives. "
        "How many is printed on stdout; exit code 2 says that none matched."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--owner", metavar="USER", help="Tokens of this person or service account.")
        parser.add_argument("--kind", choices=Kind.values, help="User tokens or service tokens.")
        parser.add_argument("--role", help="Tokens on which this role was put.")
        parser.add_argument("--pool", help="Tokens with a role that allows submit, exec or port-forward on this pool.")
        parser.add_argument("--name-glob", metavar="GLOB", help="Tokens of this name, or of names like ci-*.")
        parser.add_argument(
            "--unused-since", type=_instant, metavar="DAY", help="Tokens older than that and not used since."
        )
        parser.add_argument("--all", action="store_true", dest="everything", help="Every token there is.")
        parser.add_argument("--at", type=_instant, metavar="INSTANT", help="When they end (default: now).")
        parser.add_argument("--reason", required=True, help="Why; it is kept with the event.")
        parser.add_argument("--actor", metavar="USER", help="Who does it (default: whoever runs the command).")
        parser.add_argument(
            "--dry-run", action="store_true", help="Say how many it would be and the digest of the set; change nothing."
        )
        parser.add_argument(
            "--digest",
            help="The digest that a dry run told: refuse if the set is another one by now, and end just that.",
        )

    def handle(
        self,
        *args: Any,
        everything: bool,
        at: datetime | None,
        reason: str,
        actor: str | None,
        dry_run: bool,
        digest: str | None,
        **filters: Any,
    ) -> None:
        by = self.acting_as(actor) if actor else Actor.shell()
        instant = max(at or timezone.now(), timezone.now())
        tokens = self._chosen(everything, filters)
        count = tokens.outliving(instant).count()
        if count and dry_run:
            self.tell(f"To end exactly these: --digest {look_at(tokens.listed()).digest}")
        elif count and digest:
            count = self._end_exactly(tokens.listed(), digest, by=by, at=at, reason=reason, filters=filters)
        elif count:
            with self._progress(count) as progress:
                count = tokens.expire(by=by, at=instant, reason=reason, progress=progress)
        if not count:
            raise CommandError("No token matches that lives on after that.", returncode=NOTHING_MATCHED)
        verb = "would end" if dry_run else "end"
        self.tell(f"{count} token{'s' * (count > 1)} {verb} at {instant:%Y-%m-%d %H:%M} UTC.")
        self.stdout.write(str(count))

    def _end_exactly(
        self, tokens: AccessTokenQuerySet, digest: str, *, filters: dict[str, Any], reason: str, **words: Any
    ) -> int:
        """As the console does it: an operation that can be looked at there, and continued if it breaks off here."""
        look = look_at(tokens)
        if look.digest != digest:
            message = f"The set has changed since the dry run: it has {look.count:,} tokens now. Look again."
            raise ValidationError(message, code="conflict")
        said = {name: str(filters[name]) for name in FILTERS if filters[name] is not None}
        operation = BulkOperation.preview(tokens, action=Action.EXPIRE, filters=said, **words)
        operation.start(tokens, by=words["by"], digest=digest, reason=reason)
        with self._progress(operation.count) as progress:
            operation.run(by=words["by"], progress=progress)
        return operation.changed

    def _chosen(self, everything: bool, filters: dict[str, Any]) -> AccessTokenQuerySet:
        """The tokens that match every filter given. What a filter names must exist."""
        given = {name: filters[name] for name in FILTERS if filters[name] is not None}
        if bool(given) == everything:
            raise CommandError("Give at least one filter, or --all alone for every token there is.")
        tokens = AccessToken.objects.all()
        for name, value in given.items():
            tokens = FILTERS[name](self, tokens, value)
        return tokens

    @contextmanager
    def _progress(self, count: int) -> Iterator[Callable[[int], None] | None]:
        if count < LARGE or not self.stderr.isatty():
            yield None
            return
        with Progress(console=Console(stderr=True)) as bar:
            task = bar.add_task("Ending tokens", total=count)
            yield lambda done: bar.update(task, completed=done)

    def _of_role(self, tokens: AccessTokenQuerySet, role: str) -> AccessTokenQuerySet:
        if not Role.objects.filter(name=role).exists():
            raise CommandError(f"There is no role {role!r} and there was none. Look at the spelling.")
        return tokens.carrying([role])

    def _of_pool(self, tokens: AccessTokenQuerySet, pool: str) -> AccessTokenQuerySet:
        if not Pool.objects.filter(name=pool).exists():
            raise CommandError(f"There is no pool {pool!r} and there was none. Look at the spelling.")
        return tokens.reaching(pool)


FILTERS: dict[str, Callable[[Command, AccessTokenQuerySet, Any], AccessTokenQuerySet]] = {
    "owner": lambda command, tokens, username: tokens.owned_by(command.user(username)),
    "kind": lambda command, tokens, kind: tokens.of_kind(kind),
    "role": Command._of_role,
    "pool": Command._of_pool,
    "name_glob": lambda command, tokens, glob: tokens.named_like(glob),
    "unused_since": lambda command, tokens, instant: tokens.unused_since(instant),
}
