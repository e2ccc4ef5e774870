"""The chain: appending to it, and finding out whether anybody has tampered with it."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from django.db import connection
from django.db.models import QuerySet
from django.utils import timezone

from osmo_portal.events.models import Archive, Event, EventLine, Line

GENESIS = "0" * 64
STEP = 2_000  # events that are read at once
LINES_AT_ONCE = 10_000  # one statement for all would meet the time limit on statements
ADVISORY_LOCK = 0x05_30_4D_4F  # any number that nothing else in this database uses

# From the text that is digested, so that both are of the same lines. Model instances would cost more than the tokens.
_INSERT_LINES = {
    "postgresql": """
        INSERT INTO events_eventline (event_id, object_id, object_label, before, after)
        SELECT %s, (line ->> 0)::bigint, line ->> 1, line ->> 2, line ->> 3
        FROM jsonb_array_elements(%s::jsonb) WITH ORDINALITY lines(line, position) ORDER BY position
    """,
    "sqlite": """
        INSERT INTO events_eventline (event_id, object_id, object_label, before, after)
        SELECT %s, json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
               json_extract(value, '$[3]')
        FROM json_each(%s) ORDER BY key
    """,
}


def lock() -> None:
    """Holds back other writers of events until this transaction ends. SQLite has one writer anyway."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ADVISORY_LOCK])


def append(drafts: Sequence[tuple[Event, Sequence[EventLine | Line]]]) -> None:
    """Numbers and chains the drafts, and writes them with their lines. Must run inside a transaction."""
    texts = [EventLine.text(lines) if lines else "" for _, lines in drafts]
    lock()
    number, last_hash = head()
    for (event, _), text in zip(drafts, texts, strict=True):
        number += 1
        event.pk, event.at, event.previous_hash = number, timezone.now(), last_hash
        event.lines_digest = EventLine.digest(text) if text else ""
        event.hash = last_hash = event.computed_hash()
    Event.objects.bulk_create([event for event, _ in drafts])
    with connection.cursor() as cursor:
        for (event, lines), text in zip(drafts, texts, strict=True):
            for part in _parts(lines, text):
                cursor.execute(_INSERT_LINES[connection.vendor], [event.pk, part])


def _parts(lines: Sequence[EventLine | Line], text: str) -> Iterator[str]:
    """The text of the lines, for statements of bounded size."""
    if len(lines) <= LINES_AT_ONCE:
        yield from [text] * bool(lines)
        return
    for start in range(0, len(lines), LINES_AT_ONCE):
        yield EventLine.text(lines[start : start + LINES_AT_ONCE])


def head() -> tuple[int, str]:
    """How many events there are, and the hash of the last: what a checkpoint outside the database records."""
    return Event.objects.values_list("pk", "hash").first() or start()


def start() -> tuple[int, str]:
    """The number and hash of the event that the first one here follows: the last that was archived."""
    return Archive.objects.order_by("-last").values_list("last", "hash").first() or (0, GENESIS)


def faults(checkpoint: tuple[int, str] | None = None, progress: Callable[[int], None] | None = None) -> Iterator[str]:
    """What is wrong with the chain, one sentence a fault; nothing when it is whole. `progress` is told how far it is.

    A cut tail shows only against a `checkpoint`: the number and hash of an event that existed once. One that is inside
    an archive is not looked at here.
    """
    began = number, previous = start()
    for event, sentences in walk(Event.objects.filter(pk__gt=number), number, previous):
        found = [*sentences, *lines_fault(event)]
        if found and start() != began:  # what is missing was archived meanwhile
            yield from faults(checkpoint, progress)
            return
        yield from found
        if checkpoint and checkpoint[0] == event.pk and checkpoint[1] != event.hash:
            yield f"Event {event.pk} is not the one of the checkpoint."
        number = event.pk
        if progress and number % STEP == 0:
            progress(number)
    yield from forged_lines(EventLine.objects.all())
    if checkpoint and checkpoint[0] > number:
        yield f"The tail is cut: the checkpoint knows {checkpoint[0]} events, the table holds {number}."
    yield from _faults_of_archives(checkpoint)


