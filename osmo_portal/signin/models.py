from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from osmo_portal.events.actor import Actor
from osmo_portal.events.trail import AuditedModel, AuditedQuerySet, audited, record
from profiles import names
from profiles.models import User
from profiles.rules import require_administrator, require_reason


class CacheEntry(models.Model):
    """A row of Django's database cache, which all processes share: here the limits of the sign-in count failures."""

    cache_key = models.CharField(max_length=255, primary_key=True)
    value = models.TextField()
    expires = models.DateTimeField(db_index=True)

    class Meta:
        db_table = "portal_cache"  # CACHES names it

    def __str__(self) -> str:
        return self.cache_key


class FailureCount(models.Model):
    """How often something failed in a window of time (osmo_portal.signin.limits). Of no interest after it."""

    key = models.CharField(max_length=100, primary_key=True)
    count = models.IntegerField()
    ends = models.DateTimeField(db_index=True)

    class Meta:
        db_table = "portal_failures"

    def __str__(self) -> str:
        return self.key


class ProviderSubject(AuditedModel):
    """Whom the identity provider calls `subject`: never known by a mail address, which others may come to have.

    A binding that is taken away stays as a record.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="provider_subjects")
    issuer = models.CharField(max_length=255)
    subject = models.CharField(max_length=255)
    bound_at = models.DateTimeField(default=timezone.now)
    removed_at = models.DateTimeField(null=True)

    objects = AuditedQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["issuer", "subject"], condition=models.Q(removed_at=None), name="subject_bound_once_at_a_time"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.subject} of {self.issuer}"

    @classmethod
    def person(cls, issuer: str, subject: str) -> User | None:
        bound = cls.objects.filter(issuer=issuer, subject=subject, removed_at=None).select_related("user").first()
        return bound.user if bound else None

    @classmethod
    def is_bound(cls, user: Any, issuer: str) -> bool:
        return cls.objects.filter(user=user, issuer=issuer, removed_at=None).exists()

    @classmethod
    def bind(cls, user: User, *, issuer: str, subject: str, by: Actor) -> None:
        require_administrator(by, "bind people to the identity provider")
        if user.is_service_account:
            raise ValidationError("A service account cannot sign in.")
        subject = subject.strip()
        if not subject or len(subject) > 255 or not subject.isprintable():
            raise ValidationError({"subject": "Type the subject as the provider shows it."})
        taken = {"subject": "Somebody is bound to this subject already."}
        with names.taken(taken), audited():
            cls(user=user, issuer=issuer, subject=subject).save()
            record("user.bound", by, user, issuer=issuer, bound_to=subject)

    @classmethod
    def unbind(cls, user: User, *, by: Actor, reason: str) -> None:
        require_administrator(by, "end what binds people to the identity provider")
        reason = require_reason(reason)
        with audited():
            cls.objects.filter(user=user, removed_at=None).update(removed_at=timezone.now())
            record("user.unbound", by, user, reason=reason)
