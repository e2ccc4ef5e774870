import json as jsonlib
import re
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from osmo_portal.events import chain, verification
from osmo_portal.events.actor import Actor
from osmo_portal.events.archive import ArchiveFile, faults
from osmo_portal.events.models import Archive
from profiles.management.door import DoorCommand


def _checkpoint(text: str) -> tuple[int, str]:
    found = re.fullmatch("([0-9]{1,18}):([0-9a-f]{64})", text)
    if not found:
        raise ArgumentTypeError("give what an earlier run printed: the number of events, a colon, 64 hex digits")
    return int(found[1]), found[2]


def _archived(read: list[ArchiveFile]) -> str:
    last, _ = chain.start()
    if not last:
        return ""
    unread = Archive.objects.exclude(digest__in=[file.end.digest for file in read if file.end]).count()
    return f", {last} of them archived{' in files that were not read' if unread else ''}"


class Command(DoorCommand):
    help = (
        "Reads the whole audit trail and says whether anybody has tampered with it. Where it is whole, the number of "
        "events and the hash of the last one go to stdout: keep them elsewhere, and give them as --checkpoint later. "
        "Exit code 1 says that it is not whole."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--checkpoint",
            type=_checkpoint,
            metavar="N:HASH",
            help="What an earlier run printed: tells whether the tail was cut off since. If that event is archived, "
            "give its file too.",
        )
        parser.add_argument(
            "--record",
            action="store_true",
            help="Keep the outcome as an event, which the console's list of events shows.",
        )
        parser.add_argument(
            "--actor", metavar="USER", help="The administrator who records it (default: whoever runs the command)."
        )
        parser.add_argument(
            "--archive",
            type=lambda name: ArchiveFile(Path(name)),
            action="append",
            default=[],
            metavar="FILE",
            help="Read a file of archive_events too. May be given more than once.",
        )
        self.add_json(parser)

    def handle(
        self,
        *args: Any,
        checkpoint: tuple[int, str] | None,
        record: bool,
        actor: str | None,
        archive: list[ArchiveFile],
        json: bool,
        **options: Any,
    ) -> None:
        by = self.acting_as(actor) if actor else Actor.shell()
        number, last_hash = chain.head()
        count, first = self._read(number, checkpoint, archive)
        if record:
            verification.keep_whole(number, count, by=by)
        here = f"{number}:{last_hash}"
        if json:
            told = {
                "whole": not count,
                "events": number,
                "archived": chain.start()[0],
                "checkpoint": None if count else here,
                "faults": count,
                "first_faults": first,
            }
            self.stdout.write(jsonlib.dumps(told))
        if count:
            found = "one fault" if count == 1 else f"{count} faults"
            raise CommandError(f"The audit trail has {found}. Compare it with a backup; change nothing in it.")
        self.tell(f"The audit trail is whole: {number} events{_archived(archive)}.")
        if not json:
            self.stdout.write(here)

    def _read(self, number: int, checkpoint: tuple[int, str] | None, files: list[ArchiveFile]) -> tuple[int, list[str]]:
        """Tells each fault on stderr; how many there are, and the first ones."""
        count, first = 0, []
        with self.progress("Reading events", number) as progress:
            for count, fault in enumerate(faults(files, checkpoint, progress), 1):
                self.stderr.write(fault)
                if count <= verification.FAULTS_NAMED:
                    first.append(fault)
        return count, first
