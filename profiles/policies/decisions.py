"""What roles allow: questions about their policies, answered with a reason.

Where released versions of OSMO differ, the strict reading holds:

* A deny wins over every allow of every role, in either form (`forms` describes the two).
* An allow without resources reaches nothing that is scoped to a resource; a deny without resources does.
* What is scoped to no resource is reached by the resource `*` or by a policy without resources.
* A request that no action stands for is open to `*:*` on `*` alone, or to an http action for its path.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote

from profiles.policies import globs
from profiles.policies.forms import HttpAction, Policy, SemanticAction
from profiles.policies.statements import ALL_WAYS, WAYS, Operation, Statement, Way, statements


@dataclass(frozen=True, slots=True)
class RolePolicies:
    role: str
    policies: tuple[Policy, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """True or false, and why, in words for a person. `role` is the one that decided; empty where none has a say."""

    allowed: bool
    reason: str
    role: str = ""

    def __bool__(self) -> bool:
        return self.allowed


class Says(NamedTuple):
    """On which ways into one pool a role has an allow, and on which a deny. A deny of any role wins."""

    allows: frozenset[Way]
    denies: frozenset[Way]


Roles = Iterable[RolePolicies]
Question = Callable[[Statement], bool]  # whether a statement has a say


class Route(NamedTuple):
    """The action that a request stands for; `name` in the path is the resource's name, of the given kind."""

    action: str
    kind: str
    methods: frozenset[str]
    path: re.Pattern[str]


def _route(action: str, methods: str, path: str, kind: str = "") -> Route:
    return Route(action, kind, frozenset(methods.split()), re.compile(path))


ROUTES = (
    _route("auth:Token", "*", r"/api/auth/access_token(/.*)?"),
    _route("auth:Token", "*", r"/api/auth/user/(?P<name>[^/]+)/access_token(/.*)?", "user"),
    _route("auth:Login", "GET", r"/api/auth/(login|keys)"),
    _route("auth:Refresh", "*", r"/api/auth/jwt/(refresh_token|access_token)"),
    _route("profile:Read", "GET", r"/api/profile/settings"),
    _route("profile:Update", "POST", r"/api/profile/settings"),
    _route("pool:List", "GET", r"/api/pool(_quota)?"),
    # The whole collection has the empty name: an allow for one kind of configuration does not reach it.
    _route("config:Read", "GET", r"/api/configs(/(?P<name>[^/]*)(/.*)?)?", "config"),
    _route("config:Update", "PUT PATCH", r"/api/configs/(?P<name>[^/]+)(/.*)?", "config"),
    _route("user:List", "GET", r"/api/users"),
    _route("resources:Read", "GET", r"/api/resources(/.*)?"),
    _route("workflow:Create", "POST", r"/api/pool/(?P<name>[^/]+)/workflow(/.*)?", "pool"),
    _route("workflow:List", "GET", r"/api/(workflow|task|tag)"),
    # These are about a workflow, whose pool is not named.
    _route("workflow:Exec", "POST WEBSOCKET", r"/api/workflow/[^/]+/exec(/.*)?", "pool"),
    _route("workflow:Exec", "*", r"/api/router/exec/[^/]+/client/.+", "pool"),
    _route("workflow:Rsync", "POST", r"/api/workflow/[^/]+/rsync(/.*)?", "pool"),
    _route("workflow:Rsync", "*", r"/api/router/rsync/[^/]+/client/.+", "pool"),
    _route("workflow:PortForward", "*", r"/api/workflow/[^/]+/(portforward|webserver)/.+", "pool"),
    _route("workflow:PortForward", "*", r"/api/router/portforward/[^/]+/client/.+", "pool"),
    _route("workflow:PortForward", "GET", r"/api/router/webserver/.+", "pool"),
    _route("workflow:Cancel", "POST", r"/api/workflow/[^/]+/cancel", "pool"),
    _route("workflow:Read", "GET", r"/api/workflow/.+", "pool"),
    _route("workflow:Update", "PUT PATCH", r"/api/workflow/.+", "pool"),
    _route("workflow:Delete", "DELETE", r"/api/workflow/.+", "pool"),
    _route("dataset:List", "GET", r"/api/bucket"),
    _route("dataset:Read", "GET", r"/api/bucket/(?P<name>[^/]+)(/.*)?", "bucket"),
    _route("dataset:Write", "POST PUT", r"/api/bucket/(?P<name>[^/]+)(/.*)?", "bucket"),
    _route("dataset:Delete", "DELETE", r"/api/bucket/(?P<name>[^/]+)(/.*)?", "bucket"),
    *(
        _route(f"{kind}:{verb}", methods, rf"/api/{kind}(/.*)?")
        for kind in ("app", "credentials")
        for verb, methods in (("Create", "POST"), ("Read", "GET"), ("Update", "PUT PATCH"), ("Delete", "DELETE"))
    ),
    _route("system:Health", "*", r"/health"),
    _route("system:Version", "*", r"/api/version|/api/router/version|/client/version"),
    _route("internal:Operator", "*", r"/api/agent/(listener|worker)/(?P<name>[^/]+)(/.*)?", "backend"),
    _route("internal:Logger", "*", r"/api/logger/workflow/[^/]+/osmo_ctrl/(?P<name>[^/]+)(/.*)?", "backend"),
    _route("internal:Router", "*", r"/api/router/[^/]+/[^/]+/backend/(?P<name>[^/]+)(/.*)?", "backend"),
)


