"""Taking the beginning of the chain out of the database into a file, so that both can still be verified together.

Up to where events were archived is a row, signed with a key from the environment: who can write to the database alone
can make none that counts. The triggers let events go up to there, and in no other way.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connection, transaction
from django.utils import timezone

from osmo_portal.durable import sync_folder
from osmo_portal.events import chain, files
from osmo_portal.events.actor import Actor
from osmo_portal.events.models import Archive, Event, EventLine, EventQuerySet
from osmo_portal.events.trail import audited, record

STEP = 1_000  # events whose rows are deleted in one transaction
LINES_AT_ONCE = 10_000  # lines that one statement deletes


def archive(before: datetime, path: Path, *, by: Actor) -> Archive | None:
    """Events from before that instant go into a new file of mode 600, then out of the tables. None if there are none.

    Nothing is deleted before the file is on the disk, was read again, and its signed row has committed. Broken off, the
    same call goes on: the file is read once more before the rest is deleted. Raises PermissionDenied, ValidationError
    for a chain or a file that is not whole, OSError.
    """
    if not by.is_administrator:
        raise PermissionDenied("Only an administrator may archive events.")
    if unfinished := _unfinished():
        return _go_on(unfinished, path)
    made = _written(path, before)
    if made:
        _commit(made, path, by)
        _delete_archived()
    return made


class ArchiveFile:
    """A file that `archive` wrote, or something else that is called one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.end: Archive | None = None  # what it says of itself, once it was read

    def faults(self, checkpoint: tuple[int, str] | None = None) -> Iterator[str]:
        """What is wrong with it, and with how it hangs together with what this database knows of it."""
        try:
            yield from self._own_faults(checkpoint)
        except OSError as error:
            yield f"{self.path} cannot be read: {error.strerror}."
        except files.NO_EVENT:
            yield f"{self.path.name} is no archive of events, or was changed."
        else:
            yield from self._faults_of_end()

    def _own_faults(self, checkpoint: tuple[int, str] | None) -> Iterator[str]:
        digest, first, number, previous = hashlib.sha256(), None, 0, ""
        with self.path.open("rb") as file:
            for text in file:
                if self.end:
                    yield f"{self.path.name} goes on after its end."
                    return
                said = json.loads(text)
                if "checkpoint" in said:
                    self.end = _end(said["checkpoint"])
                    continue
                event, lines = files.read(said)
                digest.update(text)
                first = first or event.pk
                if not files.is_whole(event, lines) or (
                    first != event.pk and (event.pk, event.previous_hash) != (number + 1, previous)
                ):
                    yield f"{self.path.name}: event {event.pk} was changed, or does not follow the one before."
                if checkpoint and checkpoint[0] == event.pk and checkpoint[1] != event.hash:
                    yield f"{self.path.name}: event {event.pk} is not the one of the checkpoint."
                number, previous = event.pk, event.hash
        found = (first, number, previous, digest.hexdigest())
        if self.end and (self.end.first, self.end.last, self.end.hash, self.end.digest) != found:
            yield f"{self.path.name} is not as it was written."

    def _faults_of_end(self) -> Iterator[str]:
        if self.end is None:
            yield f"{self.path.name} has no end: writing it broke off, or it was cut."
        elif not self.end.is_signed:
            yield f"{self.path.name}: its end was not signed by this portal."
        elif self.end.facts() not in [one.facts() for one in Archive.objects.filter(last=self.end.last)]:
            yield f"{self.path.name}: this database knows no such archive."


