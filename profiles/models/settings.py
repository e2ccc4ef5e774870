from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import models
from django.db.models import BigIntegerField

from osmo_portal.compiled import Compiled, Given
from osmo_portal.events.actor import Actor
from osmo_portal.events.trail import AuditedModel, AuditedQuerySet, audited, record
from profiles import names
from profiles.models.pool import Pool
from profiles.models.user import User, how_many
from profiles.names import MAX_LENGTH
from profiles.rules import require_administrator


class SettingsQuerySet(AuditedQuerySet["Settings"]):
    def bring_in(self, found: "Sequence[tuple[User, dict[str, Any]]]", *, by: Actor, operation: str) -> None:
        """Keeps settings that come from another system, of users who have none here. One event tells of them all.

        Raises ValidationError, and keeps none, where one of them is not allowed or a user has settings already.
        """
        require_administrator(by, "import settings")
        for values in {frozenset(values.items()) for _, values in found}:  # most are the same few
            _check(dict(values))
        with names.taken({"user": "One of the users has settings already."}), audited():
            self.insert_many([self.model(user=user, **values) for user, values in found])
            lines = [(user.pk, user.username, "", _told(values)[:64]) for user, values in found]
            label = how_many(lines, "user")
            record("settings.imported", by, User(), label=label, lines=lines, operation=operation)


def _told(values: dict[str, Any]) -> str:
    return ", ".join(name.replace("_", " ") if value is True else f"{name} {value}" for name, value in values.items())


def _check(fields: dict[str, Any]) -> None:
    """Raises TypeError for what is no setting, ValidationError for a bucket or a pool that does not exist."""
    names.only(fields, "email_notification", "slack_notification", "bucket", "pool")
    bucket, pool = fields.get("bucket"), fields.get("pool")
    if bucket is not None and bucket not in settings.BUCKETS:
        hint = 'Use the "osmo bucket list" CLI  to see all available buckets.'
        raise ValidationError({"bucket": f"Bucket {bucket[:100]} does not exist. {hint}"})
    if pool is not None and not _exists(pool):
        raise ValidationError({"pool": f"Pool {pool[:100]} not found."})


class Settings(AuditedModel):
    """What `osmo profile list` shows and `osmo profile set` changes. A user without a row has the defaults."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.PROTECT, primary_key=True, related_name="settings")
    email_notification = models.BooleanField(default=False)
    slack_notification = models.BooleanField(default=False)
    bucket = models.CharField(max_length=MAX_LENGTH, null=True, blank=True)  # noqa: DJ001 (the clients show null as None)
    pool = models.CharField(max_length=MAX_LENGTH, null=True, blank=True)  # noqa: DJ001

    objects = SettingsQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "settings"

    def __str__(self) -> str:
        return f"settings of {self.user}"

    @classmethod
    def of(cls, user: Any) -> "Settings":
        """The user's settings, or the unsaved defaults."""
        rows = _OF_USER.rows(user=user.pk)
        return cls.from_db("default", _COLUMNS, rows[0]) if rows else cls(user=user)

    @classmethod
    def change(cls, user: Any, *, by: Actor, **fields: Any) -> None:
        """Changes what is given; None leaves a setting as it is, as the released servers have it."""
        if by.user != user and not by.is_administrator:
            raise PermissionDenied("Settings are changed by their user.")
        if by.changes_nothing:
            raise PermissionDenied("An auditor reads everything and changes nothing.")
        _check(fields)
        fields = {name: value for name, value in fields.items() if value is not None}
        with audited():
            mine = cls.of(user)
            before = {name: getattr(mine, name) for name in fields}
            for name, value in fields.items():
                setattr(mine, name, value)
            mine.save()
            record("settings.changed", by, user, **{name: [before[name], fields[name]] for name in fields})


_COLUMNS = [field.attname for field in Settings._meta.concrete_fields]
_OF_USER = Compiled(lambda: Settings.objects.filter(pk=Given("user", BigIntegerField())).values_list(*_COLUMNS))


def _exists(pool: str) -> bool:
    return names.pool_name.fits(pool) and Pool.objects.existing().filter(name=pool).exists()