# Stands for a name that is not known. It is not printable, so no pattern spells it: only wildcards match it.
SOME = "\ue000\ue000"


def decide(action: str, resource: str | None, *, allow: Roles, deny: Roles) -> Decision:
    """Whether `type:Action` is allowed on a resource such as `pool/x`, or, with None, where there is none.

    Allows count from the roles in `allow` only, denies from both; so in all questions here. Http actions have
    no say in this one: ask `may` about pools and `decide_request` about requests.
    """
    return _answer(having_a_say(action, resource, allow=allow, deny=deny))


def having_a_say(action: str, resource: str | None, *, allow: Roles, deny: Roles) -> Iterator[Statement]:
    """All statements that `decide` asks, denies first: the first one decides."""
    return filter(_about_action(action, resource), _statements(allow, deny))


def decide_request(method: str, target: str, *, allow: Roles, deny: Roles) -> Decision:
    """Whether a request is allowed: its method, and its target as sent (percent-encoded, query ignored)."""
    said = having_a_say_in_request(method, target, allow=allow, deny=deny)
    if said is None:
        return Decision(False, "The path has dot segments or control characters, or does not begin with a slash.")
    return _answer(said)


def having_a_say_in_request(method: str, target: str, *, allow: Roles, deny: Roles) -> Iterator[Statement] | None:
    """All statements that `decide_request` asks, denies first; None for a path that servers may see differently."""
    path = _path(target)
    if path is None:
        return None
    asked = _any([_about_route(method, path), _about_path(method, path), _about_every_pool(path)])
    return filter(asked, _statements(allow, deny))


def may(operation: Operation, pool: str, *, allow: Roles, deny: Roles) -> Decision:
    """Whether workflows may be submitted to a pool, or entered or forwarded there, in either form.

    Entering and forwarding name no pool in their paths: there an http action counts for every pool, an allow
    if it matches any such path, a deny if it matches all of them.
    """
    return by_pool(operation, allow=allow, deny=deny)(pool)


def reachable_pools(pools: Iterable[str], operation: Operation, *, allow: Roles, deny: Roles) -> list[str]:
    """Those of the pools for which `may` says yes, in the order given."""
    decision = by_pool(operation, allow=allow, deny=deny)
    return [pool for pool in pools if decision(pool)]


def about_pools(policies: Iterable[Policy]) -> Callable[[str], Says]:
    """What the policies of one role say about any pool, taken apart so that many roles can be counted together.

    `may` says yes where, on one of the operation's ways, some role allows and none denies.
    """
    counted = [
        (way, said.denies, _about_pool(said, way))
        for said in statements(policies)
        for way in ALL_WAYS
        if said.concerns(way)
    ]

    def says(pool: str) -> Says:
        found = [(way, denies) for way, denies, counts in counted if counts(pool)]
        return Says(
            frozenset(way for way, denies in found if not denies), frozenset(way for way, denies in found if denies)
        )

    return says


