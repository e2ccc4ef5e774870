"""What the pages of people and of service accounts have in common."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest
from django.urls import reverse

from osmo_portal.console import words
from osmo_portal.console.change import Change, ReasonForm
from osmo_portal.console.filters import ListFilter
from osmo_portal.console.section import Panel, PanelMaker, Section
from osmo_portal.events.actor import Actor
from osmo_portal.events.models import SPARE, Event, kind_of
from profiles.models import Role, RoleAssignment, User
from profiles.rules import DEFAULT_ROLE

ENDED_SHOWN = 50
ACCOUNTS_SHOWN = 50
NAMED = 10
Stakes = dict[int, tuple[int, datetime]]


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


@dataclass(frozen=True, slots=True)
class Ended:
    """A role that the user held once, and what the trail says about its end."""

    assignment: RoleAssignment
    at: datetime | None
    by: str
    reason: str


def roles_panel(user: User, by: Actor) -> Panel:
    held = RoleAssignment.objects.effective().filter(user=user).select_related("role", "assigned_by")
    before = held_before(user)
    context = {
        "assignments": held,
        "held_before": before[:ENDED_SHOWN],
        "more": len(before) > ENDED_SHOWN,
        "may_remove": by.is_administrator and user.deleted_at is None,
        "record": user,
        "remove_route": f"admin:profiles_{user._meta.model_name}_remove-role",
    }
    return Panel("Roles", "portal/panels/roles.html", context)


def held_before(user: User) -> list[Ended]:
    """The roles that were removed from the user or deleted, the newest assignment first."""
    ended = RoleAssignment.objects.filter(user=user).exclude(removed_at=None, role__deleted_at=None)
    known = list(ended.select_related("role", "assigned_by", "removed_by").order_by("-pk")[: ENDED_SHOWN + 1])
    if not known:
        return []
    removals = Event.objects.filter(object_type=kind_of(user), object_id=user.pk, action="role.removed")
    deleted = [one.role_id for one in known if one.removed_at is None]
    deletions = Event.objects.filter(object_type=kind_of(Role), object_id__in=deleted, action="role.deleted")
    removed = list(removals[: 4 * ENDED_SHOWN])[::-1]
    gone = {event.object_id: event for event in deletions}
    return [_ended(one, removed, gone.get(one.role_id)) for one in known]


def _ended(one: RoleAssignment, removed: list[Event], deletion: Event | None) -> Ended:
    if one.removed_at is None:
        why = f"The role was deleted: {deletion.reason}" if deletion else "The role was deleted."
        return Ended(one, one.role.deleted_at, deletion.actor if deletion else "", why)
    name, end = one.role.name, one.removed_at
    # An event is written at the end of its transaction, so it is the first soon after the removal; or was archived.
    event = next((e for e in removed if end <= e.at < end + SPARE and e.changes.get("role") == name), None)
    return Ended(one, end, str(one.removed_by or (event.actor if event else "")), event.reason if event else "")


def accounts_panel(person: User, by: Actor) -> Panel | None:
    if person.is_service_account:
        return None
    mine = User.objects.service_accounts().filter(accountable=person).order_by("username")[: ACCOUNTS_SHOWN + 1]
    shown = mine[:ACCOUNTS_SHOWN]
    stakes = UserSection.stakes([account.pk for account in shown])
    context = {
        "accounts": [(account, stakes.get(account.pk), state_of(account)) for account in shown],
        "more": len(mine) > ACCOUNTS_SHOWN,
        "person": person,
    }
    return Panel("Accountable for", "portal/panels/accounts.html", context)


class UserSection(Section):
    """`panels`, `consequences` and `stakes` are where other apps add what they know of a user."""

    panels: Sequence[PanelMaker] = [roles_panel, accounts_panel]
    consequences: list[Callable[[User], str]] = []
    # Of users, by number: how many live tokens each has, and when the first of them expires.
    stakes: ClassVar[Callable[[list[int]], Stakes]] = staticmethod(lambda users: {})
    kind: str

    list_filter: ClassVar[Any] = (StandingFilter,)
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


def left_behind(person: User) -> str:
    """What ending the person means for the service accounts that he or she is accountable for."""
    mine = User.objects.service_accounts().filter(accountable=person)
    count = mine.count()
    if not count:
        return ""
    named = ", ".join(mine.order_by("username").values_list("username", flat=True)[:NAMED])
    more = f" and {count - NAMED} more" if count > NAMED else ""
    goes = "1 service account goes" if count == 1 else f"{count} service accounts go"
    return (
        f"{goes} into the leaver queue until somebody else is accountable: {named}{more}. Their tokens go on working."
    )


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
        told = (tell(self.record) for tell in UserSection.consequences)
        return ["This acts at once:", *filter(None, told)]

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
        "The record stays, and its history with it, but nobody can bring it back.",
        "The user id is free again; a new record of that name is somebody else.",
    )

    def explained(self) -> list[str]:
        live, _ = UserSection.stakes([self.record.pk]).get(self.record.pk, (0, None))
        revoked = f"All tokens are revoked for good; {live or 'none'} of them {'is' if live < 2 else 'are'} live."
        return [revoked, *self.explanation, *filter(None, [left_behind(self.record)])]

    def perform(self, reason: str) -> str:
        self.record.mark_deleted(by=self.by, reason=reason)
        return f"{self.record} is deleted. The record stays here."
