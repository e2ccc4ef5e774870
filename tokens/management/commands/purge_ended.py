from argparse import ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from osmo_portal.events.actor import Actor
from profiles.management.door import NOTHING_MATCHED
from tokens.management.choosing import ChoosingCommand
from tokens.models import AccessToken
from tokens.models.batches import PURGED_AT_ONCE
from tokens.models.token_set import MIN_RETENTION, State, require_power_to_purge

MAX_DAYS = 36_500


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and MIN_RETENTION.days <= int(text) <= MAX_DAYS):
        raise ArgumentTypeError(f"{text!r} is no number of days from {MIN_RETENTION.days} to {MAX_DAYS}")
    return int(text)


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


class Command(ChoosingCommand):
    help = (
        "Deletes the records of tokens that ended long ago: revoked, deleted or expired. Events stay, and the digests "
        "of secrets, so that none works again and each can still be looked up. How many goes to stdout. Exit code "
        "2 says that there was none, or not as many as expected. Broken off, run it again: it goes on with the rest."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than",
            type=_days,
            required=True,
            metavar="DAYS",
            dest="days",
            help=f"How many days ago the tokens must have ended; at least {MIN_RETENTION.days}.",
        )
        parser.add_argument("--reason", help="Why; it is kept with the events (default: how long ago they ended).")
        parser.add_argument("--actor", metavar="USER", help="The administrator who does it (default: the shell).")
        parser.add_argument("--dry-run", action="store_true", help="Say how many would be deleted; delete nothing.")
        parser.add_argument("--expect", type=_positive, metavar="N", help="Refuse unless N would be deleted.")
        parser.add_argument(
            "--batch-size",
            type=_positive,
            default=PURGED_AT_ONCE,
            metavar="N",
            help=f"How many records one transaction deletes (default: {PURGED_AT_ONCE:,}).",
        )
        self.add_json(parser)

    def handle(
        self,
        *args: Any,
        days: int,
        reason: str | None,
        actor: str | None,
        dry_run: bool,
        expect: int | None,
        batch_size: int,
        json: bool,
        **options: Any,
    ) -> None:
        by = self.acting_as(actor) if actor else Actor.shell()
        require_power_to_purge(by)
        before = timezone.now() - timedelta(days=days)
        ended = AccessToken.objects.ended_before(before)
        count, revoked = ended.count(), ended.in_state(State.REVOKED).count()
        if not count:
            raise CommandError(f"No token ended more than {days} days ago.", returncode=NOTHING_MATCHED)
        if expect is not None and expect != count:
            message = f"There are {count:,} such tokens, not {expect:,}. Nothing was deleted."
            raise CommandError(message, returncode=NOTHING_MATCHED)
        if not dry_run:
            why = f"ended more than {days} days ago" if reason is None else reason
            with self.progress("Deleting records", count) as progress:
                count = AccessToken.objects.purge(
                    by=by, before=before, reason=why, batch_size=batch_size, progress=progress
                )
        verb = "would be" if dry_run else "was" if count == 1 else "were"
        sentence = f"{count:,} record{'s' * (count != 1)} {verb} deleted of tokens that ended before "
        self.report(
            f"{sentence}{before:%Y-%m-%d %H:%M} UTC. Their events stay.",
            count,
            json=json,
            count=count,
            revoked=revoked,
            expired=count - revoked,
            ended_before=before,
            dry_run=dry_run,
        )
