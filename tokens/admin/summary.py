"""What a token would come to: the pools, the operations, the end. Told before it is issued."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from django.core.exceptions import ValidationError

from osmo_portal.events.actor import Actor
from profiles.models import Pool, Role, User
from tokens import reach, rules
from tokens.reach import PoolAccess

POOLS_NAMED = 20


@dataclass(frozen=True, slots=True)
class Reach:
    """Pools with what is allowed, or withheld, in all of them."""

    what: str
    pools: list[str]

    @property
    def named(self) -> str:
        return ", ".join(self.pools[:POOLS_NAMED])

    @property
    def more(self) -> int:
        return max(len(self.pools) - POOLS_NAMED, 0)


@dataclass(frozen=True, slots=True)
class Summary:
    """`problem` says why the day is not possible; `until` is None then, and while none is chosen."""

    roles: list[Role]
    days: int
    until: datetime | None = None
    problem: str = ""
    reached: list[Reach] = field(default_factory=list)
    withheld: list[Reach] = field(default_factory=list)

    @classmethod
    def of(cls, owner: User, chosen: list[Role], day: str, *, by: Actor) -> "Summary":
        """Of a token of `owner` with the chosen roles that ends on the day as it was typed. Two queries at most."""
        until, problem = _end(day, chosen, by)
        days = rules.maximum_days(chosen)
        if not chosen:
            return cls([], days, until, problem)
        rows = reach.would_access(owner, chosen, Pool.objects.existing().values_list("name", flat=True))
        return cls(chosen, days, until, problem, _reached(rows), _withheld(rows))


def _end(day: str, chosen: list[Role], by: Actor) -> tuple[datetime | None, str]:
    if not day:
        return None, ""
    try:
        return rules.check_expiry(rules.parse_day(day), chosen, by=by), ""
    except ValidationError as error:
        return None, error.messages[0]


def _reached(rows: Iterable[PoolAccess]) -> list[Reach]:
    """Pools with the same operations together."""
    together: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.operations:
            together[", ".join(row.operations)].append(row.pool)
    return [Reach(what, pools) for what, pools in together.items()]


def _withheld(rows: Iterable[PoolAccess]) -> list[Reach]:
    """What a role denies in the pools that are reached otherwise, or that are not at all, by its reason."""
    together: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        for operation, decision in row.decisions.items():
            if decision.role and not decision:
                together[f"{operation.value}: {decision.reason}"].append(row.pool)
    return [Reach(why, pools) for why, pools in together.items()]
