from collections.abc import Iterable
from typing import Any, Self

from django.core.exceptions import ValidationError
from django.db import models

from osmo_portal.events.trail import AuditedModel, AuditedQuerySet
from tokens.models.keys import digests

LABEL_LENGTH = 600
STEP = 1_000  # digests that one query asks for


class PurgedSecretQuerySet(AuditedQuerySet["PurgedSecret"]):
    def of(self, asked: Iterable[bytes]) -> Self:
        return self.filter(digest__in=digests(asked))

    def refuse(self, secrets: Iterable[Any]) -> None:
        """Raises ValidationError where one of the digests is that of a purged secret.

        Ask after they were written as secrets, not before: the unique digest makes that wait for a purge that is under
        way, and then this sees what the purge kept.
        """
        asked = [bytes(digest) for digest in secrets]
        for start in range(0, len(asked), STEP):
            known = self.of(asked[start : start + STEP]).first()
            if known:
                message = f"This was a secret of {known}, which ended on {known.ended_at:%Y-%m-%d} and was purged."
                raise ValidationError(f"{message} It cannot come back.", code="purged")


class PurgedSecret(AuditedModel):
    """What is left of a secret whose token was purged, so that it never works again and is still recognised.

    `ended_at` is when it ended, alone or with its token. There is no token with the id `token_id` any more.
    """

    digest = models.BinaryField(max_length=32, unique=True)
    token_id = models.BigIntegerField()
    label = models.CharField(max_length=LABEL_LENGTH)
    ended_at = models.DateTimeField()
    purged_at = models.DateTimeField()

    objects = PurgedSecretQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return self.label

    def __repr__(self) -> str:
        return f"<PurgedSecret {self.pk}>"
