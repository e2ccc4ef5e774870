"""A terminal asks to be signed in: what it waits with, and what a person types in the browser (RFC 8628)."""

import re
from datetime import datetime, timedelta
from typing import Any, Self

from django.conf import settings
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import models
from django.utils import timezone
from django.utils.crypto import salted_hmac

from osmo_portal import clock
from osmo_portal.events.actor import Actor, Door
from osmo_portal.events.trail import audited, record
from osmo_portal.postgresql import unconfirmed
from osmo_portal.signin import factors
from profiles.models import User
from tokens import secrets
from tokens.models.terminal_sign_in import MAX_AGENT, Refused, TerminalSignIn, may_be_signed_in

LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # no vowels, so no words; nothing that looks like a digit
LIFETIME = timedelta(minutes=10)
KEPT = timedelta(hours=1)  # after its end, so that a late terminal hears why
INTERVAL = 5  # seconds between two questions of a terminal
SLOWEST = 60
PATIENCE = 1  # so many less are not held against it
GONE = "That code is not known here, or its time is over. The terminal shows a new one when you begin again."


class SignInRequestQuerySet(models.QuerySet["SignInRequest"]):
    def pending(self, at: datetime | None = None) -> Self:
        return self.filter(decided_at=None, expires_at__gt=clock.latest(at or timezone.now()))

    def with_code(self, typed: str) -> Self:
        """Of the code as somebody typed it: in any case, with or without dashes and spaces."""
        code = readable(typed)
        return self.filter(user_digest=_user_digest(code)) if code else self.none()

    def drop_old(self) -> None:
        self.filter(expires_at__lt=timezone.now() - KEPT).delete()


class SignInRequest(models.Model):
    """Lives for minutes, and is forgotten soon after: what becomes of it stands in the audit trail.

    Of both codes only digests are stored. That of the user code, which is short, needs SECRET_KEY to be tried out.
    """

    device_digest = models.BinaryField(max_length=secrets.DIGEST_LENGTH, unique=True)
    user_digest = models.BinaryField(max_length=secrets.DIGEST_LENGTH, unique=True)
    client = models.CharField(max_length=64)
    agent = models.CharField(max_length=MAX_AGENT, blank=True)
    address = models.GenericIPAddressField(null=True)
    asked_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(db_index=True)
    interval = models.PositiveSmallIntegerField(default=INTERVAL)
    polled_at = models.DateTimeField(null=True)
    decided_at = models.DateTimeField(null=True)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="+")
    approved = models.BooleanField(default=False)
    sign_in = models.ForeignKey(TerminalSignIn, models.CASCADE, null=True, related_name="+")

    objects = SignInRequestQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.client} at {self.address}"

    @classmethod
    def ask(cls, *, device_code: str, user_code: str, client: str, agent: str, address: str | None) -> Self:
        with unconfirmed():
            cls.objects.drop_old()
            return cls.objects.create(
                device_digest=secrets.digest(device_code),
                user_digest=_user_digest(readable(user_code)),
                client=client,
                agent=_one_line(agent),
                address=address,
                expires_at=timezone.now() + LIFETIME,
            )

    @classmethod
    def presented(cls, device_code: str) -> "SignInRequest | None":
        """Of a terminal's device code, held until the transaction ends. None for whatever is none of ours."""
        if not secrets.is_made_here(device_code, secrets.DEVICE_PREFIX):
            return None
        mine = cls.objects.filter(device_digest=secrets.digest(device_code))
        held = mine.values_list("decided_by", flat=True).first()
        _hold_person(held)
        found = mine.select_for_update(of=("self",)).select_related("decided_by", "sign_in__owner").first()
        if found and found.decided_by_id != held:
            found.decided_at = None  # decided this moment: the next time the person's row is held first
        return found

    # What Authlib asks of a device credential.

    def get_client_id(self) -> str:
        return self.client

    def get_scope(self) -> str:
        return ""

    def get_user_code(self) -> str:
        """Nobody knows it any more; the key of the request stands for it."""
        return str(self.pk)

    def is_expired(self) -> bool:
        return timezone.now() >= self.expires_at

    # Ways in.

    def is_too_early(self) -> bool:
        """Notes that the terminal asked. Whoever asks too soon has to wait longer from then on."""
        now, before = timezone.now(), self.polled_at
        early = before is not None and now - before < timedelta(seconds=self.interval - PATIENCE)
        self.polled_at = now
        if early:
            self.interval = min(self.interval + INTERVAL, SLOWEST)
        self.save(update_fields=["polled_at", "interval"])
        return early

    def approve(self, *, by: Actor) -> None:
        """Lets the terminal be signed in as the person who says so in the browser."""
        self._decide(True, by=by)

    def deny(self, *, by: Actor) -> None:
        self._decide(False, by=by)

    def _decide(self, approved: bool, *, by: Actor) -> None:
        require_person(by)
        with audited():
            _hold_person(by.user.pk)
            stored = SignInRequest.objects.pending().select_for_update().filter(pk=self.pk).first()
            if stored is None:
                raise ValidationError(GONE, code="conflict")
            stored.approved, stored.decided_by, stored.decided_at = approved, by.user, timezone.now()
            stored.save(update_fields=["approved", "decided_by", "decided_at"])
            action = "terminal.approved" if approved else "terminal.denied"
            record(action, by, by.user, client=self.client, agent=self.agent, asked_from=self.address)

    @property
    def verdict(self) -> tuple[Any, bool] | None:
        """Who decided, and whether the terminal may be signed in; None while nobody has."""
        return (self.decided_by, self.approved) if self.decided_at else None

    def redeem(self, *, agent: str, address: str | None, request_id: str) -> tuple[TerminalSignIn, secrets.Plaintext]:
        """What was approved, this once. To be called in the transaction in which it was `presented`."""
        person = self.decided_by
        if person is None or not may_be_signed_in(person):
            raise Refused("The person who approved this is not active.")
        by = Actor(door=Door.CLI, user=person, address=address, request_id=request_id)
        self.sign_in, secret = TerminalSignIn.begin(person, client=self.client, agent=_one_line(agent), by=by)
        self.save(update_fields=["sign_in"])
        return self.sign_in, secret


def require_person(by: Actor) -> None:
    """Raises PermissionDenied unless a person decides who is signed in by a browser, and may change something."""
    if by.user is None or by.user.is_service_account or by.token or by.door != Door.MY_TOKENS:
        raise PermissionDenied("Only a person who is signed in by a browser may sign in a terminal.")
    if by.changes_nothing:
        raise PermissionDenied("An auditor reads everything and changes nothing. Ask an administrator.")
    if factors.must_add_one(by.user):
        raise PermissionDenied("Add a second factor to your sign-in first.")


def readable(typed: str) -> str:
    """The letters of a code that somebody typed; empty where it is none."""
    code = re.sub(r"[\s\-‐–—_.]", "", typed[:40]).upper()
    return code if re.fullmatch(f"[{LETTERS}]{{8}}", code) else ""


def _user_digest(code: str) -> bytes:
    return salted_hmac("tokens.user_code", code, algorithm="sha256").digest()


def _one_line(agent: str) -> str:
    return "".join(c for c in agent if c.isprintable())[:MAX_AGENT]


def _hold_person(pk: int | None) -> None:
    """The person's row, before any other: whoever deactivates the person begins there too."""
    if pk is not None:
        User.objects.select_for_update(no_key=True).filter(pk=pk).first()
