from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet

from osmo_portal.console import words
from osmo_portal.console.change import Change, ReasonForm
from osmo_portal.console.section import Panel, Section
from osmo_portal.events.actor import Actor
from profiles.admin.matrix import cell
from profiles.admin.role_changes import MakeRoleOfPool
from profiles.admin.roles import ExistingFilter
from profiles.impact import capped
from profiles.models import Pool, Role, RoleAssignment, User
from profiles.policies import Decision, Operation
from profiles.reach import Reach, any_gate, users_passing

SHOWN = 50
DELETED = "The pool is deleted: it is in nobody's list. Roles that name it would open a new pool of that name."


class PoolForm(forms.ModelForm):
    """For its fields alone: what is posted goes to the way in, never to save()."""

    class Meta:
        model = Pool
        fields = (
            "description",
            "backend",
            "maintenance",
            "online",
            "quota_used",
            "quota_limit",
            "total_usage",
            "total_capacity",
        )


class AddPoolForm(PoolForm):
    class Meta(PoolForm.Meta):
        fields = ("name", *PoolForm.Meta.fields)  # type: ignore[assignment]


class AddPool(Change):
    slug, label = "new", "Add pool"
    form_class = AddPoolForm
    explanation = ("Nobody reaches the pool by this alone: a role has to allow it.",)

    def get_initial(self) -> dict[str, Any]:
        return {name: getattr(Pool(), name) for name in AddPoolForm.base_fields}

    def perform(self, **fields: Any) -> str:
        self.record = Pool.create(by=self.by, **fields)
        return f"The pool {self.record} is here."


class ChangePool(Change):
    slug, label, heading = "edit", "Change", "Change the pool {}"
    submit = "Save"
    form_class = PoolForm

    @classmethod
    def fits(cls, record: Pool) -> bool:
        return record.deleted_at is None

    def get_initial(self) -> dict[str, Any]:
        return {name: getattr(self.record, name) for name in PoolForm.base_fields}

    def perform(self, **fields: Any) -> str:
        self.record.change(by=self.by, **fields)
        return f"The pool {self.record} is changed."


class DeletePool(Change):
    slug, label, heading, danger = "delete-record", "Delete", "Delete the pool {}", True
    form_class = ReasonForm
    explanation = (
        "It disappears from everybody's list. Roles that name it stay as they are, and its name is free again.",
    )

    @classmethod
    def fits(cls, record: Pool) -> bool:
        return record.deleted_at is None

    def perform(self, reason: str) -> str:
        self.record.mark_deleted(by=self.by, reason=reason)
        return f"The pool {self.record} is deleted. The record stays here."


def reach_panel(pool: Pool, by: Actor) -> Panel:
    """The roles that have a say about the pool, and the users who get in by them."""
    if pool.deleted_at:
        return Panel("Who reaches it", "portal/panels/reach.html", {"deleted": DELETED})
    reach = Reach.now()
    reaching = User.objects.active().filter(users_passing(any_gate(reach.gates(pool.name))))
    users = [*reaching.order_by("username")[: SHOWN + 1]]
    context = {
        "roles": roles_with_a_say(reach, pool),
        "users": _explained(reach, pool, users[:SHOWN]),
        "shown": SHOWN,
        "count": capped(reaching) if len(users) > SHOWN else str(len(users)),
        "operations": [*Operation],
    }
    return Panel("Who reaches it", "portal/panels/reach.html", context)


def roles_with_a_say(reach: Reach, pool: Pool) -> list[tuple[Role, str, str]]:
    """Each with what it does, as the access matrix has it, and with whose it is to give."""
    told = [(role, cell(reach.says(pk, pool.name))) for pk, role in reach.roles.items()]
    return [(role, found.kind, found.text) for role, found in told if found.kind != "none"]


def _explained(reach: Reach, pool: Pool, users: list[User]) -> list[dict[str, Any]]:
    held: dict[int, list[int]] = {user.pk: [] for user in users}
    effective = RoleAssignment.objects.effective().filter(user__in=users).order_by()
    for user_id, role_id in effective.values_list("user_id", "role_id"):
        held[user_id].append(role_id)
    return [
        {"user": user, **marks(reach.explain(pool.name, carried=held[user.pk], held=held[user.pk]))} for user in users
    ]


def marks(decisions: dict[Operation, Decision]) -> dict[str, Any]:
    """Yes or no for each operation, and the reasons, each told once."""
    return {
        "marks": ["yes" if decision else "no" for decision in decisions.values()],
        "reasons": [*dict.fromkeys(decision.reason for decision in decisions.values())],
    }


@admin.register(Pool)
class PoolSection(Section):
    """`panels` is where other apps add what they know of a pool."""

    list_display = ("name", "description", "backend", "condition", "quota", "capacity")
    list_filter = (ExistingFilter,)
    search_fields = ("name__startswith",)
    search_help_text = "The beginning of the name. Small and capital letters differ."
    fields = ("description", "backend", "condition", "quota", "capacity", "created", "deleted")
    readonly_fields = fields
    list_changes = (AddPool,)
    record_changes = (ChangePool, MakeRoleOfPool, DeletePool)
    panels = [reach_panel]
    suggest_field = "name"

    def suggested(self) -> QuerySet:
        return Pool.objects.existing()

    @admin.display(description="status")
    def condition(self, pool: Pool) -> str:
        return words.badge(pool.status.lower())

    @admin.display(description="GPU quota in use")
    def quota(self, pool: Pool) -> str:
        return f"{pool.quota_used} of {pool.quota_limit}"

    @admin.display(description="GPUs in use")
    def capacity(self, pool: Pool) -> str:
        return f"{pool.total_usage} of {pool.total_capacity}"

    @admin.display(description="created")
    def created(self, pool: Pool) -> str:
        return words.stamp(pool.created_at)

    @admin.display(description="deleted")
    def deleted(self, pool: Pool) -> str:
        return words.stamp(pool.deleted_at)
