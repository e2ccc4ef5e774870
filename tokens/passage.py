"""Which live tokens pass into a pool: allows come from their roles, denies from all that their owners hold."""

from collections.abc import Iterable
from datetime import timedelta
from typing import NamedTuple

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from profiles.models import RoleAssignment
from profiles.reach import Gates, holding
from tokens.models import AccessToken, TokenRole
from tokens.models.keys import Keys

WINDOW = 3_000


class Sight(NamedTuple):
    """Rows to look at one by one, and whether there are more of them."""

    rows: QuerySet[TokenRole]
    more: bool


def within_sight(rows: QuerySet[TokenRole]) -> Sight:
    """The first WINDOW of many, by number: what is asked of them next costs no more than that, on either database."""
    numbers = [*rows.order_by().values_list("pk", flat=True)[: WINDOW + 1]]
    return Sight(TokenRole.objects.filter(pk__in=Keys(numbers[:WINDOW])).order_by(), len(numbers) > WINDOW)


def live_roles(roles: Iterable[int], holding_too: int | None = None) -> QuerySet[TokenRole]:
    """That a live token of an active owner, who may have to hold another role too, carries one of the roles now."""
    assignments = RoleAssignment.objects.effective().filter(role__in=[*roles])
    if holding_too is not None:
        held = RoleAssignment.objects.effective().filter(role=holding_too)
        assignments = assignments.filter(user__in=held.values("user"))
    active = assignments.filter(user__is_active=True, user__deleted_at=None)
    oldest = timezone.now() - timedelta(days=settings.MAX_TOKEN_DAYS)
    return put_on(active, AccessToken.objects.live().filter(issued_at__gt=oldest))


def put_on(assignments: QuerySet[RoleAssignment], tokens: QuerySet[AccessToken]) -> QuerySet[TokenRole]:
    """That one of the tokens carries a role by one of the assignments, lost since or not.

    The tokens are a condition and no join: so both databases begin with the assignments, which are few.
    """
    found = Exists(tokens.filter(pk=OuterRef("token")).order_by())
    return TokenRole.objects.filter(found, assignment__in=assignments.order_by().values("pk")).order_by()


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
