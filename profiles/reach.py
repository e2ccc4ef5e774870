"""Which pools a user reaches now, and which roles reach a pool."""

from collections.abc import Iterable

from django.db.models import Q

from profiles.models import Pool, Role, User
from profiles.policies import Operation, RolePolicies, may, reachable_pools
from profiles.rules import DEFAULT_ROLE


def submit_pools(user: User, pools: Iterable[Pool]) -> list[str]:
    """Names of the pools, in the order given, to which the user's current roles allow to submit. One query.

    By evaluation only: no role's name gives a pool, and no pool is everybody's.
    """
    policies = policies_about(user)
    return reachable_pools([pool.name for pool in pools], Operation.SUBMIT, allow=policies, deny=policies)


def policies_about(user: User) -> list[RolePolicies]:
    """Those of the roles that the user holds now, and of osmo-default, which counts for everybody. One query."""
    held = Q(assignments__user=user, assignments__removed_at=None)
    return [role.parsed for role in Role.objects.existing().filter(held | Q(name=DEFAULT_ROLE)).distinct()]


def roles_reaching(pool_name: str) -> list[str]:
    """Names of the roles each of which, by itself, allows to submit to, enter or forward from the pool. One query."""
    return [role.name for role in Role.objects.pool_roles() if _reaches(role, pool_name)]


def _reaches(role: Role, pool_name: str) -> bool:
    policies = [role.parsed]
    return any(may(operation, pool_name, allow=policies, deny=()) for operation in Operation)


def reach_of_roles() -> dict[str, list[str]]:
    """For each role that reaches a pool by itself, the existing pools that it reaches. Two queries."""
    pools = [*Pool.objects.existing().values_list("name", flat=True)]
    return {role.name: _reached(role.parsed, pools) for role in Role.objects.pool_roles()}


def _reached(role: RolePolicies, pools: list[str]) -> list[str]:
    found = {name for op in Operation for name in reachable_pools(pools, op, allow=[role], deny=[])}
    return [pool for pool in pools if pool in found]
