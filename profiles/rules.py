"""Who may change users, roles and pools: administrators. Each way in asks here."""

from django.core.exceptions import PermissionDenied, ValidationError

from osmo_portal.events.actor import ADMINISTRATOR_ROLE, Actor

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
