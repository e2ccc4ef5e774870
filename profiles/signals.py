"""What profiles tells others, inside the transaction of the change, and what it hears from Django."""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.dispatch import Signal, receiver
from django.http import HttpRequest

from osmo_portal.events.actor import Actor, Door
from osmo_portal.events.trail import audited, record

# Sent with user, by, reason. What a receiver raises undoes the deactivation.
user_deactivated = Signal()
# Sent with user, by, reason, when a user's record ends for good.
user_deleted = Signal()
# Sent with user, by, after the new password was saved.
password_changed = Signal()
# Sent with user, by, reason, when the shell gives a person the way back in.
user_recovered = Signal()
# Sent with role, by, reason, after the new maximum was saved.
maximum_lifetime_changed = Signal()


@receiver(user_logged_in)
def record_sign_in(sender: Any, request: HttpRequest, user: Any, **kwargs: Any) -> None:
    user.signed_in(by=Actor.signed_in(request, Door.ADMIN, user))


@receiver(user_login_failed)
def record_failed_sign_in(
    sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any
) -> None:
    """Of an id that nobody has, only the beginning is kept: people type passwords and secrets into the wrong field."""
    if request is None:
        return
    typed = str(credentials.get("username") or "").replace("\0", "")[:254]
    users = get_user_model()
    user = users.objects.people().named(typed).first()
    label = user.username if user else "".join(c for c in typed[:4] if c.isprintable()) + "…"
    with audited():
        record("signin.failed", Actor.nobody(request, Door.ADMIN), user or users(), label=label)
