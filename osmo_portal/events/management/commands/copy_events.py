import json
import os
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from osmo_portal.events.files import copied

TAIL = 65_536  # bytes in which the last line is looked for, and twice as many, and so on


class Command(BaseCommand):
    help = (
        "Adds to a file the events that it does not have yet; all of them where it is new, and made with mode 600. Run "
        "it often, with a file on another machine's disk: after a database was restored from a back-up, `forgotten` "
        "tells from it what was lost. How many were added goes to stdout. Like a dump it is no event itself."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--after", type=int, default=0, metavar="N", help="Of a new file: leave out events up to N."
        )

    def handle(self, *args: Any, file: Path, after: int, **options: Any) -> None:
        try:
            number = self._add(file, after)
        except OSError as error:
            raise CommandError(f"{file} cannot be written: {error.strerror}.") from None
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        self.stdout.write(str(number))

    def _add(self, path: Path, after: int) -> int:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        number = 0
        with os.fdopen(descriptor, "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            for number, text in enumerate(copied(*_last(file, size) if size else [after]), 1):  # noqa: B007
                file.write(text)
            file.flush()
            os.fsync(file.fileno())
        return number


def _last(file: Any, size: int) -> tuple[int, str]:
    """Number and hash of the last event in the file. A line that a crash broke off is taken away."""
    step = TAIL
    while True:
        start = max(size - step, 0)
        file.seek(start)
        *lines, rest = file.read().split(b"\n")
        if len(lines) > (start > 0):
            break
        if start == 0:
            raise CommandError("The file holds no whole event. Give a new one.")
        step *= 2
    if rest:
        file.truncate(size - len(rest))
    file.seek(0, os.SEEK_END)
    try:
        event = json.loads(lines[-1])["event"]
        return int(event["id"]), str(event["hash"])
    except (ValueError, KeyError, TypeError):
        raise CommandError("The last line of the file is no event. Give a new file.") from None
