from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone

from osmo_portal.console.filters import ListFilter, TypedFilter
from profiles.models import Kind
from tokens.models.access_token import State


class StateFilter(ListFilter):
    everything = "all but revoked"
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [(state.value, state.value) for state in State]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.in_state(self.value()) if self.value() in State.values else queryset.listed()


class KindFilter(admin.SimpleListFilter):
    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [(Kind.PERSON.value, "user tokens"), (Kind.SERVICE.value, "service tokens")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(owner__kind=self.value()) if self.value() in Kind.values else queryset


class ExpiryFilter(admin.SimpleListFilter):
    title = "expiry"
    parameter_name = "expiring"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [("7", "in the next 7 days"), ("30", "in the next 30 days"), ("yesterday", "yesterday")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() == "yesterday":
            return queryset.expired_yesterday()
        days = {"7": 7, "30": 30}.get(self.value() or "")
        return queryset.expiring_within(days) if days else queryset


class LifetimeFilter(admin.SimpleListFilter):
    title = "lifetime"
    parameter_name = "over_lifetime"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [("1", "longer than allowed now")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.over_lifetime() if self.value() == "1" else queryset


class UseFilter(admin.SimpleListFilter):
    title = "last use"
    parameter_name = "used"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [("never", "never"), ("unused-90", "not for 90 days")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() == "never":
            return queryset.never_used()
        return queryset.unused_since(timezone.now() - timedelta(days=90)) if self.value() else queryset


class DayFilter(TypedFilter):
    """What is no day finds nothing."""

    def narrow(self, queryset: Any, typed: str) -> Any:
        try:
            day = date.fromisoformat(typed)
        except ValueError:
            return queryset.none()
        return self.narrow_by(queryset, datetime.combine(day, time.min, UTC))

    def narrow_by(self, queryset: Any, instant: datetime) -> Any:
        raise NotImplementedError


class ExpiresFromFilter(DayFilter):
    title = "expires from (day)"
    parameter_name = "expires_from"

    def narrow_by(self, queryset: Any, instant: datetime) -> Any:
        return queryset.filter(expires_at__gte=instant)


class ExpiresToFilter(DayFilter):
    title = "expires before (day)"
    parameter_name = "expires_to"

    def narrow_by(self, queryset: Any, instant: datetime) -> Any:
        return queryset.filter(expires_at__lt=instant)


class PoolFilter(TypedFilter):
    title = "pool"
    parameter_name = "pool"
    suggest = "admin:profiles_pool_suggest"

    def narrow(self, queryset: Any, typed: str) -> Any:
        return queryset.reaching(typed)


class RoleFilter(TypedFilter):
    title = "role"
    parameter_name = "role"
    suggest = "admin:profiles_role_suggest"

    def narrow(self, queryset: Any, typed: str) -> Any:
        return queryset.carrying([typed])


class OwnerFilter(TypedFilter):
    title = "owner"
    parameter_name = "owner"
    suggest = "admin:profiles_serviceaccount_suggest"

    def narrow(self, queryset: Any, typed: str) -> Any:
        return queryset.filter(owner__username=typed)
