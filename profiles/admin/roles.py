from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from osmo_portal.console import words
from osmo_portal.console.change import Change, ReasonForm
from osmo_portal.console.filters import ListFilter
from osmo_portal.console.section import Panel, Section
from osmo_portal.events.actor import Actor
from profiles.admin.fields import PoliciesField
from profiles.models import Role
from profiles.names import MAX_LENGTH, MAX_TEXT
from profiles.rules import NEVER_WITH_POOL_ACCESS

POLICIES_HELP = (
    'A list, for example [{"effect": "Allow", "actions": ["workflow:*"], "resources": ["pool/my_pool*"]}]. '
    "Deny wins over allow."
)


class RoleForm(forms.Form):
    description = forms.CharField(max_length=MAX_TEXT, required=False, widget=forms.Textarea(attrs={"rows": 2}))
    policies = PoliciesField(required=False, help_text=POLICIES_HELP)
    max_token_days = forms.IntegerField(
        label="Maximum lifetime of its tokens (days)",
        required=False,
        min_value=1,
        max_value=3650,
        help_text="Empty: the portal-wide maximum.",
    )


class AddRoleForm(RoleForm):
    name = forms.CharField(max_length=MAX_LENGTH)
    field_order = ["name"]


class AddRole(Change):
    slug, label = "new", "Add role"
    form_class = AddRoleForm
    explanation = (
        "A role that gives submit, exec or port-forward in any pool can be assigned by administrators only.",
    )

    def perform(self, **fields: Any) -> str:
        self.record = Role.create(by=self.by, **fields)
        return f"The role {self.record} is here."


class ChangeRole(Change):
    slug, label, heading = "edit", "Change", "Change the role {}"
    submit = "Save"
    form_class = RoleForm
    explanation = (
        "Every holder and every token of the role feels it at once.",
        "Tokens that live longer than a lower maximum are shortened for good; raising it lengthens none.",
    )

    @classmethod
    def fits(cls, record: Role) -> bool:
        return record.deleted_at is None and not record.immutable

    def get_initial(self) -> dict[str, Any]:
        return {name: getattr(self.record, name) for name in RoleForm.base_fields}

    def perform(self, **fields: Any) -> str:
        self.record.change(by=self.by, **fields)
        return f"The role {self.record} is changed."


class DeleteRole(Change):
    slug, label, heading, danger = "delete-record", "Delete", "Delete the role {}", True
    form_class = ReasonForm
    explanation = (
        "Users and tokens lose at once what it gave; a token without another role stops working.",
        "A new role of the same name gives nothing back.",
    )

    @classmethod
    def fits(cls, record: Role) -> bool:
        return record.deleted_at is None and not record.immutable and record.name not in NEVER_WITH_POOL_ACCESS

    def perform(self, reason: str) -> str:
        self.record.mark_deleted(by=self.by, reason=reason)
        return f"The role {self.record} is deleted. The record stays here."


def policies_panel(role: Role, by: Actor) -> Panel:
    field = PoliciesField()
    return Panel("Policies", "portal/panels/policies.html", {"text": field.prepare_value(role.policies)})


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
    list_display = ("name", "description", "is_pool_role", "for_operators", "lifetime")
    list_filter = (PowerFilter, ExistingFilter)
    search_fields = ("name__startswith",)
    search_help_text = "The beginning of the name. Small and capital letters differ."
    fields = ("description", "gives", "is_pool_role", "for_operators", "lifetime", "changeable", "created", "deleted")
    readonly_fields = fields
    list_changes = (AddRole,)
    record_changes = (ChangeRole, DeleteRole)
    panels = (policies_panel,)
    suggest_field = "name"

    def suggested(self) -> QuerySet:
        return Role.objects.existing()

    @admin.display(description="gives")
    def gives(self, role: Role) -> str:
        return words.lines(role.described or ["nothing"])

    @admin.display(description="pool role")
    def is_pool_role(self, role: Role) -> str:
        return "yes" if role.grants_pools else "no"

    @admin.display(description="operators may grant it")
    def for_operators(self, role: Role) -> str:
        return "yes" if role.is_plain else "no"

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
