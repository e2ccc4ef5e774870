"""What one identity may do at this moment, and why: the same answer for whoever asks, be it a gateway or a person."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from profiles.models import Pool, User
from profiles.policies import (
    Decision,
    Operation,
    RolePolicies,
    Statement,
    decide,
    decide_request,
    having_a_say,
    having_a_say_in_request,
    reachable_pools,
)
from profiles.reach import policies_about
from profiles.rules import DEFAULT_ROLE


@dataclass(frozen=True, slots=True)
class Powers:
    """Allows count from `allow`, denies from all of `deny`: a token is never wider than its owner."""

    allow: tuple[RolePolicies, ...]
    deny: tuple[RolePolicies, ...]

    @classmethod
    def of(cls, user: User, roles: Collection[str]) -> "Powers":
        """Those of the user where `roles` are in force: all that are held in a session, or what a token carries.

        What the user does not hold (any more) gives nothing; osmo-default counts for everybody. One query.
        """
        held = policies_about(user)
        return cls(tuple(one for one in held if one.role in roles or one.role == DEFAULT_ROLE), tuple(held))

    def may(self, action: str, resource: str | None) -> Decision:
        """Whether `type:Action` is allowed on a resource such as `pool/x`, or where there is none."""
        return decide(action, resource, allow=self.allow, deny=self.deny)

    def may_request(self, method: str, target: str) -> Decision:
        """Whether a request is allowed: its method, and its target as sent."""
        return decide_request(method, target, allow=self.allow, deny=self.deny)

    def submit_pools(self) -> list[str]:
        """Names of the existing pools to which one may submit. One query."""
        pools = Pool.objects.existing().order_by("name").values_list("name", flat=True)
        return reachable_pools(pools, Operation.SUBMIT, allow=self.allow, deny=self.deny)

    def said(self, action: str, resource: str | None) -> Iterator[Statement]:
        """All statements that have a say in `may`; the first one decides."""
        return having_a_say(action, resource, allow=self.allow, deny=self.deny)

    def said_of_request(self, method: str, target: str) -> Iterator[Statement]:
        """The same for `may_request`."""
        return having_a_say_in_request(method, target, allow=self.allow, deny=self.deny) or iter(())
