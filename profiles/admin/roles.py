from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import URLPattern, URLResolver, path

from osmo_portal.console import words
from osmo_portal.console.filters import ListFilter
from osmo_portal.console.section import Panel, Section
from osmo_portal.events.actor import Actor
from profiles.admin.fields import PoliciesField
from profiles.admin.matrix import matrix
from profiles.admin.role_changes import AddRole, ChangeRole, DeleteRole, MakePoolRole
from profiles.impact import capped
from profiles.models import Role, RoleAssignment
from profiles.policies import beyond_plain
from profiles.rules import DEFAULT_ROLE

SHOWN = 50


def policies_panel(role: Role, by: Actor) -> Panel:
    field = PoliciesField()
    return Panel("Policies", "portal/panels/policies.html", {"text": field.prepare_value(role.policies)})


def holders_panel(role: Role, by: Actor) -> Panel:
    """Who holds it, as far as the page goes."""
    if role.deleted_at:
        return Panel("Who holds it", "portal/panels/holders.html", {"nobody": "The role is deleted: nobody holds it."})
    if role.name == DEFAULT_ROLE:
        nobody = "It is assigned to nobody, because it counts for everybody."
        return Panel("Who holds it", "portal/panels/holders.html", {"nobody": nobody})
    held = RoleAssignment.objects.effective().filter(role=role, user__deleted_at=None)
    shown = [*held.select_related("user", "assigned_by").order_by("user__username")[: SHOWN + 1]]
    context = {
        "assignments": shown[:SHOWN],
        "shown": SHOWN,
        "count": capped(held) if len(shown) > SHOWN else str(len(shown)),
        "nobody": "Nobody holds it. Assign it on the page of a person or of a service account.",
    }
    return Panel("Who holds it", "portal/panels/holders.html", context)


class ExistingFilter(ListFilter):
    everything = "all but deleted"
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [("deleted", "deleted")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.exclude(deleted_at=None) if self.value() else queryset.filter(deleted_at=None)


class PowerFilter(admin.SimpleListFilter):
    title = "power"
    parameter_name = "power"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [("pool", "pool roles"), ("plain", "operators may grant")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        narrowed = {"pool": {"grants_pools": True}, "plain": {"is_plain": True}}
        return queryset.filter(**narrowed.get(self.value() or "", {}))


@admin.register(Role)
class RoleSection(Section):
    """`panels` is where other apps add what they know of a role."""

    list_display = ("name", "description", "is_pool_role", "for_operators", "lifetime")
    list_filter = (PowerFilter, ExistingFilter)
    search_fields = ("name__startswith",)
    search_help_text = "The beginning of the name. Small and capital letters differ."
    fields = ("description", "gives", "is_pool_role", "grantable", "lifetime", "changeable", "created", "deleted")
    readonly_fields = fields
    list_changes = (AddRole, MakePoolRole)
    record_changes = (ChangeRole, DeleteRole)
    panels = [policies_panel, holders_panel]
    suggest_field = "name"
    change_list_template = "portal/role_list.html"

    def suggested(self) -> QuerySet:
        return Role.objects.existing()

    def get_urls(self) -> list[URLPattern | URLResolver]:  # type: ignore[override]
        page = self.admin_site.admin_view(self.matrix)
        return [path("matrix/", page, name=self.route("matrix")), *super().get_urls()]

    def matrix(self, request: HttpRequest) -> Any:
        return matrix(self, request)

    @admin.display(description="gives")
    def gives(self, role: Role) -> str:
        return words.lines(role.described or ["nothing"])

    @admin.display(description="pool role")
    def is_pool_role(self, role: Role) -> str:
        return "yes" if role.grants_pools else "no"

    @admin.display(description="operators may grant it")
    def for_operators(self, role: Role) -> str:
        return "yes" if role.is_plain else "no"

    @admin.display(description="operators may grant it")
    def grantable(self, role: Role) -> str:
        if role.is_plain:
            return "yes"
        beyond = dict.fromkeys(str(said) for said in beyond_plain(role.parsed.policies))
        return words.lines(["no, only administrators may, because it gives", *beyond])

    @admin.display(description="tokens live at most")
    def lifetime(self, role: Role) -> str:
        return f"{role.max_token_days} days" if role.max_token_days else "portal-wide maximum"

    @admin.display(description="can be changed")
    def changeable(self, role: Role) -> str:
        return "no: the portal stands on it" if role.immutable else "yes"

    @admin.display(description="created")
    def created(self, role: Role) -> str:
        return words.stamp(role.created_at)

    @admin.display(description="deleted")
    def deleted(self, role: Role) -> str:
        return words.stamp(role.deleted_at)
