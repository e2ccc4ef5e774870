"""By what the console finds events. Each filter has an index that ends with the number."""

from datetime import date, timedelta
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone

from osmo_portal.console.filters import TypedFilter
from osmo_portal.events.actor import Door

KINDS = {
    "accesstoken": "access tokens",
    "user": "people and service accounts",
    "role": "roles",
    "pool": "pools",
    "revision": "revisions of the configuration",
    "signingkey": "signing keys",
    "event": "the audit trail",
}
EARLIEST, LATEST = date(2000, 1, 1), date(9000, 1, 1)


class ActionFilter(TypedFilter):
    title = "action"
    parameter_name = "action"
    suggest = "admin:events_event_suggest"
    placeholder = "token.issued"

    def narrow(self, queryset: Any, typed: str) -> Any:
        return queryset.filter(action=typed)


class AgeFilter(admin.SimpleListFilter):
    title = "age"
    parameter_name = "days"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [("1", "the last day"), ("7", "the last 7 days"), ("30", "the last 30 days")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        days = {"1": 1, "7": 7, "30": 30}.get(self.value() or "")
        return queryset.since(timezone.now() - timedelta(days=days)) if days else queryset


class ActorFilter(TypedFilter):
    title = "who"
    parameter_name = "actor"
    suggest = "admin:profiles_person_suggest"

    def narrow(self, queryset: Any, typed: str) -> Any:
        return queryset.filter(actor=typed)


class ViaFilter(admin.SimpleListFilter):
    title = "door"
    parameter_name = "via"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [(door.value, door.value) for door in Door]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(via=self.value()) if self.value() else queryset


class KindFilter(admin.SimpleListFilter):
    title = "kind of record"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [*KINDS.items()]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(object_type=self.value()) if self.value() else queryset


class AboutFilter(TypedFilter):
    title = "record"
    parameter_name = "about"
    placeholder = "robot/ci, or #12"

    def narrow(self, queryset: Any, typed: str) -> Any:
        number = typed.removeprefix("#")
        if typed.startswith("#") and number.isascii() and number.isdigit() and len(number) < 19:
            return queryset.filter(object_type__in=[*KINDS], object_id=int(number))
        return queryset.filter(object_label=typed)


class OperationFilter(TypedFilter):
    title = "operation"
    parameter_name = "operation"

    def narrow(self, queryset: Any, typed: str) -> Any:
        return queryset.of_operation(typed)


class FirstDayFilter(TypedFilter):
    """Days are those of UTC. What is no day matches nothing: an export of more than was asked for would be worse."""

    title = "from day"
    parameter_name = "from"
    control = "date"

    def narrow(self, queryset: Any, typed: str) -> Any:
        day = _day(typed)
        return queryset.between(day, None) if day else queryset.none()


class LastDayFilter(TypedFilter):
    """The day itself is included."""

    title = "to day"
    parameter_name = "to"
    control = "date"

    def narrow(self, queryset: Any, typed: str) -> Any:
        day = _day(typed)
        return queryset.between(None, day) if day else queryset.none()


def _day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if EARLIEST <= day <= LATEST else None
