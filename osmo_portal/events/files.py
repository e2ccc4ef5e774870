"""Events as lines of a file: one JSON object each, with the lines of its batch. Archives and copies are such files."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError

from osmo_portal.events import chain
from osmo_portal.events.models import Event, EventLine, EventQuerySet, Line


def written(event: Event, lines: Iterable[EventLine]) -> bytes:
    values = {field.attname: getattr(event, field.attname) for field in Event._meta.concrete_fields}
    values["at"] = event.at.isoformat(timespec="microseconds")
    return json.dumps({"event": values, "lines": [line.told for line in lines]}).encode() + b"\n"


def read(said: dict[str, Any]) -> tuple[Event, list[Line]]:
    """The event, not saved, and its lines. Raises whatever Python says of what is none: see NO_EVENT."""
    event = Event(**{**said["event"], "at": datetime.fromisoformat(said["event"]["at"])})
    lines = [(int(number), str(label), str(before), str(after)) for number, label, before, after in said["lines"]]
    return event, lines


NO_EVENT = (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError)


def is_whole(event: Event, lines: Sequence[Line]) -> bool:
    digest = EventLine.digest(EventLine.text(lines)) if lines else ""
    return event.hash == event.computed_hash() and event.lines_digest == digest


def copied(number: int, previous: str = "") -> Iterator[bytes]:
    """Lines of the events after that number, whose own hash must be `previous` where that is given.

    Raises ValidationError where that is another event, and where the chain is not whole from there on.
    """
    begin = chain.start()
    if number > begin[0] or previous:
        begin = _the_one(number, previous)
    events: EventQuerySet = Event.objects.filter(pk__gt=begin[0])
    for event, faults in chain.walk(events, *begin):
        lines = list(event.lines.all()) if event.lines_digest else []
        for fault in [*faults, *chain.lines_fault(event, lines)]:
            raise ValidationError(f"{fault} Run verify_events.")
        yield written(event, lines)


def _the_one(number: int, previous: str) -> tuple[int, str]:
    known = [*Event.objects.filter(pk=number).values_list("pk", "hash"), chain.start()]
    found = [one for one in known if one == (number, previous or one[1])]
    if not found:
        raise ValidationError(
            f"Event {number} is not here, or another one. Was the database restored? Give a new file."
        )
    return found[0]


def told(path: Path) -> Iterator[tuple[Event, list[Line]]]:
    """The events in a file, which hang together. Raises ValidationError where they do not."""
    before: Event | None = None
    with path.open("rb") as file:
        for place, text in enumerate(file, 1):
            try:
                said = json.loads(text)
                if "checkpoint" in said:  # how an archive ends
                    continue
                event, lines = read(said)
                whole = is_whole(event, lines)
            except NO_EVENT:
                raise ValidationError(f"Line {place} of {path.name} is no event.") from None
            if before and event.pk <= before.pk:
                continue  # copied twice
            if not whole or (before and (event.pk, event.previous_hash) != (before.pk + 1, before.hash)):
                raise ValidationError(f"{path.name}: event {event.pk} was changed, or does not follow the one before.")
            yield event, lines
            before = event