def faults(
    archives: Sequence[ArchiveFile],
    checkpoint: tuple[int, str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[str]:
    """What is wrong with the trail, in these files and in the database."""
    for file in archives:
        yield from file.faults(checkpoint)
    yield from chain.faults(checkpoint, progress)
    if checkpoint:
        yield from _faults_of_reach(checkpoint[0], {file.end.digest for file in archives if file.end})


def _faults_of_reach(number: int, read: set[str]) -> Iterator[str]:
    archive = Archive.objects.filter(first__lte=number, last__gt=number).first()
    if archive and archive.digest not in read:
        yield f"Event {number} of the checkpoint is in the archive up to event {archive.last}: give that file as well."


def _unfinished() -> Archive | None:
    """The archive whose events are not all deleted yet."""
    newest = Archive.objects.order_by("-last").first()
    return newest if newest and Event.objects.filter(pk__lte=newest.last).exists() else None


def _go_on(unfinished: Archive, path: Path) -> Archive:
    if not path.exists():
        raise ValidationError(
            f"Archiving broke off: some events up to {unfinished.last} are in their archive and still here. "
            "Give that file, and they go."
        )
    file = ArchiveFile(path)
    _require_whole(file.faults())
    if file.end is None or file.end.last != unfinished.last:
        raise ValidationError(f"{path.name} is not the archive up to event {unfinished.last}.")
    _delete_archived()
    return unfinished


def _written(path: Path, before: datetime) -> Archive | None:
    """The row of a file that is whole and on the disk. The row is not saved."""
    number, previous = chain.start()
    later = Event.objects.filter(at__gte=before).order_by("pk").values_list("pk", flat=True).first()
    events = Event.objects.filter(pk__gt=number, pk__lt=later or chain.head()[0] + 1)
    if not events.exists():
        return None
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            made = _write(file, events, number, previous)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)
        _require_as_written(path, made)
    except BaseException:  # its row is not there, so nothing counts on it
        path.unlink()
        raise
    return made


def _write(file: BinaryIO, events: EventQuerySet, number: int, previous: str) -> Archive:
    first, digest, until = number + 1, hashlib.sha256(), timezone.now()
    _require_whole(chain.forged_lines(EventLine.objects.filter(event__in=events)))
    for event, faults in chain.walk(events, number, previous):
        lines = list(event.lines.all()) if event.lines_digest else []
        _require_whole([*faults, *chain.lines_fault(event, lines)])
        text = files.written(event, lines)
        digest.update(text)
        file.write(text)
        number, previous, until = event.pk, event.hash, event.at
    made = Archive(first=first, last=number, until=until, hash=previous, digest=digest.hexdigest())
    made.signature = made.signatures()[0]
    file.write(json.dumps({"checkpoint": {**made.facts(), "signature": made.signature}}).encode() + b"\n")
    return made


def _require_as_written(path: Path, made: Archive) -> None:
    read = ArchiveFile(path)
    _require_whole(read._own_faults(None))
    if read.end is None or (read.end.facts(), read.end.signature) != (made.facts(), made.signature):
        raise ValidationError(f"{path.name} does not read as it was written. Nothing was archived.")


def _require_whole(faults: Iterable[str]) -> None:
    for fault in faults:
        raise ValidationError(f"{fault} Nothing was archived: run verify_events.")


def _commit(made: Archive, path: Path, by: Actor) -> None:
    with audited():
        chain.lock()
        if chain.start()[0] != made.first - 1:
            path.unlink()
            raise ValidationError("Somebody else archived events meanwhile. Nothing was archived by this call.")
        made.save(force_insert=True)
        record("events.archived", by, Event(), label="the audit trail", file=path.name, **made.facts())


def _delete_archived() -> None:
    """In steps, for which nobody waits for long. Lines go before their event, so that none is left behind."""
    last, _ = chain.start()
    first = Event.objects.filter(pk__lte=last).order_by("pk").values_list("pk", flat=True).first()
    for number in range(first or last + 1, last + 1, STEP):
        numbers = [number, min(number + STEP - 1, last)]
        while _delete(_DELETE_LINES, [*numbers, LINES_AT_ONCE]) == LINES_AT_ONCE:
            pass
        _delete("DELETE FROM events_event WHERE id BETWEEN %s AND %s", numbers)


_DELETE_LINES = """
    DELETE FROM events_eventline
    WHERE id IN (SELECT id FROM events_eventline WHERE event_id BETWEEN %s AND %s LIMIT %s)
"""


def _delete(statement: str, parameters: list[int]) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return int(cursor.rowcount)


def _end(said: dict[str, Any]) -> Archive:
    return Archive(**{**said, "until": datetime.fromisoformat(said["until"])})
