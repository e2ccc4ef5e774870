"""What a list of tokens as a file tells of each one, and who may take it. No secrets, no digests."""

from datetime import datetime
from typing import Any

from django.core.exceptions import PermissionDenied
from django.utils import timezone

from osmo_portal.console.export import Columns
from osmo_portal.events.actor import Actor
from osmo_portal.events.trail import audited, record
from tokens.models import AccessToken
from tokens.models.token_set import AccessTokenQuerySet


def exported(tokens: AccessTokenQuerySet) -> AccessTokenQuerySet:
    """With what the columns ask of each token: three queries a batch."""
    with_state = tokens.prefetch_related(None).with_state()
    return with_state.select_related("owner__accountable", "created_by", "ended_by")


def _name(user: Any) -> str:
    return user.username if user else ""


def _instant(when: datetime | None) -> str:
    return when.astimezone(timezone.get_default_timezone()).isoformat(timespec="seconds") if when else ""


COLUMNS: Columns = {
    "id": lambda token: token.pk,
    "name": lambda token: token.name,
    "owner": lambda token: token.owner.username,
    "kind": lambda token: token.owner.kind,
    "accountable": lambda token: _name(token.owner.accountable),
    "description": lambda token: token.description,
    "state": lambda token: str(token.state()),
    "roles": lambda token: token.role_names,
    "lost_roles": lambda token: token.lost_role_names,
    "created_at": lambda token: _instant(token.created_at),
    "issued_by": lambda token: _name(token.created_by),
    "issued_at": lambda token: _instant(token.issued_at),
    "expires_at": lambda token: _instant(token.expires_at),
    "rotations": lambda token: token.rotations,
    "last_used_at": lambda token: _instant(token.last_use.at),
    "last_used_from": lambda token: token.last_use.ip or "",
    "suspended_at": lambda token: _instant(token.suspended_at),
    "ended_at": lambda token: _instant(token.ended_at),
    "ended_by": lambda token: _name(token.ended_by),
    "end_reason": lambda token: token.end_reason,
}


def require_power_to_export(by: Actor) -> None:
    if not (by.is_administrator or by.is_operator or by.is_shell):
        raise PermissionDenied("Only administrators and operators may export tokens.")


def record_export(*, by: Actor, rows: int, form: str, filters: dict[str, Any]) -> None:
    """Tells the trail, before the first byte leaves: what is cut off half-way has left all the same.

    Raises PermissionDenied for whom it is not.
    """
    require_power_to_export(by)
    label = f"{rows:,} token{'s' if rows != 1 else ''}"
    with audited():
        record("tokens.exported", by, AccessToken(), label=label, filters=filters, rows=rows, format=form)
