"""Which live tokens pass into a pool: allows come from their roles, denies from all that their owners hold."""

from collections.abc import Iterable
from datetime import timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from osmo_portal.events.trail import AuditedQuerySet
from profiles.reach import Gates, holding
from tokens.models import TokenRole


def live_roles(roles: Iterable[int]) -> AuditedQuerySet[TokenRole]:
    """That a live token of an active owner carries one of the roles and has not lost it: found by the roles' indexes,
    so that few of many tokens are found without looking at all."""
    now = timezone.now()
    return TokenRole.objects.filter(
        assignment__role__in=[*roles],
        assignment__role__deleted_at=None,
        assignment__removed_at=None,
        token__ended_at=None,
        token__suspended_at=None,
        token__expires_at__gt=now,
        token__issued_at__gt=now - timedelta(days=settings.MAX_TOKEN_DAYS),
        token__owner__is_active=True,
        token__owner__deleted_at=None,
    ).order_by()


def passing(gates: Gates) -> Q:
    """Of `live_roles`, those whose token passes by one of the ways."""
    found = Q(pk__in=[])
    for gate in gates:
        found |= carrying(gate.allow) & ~holding(gate.deny, "token__owner")
    return found


def carrying(roles: Iterable[int]) -> Q:
    """Whether the token of the row carries one of the roles."""
    roles = [*roles]
    carried = TokenRole.objects.filter(token=OuterRef("token"), assignment__removed_at=None, assignment__role__in=roles)
    return Q(Exists(carried)) if roles else Q(pk__in=[])
