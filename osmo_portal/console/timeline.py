"""What the audit trail tells of one record: what the console shows in place of Django's own history."""

from dataclasses import dataclass
from typing import NamedTuple

from django.db import models

from osmo_portal.events.models import Event, EventLine, kind_of

PAGE = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """An event about the record, or the record's `line` of a batch."""

    event: Event
    line: EventLine | None = None


def timeline(record: models.Model, limit: int = 25, before: int | None = None) -> list[Entry]:
    """The newest first; with `before` only those of events with a lower number."""
    kind = kind_of(record)
    events = Event.objects.filter(object_type=kind, object_id=record.pk)
    lines = EventLine.objects.filter(object_id=record.pk, event__object_type=kind).select_related("event")
    if before is not None:
        events, lines = events.filter(pk__lt=before), lines.filter(event_id__lt=before)
    entries = [Entry(event) for event in events[:limit]]
    entries += [Entry(line.event, line) for line in lines.order_by("-id")[:limit]]
    return sorted(entries, key=lambda entry: -entry.event.pk)[:limit]


class Page(NamedTuple):
    """`older` is what the next page asks for as `before`, or None at the beginning of the record."""

    entries: list[Entry]
    older: int | None


def page(record: models.Model, before: str, size: int = PAGE) -> Page:
    """A part of the whole history. What is no number begins at the newest."""
    number = int(before) if before.isascii() and before.isdigit() and len(before) < 19 else None
    entries = timeline(record, size + 1, number)
    return Page(entries[:size], entries[size - 1].event.pk if len(entries) > size else None)
