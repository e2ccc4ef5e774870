from typing import Any, Self

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone

from osmo_portal.events.actor import Actor
from osmo_portal.events.trail import AuditedModel, AuditedQuerySet, audited, record
from profiles import names
from profiles.rules import require_administrator, require_reason

CHANGEABLE = (
    "description",
    "backend",
    "maintenance",
    "online",
    "quota_used",
    "quota_limit",
    "total_usage",
    "total_capacity",
)


class PoolQuerySet(AuditedQuerySet["Pool"]):
    def existing(self) -> Self:
        return self.filter(deleted_at=None)


class Pool(AuditedModel):
    """A group of machines. Figures are GPUs. Never deleted: `deleted_at` ends one and frees its name."""

    name = models.CharField(max_length=names.MAX_LENGTH, validators=[names.pool_name])
    description = models.TextField(blank=True, max_length=names.MAX_TEXT)
    backend = models.CharField(max_length=names.MAX_LENGTH, default="default")
    maintenance = models.BooleanField(default=False, help_text="Shown to everybody as MAINTENANCE.")
    online = models.BooleanField(default=False, help_text="Whether the backend reports itself.")
    quota_used = models.PositiveIntegerField("GPUs used of the quota", default=0)
    quota_limit = models.PositiveIntegerField("GPU quota", default=0)
    total_usage = models.PositiveIntegerField("GPUs used in all", default=0)
    total_capacity = models.PositiveIntegerField("GPUs in all", default=0)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = PoolQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["name"], condition=Q(deleted_at=None), name="pool_name_unique"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def status(self) -> str:
        if self.maintenance:
            return "MAINTENANCE"
        return "ONLINE" if self.online else "OFFLINE"

    # Ways in.

    @classmethod
    def create(cls, *, by: Actor, name: str, **fields: Any) -> "Pool":
        require_administrator(by, "create pools")
        names.only(fields, *CHANGEABLE)
        pool = cls(name=name, **fields)
        exists = {"name": f"Pool {name[:100]} already exists."}
        if Pool.objects.existing().filter(name=name).exists():
            raise ValidationError(exists, code="conflict")
        pool.full_clean()
        with names.taken(exists), audited():
            pool.save()
            record("pool.created", by, pool, **fields)
        return pool

    def change(self, *, by: Actor, **fields: Any) -> None:
        require_administrator(by, "change pools")
        names.only(fields, *CHANGEABLE)
        with audited():
            before = Pool.objects.select_for_update().get(pk=self.pk)
            for name, value in fields.items():
                setattr(self, name, value)
            self.full_clean(validate_unique=False, validate_constraints=False)
            self.save(update_fields=[*fields])
            record("pool.changed", by, self, **{n: [getattr(before, n), getattr(self, n)] for n in fields})

    def mark_deleted(self, *, by: Actor, reason: str) -> None:
        require_administrator(by, "delete pools")
        with audited():
            self.deleted_at = timezone.now()
            self.save(update_fields=["deleted_at"])
            record("pool.deleted", by, self, reason=require_reason(reason))
