"""Requests that make a secret and were sent with an `Idempotency-Key`: sent again, they are not done again."""

import hashlib
import json
import re
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction
from django.utils import timezone

from profiles.models import User

KEPT = timedelta(hours=24)
FORGOTTEN_AT_ONCE = 100
KEY = re.compile(r"[\x21-\x7e]{1,255}")


class OtherRequest(ValidationError):
    """The key was used before, for a request that said something else."""


class DoneBefore(models.Model):
    """One request, known by its caller, and by digests of its key and of what it asked for. It holds no secret."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", db_index=False)
    key = models.CharField(max_length=64)
    request = models.CharField(max_length=64)
    token_id = models.BigIntegerField(null=True)
    at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="idempotency_key_once")]

    def __str__(self) -> str:
        return f"a request of {self.user}"

    @classmethod
    def claim(cls, user: User, key: str, *asked: Any) -> "DoneBefore":
        """To be called in the transaction of the change: of two at once the second waits for the first.

        Raises ValidationError (code "conflict", with the number of the token) where the same was done before, and
        OtherRequest where the key was used for something else.
        """
        if not KEY.fullmatch(key):
            raise ValidationError({"Idempotency-Key": "Send 1 to 255 visible ASCII characters, the same at each try."})
        cls._forget(user)
        claimed = cls(user=user, key=_digest(key), request=_digest(json.dumps(asked, sort_keys=True)))
        claimed.at = timezone.now()
        try:
            with transaction.atomic():
                claimed.save()
        except IntegrityError:
            claimed._refuse(cls.objects.get(user=user, key=claimed.key))
        return claimed

    def done(self, token_id: int) -> None:
        self.token_id = token_id
        self.save(update_fields=["token_id"])

    def _refuse(self, before: "DoneBefore") -> None:
        if before.request != self.request:
            raise OtherRequest("This Idempotency-Key was used for another request. Choose a new one for each.")
        message = "This was done already with this Idempotency-Key. Its secret was in that answer, and is in no other."
        raise ValidationError({"Idempotency-Key": message}, code="conflict", params={"token": before.token_id})

    @classmethod
    def _forget(cls, user: User) -> None:
        """The caller's that are over, and some of others; without waiting for who does the same."""
        over = cls.objects.filter(at__lt=timezone.now() - KEPT)
        over.filter(user=user).delete()
        some = over.select_for_update(skip_locked=True).order_by("at").values_list("pk", flat=True)
        cls.objects.filter(pk__in=list(some[:FORGOTTEN_AT_ONCE])).delete()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
