"""What a list is narrowed by. Each filter is one parameter of the address and one field of the list's filter form.

A value that a filter cannot understand is a ValidationError in words: it never means another list.
"""

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest

SHOWN = 100  # characters of a value in a message


class ListFilter(admin.SimpleListFilter):
    """A filter with choices that, without one, leaves something out, and says so in `everything`."""

    everything = "all"


class TypedFilter(admin.SimpleListFilter):
    """A filter with a text field, for what has too many values to list. `suggest` names the route that completes it."""

    parameter_name: str
    control = "text"
    suggest = ""
    placeholder = ""

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [("", "")]  # Django leaves out a filter that offers nothing

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        typed = (self.value() or "").strip()
        return self.narrow(queryset, typed) if typed else queryset

    def narrow(self, queryset: Any, typed: str) -> Any:
        raise NotImplementedError


class DayFilter(TypedFilter):
    """A filter with a day, which begins at 00:00 UTC."""

    control = "date"

    def narrow(self, queryset: Any, typed: str) -> Any:
        try:
            day = date.fromisoformat(typed) if re.fullmatch(r"\d{4}-\d\d-\d\d", typed, re.ASCII) else None
        except ValueError:
            day = None
        if day is None:
            raise ValidationError(f"{self._called()}: write the day as YYYY-MM-DD, for example 2026-01-31.")
        return self.since(queryset, datetime.combine(day, time.min, UTC))

    def _called(self) -> str:
        return str(self.title).capitalize()

    def since(self, queryset: Any, instant: datetime) -> Any:
        raise NotImplementedError


def narrowed(found: QuerySet, specs: Iterable[Any], request: HttpRequest) -> QuerySet:
    """What all filters leave. Raises ValidationError for a value that one of them does not offer."""
    for spec in specs:
        _refuse_what_is_not_offered(spec)
        narrower = spec.queryset(request, found)
        found = found if narrower is None else narrower
    return found


def _refuse_what_is_not_offered(spec: Any) -> None:
    value = spec.value()
    if not value or isinstance(spec, TypedFilter):
        return
    offered = {str(choice): label for choice, label in spec.lookup_choices}
    if str(value) not in offered:
        wanted = ", ".join(offered)
        raise ValidationError(f"There is no {spec.title} “{str(value)[:SHOWN]}”. Choose one of these: {wanted}.")


def field(spec: Any) -> dict[str, Any]:
    """The filter as a field of the form."""
    return {
        "name": spec.parameter_name,
        "title": str(spec.title).capitalize(),
        "control": getattr(spec, "control", "select"),
        "value": spec.value() or "",
        "suggest": getattr(spec, "suggest", ""),
        "placeholder": getattr(spec, "placeholder", ""),
        "everything": getattr(spec, "everything", "all"),
        "options": [(str(value), label) for value, label in spec.lookup_choices],
    }


def in_words(spec: Any) -> str:
    """What an active filter says about the list."""
    labels = {str(value): label for value, label in spec.lookup_choices}
    return f"{str(spec.title).capitalize()}: {labels.get(str(spec.value()), spec.value())}"
