from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet

from osmo_portal.console import words
from osmo_portal.console.change import Change, ReasonForm
from osmo_portal.console.section import Section
from profiles.admin.roles import ExistingFilter
from profiles.models import Pool


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


@admin.register(Pool)
class PoolSection(Section):
    list_display = ("name", "description", "backend", "condition", "quota", "capacity")
    list_filter = (ExistingFilter,)
    search_fields = ("name__startswith",)
    search_help_text = "The beginning of the name. Small and capital letters differ."
    fields = ("description", "backend", "condition", "quota", "capacity", "created", "deleted")
    readonly_fields = fields
    list_changes = (AddPool,)
    record_changes = (ChangePool, DeletePool)
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
