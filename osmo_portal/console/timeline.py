"""What the audit trail tells of one record: what the console shows in place of Django's own history."""

from dataclasses import dataclass

from django.db import models

from osmo_portal.events.models import Event, EventLine, kind_of


@dataclass(frozen=True, slots=True)
class Entry:
    """An event about the record, or the record's `line` of a batch."""

    event: Event
    line: EventLine | None = None


def timeline(record: models.Model, limit: int = 25) -> list[Entry]:
    """The newest first."""
    kind = kind_of(record)
    events = Event.objects.filter(object_type=kind, object_id=record.pk)[:limit]
    lines = EventLine.objects.filter(object_id=record.pk, event__object_type=kind).select_related("event")
    entries = [Entry(event) for event in events]
    entries += [Entry(line.event, line) for line in lines.order_by("-id")[:limit]]
    return sorted(entries, key=lambda entry: -entry.event.pk)[:limit]
