"""Policies as the released clients show them to people and send them back: nothing is lost on the way.

6.2 and later know actions as texts; an http action is one as well: `http:/api/pool:Get`.

6.0 and 6.1 know http actions alone. What an action of 6.2 stands for is told by the paths that it opens or closes, as
far as there are some, and the policy itself travels along under `stands_for`: from the clients' answer it is taken
again. So a policy that nobody touched comes back as it was.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from profiles.policies import globs
from profiles.policies.forms import (
    MAX_ACTIONS,
    MAX_TEXT,
    Effect,
    HttpAction,
    Policy,
    PolicyError,
    SemanticAction,
    as_json,
    normalise,
    parse,
)

STANDS_FOR = "stands_for"
# Verbs that no policy can spell stand for "all of the kind".
ALL = "All"


class Paths(NamedTuple):
    """The requests of an action. `{}` is the name of a resource of the kind; a kind and no `{}`: of any resource."""

    action: str
    kind: str
    methods: str
    paths: str


PATHS = (
    Paths("auth:Token", "", "*", "/api/auth/access_token /api/auth/access_token/*"),
    Paths("auth:Token", "user", "*", "/api/auth/user/{}/access_token /api/auth/user/{}/access_token/*"),
    Paths("auth:Login", "", "Get", "/api/auth/login /api/auth/keys"),
    Paths("auth:Refresh", "", "*", "/api/auth/jwt/refresh_token /api/auth/jwt/access_token"),
    Paths("profile:Read", "", "Get", "/api/profile/settings"),
    Paths("profile:Update", "", "Post", "/api/profile/settings"),
    Paths("pool:List", "", "Get", "/api/pool /api/pool_quota"),
    Paths("config:Read", "config", "Get", "/api/configs/{} /api/configs/{}/*"),
    Paths("config:Update", "config", "Put Patch", "/api/configs/{} /api/configs/{}/*"),
    Paths("user:List", "", "Get", "/api/users"),
    Paths("workflow:Create", "pool", "Post", "/api/pool/{}/workflow /api/pool/{}/workflow/*"),
    Paths("workflow:List", "pool", "Get", "/api/workflow /api/task"),
    Paths("workflow:Read", "pool", "Get", "/api/workflow/* /api/task/*"),
    Paths("workflow:Exec", "pool", "Post", "/api/workflow/*/exec/*"),
    Paths("workflow:Rsync", "pool", "Post", "/api/workflow/*/rsync/*"),
    Paths("workflow:PortForward", "pool", "Post", "/api/workflow/*/portforward/*"),
    Paths(f"app:{ALL}", "app", "*", "/api/app /api/app/*"),
    Paths(f"credentials:{ALL}", "credentials", "*", "/api/credentials /api/credentials/*"),
    Paths(f"dataset:{ALL}", "dataset", "*", "/api/bucket /api/bucket/*"),
    Paths("resources:Read", "resources", "Get", "/api/resources /api/resources/*"),
    Paths("system:Health", "", "*", "/health"),
    Paths("system:Version", "", "*", "/api/version /api/router/version /client/version"),
    Paths("internal:Operator", "backend", "*", "/api/agent/listener/{} /api/agent/listener/{}/*"),
    Paths("internal:Operator", "backend", "*", "/api/agent/worker/{} /api/agent/worker/{}/*"),
    Paths(
        "internal:Logger", "backend", "*", "/api/logger/workflow/*/osmo_ctrl/{} /api/logger/workflow/*/osmo_ctrl/{}/*"
    ),
    Paths("internal:Router", "backend", "*", "/api/router/*/*/backend/{} /api/router/*/*/backend/{}/*"),
)


def for_newer(policies: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Stored policies, as 6.2 and later read them."""
    return [{**policy, "actions": [*map(_as_text, policy["actions"])]} for policy in policies]


def for_older(policies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Stored policies, as 6.0 and 6.1 read them."""
    return [_older(policy, parsed) for policy, parsed in zip(policies, parse(policies), strict=True)]


def from_wire(policies: object) -> object:
    """What a client sent, with each policy in the place of which another one was shown. Raises PolicyError."""
    if not isinstance(policies, list):
        return policies
    return [_restored(policy, f"Policy {number}") for number, policy in enumerate(policies, start=1)]


def _as_text(action: str | dict[str, str]) -> str:
    return action if isinstance(action, str) else f"http:{action['path']}:{action['method']}"


def _older(policy: dict[str, Any], parsed: Policy) -> dict[str, Any]:
    shown: dict[str, Any] = {"actions": _paths_of(parsed)}
    return shown if normalise([shown]) == [policy] else {**shown, STANDS_FOR: policy}


def _restored(policy: object, where: str) -> object:
    if not isinstance(policy, dict) or STANDS_FOR not in policy:
        return policy
    (meant,) = _named(where, [policy[STANDS_FOR]])
    shown = {name: value for name, value in policy.items() if name != STANDS_FOR}
    if shown and _named(where, [shown]) != _named(where, [{"actions": _paths_of(*parse([meant]))}]):
        raise PolicyError(
            f"{where}: its actions no longer fit to what they stand for. To keep the actions take {STANDS_FOR} out; "
            f"to keep what {STANDS_FOR} says take the actions out."
        )
    return meant


def _named(where: str, policies: list[object]) -> list[dict[str, Any]]:
    try:
        return normalise(policies)
    except PolicyError as error:
        raise PolicyError(str(error).replace("Policy 1", where, 1)) from None


def _paths_of(policy: Policy) -> list[Any]:
    """The http actions that tell an older client what a policy is about; not more, nor longer, than a policy has."""
    denies = policy.effect is Effect.DENY
    told = (one for action in policy.actions for one in _told(action, policy.resources, denies=denies))
    found = dict.fromkeys(one for one in told if len(one.path) < MAX_TEXT)
    return [as_json(action) for action in [*found][:MAX_ACTIONS]]


def _told(action: SemanticAction | HttpAction, resources: tuple[str, ...], *, denies: bool) -> Iterator[HttpAction]:
    if isinstance(action, HttpAction):
        yield HttpAction(action.path, action.method, action.denies or denies)
        return
    everything = any(map(globs.is_everything, resources)) or (denies and not resources)
    if str(action) == "*:*" and everything:
        yield HttpAction("*", "*", denies)
        return
    for opened in PATHS:
        if action.covers(opened.action):
            for path in _of_resources(opened, ("*",) if everything else resources):
                yield from (HttpAction(path, method, denies) for method in opened.methods.split())


def _of_resources(opened: Paths, resources: tuple[str, ...]) -> Iterator[str]:
    for path in opened.paths.split():
        if "{}" in path:
            yield from (path.format(name) for name in _names(opened.kind, resources))
        elif "*" in resources or not (opened.kind or resources):
            yield path


def _names(kind: str, resources: tuple[str, ...]) -> list[str]:
    if "*" in resources:
        return ["*"]
    prefix = f"{kind}/"
    return [globs.only_stars(one.removeprefix(prefix)) for one in resources if one.startswith(prefix) and one != prefix]
