"""What each policy says, taken apart: one statement for each action, and which pools it could concern."""

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, NamedTuple

from profiles.policies import globs
from profiles.policies.forms import Action, Effect, HttpAction, Policy, SemanticAction


class Operation(StrEnum):
    """What pool access consists of."""

    SUBMIT = "submit"
    EXEC = "exec"
    PORT_FORWARD = "port-forward"


class Way(NamedTuple):
    """One way to do an operation: an action on `pool/<name>`, or a POST to the path.

    If the path names no pool, it goes on: with one segment, or with those that released servers have.
    """

    action: str
    path: str
    names_pool: bool = False

    def overlaps(self, pattern: str) -> bool:
        if self.names_pool:
            return globs.overlap(pattern, self.path)
        return any(globs.overlap_path(pattern, f"{self.path}/{tail}") for tail in ("*", "task/*", "group/*"))


WAYS = {
    Operation.SUBMIT: (Way("workflow:Create", "/api/pool/*/workflow", names_pool=True),),
    Operation.EXEC: (
        Way("workflow:Exec", "/api/workflow/*/exec"),
        Way("workflow:Rsync", "/api/workflow/*/rsync"),
    ),
    Operation.PORT_FORWARD: (Way("workflow:PortForward", "/api/workflow/*/portforward"),),
}
ALL_WAYS = [way for ways in WAYS.values() for way in ways]
# Whatever comes near an operation: restarting a workflow, a web server in one, paths that may come later.
POOL_PATHS = [f"{way.path}*" for way in ALL_WAYS] + ["/api/workflow/*/webserver*"]

# What only an administrator hands out. The value is the one verb or method that anybody may be given there.
PRIVILEGED_KINDS = {"*": "", "auth": "", "internal": "", "config": "Read", "user": "List"}
PRIVILEGED_PATHS = {
    "/api/auth/*": "",
    "/api/agent/*": "",
    "/api/logger/*": "",
    "/api/router/*/backend/*": "",
    "/api/configs*": "Get",
    "/api/users*": "Get",
}


class Statement(NamedTuple):
    """One action of one policy of one role, allowing or denying."""

    role: str
    resources: tuple[str, ...]
    action: Action
    denies: bool

    def __str__(self) -> str:
        if isinstance(self.action, HttpAction):
            return str(self.action)
        return f"{action_in_words(self.action)} {self.place}"

    @property
    def place(self) -> str:
        """In words, what the resources limit it to."""
        if not (self.resources or self.denies):
            return "where no resource is named"
        if not self.resources or any(globs.is_everything(name) for name in self.resources):
            return "on everything"
        return f"on {', '.join(self.resources)}"

    def reaches(self, resource: str | None) -> bool:
        """Whether the resources include this one, or, with None, what is scoped to none."""
        if resource is None and not self.resources:
            return True
        return bool(self.resource_matcher()(resource or ""))

    def resource_matcher(self) -> Callable[[str], object]:
        if not self.resources:
            return lambda _resource: self.denies
        return globs.matcher(*map(globs.only_stars, self.resources))

    def concerns(self, way: Way) -> bool:
        """Whether there could be a pool for which this matters.

        Without resources it counts even as an allow, because OSMO 6.2 lets it through.
        """
        if isinstance(self.action, HttpAction):
            return self.action.serves("POST") and way.overlaps(self.action.path)
        return self.action.covers(way.action) and (not self.resources or bool(self.pool_resources()))

    def pool_resources(self) -> list[str]:
        return [name for name in self.resources if globs.overlap(globs.only_stars(name), "pool/*")]


def action_in_words(action: SemanticAction) -> str:
    return "every action" if str(action) == "*:*" else str(action)


def statements(policies: Iterable[Policy], role: str = "") -> list[Statement]:
    return [_statement(policy, action, role) for policy in policies for action in policy.actions]


def _statement(policy: Policy, action: Action, role: str) -> Statement:
    denies = policy.effect is Effect.DENY or (isinstance(action, HttpAction) and action.denies)
    return Statement(role, policy.resources, action, denies)


def allows(policies: Iterable[Policy]) -> list[Statement]:
    return [said for said in statements(policies) if not said.denies]


def grants_pool_access(policies: tuple[Policy, ...]) -> bool:
    """Whether some allow could reach some operation on some conceivable pool; denies are ignored."""
    return any(_reaches_pools(said) for said in allows(policies))


def _reaches_pools(said: Statement) -> bool:
    if isinstance(said.action, SemanticAction):
        return any(said.concerns(way) for way in ALL_WAYS)
    path = said.action.path
    return said.action.serves("POST") and any(globs.overlap(path, near) for near in POOL_PATHS)


def is_plain(policies: tuple[Policy, ...]) -> bool:
    """Whether an operator may grant a role with these policies: no pool access and nothing privileged."""
    return not beyond_plain(policies)


def beyond_plain(policies: Iterable[Policy]) -> list[Statement]:
    """The allows that keep a role from being plain."""
    return [said for said in allows(policies) if _reaches_pools(said) or _is_privileged(said.action)]


def pool_policies(pool: str, operations: Iterable[Operation]) -> list[dict[str, Any]]:
    """The policies, as they are stored, of a role that gives these operations on the one pool and nothing else."""
    actions = sorted(way.action for operation in operations for way in WAYS[operation])
    return [{"effect": "Allow", "actions": actions, "resources": [f"pool/{pool}"]}]


def _is_privileged(action: Action) -> bool:
    if isinstance(action, SemanticAction):
        return action.verb != PRIVILEGED_KINDS.get(action.kind, action.verb)
    return any(
        action.method != harmless and globs.overlap(action.path, path) for path, harmless in PRIVILEGED_PATHS.items()
    )
