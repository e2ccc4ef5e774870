"""The rules about tokens, as the querysets of what is allowed. Pages, serializers and the final check ask the same."""

import re
from collections.abc import Container, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from osmo_portal.events.actor import Actor
from profiles import names
from profiles.models import Kind, Role, RoleAssignment, User
from profiles.rules import USER_ROLE

if TYPE_CHECKING:
    from tokens.models.token_set import AccessTokenQuerySet

NO_ROLES_ON_USER_TOKENS = "Assigning roles to user access tokens is not supported."


def grantable_roles(*, owner: User, by: Actor) -> QuerySet[Role]:
    """Roles that `by` may put on a token of `owner`: held by the owner, and within the issuer's power.

    A user token carries osmo-user and nothing else. On service tokens administrators put any role that the account
    holds, operators the plain ones, and nobody else anything.
    """
    held = owner.held_roles()
    if not owner.is_service_account:
        mine = by.is_administrator or (by.user == owner)
        return held.filter(name=USER_ROLE) if mine else Role.objects.none()
    return held & _grantable_on_service_tokens(by)


def _grantable_on_service_tokens(by: Actor) -> QuerySet[Role]:
    if by.is_administrator:
        return Role.objects.existing()
    return Role.objects.plain() if by.is_operator else Role.objects.none()


def may_issue_service_tokens(by: Actor) -> bool:
    return by.is_administrator or by.is_operator


def visible_tokens(by: Actor) -> "AccessTokenQuerySet":
    """Tokens that `by` may know of. To anybody else they do not exist."""
    from tokens.models import AccessToken

    everything = AccessToken.objects.all()
    if by.is_administrator or by.is_operator or by.is_auditor or by.is_shell:
        return everything
    if by.user is None:
        return everything.none()
    if by.token and by.user.is_service_account:
        return everything.filter(owner=by.user)
    return everything.filter(Q(owner=by.user) | Q(owner__accountable=by.user))


def endable_tokens(by: Actor) -> "AccessTokenQuerySet":
    """Tokens that `by` may suspend and revoke, whatever their power: their own, those of accounts a person is
    accountable for, and for operators and administrators all."""
    from tokens.models import AccessToken

    if by.is_administrator or by.is_operator or by.is_shell:
        return AccessToken.objects.all()
    if by.user is None or by.changes_nothing or by.user.is_service_account:
        return AccessToken.objects.none()
    return visible_tokens(by)


def manageable_tokens(by: Actor) -> "AccessTokenQuerySet":
    """Tokens that `by` may handle (rotate, resume, receive the secret of): none more powerful than `by` could grant."""
    from tokens.models import AccessToken, TokenRole

    if by.is_administrator:
        return AccessToken.objects.all()
    if by.user is None or by.changes_nothing or by.user.is_service_account:
        return AccessToken.objects.none()
    own = Q(owner=by.user)
    if not by.is_operator:
        return AccessToken.objects.filter(own)
    beyond = TokenRole.objects.filter(token=OuterRef("pk"), assignment__role__is_plain=False)
    return AccessToken.objects.filter(own | (Q(owner__kind=Kind.SERVICE) & ~Exists(beyond)))


def assignments_to_carry(by: Actor, owner: User, wanted: list[str]) -> list[RoleAssignment]:
    """The owner's assignments behind the roles that the token will carry. As grantable_roles, with reasons."""
    _check_may_issue(by, owner)
    if not owner.is_active or owner.deleted_at:
        raise ValidationError({"owner": f"User {owner} is not active."}, code="inactive")
    if not owner.is_service_account:
        if wanted:
            raise ValidationError({"roles": NO_ROLES_ON_USER_TOKENS}, code="user_token")
        wanted = [USER_ROLE]
    check_role_names(wanted)
    held = {a.role.name: a for a in owner.assignments.effective().select_related("role")}
    grantable = set(grantable_roles(owner=owner, by=by).values_list("name", flat=True))
    for name in wanted:
        if name not in held:
            raise ValidationError({"roles": f"User {owner} does not hold the role {name}."}, code="not_held")
        if name not in grantable:
            raise PermissionDenied(f"Only an administrator may put the role {name} on a service token.")
    return [held[name] for name in wanted]


def _check_may_issue(by: Actor, owner: User) -> None:
    if owner.is_service_account and not may_issue_service_tokens(by):
        raise PermissionDenied("Only an administrator may issue service tokens.")
    if by.changes_nothing:
        raise PermissionDenied("An auditor reads everything and changes nothing.")
    if not owner.is_service_account and by.user != owner and not by.is_administrator:
        raise PermissionDenied("Only an administrator may issue tokens for somebody else.")


