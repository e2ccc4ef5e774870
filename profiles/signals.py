"""What profiles tells others, inside the transaction of the change, and what it hears from Django."""

from typing import Any

from django.contrib.auth.signals import user_logged_in
from django.dispatch import Signal, receiver
from django.http import HttpRequest

from osmo_portal.events.actor import Actor, Door

# Sent with user, by, reason. What a receiver raises undoes the deactivation.
user_deactivated = Signal()
# Sent with user, by, reason, when a user's record ends for good.
user_deleted = Signal()
# Sent with role, by, after the new maximum was saved.
maximum_lifetime_changed = Signal()


@receiver(user_logged_in)
def record_sign_in(sender: Any, request: HttpRequest, user: Any, **kwargs: Any) -> None:
    user.signed_in(by=Actor.signed_in(request, Door.ADMIN))
