"""What the list of tokens is narrowed by. Other pages link to it with these parameters; bulk changes and the export
read them too."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils import timezone

from osmo_portal.console.filters import SHOWN, DayFilter, ListFilter, TypedFilter
from profiles import names
from profiles.models import Kind, Pool, Role, RoleAssignment, User
from profiles.reach import roles_reaching
from tokens.models import AccessToken, TokenRole
from tokens.models.keys import KeysOf
from tokens.models.token_set import State
from tokens.search import few, settled

ANY = "any"
YESTERDAY = "yesterday"


class StateFilter(ListFilter):
    everything = "all but revoked"
    title = "state"
    parameter_name = "state"

    @property
    def ordering(self) -> str:
        """Those that ended last come first; they are seldom the newest."""
        return "-expires_at" if self.value() == State.EXPIRED else ""

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [*((state.value, state.value) for state in State), (ANY, "any, revoked too")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() == ANY:
            return queryset
        return queryset.in_state(self.value()) if self.value() else queryset.listed()


class KindFilter(admin.SimpleListFilter):
    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [(Kind.PERSON.value, "user tokens"), (Kind.SERVICE.value, "service tokens")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if not self.value():
            return queryset
        # From the owners to their tokens: a list by number would be read from the newest until it has a page.
        owners = KeysOf(User.objects.filter(kind=self.value()).order_by().values("pk"))
        keys = few(AccessToken.objects.filter(owner__in=owners).order_by().values_list("pk", flat=True))
        return queryset.of_kind(self.value()) if keys is None else queryset.numbered(keys)


class ExpiryFilter(admin.SimpleListFilter):
    title = "expiry"
    parameter_name = "expiring"
    ordering = "expires_at"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        coming = [(str(days), f"in the next {days} days") for days in (7, 30, 90)]
        return [*coming, (YESTERDAY, "yesterday was the last day")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() == YESTERDAY:
            return queryset.expired_yesterday()
        return queryset.expiring_within(int(self.value())) if self.value() else queryset  # type: ignore[arg-type]


class ExpiresFromFilter(DayFilter):
    title = "expires from"
    parameter_name = "expires_from"
    ordering = "expires_at"

    def since(self, queryset: Any, instant: datetime) -> Any:
        return queryset.expiring_between(instant, None)


class ExpiresToFilter(DayFilter):
    title = "expires before"
    parameter_name = "expires_to"
    ordering = "expires_at"

    def since(self, queryset: Any, instant: datetime) -> Any:
        return queryset.expiring_between(None, instant)


class UseFilter(admin.SimpleListFilter):
    title = "last use"
    parameter_name = "used"
    ordering = "issued_at"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [("never", "never"), ("unused-90", "not for 90 days")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() == "never":
            return queryset.never_used()
        return queryset.unused_since(timezone.now() - timedelta(days=90)) if self.value() else queryset


class UnusedSinceFilter(DayFilter):
    title = "unused since"
    parameter_name = "unused_since"
    ordering = "issued_at"

    def since(self, queryset: Any, instant: datetime) -> Any:
        return queryset.unused_since(instant)


class RoleFilter(TypedFilter):
    title = "role"
    parameter_name = "role"
    suggest = "admin:profiles_role_suggest"

    def narrow(self, queryset: Any, typed: str) -> Any:
        roles = Role.objects.filter(name=typed) if names.role_name.fits(typed) else Role.objects.none()
        if not (found := list(roles)):
            raise unknown("role", typed)
        return _carrying(queryset, found)


class PoolFilter(TypedFilter):
    title = "pool"
    parameter_name = "pool"
    suggest = "admin:profiles_pool_suggest"

    def narrow(self, queryset: Any, typed: str) -> Any:
        if not (names.pool_name.fits(typed) and Pool.objects.existing().filter(name=typed).exists()):
            raise unknown("pool", typed)
        return _carrying(queryset, Role.objects.filter(name__in=roles_reaching(typed)))


def _carrying(queryset: Any, roles: Iterable[Role]) -> Any:
    """By the numbers of the tokens where they are few, else of the assignments. A list would be read from its end on,
    role by role, until it has a page."""
    assignments = RoleAssignment.objects.filter(role__in=[role.pk for role in roles]).order_by()
    put = TokenRole.objects.filter(assignment__in=KeysOf(assignments.values("pk"))).order_by()
    tokens = few(put.values_list("token", flat=True))
    if tokens is not None:
        return queryset.numbered(tokens)
    held = few(assignments.values_list("pk", flat=True))
    return queryset.with_any(roles) if held is None else queryset.with_any_of(held)


class UserFilter(TypedFilter):
    """A user id, completed among people. Users that were deleted are found by the exact spelling of theirs."""

    suggest = "admin:profiles_person_suggest"

    def narrow(self, queryset: Any, typed: str) -> Any:
        if not (found := list(User.objects.ever_named(typed))):
            raise unknown("user", typed)
        return self.about(queryset, found)

    def about(self, queryset: Any, users: list[User]) -> Any:
        raise NotImplementedError


class OwnerFilter(UserFilter):
    title = "owner"
    parameter_name = "owner"
    suggest = "admin:profiles_serviceaccount_suggest"

    def about(self, queryset: Any, users: list[User]) -> Any:
        return queryset.owned_by(*users)


class IssuerFilter(UserFilter):
    title = "issued by"
    parameter_name = "issuer"

    def about(self, queryset: Any, users: list[User]) -> Any:
        return queryset.issued_by(*users)


class AccountableFilter(UserFilter):
    title = "accountable person"
    parameter_name = "accountable"

    def about(self, queryset: Any, users: list[User]) -> Any:
        return queryset.accountable_to(*users)


class LifetimeFilter(admin.SimpleListFilter):
    title = "lifetime"
    parameter_name = "over_lifetime"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [("1", "beyond what is allowed today")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        # What is found by reading much is found once, and not for the page and for its count.
        return settled(queryset, queryset.over_lifetime()) if self.value() else queryset


FILTERS = (
    StateFilter,
    KindFilter,
    ExpiryFilter,
    UseFilter,
    RoleFilter,
    PoolFilter,
    OwnerFilter,
    IssuerFilter,
    AccountableFilter,
    ExpiresFromFilter,
    ExpiresToFilter,
    UnusedSinceFilter,
    LifetimeFilter,
)


def unknown(what: str, typed: str) -> ValidationError:
    return ValidationError(f"There is no {what} “{typed[:SHOWN]}”. Look at how it is written.", code="unknown")
