"""Who is hit if a role becomes another, or ends: worked out before it happens. Bounded work, whoever holds the role."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from django.db.models import Q, QuerySet

from profiles.models import Pool, Role, RoleAssignment, User
from profiles.policies import Operation
from profiles.reach import Gate, Gates, Reach, holding, users_passing
from profiles.rules import DEFAULT_ROLE

NAMED = 10
COUNTED = 1_000
POOLS = 200  # worked out
STEPS = 10  # counted


@dataclass(frozen=True)
class Crowd:
    """Some of many by name. Where `more`, counting stopped at `count`."""

    names: list[str]
    count: int
    more: bool = False

    def __bool__(self) -> bool:
        return self.count > 0

    def __str__(self) -> str:
        left = self.count - len(self.names)
        if not left:
            return ", ".join(self.names) + (" and perhaps more" if self.more else "")
        return f"{', '.join(self.names)} and {left:,}{'+' if self.more else ''} more"

    @property
    def number(self) -> str:
        return f"{self.count:,}{'+' if self.more else ''}"

    @classmethod
    def of(cls, names: Iterable[str]) -> "Crowd":
        """Of no more than COUNTED + 1 names."""
        known = [*names]
        return cls(known[:NAMED], min(len(known), COUNTED), len(known) > COUNTED)


def capped(found: QuerySet[Any, Any]) -> str:
    """How many there are, without counting past COUNTED."""
    count = found.order_by()[: COUNTED + 1].count()
    return f"{COUNTED:,}+" if count > COUNTED else f"{count:,}"


@dataclass(frozen=True)
class Step:
    """Pools on which the same operations open and close for the same users. `role` is the number of the role that
    changes, None where it counts for everybody. `seen` is the edit's."""

    before: Gates
    after: Gates
    role: int | None
    operations: tuple[Operation, ...]
    seen: dict[Any, Any]
    pools: list[str] = field(default_factory=list)

    @property
    def is_about_denies(self) -> bool:
        return self.role is None or any(self.role in gate.deny for gate in self.before | self.after)

    def __str__(self) -> str:
        few = ", ".join(self.pools[:5])
        more = f" and {len(self.pools) - 5} more" if len(self.pools) > 5 else ""
        return f"pool{'s' if len(self.pools) > 1 else ''} {few}{more}: {', '.join(self.operations)}"


Count = Callable[[Step, Gates, Gates], Crowd]  # those who pass by the first and not by the second


@dataclass(frozen=True)
class Notice:
    """Something that the change does, in a few words, and to whom."""

    text: str
    crowd: Crowd | None = None


def users_between(step: Step, passing: Gates, barred: Gates) -> Crowd:
    concerned = Q() if step.role is None else holding([step.role])
    found = User.objects.active().filter(concerned, users_passing(passing) & ~users_passing(barred))
    return Crowd.of(found.order_by("username").values_list("username", flat=True)[: COUNTED + 1])


class Line(NamedTuple):
    """That some users, or some tokens, gain or lose."""

    verb: str
    kind: str
    crowd: Crowd


class Hit(NamedTuple):
    step: Step
    lines: list[Line]