def _faults_of_archives(checkpoint: tuple[int, str] | None = None) -> Iterator[str]:
    number = 0
    for archive in Archive.objects.order_by("last"):
        if archive.first != number + 1:
            yield f"The archive up to event {archive.last} does not follow event {number}."
        if not archive.is_signed:
            yield f"The archive up to event {archive.last} was not signed by this portal."
        if checkpoint and checkpoint[0] == archive.last and checkpoint[1] != archive.hash:
            yield f"Event {archive.last}, the last in its archive, is not the one of the checkpoint."
        number = archive.last
    # Each archive is told of by a later event. That of the newest cannot have been archived itself.
    told = Event.objects.filter(action="events.archived", pk__gt=number, changes__last=number)
    if number and not told.exists():
        yield f"No event tells of the archive up to event {number}: events after it are missing."


def tail_faults(count: int) -> Iterator[str]:
    """What is wrong with the last `count` events and with how they hang together, without the lines of batches."""
    began = start()
    anchor = Event.objects.order_by("-pk")[count : count + 1].values_list("pk", "hash").first()
    number, previous = max(anchor or began, began)
    for _, sentences in walk(Event.objects.filter(pk__gt=number), number, previous):
        if sentences and start() != began:
            yield from tail_faults(count)
            return
        yield from sentences
    yield from _faults_of_archives()


def faults_of(event: Event) -> list[str]:
    """What is wrong with this event, its lines, and its hold on the events before and after it.

    One that is on its way out is in its archive, which was verified.
    """
    first_follows, first_hash = start()
    if event.pk <= first_follows:
        return [*_faults_of_archives()]
    found = [*_own_fault(event), *lines_fault(event)]
    if not event.lines_digest and event.lines.exists():
        found.append(f"Event {event.pk} has lines that it was not written with.")
    near = Event.objects.filter(pk__in=[event.pk - 1, event.pk + 1]).in_bulk()
    before, after = near.get(event.pk - 1), near.get(event.pk + 1)
    if event.pk > first_follows + 1 and before is None:
        found.append(f"Event {event.pk - 1} is missing.")
    elif event.previous_hash != (before.hash if before else first_hash):
        found.append(f"Event {event.pk} does not follow event {event.pk - 1}.")
    if after and after.previous_hash != event.hash:
        found.append(f"Event {after.pk} does not follow event {event.pk}.")
    return found


def walk(events: QuerySet[Event], number: int, previous: str) -> Iterator[tuple[Event, list[str]]]:
    """Each event, and what is wrong with it or with its hold on the one before; `number` and `previous` hash begin."""
    for event in _in_steps(events):
        sentences = _own_fault(event)
        if event.pk != number + 1:
            sentences.insert(0, f"Events {number + 1} to {event.pk - 1} are missing.")
        elif event.previous_hash != previous:
            sentences.insert(0, f"Event {event.pk} does not follow event {number}.")
        yield event, sentences
        number, previous = event.pk, event.hash


def _in_steps(events: QuerySet[Event]) -> Iterator[Event]:
    """A query for each step: one for all would meet the time limit, and behind pgbouncer fill the memory."""
    ordered = events.order_by("pk")
    step = list(ordered[:STEP])
    while step:
        yield from step
        step = list(ordered.filter(pk__gt=step[-1].pk)[:STEP]) if len(step) == STEP else []


def _own_fault(event: Event) -> list[str]:
    return [] if event.hash == event.computed_hash() else [f"Event {event.pk} was changed."]


def forged_lines(lines: QuerySet[EventLine]) -> Iterator[str]:
    without = lines.filter(event__lines_digest="").order_by("event_id")
    for event in without.values_list("event_id", flat=True).distinct():
        yield f"Event {event} has lines that it was not written with."


def lines_fault(event: Event, lines: Iterable[EventLine] | None = None) -> list[str]:
    if not event.lines_digest:
        return []
    if event.lines_digest == EventLine.digest(EventLine.text(event.lines.all() if lines is None else lines)):
        return []
    return [f"The lines of event {event.pk} were changed."]
