"""A person who is signed in at a terminal, and the refresh tokens by which that lasts."""

from datetime import datetime, timedelta
from typing import Any, Self

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import Exists, OuterRef, Q, Subquery
from django.utils import timezone

from osmo_portal import clock
from osmo_portal.events.actor import Actor, Door
from osmo_portal.events.trail import AuditedModel, AuditedQuerySet, audited, record
from profiles.models import User
from profiles.names import MAX_TEXT
from profiles.rules import require_reason
from tokens import secrets

# A refresh token that was used counts a little longer, as long as none of its successors was: an answer may be lost on
# the way, and several processes may share a login file.
GRACE = timedelta(seconds=30)
SUCCESSORS = 100
MAX_AGENT = 200
STEP = 1_000
REUSED = "A refresh token was used again after its successor: somebody else may have it."


class Refused(Exception):
    """A refresh token that renews nothing. The text is told to whoever holds it."""


class TerminalSignInQuerySet(AuditedQuerySet["TerminalSignIn"]):
    def live(self, at: datetime | None = None) -> Self:
        """Not ended, not too old, and renewed often enough. Both settings count at once when they are lowered."""
        now = clock.latest(at or timezone.now())
        oldest = now - timedelta(days=settings.TERMINAL_DAYS)
        renewed = RefreshToken.objects.filter(
            sign_in=OuterRef("pk"), created_at__gt=now - timedelta(days=settings.TERMINAL_IDLE_DAYS)
        )
        return self.filter(Exists(renewed), ended_at=None, expires_at__gt=now, started_at__gt=oldest)

    def of(self, user: User) -> Self:
        return self.filter(owner=user)

    def with_last_renewal(self) -> Self:
        newest = RefreshToken.objects.filter(sign_in=OuterRef("pk")).order_by("-created_at")
        return self.annotate(
            renewed_at=Subquery(newest.values("created_at")[:1]), renewed_from=Subquery(newest.values("address")[:1])
        )

    def end(self, *, by: Actor, reason: str) -> int:
        """Ends those that are live, for good and at once. Returns how many."""
        reason = require_reason(reason)[:MAX_TEXT]
        with audited():
            mine = [*self.live().select_for_update(of=("self",), no_key=True).select_related("owner").order_by("pk")]
            for one in mine:
                one._end("terminal.ended", by=by, reason=reason)
        return len(mine)