class RoleEdit:
    """A role before and after. Without `after` it ends; without `before` it begins, and hits nobody."""

    # What else knows of those who are hit adds itself here: the tokens do.
    counts: list[tuple[str, Count]] = [("user", users_between)]
    notices: list[Callable[["RoleEdit"], list[Notice]]] = []

    def __init__(self, before: Role | None, after: Role | None) -> None:
        self.before, self.after = before, after
        self.seen: dict[Any, Any] = {}  # what the counts and notices looked up, for each other

    @property
    def is_felt(self) -> bool:
        """Whether anybody could feel it: more than the description changes."""
        if self.before is None or self.after is None:
            return True
        return self.before.policies != self.after.policies or self.before.max_token_days != self.after.max_token_days

    @property
    def words(self) -> list[tuple[str, str]]:
        """What the role gives, line by line, as (new, stays or goes; what)."""
        before = self.before.described if self.before else []
        after = self.after.described if self.after else []
        kept = [("stays" if line in before else "new", line) for line in after]
        return kept + [("goes", line) for line in before if line not in after]

    @cached_property
    def hits(self) -> list[Hit]:
        return [hit for hit in map(self._hit, self._steps[:STEPS]) if hit.lines]

    def _hit(self, step: Step) -> Hit:
        lines = []
        for kind, count in self.counts:
            lines += [("gain", kind, count(step, step.after, step.before))]
            lines += [("lose", kind, count(step, step.before, step.after))]
        return Hit(step, [Line(verb, kind, crowd) for verb, kind, crowd in lines if crowd])

    @property
    def uncounted(self) -> list[str]:
        """Pools that are concerned as well, by name alone."""
        return [pool for step in self._steps[STEPS:] for pool in step.pools] + self._changed_pools[POOLS:]

    @cached_property
    def told(self) -> list[Notice]:
        return [notice for tell in (power, holders, *self.notices) for notice in tell(self)]

    @cached_property
    def _changed_pools(self) -> list[str]:
        """Pools about which the role itself says something else than before."""
        if self.before is None:
            return []
        pk = self.before.pk
        old, new = Reach([self.before]), Reach([self.after] if self.after else [])
        names = Pool.objects.existing().values_list("name", flat=True)
        nothing = Reach([Role(pk=pk)])
        return [name for name in names if old.says(pk, name) != (new if self.after else nothing).says(pk, name)]

    @cached_property
    def _steps(self) -> list[Step]:
        if not self._changed_pools or self.before is None:
            return []
        now = Reach.now()
        others = [role for pk, role in now.roles.items() if pk != self.before.pk]
        after = Reach([*others, self.after] if self.after else others)
        concerned = None if self.before.pk in now.for_all else self.before.pk
        beside = held_beside(self.before) if concerned else {*now.roles}
        steps: dict[Any, Step] = {}
        for pool in self._changed_pools[:POOLS]:
            old, new = (_narrowed(reach.gates(pool), beside) for reach in (now, after))
            for key, operations in _differing(old, new).items():
                step = steps.setdefault((key, *operations), Step(*key, concerned, tuple(operations), self.seen))
                step.pools.append(pool)
        return [*steps.values()]


def held_beside(role: Role) -> set[int]:
    """Roles that some holder of the role holds, itself included. No other can matter to whom a change hits."""
    holders = RoleAssignment.objects.effective().filter(role=role).values("user")
    held = RoleAssignment.objects.effective().filter(user__in=holders).order_by()
    return {role.pk, *held.values_list("role_id", flat=True).distinct()}


def _narrowed(gates: dict[Operation, Gates], roles: set[int]) -> dict[Operation, Gates]:
    """What is the same for those who hold no other roles, however many roles there are."""
    shut = Gate(frozenset(), frozenset())
    return {
        operation: frozenset(
            Gate(gate.allow & roles, gate.deny & roles) if gate.allow & roles else shut for gate in some
        )
        for operation, some in gates.items()
    }


def power(edit: RoleEdit) -> list[Notice]:
    """Who may grant the role from now on."""
    before, after = edit.before, edit.after
    if after is None:
        return []
    found = []
    if before and before.grants_pools != after.grants_pools:
        found.append(f"It {'becomes' if after.grants_pools else 'stops being'} a pool role.")
    if before is None or before.is_plain != after.is_plain:
        found.append(
            "Operators may grant it, not only administrators."
            if after.is_plain
            else "Only administrators may grant it, not operators."
        )
    return [Notice(text) for text in found]


def holders(edit: RoleEdit) -> list[Notice]:
    if edit.before is None:
        return [Notice("Nobody holds it yet, so nobody is hit.")]
    if edit.before.name == DEFAULT_ROLE:
        return [Notice("It counts for everybody.")]
    found = User.objects.active().filter(holding([edit.before.pk])).order_by("username")
    crowd = Crowd.of(found.values_list("username", flat=True)[: COUNTED + 1])
    return [Notice("Users who hold it", crowd)]


def _differing(
    before: dict[Operation, Gates], after: dict[Operation, Gates]
) -> dict[tuple[Gates, Gates], list[Operation]]:
    """Operations that somebody could gain or lose, together where it is the same for all of them."""
    together: dict[tuple[Gates, Gates], list[Operation]] = {}
    for operation in Operation:
        if before[operation] != after[operation]:
            together.setdefault((before[operation], after[operation]), []).append(operation)
    return together
