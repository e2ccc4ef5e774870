"""Which pools tokens reach now: submit to, enter, or forward from."""

from collections.abc import Callable, Iterable
from functools import cache

from django.db.models import Q

from profiles.models import Pool, Role, RoleAssignment
from profiles.policies import Operation, RolePolicies, reachable_pools
from profiles.policies.statements import statements
from profiles.rules import DEFAULT_ROLE
from tokens.models import AccessToken

Names = frozenset[str]


def pools_reached(tokens: Iterable[AccessToken]) -> dict[int, list[str]]:
    """For each token the names of the pools, sorted. Three queries, and one evaluation of each role.

    Allows come from the token's live roles, denies from all that its owner holds. Only where one of these denies
    anything is a combination of roles evaluated by itself, and that once.
    """
    tokens = list(tokens)
    pools = list(Pool.objects.existing().order_by("name").values_list("name", flat=True))
    held = _held({token.owner_id for token in tokens})
    everybody = {role.pk: role for role in Role.objects.existing().filter(name=DEFAULT_ROLE)}
    known = everybody | {role.pk: role for roles in held.values() for role in roles.values()}
    reached = _evaluation(known, pools)
    answer = {}
    for token in tokens:
        binding = frozenset({*everybody, *held.get(token.owner_id, ())})
        carried = {given.assignment.role_id for given in token.roles.all() if given.is_effective}
        found = reached(frozenset(carried & binding), binding)
        answer[token.pk] = [pool for pool in pools if pool in found]
    return answer


def _held(owners: set[int]) -> dict[int, dict[int, Role]]:
    held: dict[int, dict[int, Role]] = {}
    for assignment in RoleAssignment.objects.effective().filter(Q(user__in=owners)).select_related("role").order_by():
        held.setdefault(assignment.user_id, {})[assignment.role_id] = assignment.role
    return held


def _evaluation(known: dict[int, Role], pools: list[str]) -> Callable[[frozenset[int], frozenset[int]], Names]:
    parsed = cache(lambda key: known[key].parsed)

    @cache
    def denies(key: int) -> bool:
        return any(said.denies for said in statements(parsed(key).policies))

    @cache
    def allowed(key: int) -> Names:
        return _reached(pools, [parsed(key)], [])

    @cache
    def together(carried: frozenset[int], binding: frozenset[int]) -> Names:
        return _reached(pools, [parsed(key) for key in carried], [parsed(key) for key in binding])

    def reached(carried: frozenset[int], binding: frozenset[int]) -> Names:
        if any(denies(key) for key in binding):
            return together(carried, binding)
        return frozenset().union(*(allowed(key) for key in carried))

    return reached


def _reached(pools: list[str], allow: list[RolePolicies], deny: list[RolePolicies]) -> Names:
    return frozenset(pool for one in Operation for pool in reachable_pools(pools, one, allow=allow, deny=deny))
