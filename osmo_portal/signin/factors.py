"""Second factors: who must have one, what of them is stored, and who takes them away."""

from typing import Any

from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authentication_failed
from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.dispatch import Signal, receiver
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse

from osmo_portal.console.onward import with_next
from osmo_portal.events.actor import Actor, Door
from osmo_portal.events.trail import audited, record
from profiles.models import User
from profiles.rules import require_administrator, require_reason
from profiles.signals import user_recovered

# Sent with user, by, reason, inside the transaction in which a person's factors were taken away.
factors_reset = Signal()
PORTAL = "OSMO portal"
CODES = Authenticator.Type.RECOVERY_CODES
APP = Authenticator.Type.TOTP
KEY = Authenticator.Type.WEBAUTHN
SPOKEN = {APP: "authenticator app", KEY: "security key", CODES: "recovery codes"}


def of(user: Any) -> QuerySet:
    """What proves besides a password that it is this person. Recovery codes only stand in for it."""
    return Authenticator.objects.filter(user=user).exclude(type=CODES).order_by("created_at")


def are_asked_of(user: Any) -> bool:
    """Whether REQUIRE_MFA speaks of this person."""
    asked = {"administrators": "is_administrator", "staff": "is_staff"}.get(settings.REQUIRE_MFA)
    return asked is not None and getattr(user, asked)


def must_add_one(user: Any) -> bool:
    """Whether REQUIRE_MFA asks for a second factor that the person does not have."""
    return are_asked_of(user) and not of(user).exists()


def ask(request: HttpRequest) -> HttpResponseRedirect | None:
    """None where nothing is missing; else the way to add a second factor, and from there on to what was asked for."""
    if not must_add_one(request.user):
        return None
    return HttpResponseRedirect(with_next(reverse("mfa_index"), request.get_full_path()))


def reset(person: User, *, by: Actor, reason: str) -> None:
    """Takes all factors from a person who lost them. The next sign-in asks for the password alone.

    Terminals that were signed in by them are signed out: whoever has the factors now may have begun that.
    """
    require_administrator(by, "take a person's second factors away")
    reason = require_reason(reason)
    with audited():
        count, _ = Authenticator.objects.filter(user=person).delete()
        if not count:
            raise ValidationError(f"{person} has no second factor.")
        record("factors.reset", by, person, reason=reason)
        factors_reset.send(User, user=person, by=by, reason=reason)


@receiver(user_recovered)
def _reset_with_recovery(sender: Any, user: User, by: Actor, reason: str, **kwargs: Any) -> None:
    """The way back in must not end at a factor that is lost."""
    if Authenticator.objects.filter(user=user).exists():
        reset(user, by=by, reason=reason)


def note(action: str, request: HttpRequest, kind: str, **details: Any) -> None:
    """Records what a person did to an own factor, inside the `audited()` block that does it."""
    by = Actor.signed_in(request, Door.ADMIN)
    record(action, by, by.user, factor=SPOKEN[Authenticator.Type(kind)], **details)


@receiver(authentication_failed)
def _record_failure(sender: Any, request: HttpRequest, user: Any, **kwargs: Any) -> None:
    with audited():
        record("signin.failed", Actor.nobody(request, Door.ADMIN), user, step="second factor")


class FactorAdapter(DefaultMFAAdapter):
    """What must stay secret, the app's key and the seed of the codes, is stored encrypted (KEY_ENCRYPTION_KEYS)."""

    error_messages = {
        **DefaultMFAAdapter.error_messages,
        "incorrect_code": "That was not right. Try again; a code of the app is good for half a minute, and once.",
    }

    def encrypt(self, text: str) -> str:
        return _fernet().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return _fernet().decrypt(encrypted_text.encode()).decode()

    def get_totp_label(self, user: Any) -> str:
        return user.username

    def get_totp_issuer(self) -> str:
        return PORTAL

    def generate_authenticator_name(self, user: Any, type: str) -> str:  # noqa: A002  (allauth's name)
        count = Authenticator.objects.filter(user=user, type=type).count()
        return f"Security key {count + 1}"

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        return {**super().get_public_key_credential_rp_entity(), "name": PORTAL}

    def get_public_key_credential_user_entity(self, user: Any) -> dict[str, Any]:
        entity = super().get_public_key_credential_user_entity(user)
        return {**entity, "name": user.username, "display_name": user.display_name or user.username}


def _fernet() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.KEY_ENCRYPTION_KEYS])
