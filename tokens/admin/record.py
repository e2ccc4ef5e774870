"""What the page of a token tells below its facts: what it may do, its roles, its secrets."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone

from osmo_portal.console.section import Panel
from osmo_portal.events.actor import Actor
from osmo_portal.events.models import SPARE, Event, kind_of
from profiles.models import Pool, Role, RoleAssignment
from tokens import reach, standing
from tokens.models import AccessToken, Secret
from tokens.models.token_set import State
from tokens.standing import Refusal

POOLS_SHOWN = 50
POOLS_LISTED = 500
SECRETS_SHOWN = 10
EVENTS_READ = 200

HALTED = {
    Refusal.REVOKED: "Nothing: it is revoked for good.",
    Refusal.EXPIRED: "Nothing: it has expired for good.",
    Refusal.OWNER_INACTIVE: "Nothing, because its owner is not active. If that changed, this:",
    Refusal.SUSPENDED: "Nothing, because it is suspended. Once resumed, this:",
    Refusal.NO_ROLE_LEFT: "Nothing: its owner has lost every role that it carries.",
}
FOR_GOOD = {Refusal.REVOKED, Refusal.EXPIRED, Refusal.NO_ROLE_LEFT}


def access_panel(token: AccessToken, by: Actor) -> Panel:
    halted = standing.of_token(token)
    context = {"token": token, "halted": HALTED[halted] if halted else "", "for_good": halted in FOR_GOOD}
    if halted not in FOR_GOOD:
        context |= pools_reached(token)
    return Panel("What it may do now", "portal/panels/token_access.html", context)


def pools_reached(token: AccessToken) -> dict[str, Any]:
    """All pools where they are few, those reached first; else the first of those reached."""
    rows = reach.access(token, Pool.objects.existing().values_list("name", flat=True))
    reached = [row for row in rows if row.operations]
    closed = [row for row in rows if not row.operations]
    shown = [*reached, *closed] if len(rows) <= POOLS_SHOWN else reached[:POOLS_SHOWN]
    return {
        "rows": shown,
        "pools": len(rows),
        "reached": len(reached),
        "more": len(reached) - len([row for row in shown if row.operations]),
        "left_out": len(rows) > len(shown),
    }


def all_pools(token: AccessToken, begun: str) -> dict[str, Any]:
    """Those whose names begin like this, as many as fit on a page."""
    halted = standing.of_token(token)
    fitting = Pool.objects.existing().filter(name__startswith=begun)
    names = [*fitting.values_list("name", flat=True)[: POOLS_LISTED + 1]]
    return {
        "halted": HALTED[halted] if halted else "",
        "rows": [] if halted in FOR_GOOD else reach.access(token, names[:POOLS_LISTED]),
        "more": len(names) > POOLS_LISTED,
        "typed": begun,
    }


@dataclass(frozen=True, slots=True)
class GivenRole:
    """A role on a token. `loss` is the event that took it away; `lost_at` is None while the token carries it."""

    assignment: RoleAssignment
    lost_at: datetime | None = None
    loss: Event | None = None


def roles_panel(token: AccessToken, by: Actor) -> Panel:
    assignments = sorted((given.assignment for given in token.put_roles()), key=lambda one: one.role.name)
    losses = _losses(token, [one for one in assignments if one.removed_at or one.role.deleted_at])
    given = [GivenRole(one, one.removed_at or one.role.deleted_at, losses.get(one.pk)) for one in assignments]
    given.sort(key=lambda one: one.lost_at is not None)
    return Panel("Roles", "portal/panels/token_roles.html", {"given": given, "token": token})


def _losses(token: AccessToken, lost: list[RoleAssignment]) -> dict[int, Event]:
    """For each assignment that is lost, the event that tells by whom and why. Two queries, however many."""
    if not lost:
        return {}
    deleted = [one.role_id for one in lost if not one.removed_at]
    deletions = Event.objects.filter(object_type=kind_of(Role), object_id__in=deleted, action="role.deleted")
    of_role = {event.object_id: event for event in deletions}
    mine = Event.objects.filter(object_type=kind_of(token.owner), object_id=token.owner_id, action="role.removed")
    removals = [*mine[:EVENTS_READ]]
    found = {one.pk: _removal(one, removals) if one.removed_at else of_role.get(one.role_id) for one in lost}
    return {pk: event for pk, event in found.items() if event}


def _removal(lost: RoleAssignment, newest_first: list[Event]) -> Event | None:
    """The first event of that role's name that was written soon after the assignment had ended."""
    since = lost.removed_at
    if since is None:
        return None
    soon = [one for one in newest_first if since <= one.at < since + SPARE]
    fitting = [one for one in soon if one.changes["role"] == lost.role.name]
    return fitting[-1] if fitting else None


@dataclass(frozen=True, slots=True)
class ShownSecret:
    """A secret without its digest. `unused` is what to say where no first use is recorded."""

    secret: Secret
    state: str
    unused: str


def secrets_panel(token: AccessToken, by: Actor) -> Panel:
    now = timezone.now()
    newest = [*token.secrets.defer("digest")[: SECRETS_SHOWN + 1]]
    shown = [
        ShownSecret(secret, secret_state(secret, token, now), _unused(token, position))
        for position, secret in enumerate(newest[:SECRETS_SHOWN])
    ]
    context = {"secrets": shown, "more": len(newest) > SECRETS_SHOWN}
    return Panel("Secrets", "portal/panels/secrets.html", context)


def _unused(token: AccessToken, position: int) -> str:
    """Of the secret that the token was issued with, only the token's last use is known."""
    if position < token.rotations:
        return "not yet" if position == 0 else "never"
    return "never" if token.last_use.at is None else "not recorded"


def secret_state(secret: Secret, token: AccessToken, now: datetime) -> str:
    """What the secret is good for, seen with the token that it opens."""
    if not secret.is_live(now):
        return "retired"
    if token.state(now) != State.ACTIVE:
        return token.state(now).value
    return "live" if secret.retires_at is None else "in its grace"


PANELS = (access_panel, roles_panel, secrets_panel)
