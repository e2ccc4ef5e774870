"""Pages that begin after a record, not at a number: the last one costs as much as the first, and what is added
meanwhile moves nothing. Sorting is by one column that has an index and no nulls, and by the key where it is equal."""

from typing import Any, NamedTuple

from django.core.exceptions import ValidationError
from django.db.models import BooleanField, F, Func, QuerySet, Value
from django.db.models.lookups import GreaterThan, LessThan

from osmo_portal import replica

AFTER, BEFORE, LAST = "after", "before", "last"
PARAMETERS = (AFTER, BEFORE, LAST)
COUNTED = 1_000  # what is more is not counted: that would read the whole table

MAX_KEY = 2**63 - 1


class Order(NamedTuple):
    field: str
    descending: bool

    @classmethod
    def of(cls, name: str) -> "Order":
        """By a field's name, as `order_by` takes it."""
        return cls(name.removeprefix("-"), name.startswith("-"))

    def names(self, *, backwards: bool = False) -> list[str]:
        sign = "-" if self.descending != backwards else ""
        return [f"{sign}{self.field}"] if self.field == "pk" else [f"{sign}{self.field}", f"{sign}pk"]

    def beyond(self, record: Any, *, backwards: bool = False) -> Any:
        """What comes after the record, or before it: one comparison of both columns, which an index answers."""
        comparison = LessThan if self.descending != backwards else GreaterThan
        columns = [name.removeprefix("-") for name in self.names()]
        here = [Value(getattr(record, name), output_field=_field(record, name)) for name in columns]
        return comparison(_Row(*map(F, columns)), _Row(*here))


class _Row(Func):
    template = "(%(expressions)s)"
    output_field = BooleanField()  # of no meaning: rows are only compared


def _field(record: Any, name: str) -> Any:
    return record._meta.pk if name == "pk" else record._meta.get_field(name)


class Place(NamedTuple):
    """Which page: the first, that after or before the record of a key, or the last."""

    side: str = ""
    key: int = 0

    @classmethod
    def asked(cls, parameters: dict[str, str]) -> "Place":
        """Raises ValidationError."""
        side = next((name for name in PARAMETERS if name in parameters), "")
        if side not in (AFTER, BEFORE):
            return cls(side)
        text = parameters[side]
        if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= MAX_KEY):
            raise ValidationError("The address of this page is broken. Begin at the first page.")
        return cls(side, int(text))


class Page(NamedTuple):
    records: list[Any]
    has_previous: bool
    has_next: bool


def page(found: QuerySet, order: Order, place: Place, size: int) -> Page:
    """Raises ValidationError where there is no record that the page could begin at."""
    if place.side == LAST:
        records, more = _some(found, order, size, backwards=True)
        return Page(records, more, False)
    if not place.side:
        return Page(*_with(False, _some(found, order, size)))
    backwards = place.side == BEFORE
    beyond = found.filter(order.beyond(_anchor(found, order, place.key), backwards=backwards))
    records, more = _some(beyond, order, size, backwards=backwards)
    if not backwards:
        return Page(records, True, more)
    # Near the beginning a full first page is better than a part of it.
    return Page(records, True, True) if more else page(found, order, Place(), size)


def _with(previous: bool, some: tuple[list[Any], bool]) -> tuple[list[Any], bool, bool]:
    return some[0], previous, some[1]


def _some(found: QuerySet, order: Order, size: int, *, backwards: bool = False) -> tuple[list[Any], bool]:
    """The first records, or with `backwards` the last, in the list's order either way; and whether there are more."""
    records = replica.read(found.order_by(*order.names(backwards=backwards))[: size + 1], list)
    shown = records[:size]
    return (shown[::-1] if backwards else shown), len(records) > size


def _anchor(found: QuerySet, order: Order, key: int) -> Any:
    model = found.model
    if order.field == "pk":
        return model(pk=key)
    record = model._base_manager.filter(pk=key).only(order.field).first()
    if record is None:
        raise ValidationError("The record that this page begins at is not here. Begin at the first page.")
    return record


def counted(found: QuerySet) -> int:
    """How many there are, up to one more than COUNTED. Where that was found out with the very queryset, it says so by
    `known_count` or by `more_than`; one that is made of it knows nothing."""
    known: int | None = getattr(found, "known_count", None)
    if known is not None:
        return min(known, COUNTED + 1)
    if getattr(found, "more_than", 0) >= COUNTED:
        return COUNTED + 1
    return replica.read(found.order_by().values("pk")[: COUNTED + 1], QuerySet.count)
