from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from osmo_portal.events.actor import Actor
from profiles.management.door import NOTHING_MATCHED
from tokens.management.choosing import ChoosingCommand, instant
from tokens.models import BulkOperation
from tokens.models.access_token import AccessTokenQuerySet
from tokens.models.bulk_operation import Action, look_at


class Command(ChoosingCommand):
    help = (
        "Lets all tokens end that match every filter given. It only ever shortens lives. "
        "How many is printed on stdout; exit code 2 says that none matched."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_filters(parser)
        parser.add_argument("--at", type=instant, metavar="INSTANT", help="When they end (default: now).")
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
        at: datetime | None,
        reason: str,
        actor: str | None,
        dry_run: bool,
        digest: str | None,
        **options: Any,
    ) -> None:
        by = self.acting_as(actor) if actor else Actor.shell()
        end = max(at or timezone.now(), timezone.now())
        tokens = self.chosen(options)
        count = tokens.outliving(end).count()
        if count and dry_run:
            self.tell(f"To end exactly these: --digest {look_at(tokens.listed()).digest}")
        elif count and digest:
            count = self._end_exactly(tokens.listed(), digest, by=by, at=at, reason=reason, filters=self.given(options))
        elif count:
            with self.progress("Ending tokens", count) as progress:
                count = tokens.expire(by=by, at=end, reason=reason, progress=progress)
        if not count:
            raise CommandError("No token matches that lives on after that.", returncode=NOTHING_MATCHED)
        verb = "would end" if dry_run else "end"
        self.tell(f"{count} token{'s' * (count > 1)} {verb} at {end:%Y-%m-%d %H:%M} UTC.")
        self.stdout.write(str(count))

    def _end_exactly(
        self, tokens: AccessTokenQuerySet, digest: str, *, filters: dict[str, Any], reason: str, **words: Any
    ) -> int:
        """As the console does it: an operation that can be looked at there, and continued if it breaks off here."""
        look = look_at(tokens)
        if look.digest != digest:
            message = f"The set has changed since the dry run: it has {look.count:,} tokens now. Look again."
            raise ValidationError(message, code="conflict")
        said = {name: str(value) for name, value in filters.items()}
        operation = BulkOperation.preview(tokens, action=Action.EXPIRE, filters=said, **words)
        operation.start(tokens, by=words["by"], digest=digest, reason=reason)
        with self.progress("Ending tokens", operation.count) as progress:
            operation.run(by=words["by"], progress=progress)
        return operation.changed