def by_pool(operation: Operation, *, allow: Roles, deny: Roles) -> Callable[[str], Decision]:
    """The answers of `may` for any number of pools: what does not depend on the pool is sorted out once."""
    said = _statements(allow, deny)
    ways = [[(one, _about_pool(one, way)) for one in said if one.concerns(way)] for way in WAYS[operation]]

    def decision(pool: str) -> Decision:
        decisions = [_answer(one for one, counts in way if counts(pool)) for way in ways]
        return next((found for found in decisions if found), decisions[0])

    return decision


def _about_pool(said: Statement, way: Way) -> Callable[[str], object]:
    """For a statement that concerns a way: whether it counts for a pool."""
    if isinstance(said.action, SemanticAction):
        matches = said.resource_matcher()
        return lambda pool: matches(f"pool/{pool}")
    if way.names_pool:
        before, after = way.path.split("*")
        matches = globs.matcher(said.action.path)
        return lambda pool: matches(f"{before}{pool}{after}")
    always = not said.denies or globs.matches(said.action.path, f"{way.path.replace('*', SOME)}/{SOME}")
    return lambda _pool: always


def _statements(allow: Roles, deny: Roles) -> list[Statement]:
    """The denies of all roles, then the allows of those in `allow`."""
    allowing = [said for role in allow for said in statements(role.policies, role.role)]
    denying = [said for role in deny for said in statements(role.policies, role.role)]
    return [said for said in denying + allowing if said.denies] + [said for said in allowing if not said.denies]


def _answer(relevant: Iterable[Statement]) -> Decision:
    """What the first of the statements says that have a say; the denies come first."""
    for said in relevant:
        verb = "denies" if said.denies else "allows"
        return Decision(not said.denies, f"Role {said.role} {verb} {said}.", said.role)
    return Decision(False, "No role allows it.")


def _any(questions: Sequence[Question]) -> Question:
    return lambda said: any(asked(said) for asked in questions)


def _about_action(action: str, resource: str | None) -> Question:
    return lambda said: (
        isinstance(said.action, SemanticAction) and said.action.covers(action) and said.reaches(resource)
    )


def _about_route(method: str, path: str) -> Question:
    for route in ROUTES:
        found = route.path.fullmatch(path.rstrip("/"))
        if found and not route.methods.isdisjoint({"*", method.upper()}):
            return _about_action_of(route, found)
    # The nameless action is covered by `*:*` alone, the nameless resource by `*` alone.
    return _about_action("", "")


def _about_action_of(route: Route, found: re.Match[str]) -> Question:
    if not route.kind:
        return _about_action(route.action, None)
    if "name" in route.path.groupindex:
        return _about_action(route.action, f"{route.kind}/{found['name'] or ''}")
    return _about_some_pool(route.action)


def _about_some_pool(action: str) -> Question:
    """Of a pool that is not named: an allow must be for all of them, and a deny for one of them counts."""
    everywhere = _about_action(action, f"pool/{SOME}")
    return lambda said: (
        everywhere(said)
        or (
            said.denies
            and isinstance(said.action, SemanticAction)
            and said.action.covers(action)
            and bool(said.pool_resources())
        )
    )


def _about_path(method: str, path: str) -> Question:
    """A deny counts for the path with and without its last slash, an allow for the path as it is."""
    without = path.rstrip("/")

    def asked(said: Statement) -> bool:
        if not (isinstance(said.action, HttpAction) and said.action.serves(method)):
            return False
        pattern = said.action.path
        return globs.matches(pattern, path) or (said.denies and globs.matches(pattern, without))

    return asked


def _about_every_pool(path: str) -> Question:
    """For a request to do something on a pool that its path does not name: denies that concern every pool."""
    ways = [way for way in ALL_WAYS if globs.matches(f"{way.path}*", path)]
    about = _any([_about_action(way.action, f"pool/{SOME}") for way in ways])
    return lambda said: said.denies and about(said)


def _path(target: str) -> str | None:
    """The path that a server sees, or None for one that servers may see differently."""
    path = re.sub("/+", "/", unquote(re.split("[?#]", target, maxsplit=1)[0]))
    plain = path.startswith("/") and path.isprintable() and {".", ".."}.isdisjoint(path.split("/"))
    return path if plain else None