class TerminalSignIn(AuditedModel):
    """The family of the refresh tokens that follow from one approval in the browser. It is no access token: whoever
    holds it acts as the person, with the roles that the person holds at that moment."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="terminal_sign_ins")
    client = models.CharField(max_length=64)
    agent = models.CharField(max_length=MAX_AGENT, blank=True)
    address = models.GenericIPAddressField(null=True)
    started_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    ended_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    end_reason = models.TextField(blank=True)

    objects = TerminalSignInQuerySet.as_manager()

    class Meta:
        verbose_name = "terminal sign-in"
        ordering = ["-pk"]
        indexes = [models.Index(fields=["owner", "-id"], condition=Q(ended_at=None), name="terminal_open")]

    def __str__(self) -> str:
        return f"{self.client} of {self.owner}"

    @classmethod
    def begin(cls, owner: User, *, client: str, agent: str, by: Actor) -> tuple[Self, secrets.Plaintext]:
        """A new one, and its first refresh token. `by` is the person, at the terminal."""
        now = timezone.now()
        expires = now + timedelta(days=settings.TERMINAL_DAYS)
        sign_in = cls(owner=owner, client=client, agent=agent, address=by.address, started_at=now, expires_at=expires)
        with audited():
            sign_in.save()
            record("terminal.signed_in", by, owner, terminal=sign_in.pk, client=client, agent=agent)
            return sign_in, RefreshToken.add(sign_in, 0, by.address)

    def end(self, *, by: Actor, reason: str) -> None:
        """Ends it for good: its JWTs and refresh tokens are refused from now on."""
        TerminalSignIn.objects.filter(pk=self.pk).end(by=by, reason=reason)

    def end_as_stolen(self, *, address: str | None, request_id: str, reason: str = REUSED) -> None:
        """The alarm: two hold what one was given, so neither keeps it. Nothing happens where it has ended already."""
        by = Actor(door=Door.CLI, user=self.owner, address=address, request_id=request_id)
        with audited():
            if TerminalSignIn.objects.live().select_for_update(of=("self",), no_key=True).filter(pk=self.pk).exists():
                self._end("terminal.reuse_detected", by=by, reason=reason)

    def _end(self, action: str, *, by: Actor, reason: str) -> None:
        if by.user != self.owner and not by.is_administrator:
            raise PermissionDenied("Only the person and administrators may end a terminal sign-in.")
        self.ended_at, self.ended_by, self.end_reason = timezone.now(), by.user, reason
        self.save(update_fields=["ended_at", "ended_by", "end_reason"])
        record(action, by, self.owner, reason=reason, terminal=self.pk, client=self.client)


class RefreshTokenQuerySet(models.QuerySet["RefreshToken"]):
    def drop_dead(self) -> int:
        """Deletes those of sign-ins that are over, a thousand at once: they renew nothing, and say nothing any more.
        Returns how many."""
        over = TerminalSignIn.objects.filter(refresh_tokens__isnull=False).exclude(pk__in=TerminalSignIn.objects.live())
        dead, count = self.filter(sign_in__in=over.values("pk")), 0
        while step := [*dead.values_list("pk", flat=True)[:STEP]]:
            count += self.filter(pk__in=step).delete()[0]
        return count


class RefreshToken(models.Model):
    """One of a family; each is used once. The newest generation counts: one token, or several where an answer was
    given again. Of all the others the digests stay while the family lives, since their use means that one was stolen.
    """

    sign_in = models.ForeignKey(TerminalSignIn, models.CASCADE, related_name="refresh_tokens", db_index=False)
    digest = models.BinaryField(max_length=secrets.DIGEST_LENGTH, unique=True)
    generation = models.PositiveIntegerField()
    created_at = models.DateTimeField(default=timezone.now)
    address = models.GenericIPAddressField(null=True)
    used_at = models.DateTimeField(null=True)

    objects = RefreshTokenQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["sign_in", "-generation"], name="refresh_generation"),
            models.Index(fields=["sign_in", "-created_at"], name="refresh_newest"),
        ]

    def __str__(self) -> str:
        return f"refresh token {self.pk} of {self.sign_in_id}"

    @classmethod
    def add(cls, sign_in: TerminalSignIn, generation: int, address: str | None) -> secrets.Plaintext:
        secret = secrets.generate(secrets.REFRESH_PREFIX)
        cls(sign_in=sign_in, digest=secrets.digest(secret), generation=generation, address=address).save()
        return secret

    @classmethod
    def presented(cls, secret: str) -> "RefreshToken | None":
        """None for whatever is none of ours; what cannot be one is refused without a query."""
        if not secrets.is_made_here(secret, secrets.REFRESH_PREFIX):
            return None
        return cls.objects.select_related("sign_in__owner").filter(digest=secrets.digest(secret)).first()

    def renew(self, *, address: str | None, request_id: str) -> secrets.Plaintext:
        """The successor. Raises Refused, where this was used before after the family has ended: inside a transaction,
        which the caller must let commit."""
        now = timezone.now()
        locked = (
            TerminalSignIn.objects.live(now).select_for_update(of=("self",), no_key=True).filter(pk=self.sign_in_id)
        )
        if not locked.exists():
            raise Refused("This sign-in has ended.")
        if not may_be_signed_in(self.sign_in.owner):
            raise Refused("The person of this sign-in is not active.")
        self.refresh_from_db(fields=["used_at"])  # another process may have used it while this one waited
        family = RefreshToken.objects.filter(sign_in=self.sign_in_id)
        newest = family.order_by("-generation").values_list("generation", flat=True)[:1].get()
        if self.generation == newest:
            RefreshToken.objects.filter(pk=self.pk).update(used_at=now)
        elif not self._is_in_grace(newest, now) or family.filter(generation=newest).count() >= SUCCESSORS:
            self.sign_in.end_as_stolen(address=address, request_id=request_id)
            raise Refused("This refresh token was used before. The sign-in has ended.")
        return RefreshToken.add(self.sign_in, self.generation + 1, address)

    def _is_in_grace(self, newest: int, now: datetime) -> bool:
        return self.generation == newest - 1 and self.used_at is not None and now - self.used_at <= GRACE


def may_be_signed_in(person: Any) -> bool:
    return person.is_active and not person.is_service_account and person.deleted_at is None
