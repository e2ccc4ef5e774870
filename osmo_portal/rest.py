"""What all views under /api/v1/ share: strict input, lists, and versions of what they show."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from django.contrib.admin import SimpleListFilter
from django.core.exceptions import RequestDataTooBig
from django.db.models import Model, QuerySet
from django.http import Http404
from rest_framework import serializers
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from osmo_portal import versions
from osmo_portal.keyset import Keyset
from osmo_portal.lists import ListFilters
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


class Nothing(Input):
    """An empty object: there is nothing to say."""


class Reason(Input):
    reason = Text(max_length=2_000)


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
    """Reads by `serializer_class`, lists by the filters of the console's `section` and by `more_filters`.

    An answer about one record carries its version as `ETag`; `unversioned` members of it do not count.
    """

    section: type[Model] | None = None
    more_filters: Sequence[type[SimpleListFilter]] = ()
    orderings: Mapping[str, str] = {}  # what lists may be sorted by, and the field, which has an index
    default_order = "pk"
    unversioned: frozenset[str] = frozenset()
    pagination_class = Keyset
    filter_backends = [ListFilters]
    lookup_value_converter = "int"

    def retrieve(self, request: Request, pk: int) -> Response:
        self.asked(Nothing, request.query_params.dict())
        return self.answer(pk)

    def answer(self, pk: int, status: int = 200) -> Response:
        """The record as it is now, for the answer to the request that asked for it, made it or changed it."""
        record = self.record(pk)
        if record is None:
            raise Http404
        shown = self.get_serializer(record).data
        return Response(shown, status, headers={"ETag": versions.etag(shown, self.unversioned)})

    def record(self, pk: int) -> Any:
        """With all that is shown of it; None where the caller may not know of it."""
        return self.get_queryset().filter(pk=pk).first()

    @contextmanager
    def as_seen(self, pk: int, *first: QuerySet[Any]) -> Iterator[None]:
        """What follows is done to the record in the version that `If-Match` names, or not at all.

        `first` are rows that the change will lock before the record itself; so no two wait mutually.
        """
        wanted = versions.wanted(self.request)
        if wanted is None:
            yield
            return
        rows = self.queryset.model._default_manager.filter(pk=pk)  # type: ignore[union-attr]
        with versions.held(*first, rows):
            if self.answer(pk)["ETag"] not in wanted:
                raise versions.Mismatch
            yield

    def require_version(self) -> None:
        """For what overwrites: without the version that was looked at, somebody's change would be lost."""
        if "If-Match" not in self.request.headers:
            raise versions.VersionRequired
