"""Pages of the lists under /api/v1/, by key."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.core.exceptions import FieldError, ValidationError
from django.db.models import Model, QuerySet
from drf_spectacular.plumbing import build_parameter_type
from rest_framework.exceptions import NotFound
from rest_framework.exceptions import ValidationError as Refused
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from osmo_portal import replica
from osmo_portal.console.paging import Order

CURSOR, PAGE_SIZE, ORDERING = "cursor", "page_size", "ordering"
LARGEST_KEY = 2**63 - 1
UNSTORABLE = re.compile("[\0\ud800-\udfff]")
BROKEN = "The cursor is broken. Begin at the first page."


def parameter(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return build_parameter_type(name, schema, "query", description=description)


class Place(NamedTuple):
    """Beside which record a page lies: its key, and its value in the order of the list as text."""

    order: str
    backwards: bool
    value: str
    key: int

    @classmethod
    def of(cls, record: Any, order: Order, *, backwards: bool) -> "Place":
        value = "" if order.field == "pk" else record._meta.get_field(order.field).value_to_string(record)
        return cls(f"{'-' * order.descending}{order.field}", backwards, value, record.pk)

    @classmethod
    def read(cls, cursor: str) -> "Place":
        try:
            order, backwards, value, key = json.loads(base64.urlsafe_b64decode(cursor.encode() + b"=="))
        except (ValueError, TypeError, RecursionError, binascii.Error):
            raise NotFound(BROKEN) from None
        right = isinstance(order, str) and isinstance(value, str) and type(key) is int and 0 <= key <= LARGEST_KEY
        if not right or UNSTORABLE.search(value):
            raise NotFound(BROKEN)
        return cls(order, bool(backwards), value, key)

    def written(self) -> str:
        return base64.urlsafe_b64encode(json.dumps(self, separators=(",", ":")).encode()).decode().rstrip("=")

    def record(self, model: type[Model], order: Order) -> Any:
        """As much of the record as the comparison asks for. It may be gone, or have moved: its place is still there."""
        if order.field == "pk":
            return model(pk=self.key)
        try:
            field: Any = model._meta.get_field(order.field)
            value = field.to_python(self.value)
            if isinstance(value, datetime):
                value = value.astimezone(UTC)
            return model(pk=self.key, **{order.field: value})
        except (ValidationError, FieldError, OverflowError):
            raise NotFound(BROKEN) from None


class Keyset(BasePagination):
    """Pages that neither repeat nor miss a record while others are added. A page costs the same wherever it is."""

    page_size = 100
    max_page_size = 1_000

    def paginate_queryset(self, queryset: QuerySet[Any], request: Request, view: Any = None) -> list[Any]:
        self.address = request.build_absolute_uri()
        self.order = order = self._order(request, view)
        place = self._place(request, order)
        backwards = place.backwards if place else False
        if place:
            queryset = queryset.filter(order.beyond(place.record(queryset.model, order), backwards=backwards))
        size = self._size(request)
        found = replica.read(queryset.order_by(*order.names(backwards=backwards))[: size + 1], list)
        self.records, more = found[:size], len(found) > size
        self.has_next, self.has_previous = (True, more) if backwards else (more, place is not None)
        if backwards:
            self.records.reverse()
        return self.records

    @staticmethod
    def _order(request: Request, view: Any) -> Order:
        asked = request.query_params.get(ORDERING)
        known: Mapping[str, str] = getattr(view, "orderings", {})
        if asked is None:
            return Order.of(getattr(view, "brought_order", "") or getattr(view, "default_order", "pk"))
        if asked.removeprefix("-") not in known:
            raise Refused({ORDERING: [f"Choose one of these, with - from the greatest: {', '.join(known)}."]})
        return Order(known[asked.removeprefix("-")], asked.startswith("-"))

    @staticmethod
    def _place(request: Request, order: Order) -> Place | None:
        cursor = request.query_params.get(CURSOR)
        place = Place.read(cursor) if cursor is not None else None
        if place and Order.of(place.order) != order:
            raise NotFound(BROKEN)
        return place

    def _size(self, request: Request) -> int:
        asked = request.query_params.get(PAGE_SIZE, str(self.page_size))
        if not (asked.isascii() and asked.isdigit() and len(asked) < 10 and int(asked)):
            raise Refused({PAGE_SIZE: [f"Give a number from 1 to {self.max_page_size}."]})
        return min(int(asked), self.max_page_size)

    def get_paginated_response(self, data: Any) -> Response:
        following = self._link(self.records[-1:], backwards=False) if self.has_next else None
        previous = self._link(self.records[:1], backwards=True) if self.has_previous else None
        return Response({"next": following, "previous": previous, "results": data})

    def _link(self, beside: list[Any], *, backwards: bool) -> str | None:
        if not beside:
            return None
        cursor = Place.of(beside[0], self.order, backwards=backwards).written()
        return replace_query_param(self.address, CURSOR, cursor)

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {
                "next": {**link, "example": None},
                "previous": {**link, "example": None},
                "results": schema,
            },
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        size = {"type": "integer", "minimum": 1, "default": self.page_size}
        return [
            parameter(CURSOR, {"type": "string"}, "Of the page to show, as `next` and `previous` hold it."),
            parameter(PAGE_SIZE, size, f"Records on a page, {self.max_page_size:,} at most."),
        ]
