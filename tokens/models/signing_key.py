from datetime import datetime, timedelta
from typing import Self

from cryptography.fernet import Fernet, MultiFernet
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.crypto import get_random_string

from osmo_portal import clock
from osmo_portal.events import chain
from osmo_portal.events.actor import Actor
from osmo_portal.events.trail import AuditedModel, AuditedQuerySet, audited, record
from profiles.rules import require_administrator

ALGORITHM = "ES256"
# Verifiers cache the key set; a new key is published this long before it signs, an old one as long after.
OVERLAP = timedelta(hours=1)


class SigningKeyQuerySet(AuditedQuerySet["SigningKey"]):
    def published(self, at: datetime | None = None) -> Self:
        """Keys whose signatures count: next, current and retiring."""
        return self.filter(Q(retired_at=None) | Q(retired_at__gt=clock.latest(at or timezone.now())))

    def signing(self, at: datetime | None = None) -> Self:
        """The first of them is the key that signs."""
        now = at or timezone.now()
        return self.published(now).filter(signs_from__lte=now).order_by("-signs_from", "-pk")

    def current(self, at: datetime | None = None) -> "SigningKey | None":
        return self.signing(at).first()


class SigningKey(AuditedModel):
    """An ES256 key pair. The private half is encrypted with a key from the environment (KEY_ENCRYPTION_KEYS)."""

    kid = models.CharField("key id", max_length=32, unique=True)
    algorithm = models.CharField(max_length=16, default=ALGORITHM)
    private_key = models.BinaryField(editable=False)
    created_at = models.DateTimeField(default=timezone.now)
    signs_from = models.DateTimeField()
    retired_at = models.DateTimeField(null=True)

    objects = SigningKeyQuerySet.as_manager()

    class Meta:
        ordering = ["-signs_from"]

    def __str__(self) -> str:
        return self.kid

    def load(self) -> ec.EllipticCurvePrivateKey:
        """The private key, decrypted. Raises InvalidToken where KEY_ENCRYPTION_KEYS does not hold its key."""
        pem = _fernet().decrypt(bytes(self.private_key))
        key = serialization.load_pem_private_key(pem, password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101  (we make no others)
        return key

    @classmethod
    def rotate(cls, *, by: Actor, void: bool = False) -> "SigningKey":
        """A new key that signs after OVERLAP; the current one retires another OVERLAP later.

        With `void` the new key signs now, and every JWT signed before is refused from now on.
        """
        if not by.is_shell:
            require_administrator(by, "rotate the signing key")
        now = timezone.now()
        signs_from = now if void else now + OVERLAP
        with audited():
            retires = now if void else signs_from + OVERLAP
            cls.objects.published(now).filter(Q(retired_at=None) | Q(retired_at__gt=retires)).update(retired_at=retires)
            key = cls._make(signs_from)
            record("signing_key.voided" if void else "signing_key.rotated", by, key)
        return key

    @classmethod
    def current_or_first(cls) -> "SigningKey":
        """The key that signs now. The very first one is made on first need."""
        return cls.objects.current() or cls._first()

    @classmethod
    def _first(cls) -> "SigningKey":
        with transaction.atomic():
            chain.lock()  # two processes may need the first key at the same time
            existing = cls.objects.current()
            if existing:
                return existing
            with audited():
                key = cls._make(timezone.now())
                record("signing_key.created", Actor.shell(), key)
            return key

    @classmethod
    def _make(cls, signs_from: datetime) -> "SigningKey":
        pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        key = cls(kid=get_random_string(16), private_key=_fernet().encrypt(pem), signs_from=signs_from)
        key.save()
        return key


def _fernet() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.KEY_ENCRYPTION_KEYS])
