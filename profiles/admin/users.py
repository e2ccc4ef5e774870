"""What the pages of people and of service accounts have in common."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest
from django.urls import reverse

from osmo_portal.console import words
from osmo_portal.console.change import Change, ReasonForm
from osmo_portal.console.filters import ListFilter
from osmo_portal.console.section import Panel, Section
from osmo_portal.events.actor import Actor
from profiles.models import Role, RoleAssignment, User
from profiles.rules import DEFAULT_ROLE


class StandingFilter(ListFilter):
    everything = "all but deleted"
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [("active", "active"), ("inactive", "inactive"), ("deleted", "deleted")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() == "deleted":
            return queryset.exclude(deleted_at=None)
        if self.value() in ("active", "inactive"):
            queryset = queryset.filter(is_active=self.value() == "active")
        return queryset.filter(deleted_at=None)


def roles_panel(user: User, by: Actor) -> Panel:
    held = RoleAssignment.objects.effective().filter(user=user).select_related("role", "assigned_by")
    context = {
        "assignments": held,
        "may_remove": by.is_administrator and user.deleted_at is None,
        "record": user,
        "remove_route": f"admin:profiles_{user._meta.model_name}_remove-role",
    }
    return Panel("Roles", "portal/panels/roles.html", context)


class UserSection(Section):
    """`panels` and `consequences` are where other apps add what they know of a user."""

    panels = [roles_panel]
    consequences: list[Callable[[User], str]] = []
    kind: str

    list_filter = (StandingFilter,)
    search_fields = ("username__startswith",)
    search_help_text = "The beginning of the user id. Small and capital letters differ."
    suggest_field = "username"

    def suggested(self) -> Any:
        return self.model.objects.active().filter(kind=self.kind)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        effective = RoleAssignment.objects.effective().select_related("role")
        held = Prefetch("assignments", effective, to_attr="effective_assignments")
        mine = super().get_queryset(request).filter(kind=self.kind)
        return mine.select_related("accountable", "created_by").prefetch_related(held)

    def record_address(self, pk: int) -> str:
        return reverse("admin:profiles_person_whoever", args=[pk])

    @admin.display(description="state")
    def state(self, user: User) -> str:
        return words.badge(state_of(user))

    @admin.display(description="roles")
    def role_names(self, user: User) -> str:
        held = [a.role.name for a in user.effective_assignments]  # type: ignore[attr-defined]
        return ", ".join(held) or words.NOTHING

    @admin.display(description="created")
    def created(self, user: User) -> str:
        return words.stamp(user.created_at)


def state_of(user: User) -> str:
    if user.deleted_at:
        return "deleted"
    return "active" if user.is_active else "inactive"


# Changes.


class UserChange(Change):
    @classmethod
    def fits(cls, record: User) -> bool:
        return record.deleted_at is None


class RoleForm(forms.Form):
    role = forms.ChoiceField()

    def __init__(self, *args: Any, names: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"].choices = [("", "Choose a role"), *((name, name) for name in names)]  # type: ignore[attr-defined]


class RemoveRoleForm(RoleForm):
    reason = forms.CharField(required=False, max_length=2_000, help_text="Kept with the record for good.")


class AssignRole(UserChange):
    slug, label, heading = "assign-role", "Assign role", "Assign a role to {}"
    form_class = RoleForm
    explanation = (
        "The role counts at once. Tokens that exist already do not get it: a token carries what it was issued with.",
    )

    def get_form_kwargs(self) -> dict[str, Any]:
        known = Role.objects.existing().exclude(name=DEFAULT_ROLE).exclude(pk__in=self.record.held_roles())
        return {**super().get_form_kwargs(), "names": [*known.values_list("name", flat=True)]}

    def perform(self, role: str) -> str:
        self.record.assign_role(role, by=self.by)
        return f"{self.record} holds {role} now."


class RemoveRole(UserChange):
    slug, label, heading, danger = "remove-role", "Remove role", "Remove a role from {}", True
    on_record = False  # it stands in the row of each role
    form_class = RemoveRoleForm
    explanation = ("The role stops counting at once, on the tokens too. Given again, it gives nothing back to them.",)

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "names": [*self.record.held_roles().values_list("name", flat=True)]}

    def get_initial(self) -> dict[str, Any]:
        return {"role": self.request.GET.get("role", "")}

    def perform(self, role: str, reason: str) -> str:
        self.record.remove_role(role, by=self.by, reason=reason)
        return f"{self.record} does not hold {role} any more."


class Deactivate(UserChange):
    slug, label, heading, danger = "deactivate", "Deactivate", "Deactivate {}", True
    form_class = ReasonForm

    @classmethod
    def fits(cls, record: User) -> bool:
        return super().fits(record) and record.is_active

    def explained(self) -> list[str]:
        return ["This acts at once:", *(tell(self.record) for tell in UserSection.consequences)]

    def perform(self, reason: str) -> str:
        self.record.deactivate(by=self.by, reason=reason)
        return f"{self.record} is deactivated."


class Reactivate(UserChange):
    slug, label, heading = "reactivate", "Reactivate", "Reactivate {}"
    form_class = ReasonForm
    explanation = ("The roles count again. Tokens that were suspended stay so until each is resumed.",)

    @classmethod
    def fits(cls, record: User) -> bool:
        return super().fits(record) and not record.is_active

    def perform(self, reason: str) -> str:
        self.record.reactivate(by=self.by, reason=reason)
        return f"{self.record} is active again."


class Delete(UserChange):
    slug, label, heading, danger = "delete-record", "Delete", "Delete {}", True
    form_class = ReasonForm
    explanation = (
        "All tokens are revoked for good. The record stays, and its history with it, but nobody can bring it back.",
        "The user id is free again; a new record of that name is somebody else.",
    )

    def perform(self, reason: str) -> str:
        self.record.mark_deleted(by=self.by, reason=reason)
        return f"{self.record} is deleted. The record stays here."
