from collections.abc import Iterable
from datetime import datetime
from typing import Any, Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from osmo_portal.events.trail import AuditedModel, AuditedQuerySet
from tokens.models.keys import digests
from tokens.models.purged_secret import PurgedSecret


class SecretQuerySet(AuditedQuerySet["Secret"]):
    def live(self, at: datetime | None = None) -> Self:
        return self.filter(slot__isnull=False).filter(Q(retires_at=None) | Q(retires_at__gt=at or timezone.now()))

    def retiring(self, at: datetime | None = None) -> Self:
        """Live ones whose end is set: the older of two. While a token has one, there is no room for a third secret."""
        return self.live(at).filter(retires_at__isnull=False)

    def bulk_create(self, objs: Iterable["Secret"], *args: Any, **kwargs: Any) -> list["Secret"]:
        """Raises ValidationError where one of them was purged."""
        made = super().bulk_create(objs, *args, **kwargs)
        PurgedSecret.objects.refuse(secret.digest for secret in made)
        return made

    def held(self, those: Iterable[bytes]) -> set[bytes]:
        """Those of the digests that the portal has, also of tokens that ended or were purged: none comes to life
        again."""
        asked = [*those]
        known = self.filter(digest__in=digests(asked)).values_list("digest", flat=True)
        purged = PurgedSecret.objects.of(asked).values_list("digest", flat=True)
        return {bytes(digest) for found in (known, purged) for digest in found}


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

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Raises ValidationError where a new one was purged."""
        is_new = self._state.adding
        super().save(*args, **kwargs)
        if is_new:
            PurgedSecret.objects.refuse([self.digest])

    def is_live(self, at: datetime) -> bool:
        return self.slot is not None and (self.retires_at is None or at < self.retires_at)
