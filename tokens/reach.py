"""What a token may do in each pool now, or would with other roles, and why."""

from collections.abc import Iterable
from dataclasses import dataclass

from profiles.models import Role, User
from profiles.policies import Decision, Operation, RolePolicies, by_pool
from profiles.reach import policies_about
from profiles.rules import DEFAULT_ROLE
from tokens.models import AccessToken

NO_ROLE = "No role that it carries allows it."


@dataclass(frozen=True, slots=True)
class PoolAccess:
    """A decision for each operation, in the order of `Operation`."""

    pool: str
    decisions: dict[Operation, Decision]

    @property
    def operations(self) -> list[str]:
        """What is allowed."""
        return [operation.value for operation, decision in self.decisions.items() if decision]

    @property
    def reasons(self) -> dict[str, list[str]]:
        """Each reason with the operations that it decides."""
        found: dict[str, list[str]] = {}
        for operation, decision in self.decisions.items():
            found.setdefault(decision.reason if decision.role else NO_ROLE, []).append(operation.value)
        return found


def access(token: AccessToken, pools: Iterable[str]) -> list[PoolAccess]:
    """What the token's roles come to in the pools, in the order given. One query, and none more with roles prefetched.

    The token's own state, and its owner's, have no say here: ask `standing.of_token`.
    """
    carried = [given.assignment.role for given in token.put_roles() if given.is_effective]
    return would_access(token.owner, carried, pools)


def would_access(owner: User, carried: Iterable[Role], pools: Iterable[str]) -> list[PoolAccess]:
    """The same of a token of `owner` that carried these roles. One query.

    Allows come from the roles carried, denies from every role that the owner holds now: so no token is wider than
    its owner. osmo-default counts for everybody.
    """
    held = policies_about(owner)
    allow = [role.parsed for role in carried] + _everybodys(held)
    decide = {operation: by_pool(operation, allow=allow, deny=held) for operation in Operation}
    return [PoolAccess(pool, {operation: one(pool) for operation, one in decide.items()}) for pool in pools]


def _everybodys(policies: list[RolePolicies]) -> list[RolePolicies]:
    return [one for one in policies if one.role == DEFAULT_ROLE]
