"""Which pools tokens reach now: submit to, enter, or forward from."""

from collections.abc import Callable, Iterable
from functools import cache

from django.db.models import Q

from profiles.models import Pool, Role, RoleAssignment
from profiles.policies import Operation, RolePolicies, reachable_pools
from profiles.reach import alone
from profiles.rules import DEFAULT_ROLE
from tokens.models import AccessToken

Names = frozenset[str]


def pools_reached(tokens: Iterable[AccessToken]) -> dict[int, list[str]]:
    """For each token the names of the pools, sorted. Three queries, and one evaluation of each role.

    Allows come from the token's live roles, denies from all that its owner holds. Only where one of these denies
    anything is a combination of roles evaluated by itself, and that once.
    """
    tokens = list(tokens)
    pools = tuple(Pool.objects.existing().order_by("name").values_list("name", flat=True))
    held = _held({token.owner_id for token in tokens})
    counted = Role.objects.existing().filter(Q(name=DEFAULT_ROLE) | Q(pk__in=set().union(*held.values())))
    known = {role.pk: role for role in counted.only("name", "policies")}
    everybody = {key for key, role in known.items() if role.name == DEFAULT_ROLE}
    reached = _evaluation(known, pools)
    answer = {}
    for token in tokens:
        binding = frozenset({*everybody, *held.get(token.owner_id, ())})
        carried = {given.role_id for given in token.put_roles() if given.is_effective}
        found = reached(frozenset(carried & binding), binding)
        answer[token.pk] = [pool for pool in pools if pool in found]
    return answer


def _held(owners: set[int]) -> dict[int, set[int]]:
    held: dict[int, set[int]] = {}
    for owner, role in RoleAssignment.objects.effective().filter(user__in=owners).values_list("user", "role"):
        held.setdefault(owner, set()).add(role)
    return held


def _evaluation(known: dict[int, Role], pools: tuple[str, ...]) -> Callable[[frozenset[int], frozenset[int]], Names]:
    parsed = cache(lambda key: known[key].parsed)
    by_itself = cache(lambda key: alone(known[key].policies, pools))

    @cache
    def together(carried: frozenset[int], binding: frozenset[int]) -> Names:
        return _reached(pools, [parsed(key) for key in carried], [parsed(key) for key in binding])

    def reached(carried: frozenset[int], binding: frozenset[int]) -> Names:
        if any(by_itself(key).denies for key in binding):
            return together(carried, binding)
        return frozenset().union(*(by_itself(key).pools for key in carried))

    return reached


def _reached(pools: tuple[str, ...], allow: list[RolePolicies], deny: list[RolePolicies]) -> Names:
    return frozenset(pool for one in Operation for pool in reachable_pools(pools, one, allow=allow, deny=deny))
