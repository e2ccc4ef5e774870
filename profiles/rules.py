"""Who may change users, roles and pools: administrators. Who may know of which users. Each way in asks here."""

from typing import TYPE_CHECKING

from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Q

from osmo_portal.events.actor import ADMINISTRATOR_ROLE, Actor

if TYPE_CHECKING:
    from profiles.models.user import UserQuerySet

USER_ROLE = "osmo-user"
DEFAULT_ROLE = "osmo-default"
NEVER_WITH_POOL_ACCESS = frozenset({USER_ROLE, DEFAULT_ROLE})
__all__ = ["ADMINISTRATOR_ROLE", "DEFAULT_ROLE", "NEVER_WITH_POOL_ACCESS", "USER_ROLE"]


def require_administrator(by: Actor, what: str) -> None:
    """Raises PermissionDenied unless the role osmo-admin is in force for this request."""
    if not by.is_administrator:
        raise PermissionDenied(f"Only an administrator may {what}.")


def require_reason(reason: str) -> str:
    from profiles.names import clean_text

    text = clean_text(reason, field="reason")
    if not text:
        raise ValidationError({"reason": "Say why. The reason is kept with the record."})
    return text


def reads_everything(by: Actor) -> bool:
    """The people of the console, and programs in which an administrator's roles are in force."""
    return by.is_administrator or by.is_operator or by.is_auditor or by.is_shell


def visible_users(by: Actor) -> "UserQuerySet":
    """Existing users that `by` may know of: a person, oneself and the service accounts that one is accountable for.
    To anybody else they do not exist."""
    from profiles.models import User

    everybody: UserQuerySet = User.objects.existing()
    if reads_everything(by):
        return everybody
    if by.user.is_service_account:
        return everybody.filter(pk=by.user.pk)
    return everybody.filter(Q(pk=by.user.pk) | Q(accountable=by.user))
