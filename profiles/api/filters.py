"""By what lists of users, roles, pools and assignments are narrowed, beside the console's own filters."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from osmo_portal.console.filters import ListFilter, TypedFilter
from profiles import names
from profiles.models import Kind, User


class UserKindFilter(admin.SimpleListFilter):
    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(kind.value, kind.label) for kind in Kind]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(kind=self.value()) if self.value() else queryset


class UserIdFilter(TypedFilter):
    title = "user id, in any case"
    parameter_name = "name"

    def narrow(self, queryset: Any, typed: str) -> Any:
        return queryset.named(typed)


class HeldRoleFilter(TypedFilter):
    title = "role that is held now"
    parameter_name = "role"

    def narrow(self, queryset: Any, typed: str) -> Any:
        return queryset.holding(typed) if names.role_name.fits(typed) else queryset.none()


class NameFilter(TypedFilter):
    title = "name"
    parameter_name = "name"

    def narrow(self, queryset: Any, typed: str) -> Any:
        return queryset.filter(name=typed) if names.role_name.fits(typed) else queryset.none()


class AssignmentStateFilter(ListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("effective", "counts now"), ("ended", "removed, or of a deleted role")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if not self.value():
            return queryset
        return queryset.effective() if self.value() == "effective" else queryset.exclude(pk__in=queryset.effective())


class AssignedUserFilter(TypedFilter):
    title = "user id, in any case; of those that were deleted exactly that"
    parameter_name = "user"

    def narrow(self, queryset: Any, typed: str) -> Any:
        return queryset.filter(user__in=User.objects.ever_named(typed))


class AssignedRoleFilter(TypedFilter):
    title = "role"
    parameter_name = "role"

    def narrow(self, queryset: Any, typed: str) -> Any:
        return queryset.filter(role__name=typed) if names.role_name.fits(typed) else queryset.none()
