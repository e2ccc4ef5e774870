"""What all viewsets under /api/v1/ share: strict input, one way to page, and no filter that was not declared."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from django.core.exceptions import RequestDataTooBig
from django.db.models import QuerySet
from django_filters.rest_framework import DjangoFilterBackend  # type: ignore[import-untyped]
from rest_framework import serializers
from rest_framework.exceptions import NotFound, ParseError, ValidationError
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from osmo_portal.problems import TooLarge

DEEPEST = 32  # levels of nesting; policies need five


class StrictJson(BaseParser):
    """JSON in UTF-8 that every column can hold: no NUL, no half of a surrogate pair, no infinity, no abyss."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        assert parser_context is not None  # noqa: S101  (DRF always gives it)
        try:
            body = parser_context["request"]._request.body
        except RequestDataTooBig:
            raise TooLarge from None
        try:
            value = json.loads(body.decode(), parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise ParseError("The body is not JSON in UTF-8.") from None
        refuse_unstorable(value)
        return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def refuse_unstorable(value: Any) -> None:
    """Raises ParseError where a column would not take what was read, however deep it lies."""
    for scalar in _scalars(value):
        _refuse_scalar(scalar)


def _scalars(value: Any) -> Iterator[Any]:
    """All keys and values that are neither objects nor arrays."""
    waiting = [(value, 0)]
    while waiting:
        one, depth = waiting.pop()
        if depth > DEEPEST:
            raise ParseError(f"The body is nested more than {DEEPEST} levels deep.")
        if isinstance(one, dict):
            yield from one
            waiting += [(inner, depth + 1) for inner in one.values()]
        elif isinstance(one, list):
            waiting += [(inner, depth + 1) for inner in one]
        else:
            yield one


def _refuse_scalar(scalar: Any) -> None:
    if isinstance(scalar, str) and re.search("[\0\ud800-\udfff]", scalar):
        raise ParseError("The body holds a NUL character or half of a surrogate pair. Remove it.")
    if isinstance(scalar, float) and not math.isfinite(scalar):
        raise ParseError("The body holds a number that is too large.")


class Text(serializers.CharField):
    """Text and nothing that could be made into text."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Input(serializers.Serializer[Any]):
    """What an address takes. Anything else in the body is refused by name, so that nobody believes it had effect."""

    def to_internal_value(self, data: Any) -> Any:
        unknown = sorted(set(data) - set(self.fields)) if isinstance(data, Mapping) else []
        if unknown:
            message = f"There is no such field here. There are: {', '.join(sorted(self.fields)) or 'none'}."
            raise ValidationError({name[:100]: [message] for name in unknown[:20]})
        return super().to_internal_value(data)


class Change(Input):
    """What may be changed of a thing that exists. Nothing at all is no change."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs:
            raise ValidationError(f"Say what to change: {', '.join(sorted(self.fields))}.")
        return attrs


class Reason(Input):
    reason = Text(max_length=2_000)


class ByNumber(CursorPagination):
    """Pages that neither repeat nor miss a record while others are added. A page costs the same wherever it is."""

    ordering = "pk"
    page_size = 100
    page_size_query_param = "page_size"
    max_page_size = 1_000

    def decode_cursor(self, request: Request) -> Cursor | None:
        cursor = super().decode_cursor(request)
        if cursor and cursor.position is not None and not re.fullmatch("[0-9]{1,18}", str(cursor.position)):
            raise NotFound(self.invalid_cursor_message)
        return cursor

    def get_page_size(self, request: Request) -> int | None:
        asked = request.query_params.get(self.page_size_query_param)
        if asked is not None and not re.fullmatch("[1-9][0-9]{0,8}", asked):
            raise ValidationError({"page_size": [f"Give a number from 1 to {self.max_page_size}."]})
        return super().get_page_size(request)


class DeclaredFilters(DjangoFilterBackend):  # type: ignore[misc]
    """Refuses a parameter that no filter declares, or that is empty: a list left unfiltered by it would mislead."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        if view.action != "list":
            return queryset
        declared = {*view.filterset_class.base_filters, "cursor", "page_size"}
        unknown = sorted(set(request.query_params) - declared)
        if unknown:
            message = f"There is no such parameter here. There are: {', '.join(sorted(declared))}."
            raise ValidationError({name[:100]: [message] for name in unknown[:20]})
        empty = sorted(name for name, value in request.query_params.dict().items() if not str(value).strip())
        if empty:
            raise ValidationError({name: ["Give a value, or leave the parameter out."] for name in empty})
        return super().filter_queryset(request, queryset, view)  # type: ignore[no-any-return]


class Asking(APIView):
    """Takes its input by `asked`, and hands it to one way in."""

    parser_classes = [StrictJson]
    metadata_class = None  # the schema describes everything, OPTIONS nothing

    def asked(self, form: type[Input], data: Any = None) -> dict[str, Any]:
        """The valid input: the request's body, or what is given as `data`."""
        read = form(data=self.request.data if data is None else data, context={"request": self.request, "view": self})
        read.is_valid(raise_exception=True)
        return dict(read.validated_data)


class RestView(Asking):
    """A view that is about no list of records."""


class RestViewSet(Asking, GenericViewSet[Any]):
    """Reads by `serializer_class`."""

    pagination_class = ByNumber
    filter_backends = [DeclaredFilters]
    lookup_value_converter = "int"

    def shown(self, pk: int) -> Any:
        """The object as it is now, for the answer to the request that changed it."""
        return self.get_serializer(self.get_queryset().get(pk=pk)).data
