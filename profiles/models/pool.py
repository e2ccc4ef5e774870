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

    def clean(self) -> None:
        self.description = names.clean_text(self.description, field="description")
        self.backend = names.clean_text(self.backend, field="backend", limit=names.MAX_LENGTH)

    # Ways in.

    @classmethod
    def create(cls, *, by: Actor, name: str, **fields: Any) -> "Pool":
        require_administrator(by, "create pools")
        names.only(fields, *CHANGEABLE)
        pool = cls(name=name, **fields)
        exists = {"name": f"Pool {name[:100]} already exists."}
        pool.full_clean(validate_constraints=False)
        if Pool.objects.existing().filter(name=name).exists():
            raise ValidationError(exists, code="conflict")
        with names.taken(exists), audited():
            pool.save()
            record("pool.created", by, pool, **fields)
        return pool

    def change(self, *, by: Actor, **fields: Any) -> None:
        """Changes anything but the name."""
        require_administrator(by, "change pools")
        names.only(fields, *CHANGEABLE)
        with audited():
            pool = self._locked()
            before = {name: getattr(pool, name) for name in fields}
            for name, value in fields.items():
                setattr(pool, name, value)
            pool.full_clean(validate_unique=False, validate_constraints=False)
            pool.save(update_fields=[*fields])
            record("pool.changed", by, pool, **{name: [before[name], getattr(pool, name)] for name in fields})
        self.refresh_from_db()

    def mark_deleted(self, *, by: Actor, reason: str) -> None:
        require_administrator(by, "delete pools")
        with audited():
            pool = self._locked()
            pool.deleted_at = timezone.now()
            pool.save(update_fields=["deleted_at"])
            record("pool.deleted", by, pool, reason=require_reason(reason))
        self.refresh_from_db()

    def _locked(self) -> "Pool":
        pool = Pool.objects.select_for_update(no_key=True).get(pk=self.pk)
        if pool.deleted_at:
            raise ValidationError(f"The pool {pool} was deleted.", code="conflict")
        return pool
