"""Lists under /api/v1/: narrowed by the filters and the search of the console's lists."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from rest_framework.exceptions import ValidationError as Refused
from rest_framework.filters import BaseFilterBackend
from rest_framework.request import Request

from osmo_portal.console import filters
from osmo_portal.console.filters import DayFilter, TypedFilter
from osmo_portal.console.listing import SECRETS
from osmo_portal.events.actor import Actor
from osmo_portal.keyset import CURSOR, ORDERING, PAGE_SIZE, parameter
from profiles.rules import reads_everything

SEARCH = "q"
NO_SECRETS = "That looks like a secret, and an address is no place for one: search for it by POST to tokens/find."
TELLING = {"unknown", "too_many"}  # codes of errors from which a stranger could learn who there is


class ListFilters(BaseFilterBackend):
    """Those that the console offers for the records (`section`), and a view's own (`more_filters`).

    A parameter that is none of them, is empty, or has a value that is not understood is refused: a list left
    unfiltered by it would mislead.
    """

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        if view.action != "list":
            return queryset
        given = {name: value.strip() for name, value in request.query_params.dict().items()}
        _refuse(given, {*self._names(view), CURSOR, PAGE_SIZE, *([ORDERING] if view.orderings else [])})
        values = {name: [value] for name, value in given.items()}
        specs = [offered(request._request, values, view.section, _section(view)) for offered in _offered(view)]
        view.brought_order = next((s.ordering for s in specs if s.value() and getattr(s, "ordering", "")), "")
        try:
            found = _narrowed(queryset, specs, request)
            return _searched(found, given.get(SEARCH, ""), request, view)
        except _NotForStrangers:
            return queryset.none()

    @staticmethod
    def _names(view: Any) -> list[str]:
        search = [SEARCH] if _section(view) and _section(view).search_fields else []
        return [*(offered.parameter_name for offered in _offered(view)), *search]

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        described = [_described(offered(None, {}, view.section, _section(view))) for offered in _offered(view)]
        if SEARCH in self._names(view):
            described.append(parameter(SEARCH, {"type": "string", "maxLength": 254}, _section(view).search_help_text))
        if view.orderings:
            names = [sign + name for name in view.orderings for sign in ("", "-")]
            schema = {"type": "string", "enum": names}
            described.append(parameter(ORDERING, schema, "With - from the greatest. Default: by number."))
        return described


class _NotForStrangers(Exception):
    """An error that would tell whether somebody exists. Who does not see everybody finds nothing instead."""


def _section(view: Any) -> Any:
    """The console's section for the same records; None where the console has no list of them."""
    return admin.site.get_model_admin(view.section) if view.section else None


def _offered(view: Any) -> Sequence[Any]:
    section = _section(view)
    return [*(section.list_filter if section else ()), *view.more_filters]


def _refuse(given: Mapping[str, str], known: set[str]) -> None:
    if unknown := sorted(set(given) - known):
        message = f"There is no such parameter here. There are: {', '.join(sorted(known))}."
        raise Refused({name[:100]: [message] for name in unknown[:20]})
    if empty := sorted(name for name, value in given.items() if not value):
        raise Refused({name: ["Give a value, or leave the parameter out."] for name in empty})
    if secret := sorted(name for name, value in given.items() if name != CURSOR and SECRETS.search(value)):
        raise Refused({name: [NO_SECRETS] for name in secret})


def _narrowed(found: QuerySet[Any], specs: Iterable[Any], request: Request) -> QuerySet[Any]:
    for spec in specs:
        try:
            found = filters.narrowed(found, [spec], request._request)
        except ValidationError as error:
            raise _told(error, spec.parameter_name, request) from None
    return found


def _searched(found: QuerySet[Any], text: str, request: Request, view: Any) -> QuerySet[Any]:
    try:
        return _section(view).get_search_results(request._request, found, text)[0] if text else found
    except ValidationError as error:
        raise _told(error, SEARCH, request) from None


def _told(error: ValidationError, name: str, request: Request) -> Exception:
    if getattr(error, "code", None) in TELLING and not reads_everything(Actor.of(request)):
        return _NotForStrangers()
    return Refused({name: error.messages})


def _described(spec: Any) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if isinstance(spec, DayFilter) or getattr(spec, "control", "") == "date":
        schema["format"] = "date"
    elif not isinstance(spec, TypedFilter):
        schema["enum"] = [str(value) for value, _ in spec.lookup_choices]
    says = getattr(spec, "help_text", "") or f"By {spec.title}."
    return parameter(spec.parameter_name, schema, str(says))
