from collections.abc import Iterable
from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from osmo_portal.events.trail import AuditedModel, AuditedQuerySet


class SecretQuerySet(AuditedQuerySet["Secret"]):
    def live(self, at: datetime | None = None) -> Self:
        return self.filter(slot__isnull=False).filter(Q(retires_at=None) | Q(retires_at__gt=at or timezone.now()))

    def held(self, digests: Iterable[bytes]) -> set[bytes]:
        """Those of the digests that the portal has, also of tokens that ended: none of them comes to life again."""
        return {bytes(digest) for digest in self.filter(digest__in=[*digests]).values_list("digest", flat=True)}


class Secret(AuditedModel):
    """The digest of a secret. A token has one live secret, and two while a rotation's grace runs.

    Slots 0 and 1 hold the live ones; a retired one keeps its row without a slot, so that its use is recognised.
    """

    token = models.ForeignKey("tokens.AccessToken", models.PROTECT, related_name="secrets")
    slot = models.PositiveSmallIntegerField(null=True)
    digest = models.BinaryField(max_length=32, unique=True)
    hint = models.CharField("ends with", max_length=4)
    created_at = models.DateTimeField(default=timezone.now)
    first_used_at = models.DateTimeField(null=True, help_text="Recorded for secrets made by a rotation.")
    retires_at = models.DateTimeField(null=True)
    retires_with_next = models.BooleanField(default=False, help_text="Ends when its successor is first used.")

    objects = SecretQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["token", "slot"], name="at_most_two_live_secrets"),
            models.CheckConstraint(condition=Q(slot=None) | Q(slot__in=[0, 1]), name="secret_slot_is_0_or_1"),
        ]

    def __str__(self) -> str:
        return f"…{self.hint}"

    def __repr__(self) -> str:
        return f"<Secret {self.pk}>"

    def is_live(self, at: datetime) -> bool:
        return self.slot is not None and (self.retires_at is None or at < self.retires_at)
