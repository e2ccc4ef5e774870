from argparse import ArgumentTypeError
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from osmo_portal.events.archive import archive
from osmo_portal.postgresql import OutcomeUnknown
from profiles.management.door import NOTHING_MATCHED, DoorCommand

KEPT_DAYS = 30  # the first page and the alarms look back a week


def _day(text: str) -> datetime:
    try:
        day = datetime.combine(date.fromisoformat(text), time.min, UTC)
    except ValueError:
        raise ArgumentTypeError("give a day as YYYY-MM-DD") from None
    if day > timezone.now() - timedelta(days=KEPT_DAYS):
        raise ArgumentTypeError(f"give a day that is at least {KEPT_DAYS} days ago")
    return day


class Command(DoorCommand):
    help = (
        "Takes the events of before a day (UTC) out of the database into a new file, which it makes with mode 600. "
        "`verify_events` goes on from there, and with --archive reads the file too. The numbers of the first and the "
        "last event go to stdout. Broken off, the same call goes on. Exit code 2 says that nothing is older."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--before", type=_day, required=True, metavar="DAY", help="YYYY-MM-DD, in UTC.")
        parser.add_argument(
            "--to",
            type=Path,
            required=True,
            metavar="FILE",
            help="A file that does not exist yet; or that of a call that broke off.",
        )
        parser.add_argument("--actor", required=True, metavar="USER", help="The administrator who does it.")
        self.add_json(parser)

    def handle(self, *args: Any, before: datetime, to: Path, actor: str, json: bool, **options: Any) -> None:
        try:
            made = archive(before, to, by=self.acting_as(actor))
        except FileExistsError:
            raise CommandError(f"{to} is there already, and is not what broke off. Give a new file.") from None
        except OSError as error:
            raise CommandError(f"{to} cannot be written: {error.strerror}. Nothing was archived.") from None
        except OutcomeUnknown as error:
            raise CommandError(
                f"The database broke off: nobody knows whether {to} counts. Run the same again."
            ) from error
        if made is None:
            raise CommandError("No event is older.", returncode=NOTHING_MATCHED)
        told = {"first": made.first, "last": made.last, "digest": made.digest, "file": str(to)}
        self.report(
            f"{made.last - made.first + 1} events are in {to}, and no longer in the database.",
            f"{made.first}:{made.last}",
            json=json,
            **told,
        )
