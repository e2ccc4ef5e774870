"""What tokens does when profiles change, inside the same transaction."""

from typing import Any

from django.dispatch import receiver

from osmo_portal.events.actor import Actor
from osmo_portal.signin.factors import factors_reset
from profiles.models import Role, User
from profiles.names import MAX_TEXT
from profiles.signals import maximum_lifetime_changed, password_changed, user_deactivated, user_deleted
from tokens.models import AccessToken, SignInRequest, TerminalSignIn


@receiver(user_deactivated)
def suspend_tokens(sender: Any, user: User, by: Actor, reason: str, **kwargs: Any) -> None:
    AccessToken.objects.owned_by(user).suspend(by=by, reason=_because(f"{user} was deactivated", reason))


@receiver(user_deactivated)
def end_terminal_sign_ins(sender: Any, user: User, by: Actor, reason: str, **kwargs: Any) -> None:
    _sign_out(user, by=by, reason=_because(f"{user} was deactivated", reason))


@receiver(password_changed)
def end_terminal_sign_ins_with_the_password(sender: Any, user: User, by: Actor, **kwargs: Any) -> None:
    """As browser sessions: whoever knew the old password may have begun one."""
    _sign_out(user, by=by, reason="The password was changed.")


@receiver(factors_reset)
def end_terminal_sign_ins_with_the_factors(sender: Any, user: User, by: Actor, reason: str, **kwargs: Any) -> None:
    _sign_out(user, by=by, reason=_because("The second factors were taken away", reason))


def _sign_out(user: User, *, by: Actor, reason: str) -> None:
    SignInRequest.objects.filter(decided_by=user, sign_in=None).delete()
    TerminalSignIn.objects.of(user).end(by=by, reason=reason)


@receiver(user_deleted)
def revoke_tokens(sender: Any, user: User, by: Actor, reason: str, **kwargs: Any) -> None:
    AccessToken.objects.owned_by(user).revoke(by=by, reason=_because(f"{user} was deleted", reason))


@receiver(maximum_lifetime_changed)
def shorten_tokens(sender: Any, role: Role, by: Actor, reason: str, **kwargs: Any) -> None:
    """Expiry is final: tokens over a lowered maximum end for good, so that raising it again revives none."""
    if role.max_token_days:
        why = _because(f"The role {role} allows {role.max_token_days} days", reason)
        AccessToken.objects.given(role).cap_lifetime(role.max_token_days, by=by, reason=why)


def _because(what: str, reason: str) -> str:
    """A reason for the tokens that is no longer than a reason may be."""
    return f"{what}: {reason}"[:MAX_TEXT] if reason else f"{what}."
