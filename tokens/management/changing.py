"""The commands that do one thing to a whole set of tokens."""

from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError
from django.utils import timezone

from osmo_portal.events.actor import Actor
from profiles.management.door import LARGE, NOTHING_MATCHED, many
from tokens.management.choosing import FILTERS, ChoosingCommand, said
from tokens.models import BulkOperation
from tokens.models.bulk_operation import LEFT_ALONE, MAX_BATCH, Action, Stage
from tokens.models.token_set import AccessTokenQuerySet

ANOTHER_SET = {"nothing", "conflict"}  # codes of what says that the set is not the wanted one
AT_THE_BEGINNING = (*FILTERS, "everything", "at", "reason", "dry_run", "expect", "digest", "batch_size")
NOT_TO_CONTINUE = {
    Stage.PREVIEWED: "was looked at in the console, and not begun",
    Stage.STOPPED: "was stopped: what it had not handled stays as it is",
}


def batch_size(text: str) -> int:
    size = int(text) if text.isdecimal() else 0
    if not 1 <= size <= MAX_BATCH:
        raise ArgumentTypeError(f"it must be a number from 1 to {MAX_BATCH:,}")
    return size


class ChangingCommand(ChoosingCommand):
    """Looks at the tokens that are chosen, then does `action` to exactly those, as an operation.

    Each batch commits with its events and with how far the operation is. So what was broken off, however roughly, is
    continued by its number, and nothing is done twice.
    """

    action: Action
    verb: str
    past: str
    present: str

    def add_arguments(self, parser: CommandParser) -> None:
        parser.usage = "%(prog)s FILTER [FILTER ...] --reason WHY [--dry-run]\n       %(prog)s --continue N"
        self.add_filters(parser)
        change = parser.add_argument_group("the change")
        self.add_change(change)
        change.add_argument("--reason", metavar="WHY", help="It is kept with the events. A dry run needs none.")
        self.add_actor(change)
        sure = parser.add_argument_group("to be sure", "A dry run tells what to give to the other two.")
        sure.add_argument("--dry-run", action="store_true", help="Show how many, whose and which; change nothing.")
        sure.add_argument("--expect", type=int, metavar="N", help="Refuse unless N tokens would change.")
        sure.add_argument("--digest", help="Refuse unless the set is the one that the dry run saw.")
        work = parser.add_argument_group("the work")
        work.add_argument(
            "--batch-size",
            type=batch_size,
            metavar="N",
            help=f"Tokens in one commit, at most {MAX_BATCH:,} (default: fit for the database).",
        )
        work.add_argument(
            "--continue",
            type=int,
            dest="number",
            metavar="N",
            help="Go on with operation N, which was broken off. Filters and reason are known then.",
        )
        self.add_json(work)  # type: ignore[arg-type]

    def add_change(self, group: Any) -> None:
        """Adds what one of the commands alone wants to know."""

    def add_actor(self, group: Any) -> None:
        group.add_argument("--actor", metavar="USER", help="Who does it (default: whoever runs the command).")

    def handle(
        self, *args: Any, actor: str | None, number: int | None, dry_run: bool, json: bool, **options: Any
    ) -> None:
        by = self.acting_as(actor) if actor else Actor.shell()
        if number is not None:
            self._finish(self._broken_off(number, {**options, "dry_run": dry_run}), by, json)
        elif dry_run:
            self._show(self._looked(self._tokens(options), by, options), json)
        else:
            self._finish(self._begun(self._tokens(options), by, options), by, json)

    # Beginning.

    def _tokens(self, options: dict[str, Any]) -> AccessTokenQuerySet:
        """Without the revoked ones, as in the console's list, unless a state is chosen."""
        tokens = self.chosen(options)
        return tokens if options["state"] else tokens.listed()

    def _at(self, options: dict[str, Any]) -> datetime | None:
        at: datetime | None = options.get("at")
        return at if at and at > timezone.now() else None

    def _looked(self, tokens: AccessTokenQuerySet, by: Actor, options: dict[str, Any]) -> BulkOperation:
        with _two_where_the_set_is_another():
            return BulkOperation.look(
                tokens, actor=by, action=self.action, filters=said(self.given(options)), at=self._at(options)
            )

    def _begun(self, tokens: AccessTokenQuerySet, by: Actor, options: dict[str, Any]) -> BulkOperation:
        if options["reason"] is None:
            raise CommandError("Give --reason: why it is done. It is kept with the events.")
        self._refuse_while_unfinished(by, options)
        operation = self._looked(tokens, by, options)
        words = {name: options[name] for name in ("reason", "digest", "expect", "batch_size")}
        with _two_where_the_set_is_another():
            operation.begin(tokens, by=by, **words)
        return operation

    def _refuse_while_unfinished(self, by: Actor, options: dict[str, Any]) -> None:
        unfinished = BulkOperation.unfinished(
            actor=by, action=self.action, filters=said(self.given(options)), at=self._at(options)
        )
        if unfinished:
            raise CommandError(
                f"Operation {unfinished.pk} with the same filters is unfinished: {unfinished.handled:,} of "
                f"{unfinished.count:,} are done. Go on with it: {self._continuing(unfinished, by)}. "
                "Or stop it in the console, under Access tokens, Past operations."
            )

    # Working.

    def _broken_off(self, number: int, options: dict[str, Any]) -> BulkOperation:
        if any(options.get(name) not in (None, False) for name in AT_THE_BEGINNING):
            raise CommandError("--continue goes on with what was said at the beginning. Give --actor and --json only.")
        operation = BulkOperation.objects.filter(pk=number).first()
        if operation is None:
            raise CommandError(f"There is no operation {number}.")
        if operation.action != self.action:
            raise CommandError(f"Operation {number} is another one ({operation}). {_where_to_continue(operation)}")
        if operation.stage in NOT_TO_CONTINUE:
            raise CommandError(f"Operation {number} {NOT_TO_CONTINUE[Stage(operation.stage)]}.")
        return operation

    def _finish(self, operation: BulkOperation, by: Actor, json: bool) -> None:
        again = f"Go on with it: {self._continuing(operation, by)}"
        if operation.remaining >= LARGE:
            self.tell(f"Operation {operation.pk} has begun. If it is broken off, nothing is lost. {again}")
        with self.progress(f"{self.present} tokens", operation.count) as progress:
            try:
                operation.run(by=by, progress=progress)
            except (KeyboardInterrupt, DatabaseError) as error:
                raise CommandError(f"Broken off. {error} {again}".replace("  ", " ")) from error
        self._tell(operation, json)

    def _continuing(self, operation: BulkOperation, by: Actor) -> str:
        actor = f" --actor {by.user}" if by.user else ""
        return f"manage.py {operation.action}_tokens --continue {operation.pk}{actor}"

    # Telling.

    def what(self, verb: str, count: int, at: datetime | None) -> str:
        """What is done to so many tokens."""
        return f"{verb} {many(count, 'token')}"

    def _sentence(self, operation: BulkOperation, verb: str, count: int) -> str:
        sentence = f"{self.what(verb, count, operation.at)}."
        if rest := operation.count - count:
            sentence += f" {rest:,} more match and stay as they are: they {LEFT_ALONE[self.action]}."
        return sentence

    def _facts(self, operation: BulkOperation, count: int) -> dict[str, Any]:
        at = {"at": operation.at} if self.action == Action.EXPIRE else {}
        facts = {"action": operation.action, **at, "count": count, "matched": operation.count}
        return {**facts, "digest": operation.digest, "filters": operation.filters}

    def _show(self, operation: BulkOperation, json: bool) -> None:
        count, seen = operation.affected, operation.seen
        owners, roles = dict(seen["owners"]), dict(seen["roles"])
        lines = [
            self._sentence(operation, f"Would {self.verb}", count),
            _counted(f"Owners ({seen['owner_count']:,})", owners),
            _counted("Roles", roles),
            "Newest: " + ", ".join(f"{one['label']} ({one['state']})" for one in seen["sample"]),
            f"To do it to exactly these: --expect {count} --digest {operation.digest}",
        ]
        facts = {"dry_run": True, **self._facts(operation, count), **seen, "owners": owners, "roles": roles}
        self.report("\n".join(lines), count, json=json, **facts)

    def _tell(self, operation: BulkOperation, json: bool) -> None:
        count = operation.changed
        sentence = f"{self._sentence(operation, self.past, count)} This was operation {operation.pk}."
        facts = {"operation": operation.pk, **self._facts(operation, count), "reason": operation.reason}
        self.report(sentence, count, json=json, **facts, seconds=operation.seconds)


@contextmanager
def _two_where_the_set_is_another() -> Iterator[None]:
    """Exit code 2 where nothing would change, or the set is not the one that is expected. Nothing was changed then."""
    try:
        yield
    except ValidationError as error:
        if getattr(error, "code", None) in ANOTHER_SET:
            raise CommandError(" ".join(error.messages), returncode=NOTHING_MATCHED) from error
        raise


def _where_to_continue(operation: BulkOperation) -> str:
    if operation.action == Action.HAND_OVER:
        return "Continue it in the console."
    return f"Use {operation.action}_tokens."


def _counted(title: str, counts: dict[str, int]) -> str:
    return f"{title}: " + ", ".join(f"{name} {count:,}" for name, count in counts.items())
