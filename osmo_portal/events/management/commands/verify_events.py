import re
from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from osmo_portal.events import chain, verification
from osmo_portal.events.actor import Actor


def _checkpoint(text: str) -> tuple[int, str]:
    found = re.fullmatch("([0-9]{1,18}):([0-9a-f]{64})", text)
    if not found:
        raise ArgumentTypeError("give what an earlier run printed: the number of events, a colon, 64 hex digits")
    return int(found[1]), found[2]


class Command(BaseCommand):
    help = (
        "Reads the whole audit trail and says whether anybody has tampered with it. Where it is whole, the number of "
        "events and the hash of the last one go to stdout: keep them elsewhere, and give them as --checkpoint later."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--checkpoint",
            type=_checkpoint,
            metavar="N:HASH",
            help="From an earlier run; shows a tail that was cut off.",
        )
        parser.add_argument(
            "--record",
            action="store_true",
            help="Keep the outcome as an event, which the console's list of events shows.",
        )

    def handle(self, *args: Any, checkpoint: tuple[int, str] | None, record: bool, **options: Any) -> None:
        number, last_hash = chain.head()
        faults = 0
        for fault in chain.faults(checkpoint):
            faults += 1
            self.stderr.write(fault)
        if record:
            verification.keep_whole(number, faults, by=Actor.shell())
        if faults:
            found = "one fault" if faults == 1 else f"{faults} faults"
            raise CommandError(f"The audit trail has {found}. Compare it with a backup; change nothing in it.")
        self.stderr.write(f"The audit trail is whole: {number} events.", str)
        self.stdout.write(f"{number}:{last_hash}")
