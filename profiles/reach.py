"""Which pools a user reaches now, which roles reach a pool, and who passes through them."""

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from django.db.models import BigIntegerField, Exists, JSONField, OuterRef, Q, TextField, Value
from django.db.models.functions import Cast

from osmo_portal.compiled import Compiled, Given
from profiles.models import Pool, Role, RoleAssignment, User
from profiles.models.role import RoleQuerySet
from profiles.policies import (
    WAYS,
    Decision,
    Operation,
    RolePolicies,
    Says,
    Way,
    about_pools,
    may,
    parse,
    reachable_pools,
)
from profiles.policies.statements import statements
from profiles.rules import DEFAULT_ROLE


class Gate(NamedTuple):
    """One way into a pool, by the numbers of roles: it takes one of `allow`, and none of `deny`."""

    allow: frozenset[int]
    deny: frozenset[int]


Gates: TypeAlias = frozenset[Gate]  # of an operation: any of them will do


_POOLS = Compiled(lambda: Pool.objects.existing().values_list("name"))
_POLICIES = Compiled(
    lambda: _about(Given("user", BigIntegerField())).values_list("name", Cast("policies", TextField()))
)


def _about(user: Any) -> RoleQuerySet:
    """By a subquery: joined, the assignments of everybody would be read."""
    held = RoleAssignment.objects.effective().filter(user=user).values("role")
    return Role.objects.existing().filter(Q(pk__in=held) | Q(name=DEFAULT_ROLE))


def submit_pools(user: User) -> list[str]:
    """Names of the pools to which the user's current roles allow to submit. Two queries.

    By evaluation only: no role's name gives a pool, and no pool is everybody's.
    """
    return list(_submit_pools(tuple(name for (name,) in _POOLS.rows()), tuple(policies_about(user))))


def policies_about(user: User) -> list[RolePolicies]:
    """Those of the roles that the user holds now, and of osmo-default, which counts for everybody. One query."""
    return [_parsed(name, policies) for name, policies in _POLICIES.rows(user=user.pk)]


# What follows from the same text is the same: it is worked out once, and forgotten when it was not asked for long.


@lru_cache(maxsize=1_000)
def _parsed(name: str, policies: str) -> RolePolicies:
    return RolePolicies(name, parse(json.loads(policies)))


@lru_cache(maxsize=200)
def _submit_pools(names: tuple[str, ...], policies: tuple[RolePolicies, ...]) -> list[str]:
    return reachable_pools(names, Operation.SUBMIT, allow=policies, deny=policies)


def roles_reaching(pool_name: str) -> list[str]:
    """Names of the roles each of which, by itself, allows to submit to, enter or forward from the pool. One query."""
    return [role.name for role in Role.objects.pool_roles() if _reaches(role, pool_name)]


def _reaches(role: Role, pool_name: str) -> bool:
    policies = [role.parsed]
    return any(may(operation, pool_name, allow=policies, deny=()) for operation in Operation)


def reach_of_roles() -> dict[str, list[str]]:
    """For each role that reaches a pool by itself, the existing pools that it reaches. One query."""
    roles = Role.objects.pool_roles().order_by().values_list("name", "policies")
    no_policies = Value(None, JSONField())
    found = [*roles.union(Pool.objects.existing().order_by().values_list("name", no_policies), all=True)]
    pools = tuple(sorted(name for name, policies in found if policies is None))
    return {name: [*alone(policies, pools).pools] for name, policies in found if policies is not None}


class Alone(NamedTuple):
    """What a role does when no other one plays a part: the pools that it reaches, and whether it denies anything."""

    pools: tuple[str, ...]
    denies: bool


def alone(policies: Any, pools: tuple[str, ...]) -> Alone:
    """By the policies as they are stored."""
    return _alone(json.dumps(policies), pools)


@lru_cache(maxsize=1_024)
def _alone(policies: str, pools: tuple[str, ...]) -> Alone:
    """Kept by all that it follows from, so it is never out of date."""
    role = RolePolicies("", parse(json.loads(policies)))
    found = {name for op in Operation for name in reachable_pools(pools, op, allow=[role], deny=[])}
    denies = any(said.denies for said in statements(role.policies))
    return Alone(tuple(pool for pool in pools if pool in found), denies)


class Reach:
    """What some roles, usually all that exist, say about pools when they are counted together."""

    def __init__(self, roles: Iterable[Role]) -> None:
        self.roles = {role.pk: role for role in roles}
        self.parsed = {pk: role.parsed for pk, role in self.roles.items()}
        self._about = {pk: about_pools(parsed.policies) for pk, parsed in self.parsed.items()}
        self.for_all = [pk for pk, role in self.roles.items() if role.name == DEFAULT_ROLE]

    @classmethod
    def now(cls) -> "Reach":
        """One query, however many users and tokens there are."""
        return cls(Role.objects.existing())

    def says(self, role_id: int, pool: str) -> Says:
        return self._about[role_id](pool)

    def gates(self, pool: str) -> dict[Operation, Gates]:
        said = {pk: self.says(pk, pool) for pk in self.roles}
        return {operation: frozenset(self._gate(way, said) for way in ways) for operation, ways in WAYS.items()}

    def _gate(self, way: Way, said: dict[int, Says]) -> Gate:
        deny = frozenset(pk for pk, says in said.items() if way in says.denies)
        if deny.intersection(self.for_all):
            return Gate(frozenset(), frozenset())  # osmo-default counts for everybody: nobody passes
        return Gate(frozenset(pk for pk, says in said.items() if way in says.allows), deny)

    def explain(self, pool: str, *, carried: Iterable[int], held: Iterable[int]) -> dict[Operation, Decision]:
        """What is allowed on the pool to one who carries some roles of an owner that holds others, and why."""
        allow = [self.parsed[pk] for pk in carried if pk in self.parsed]
        deny = [self.parsed[pk] for pk in {*held, *self.for_all} if pk in self.parsed]
        return {operation: may(operation, pool, allow=allow, deny=deny) for operation in Operation}


def any_gate(gates: dict[Operation, Gates]) -> Gates:
    """The ways into a pool, for whatever operation."""
    return frozenset(gate for some in gates.values() for gate in some)


def roles_behind(gates: Gates) -> set[int]:
    """The roles without which nobody passes."""
    return {pk for gate in gates for pk in gate.allow}


def users_passing(gates: Gates) -> Q:
    """Of users, those who pass by one of the ways."""
    passing = Q(pk__in=[])
    for gate in gates:
        passing |= holding(gate.allow) & ~holding(gate.deny)
    return passing


def holding(roles: Iterable[int], user: str = "pk") -> Q:
    """Whether the user that the path leads to holds one of the roles now."""
    roles = [*roles]
    held = RoleAssignment.objects.effective().filter(user=OuterRef(user), role__in=roles)
    return Q(Exists(held)) if roles else Q(pk__in=[])
