import json
from copy import copy
from typing import Any, Self

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone

from osmo_portal.events.actor import Actor
from osmo_portal.events.trail import AuditedQuerySet, audited, record
from profiles import names
from profiles.models.revision import Account, ConfigType, Configured, revised
from profiles.rules import require_administrator, require_reason

CONFIGURED = ("description", "backend", "maintenance", "quota_limit", "spec")
CHANGEABLE = (*CONFIGURED, "online", "quota_used", "total_usage", "total_capacity")
MAX_SPEC = 100_000  # characters of JSON


class PoolQuerySet(AuditedQuerySet["Pool"]):
    def existing(self) -> Self:
        return self.filter(deleted_at=None)


class Pool(Configured):
    """A group of machines. Figures are GPUs. Never deleted: `deleted_at` ends one and frees its name.

    `spec` is what else the released clients configure of a pool (platforms, templates, timeouts), as they sent it. It
    may hold what only administrators may see.
    """

    name = models.CharField(max_length=names.MAX_LENGTH, validators=[names.pool_name])
    description = models.TextField(blank=True, max_length=names.MAX_TEXT)
    backend = models.CharField(max_length=names.MAX_LENGTH, default="default")
    maintenance = models.BooleanField(default=False, help_text="Shown to everybody as MAINTENANCE.")
    online = models.BooleanField(default=False, help_text="Whether the backend reports itself.")
    quota_used = models.PositiveIntegerField("GPUs used of the quota", default=0)
    quota_limit = models.PositiveIntegerField("GPU quota", default=0)
    total_usage = models.PositiveIntegerField("GPUs used in all", default=0)
    total_capacity = models.PositiveIntegerField("GPUs in all", default=0)
    spec = models.JSONField(default=dict, db_default={}, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = PoolQuerySet.as_manager()
    config_type = ConfigType.POOL
    configured = CONFIGURED

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
        if not isinstance(self.spec, dict):
            raise ValidationError({"spec": "Write an object."})
        size = len(json.dumps(self.spec))
        if size > MAX_SPEC:
            raise ValidationError({"spec": f"A pool's settings take {MAX_SPEC} characters of JSON, not {size}."})

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
        account = Account(name, f"Put complete pool {name}")
        with names.taken(exists), revised(ConfigType.POOL, account, by=by) as draft:
            pool.save()
            told = {name: value for name, value in fields.items() if name != "spec"}
            record("pool.created", by, pool, **told, **_settings({}, pool.spec))
            pool.put_down(draft)
        return pool

    def altered(self, **fields: Any) -> "Pool":
        """This pool as `change` would leave it: checked, not saved."""
        names.only(fields, *CHANGEABLE)
        pool = copy(self)
        for name, value in fields.items():
            setattr(pool, name, value)
        pool.full_clean(validate_unique=False, validate_constraints=False)
        return pool

    def change(self, *, by: Actor, reason: str = "", **fields: Any) -> None:
        """Changes anything but the name. Figures alone, which somebody may report every minute, make no revision."""
        require_administrator(by, "change pools")
        reason = names.clean_text(reason, field="reason")
        names.only(fields, *CHANGEABLE)
        if not set(fields) & set(CONFIGURED):
            with audited():
                self._change(by, reason, fields)
        else:
            account = Account(self.name, reason or f"Patch pool {self.name}")
            with revised(ConfigType.POOL, account, by=by) as draft:
                self._change(by, reason, fields).put_down(draft)
        self.refresh_from_db()

    def _change(self, by: Actor, reason: str, fields: dict[str, Any]) -> "Pool":
        before = self._locked()
        pool = before.altered(**fields)
        pool.save(update_fields=[*fields])
        told = {name: [getattr(before, name), getattr(pool, name)] for name in fields if name != "spec"}
        record("pool.changed", by, pool, reason=reason, **told, **_settings(before.spec, pool.spec))
        return pool

    def mark_deleted(self, *, by: Actor, reason: str) -> None:
        require_administrator(by, "delete pools")
        reason = require_reason(reason)
        account = Account(self.name, reason)
        with revised(ConfigType.POOL, account, by=by) as draft:
            pool = self._locked()
            pool.deleted_at = timezone.now()
            pool.save(update_fields=["deleted_at"])
            record("pool.deleted", by, pool, reason=reason)
            pool.put_down(draft)
        self.refresh_from_db()

    @classmethod
    def named(cls, name: str) -> "Pool | None":
        return cls.objects.existing().filter(name=name).first() if names.pool_name.fits(name) else None

    def _locked(self) -> "Pool":
        pool = Pool.objects.select_for_update(no_key=True).get(pk=self.pk)
        if pool.deleted_at:
            raise ValidationError(f"The pool {pool} was deleted.", code="conflict")
        return pool


def _settings(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """For the event: which settings differ, not what they are. Templates and variables may hold secrets."""
    differing = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return {"settings": ", ".join(sorted(differing))[: names.MAX_TEXT]} if differing else {}
