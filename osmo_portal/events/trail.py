"""Every change and its event commit together, or neither does.

Models that matter derive from `AuditedModel`: they can be written only inside `audited()`, and a block that changed
something without recording it is rolled back. So no door can walk past the trail, not even by `QuerySet.update()`.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

from django.db import InterfaceError, OperationalError, connection, models, transaction

from osmo_portal.events import chain, rows
from osmo_portal.events.actor import Actor
from osmo_portal.events.models import Event, EventLine, Line
from osmo_portal.postgresql import Commit, OutcomeUnknown, is_silent


class UnrecordedChange(RuntimeError):
    """A programming error: something was to be changed past the audit trail."""


@dataclass(slots=True)
class _Block:
    drafts: list[tuple[Event, Sequence[EventLine | Line]]] = field(default_factory=list)
    changed: bool = False


_kept: ContextVar[bool] = ContextVar("has_kept", default=False)
_open: ContextVar[_Block | None] = ContextVar("open_audited_block", default=None)


@contextmanager
def audited() -> Iterator[None]:
    """A transaction that ends by writing its events. Nested blocks share the outermost one's end."""
    outer = _open.get()
    block = _Block()
    token = _open.set(block)
    written, commit = False, Commit()
    try:
        with transaction.atomic():
            yield
            if outer is None:
                _write(block)
                written = True
                commit.begin(connection)
    except (OperationalError, InterfaceError) as error:
        if written and connection.vendor == "postgresql" and is_silent(error):
            raise OutcomeUnknown(str(error)) from error
        raise
    finally:
        commit.end()
        _open.reset(token)
    _kept.set(True)
    if commit.is_doubtful:
        raise OutcomeUnknown("No standby confirmed it in time.")
    if outer is not None:  # only what was not rolled back
        outer.drafts += block.drafts
        outer.changed |= block.changed


def forget_what_was_kept() -> None:
    _kept.set(False)


def has_kept() -> bool:
    """Whether a block has committed since that was last forgotten: since the request began."""
    return _kept.get()


def _write(block: _Block) -> None:
    if block.changed and not block.drafts:
        raise UnrecordedChange("Something was changed and no event tells of it.")
    if block.drafts:
        chain.append(block.drafts)


def record(
    action: str,
    by: Actor,
    subject: models.Model,
    *,
    lines: Sequence[EventLine | Line] = (),
    **details: Any,
) -> None:
    """Adds an event to the open block. `details` are `label`, `reason`, and the changes as plain JSON values: never a
    secret or its digest."""
    _current().drafts.append((Event.draft(action, by, subject, **details), lines))


def _current() -> _Block:
    block = _open.get()
    if block is None:
        raise UnrecordedChange("This is changed by its ways in only, inside trail.audited().")
    return block


def touch() -> None:
    """Says that the open block changes something, so that it must record it."""
    _current().changed = True


_Model = TypeVar("_Model", bound=models.Model, covariant=True)


class AuditedQuerySet(models.QuerySet[_Model]):
    def update(self, **kwargs: Any) -> int:
        touch()
        return super().update(**kwargs)

    def bulk_create(self, *args: Any, **kwargs: Any) -> list[_Model]:
        touch()
        return super().bulk_create(*args, **kwargs)

    def insert_many(self, objects: Sequence[_Model]) -> None:
        """As bulk_create, for very many: see `rows.insert`."""
        touch()
        rows.insert(self.model, objects)

    def insert_values(self, columns: Sequence[str], values: Iterable[Sequence[Any]]) -> None:
        """The same without objects: see `rows.insert_values`."""
        touch()
        rows.insert_values(self.model, columns, values)

    def bulk_update(self, *args: Any, **kwargs: Any) -> int:
        touch()
        return super().bulk_update(*args, **kwargs)

    def delete(self) -> NoReturn:
        raise UnrecordedChange("Nothing is deleted here: records end, and stay.")


class AuditedModel(models.Model):
    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        touch()
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise UnrecordedChange("Nothing is deleted here: records end, and stay.")
