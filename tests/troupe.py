"""A larger cast for questions about who reaches which pool: users with roles that allow, deny and overlap."""

from typing import Any

from profiles.models import Pool, Role, User
from profiles.policies import Operation, RolePolicies, may, parse
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast
from tests.snapshot import scene
from tokens.models import AccessToken

Reached = set[tuple[str, str, str]]  # who, pool, operation


def allow(actions: str, *resources: str) -> dict[str, Any]:
    return {"effect": "Allow", "actions": actions.split(), "resources": list(resources)}


def deny(actions: str, *resources: str) -> dict[str, Any]:
    return {"effect": "Deny", "actions": actions.split(), "resources": list(resources)}


def http(path: str) -> dict[str, Any]:
    return {"actions": [{"base": "http", "path": path, "method": "Post"}]}


POOLS = ["lab", "lab-gpu", "farm"]
ROLES: dict[str, list[dict[str, Any]]] = {
    "labs": [allow("workflow:*", "pool/lab*")],
    "submits": [allow("workflow:Create", "pool/*")],
    "older": [http("/api/pool/lab/workflow"), http("/api/workflow/*/exec/*")],
    "no-exec": [deny("workflow:Exec", "pool/lab")],
    "no-entry": [deny("workflow:Exec workflow:Rsync", "*")],
    "frozen": [deny("*:*", "pool/farm"), allow("dataset:Read", "*")],
}
USERS = {
    "a": ["labs"],
    "b": ["labs", "no-exec"],
    "c": ["labs", "submits", "no-entry"],
    "d": ["older", "no-exec"],
    "e": ["submits", "frozen"],
    "f": ["older", "labs"],
    "g": ["no-entry", "frozen"],
    "h": ["submits", "labs"],
}
TOKENS = [  # owner, roles
    ("a", "labs"),
    ("b", "labs"),
    ("c", "labs"),
    ("c", "submits no-entry"),
    ("d", "older"),
    ("e", "submits"),
    ("f", "older"),
    ("f", "older labs"),
    ("g", "frozen"),
    ("h", "submits"),
    ("h", "labs"),
]


def enter(cast: Cast) -> None:
    scene("troupe", lambda: _assemble(cast))


def _assemble(cast: Cast) -> None:
    by = cast.by("grace")
    for name in POOLS:
        Pool.create(by=by, name=name)
    for name, policies in ROLES.items():
        Role.create(by=by, name=name, policies=policies)
    for name, roles in USERS.items():
        User.create_service_account(by=by, username=f"bot-{name}", accountable=cast.ada, roles=roles)
    for number, (owner, roles_on) in enumerate(TOKENS):
        cast.service_token(f"t{number}", roles=roles_on.split(), owner=f"bot-{owner}")
    cast.service_token("ci", roles=[POOL_ROLE, PLAIN_ROLE])
    _ghosts(cast)


def _ghosts(cast: Cast) -> None:
    """Those who do not count: a user who left, a role that was taken, tokens that are suspended and revoked."""
    by = cast.by("grace")
    gone = User.create_service_account(by=by, username="gone", accountable=cast.ada, roles=["labs"])
    cast.service_token("gone", roles=["labs"], owner="gone")
    gone.deactivate(by=by, reason="left")
    robbed = User.create_service_account(by=by, username="robbed", accountable=cast.ada, roles=["labs", PLAIN_ROLE])
    cast.service_token("robbed", roles=["labs", PLAIN_ROLE], owner="robbed")
    robbed.remove_role("labs", by=by, reason="x")
    cast.service_token("held", roles=["labs"], owner="bot-a").suspend(by=by, reason="x")
    cast.service_token("ended", roles=["labs"], owner="bot-a").revoke(by=by, reason="x")


def reached(policies: dict[str, Any] | None = None) -> tuple[Reached, Reached]:
    """What users, and what live tokens reach, each asked for by itself. `policies` stand in for those of some roles:
    None for a role that is not there."""
    instead = policies or {}
    roles = {role.name: instead.get(role.name, role.policies) for role in Role.objects.existing()}
    parsed = {name: RolePolicies(name, parse(said)) for name, said in roles.items() if said is not None}
    pools = list(Pool.objects.existing().values_list("name", flat=True))

    def ways(who: str, carried: set[str], held: set[str]) -> Reached:
        allowing = [parsed[name] for name in carried if name in parsed]
        denying = [parsed[name] for name in held | {"osmo-default"} if name in parsed]
        return {
            (who, pool, operation.value)
            for pool in pools
            for operation in Operation
            if may(operation, pool, allow=allowing, deny=denying)
        }

    users: Reached = set()
    for user in User.objects.active():
        users |= ways(user.username, {*user.held_role_names}, {*user.held_role_names})
    tokens: Reached = set()
    for token in AccessToken.objects.live().filter(owner__is_active=True):
        tokens |= ways(str(token), {*token.role_names}, {*token.owner.held_role_names})
    return users, tokens
