from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from osmo_portal.logging import printable
from profiles.management.door import NOTHING_MATCHED, DoorCommand
from tokens.forgotten import Forgotten, forgotten

NAMED = 20  # tokens and changes that are named on the terminal


class Command(DoorCommand):
    help = (
        "After a database was restored from a back-up: tells what it has forgotten, from a file of `copy_events`. The "
        "numbers of the tokens that work again although they were revoked, suspended or expired go to stdout, one a "
        "line, for `revoke_tokens --ids-from`. It changes nothing. Exit code 2: none works again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        self.add_json(parser)

    def handle(self, *args: Any, file: Path, json: bool, **options: Any) -> None:
        try:
            found = forgotten(file)
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror}.") from None
        alive = list(found.alive().order_by("pk").values_list("pk", flat=True))
        for sentence in _story(found, alive):
            self.tell(printable(sentence))
        if json:
            facts = {name: [*getattr(found, name)] for name in ("shortened", "issued", "rotated")}
            changes = [
                {"event": event.pk, "action": event.action, "about": event.object_label} for event in found.changes
            ]
            self.report("", "", json=True, since=found.since, alive=alive, **facts, changes=changes)
        elif alive:
            self.stdout.write("\n".join(map(str, alive)))
        if not alive:
            raise CommandError("No token works again that had been stopped.", returncode=NOTHING_MATCHED)


def _story(found: Forgotten, alive: list[int]) -> list[str]:
    story = [f"Event {found.since} is the last in common. Of {found.events} later ones nothing is known here."]
    kinds = {
        "Tokens that work again although they were stopped": [found.stopped[number] for number in alive],
        "Tokens that live longer again than they were to": [*found.shortened.values()],
        "Tokens that are unknown here and have to be issued anew": [*found.issued.values()],
        "Tokens that were rotated; the old secret works again, the new one does not": [*found.rotated.values()],
    }
    story += [f"{what} ({len(labels)}): {_some(labels)}." for what, labels in kinds.items() if labels]
    if found.changes:
        story.append(f"Other changes that are lost; make those again that still matter ({len(found.changes)}):")
        story += [
            f"  {event.at:%Y-%m-%d %H:%M} {event.action} {event.object_label} by {event.actor} {event.reason}".rstrip()
            for event in found.changes[:NAMED]
        ]
        story += [f"  and {len(found.changes) - NAMED} more; see --json"] * (len(found.changes) > NAMED)
    return story


def _some(labels: list[str]) -> str:
    return ", ".join(labels[:NAMED]) + (f" and {len(labels) - NAMED} more" if len(labels) > NAMED else "")