def check_arrival(owner: User, name: str, roles: Sequence[str], held: Container[tuple[int, str]]) -> None:
    """That a token which comes from another system is called, and carries, what a new one could.

    `held` are the roles that active users hold, with the user's key.
    """
    check_name(name)
    if not owner.is_service_account and [*roles] != [USER_ROLE]:
        raise ValidationError({"roles": NO_ROLES_ON_USER_TOKENS}, code="user_token")
    if not roles or any((owner.pk, role) not in held for role in roles):
        raise ValidationError({"roles": f"User {owner} does not hold the roles, or is not active."}, code="not_held")


def check_role_names(wanted: list[str]) -> None:
    if not wanted:
        raise ValidationError({"roles": "At least one role must be specified for the access token."}, code="no_role")
    if len(wanted) > 100:
        raise ValidationError({"roles": "At most 100 roles fit on one token."}, code="too_many")
    possible = [name for name in wanted if names.role_name.fits(name)]
    known = set(Role.objects.existing().filter(name__in=possible).values_list("name", flat=True))
    for position, name in enumerate(wanted):
        if name not in known:
            raise ValidationError({"roles": f"Invalid role: {name[:100]}"}, code="unknown_role")
        if name in wanted[:position]:
            raise ValidationError({"roles": f"Role {name} is listed twice."}, code="twice")


def check_name(name: str) -> None:
    try:
        names.token_name(name)
    except ValidationError:
        message = f"Token name {name[:100]} must match regex {names.TOKEN_NAME}"
        raise ValidationError({"name": message}, code="name") from None
    if len(name) > names.MAX_LENGTH:
        raise ValidationError({"name": f"A token name has at most {names.MAX_LENGTH} characters."}, code="name")
    if name in {"user", "service"}:
        raise ValidationError({"name": f'"{name}" cannot name a token: it is part of an address. Choose another.'})


# Lifetime. Expiry is a day; a token is dead from 00:00 UTC of it.


def maximum_days(roles: Iterable[Role]) -> int:
    """The strictest maximum lifetime of the roles and of the portal, in days."""
    portal: int = settings.MAX_TOKEN_DAYS
    return min([portal, *(role.max_token_days for role in roles if role.max_token_days)])


def latest_expiry(roles: Iterable[Role], today: date | None = None) -> date:
    return (today or timezone.now().date()) + timedelta(days=maximum_days(roles))


def latest_end(roles: Iterable[Role], now: datetime) -> datetime:
    return datetime.combine(latest_expiry(roles, now.date()), time.min, UTC)


def parse_day(text: str) -> date:
    """The day of `YYYY-MM-DD`, one-digit months and days included. Raises ValidationError."""
    match = re.fullmatch(r"(\d{4})-(\d{1,2})-(\d{1,2})", text, re.ASCII)
    try:
        year, month, day = map(int, match.groups() if match else ())
        return date(year, month, day)
    except ValueError:
        shown = text if len(text) <= 40 and text.isprintable() else "given"
        message = f"Invalid date format {shown}. Date must be in YYYY-MM-DD format (e.g. 2025-12-31)"
        raise ValidationError({"expires_at": message}, code="date") from None


def check_expiry(expires: date, roles: Iterable[Role], *, by: Actor, now: datetime | None = None) -> datetime:
    """The instant at which a token with these roles ends. Raises ValidationError where the day is not allowed.

    A caller signed in by a token gets none that outlives the one used, unless an administrator's roles are in force.
    """
    today = (now or timezone.now()).date()
    if expires <= today:
        raise ValidationError({"expires_at": f"Expiration date must be past the current date ({today})"}, code="past")
    days = maximum_days(roles)
    if expires > today + timedelta(days=days):
        message = f"Access token cannot last longer than {days}d"
        raise ValidationError({"expires_at": message}, code="too_long", params={"days": days})
    instant = datetime.combine(expires, time.min, UTC)
    refuse_outliving(instant, by)
    return instant


def refuse_outliving(instant: datetime, by: Actor) -> None:
    if by.token is None or by.is_administrator:
        return
    end = by.until or by.token.expires_at
    if instant > end:
        message = f"Access token cannot outlast the one you are signed in with, which expires on {end.date()}."
        raise ValidationError({"expires_at": f"{message} Choose {end.date()} or earlier."}, code="outlives")
