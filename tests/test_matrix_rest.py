"""Who may do what under /api/v1/: each caller and each operation that the description names, against a table (S24).

The tokens here are active or suspended; tests/test_matrix_tokens.py has them in every state.
"""

import re
from typing import Any

import pytest
from django.db import transaction

from osmo_portal.events.actor import Actor
from osmo_portal.events.models import Event
from profiles.models import Role, User
from tests import dump
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tests.rest import Rest
from tests.terminal import Terminal
from tokens.models import AccessToken, BulkOperation

pytestmark = pytest.mark.django_db

# By token and at a terminal groups give nothing, and an administrator's own user token is nobody's. They still bind.
CALLERS = {
    "administrator": ["grace", "grace's terminal", "root-bot's token"],
    "operator": ["olive"],
    "auditor": ["audrey"],
    "auditor by token": ["audrey's token"],
    "accountable": ["ada", "ada's terminal", "ada's token"],
    "stranger": [
        "mallory",
        "mallory's terminal",
        "mallory's token",
        "grace's token",
        "olive's token",
        "olive's terminal",
    ],
    "service": ["robot's token"],
    "nobody": ["", "gone"],
}
# What the callers are answered, in that order, and to which operations. ada is accountable for robot, and owns "hers";
# "plain" and "pool" are robot's, by what their roles give. The answer to what is done begins with a 2.
TABLE = {
    "2   2   2   2   2   2   2   401": [
        "GET whoami",
        "GET access/check",
        "GET users",
        "GET assignments",
        "GET roles",
        "GET roles/{role}",
        "GET pools",
        "GET pools/{pool}",
        "GET tokens",
    ],
    "2   2   403 403 2   2   2   401": ["POST access/check"],
    "2   404 2   404 404 404 2   401": ["GET access/check of robot"],
    "2   404 2   404 404 404 404 401": ["GET access/check of gone"],
    "2   2   2   404 2   404 2   401": ["GET users/{robot}", "GET assignments/{assignment}", "GET tokens/{plain}"],
    "2   2   2   404 404 404 404 401": ["GET users/{gone}"],
    "2   2   2   404 2   404 404 401": ["GET tokens/{hers}"],
    "2   2   2   403 403 403 403 401": [
        "GET token-operations",
        "GET token-operations/{looked_at}",
        "GET events",
        "GET events/{event}",
        "GET events/{event}/lines",
    ],
    "2   403 2   403 403 403 403 401": ["GET events/chain"],
    "2   403 403 403 403 403 403 401": [
        "POST users",
        "PATCH users/{robot}",
        "DELETE users/{robot}",
        "POST users/{robot}/assign-role",
        "POST users/{robot}/remove-role",
        "POST users/{robot}/hand-over",
        "POST users/{ada}/hand-over-accounts",
        "POST users/{ada}/deactivate",
        "POST users/{gone}/reactivate",
        "POST users/{ada}/groups",
        "POST assignments",
        "DELETE assignments/{assignment}",
        "POST roles",
        "PATCH roles/{role}",
        "DELETE roles/{role}",
        "POST pools",
        "PATCH pools/{pool}",
        "DELETE pools/{pool}",
        "POST token-operations/{begun}/continue",
        "POST token-operations/{begun}/stop",
    ],
    "2   2   403 403 2   2   403 401": ["POST tokens for oneself"],
    "2   403 403 403 2   400 403 401": ["POST tokens for ada"],
    "2   2   403 403 403 400 403 401": ["POST tokens with a plain role"],
    "2   403 403 403 403 400 403 401": ["POST tokens with a pool role"],
    "2   403 403 403 2   404 403 401": ["POST tokens/{hers}/rotate", "POST tokens/{hers_suspended}/resume"],
    "2   2   403 403 403 404 403 401": ["POST tokens/{plain}/rotate", "POST tokens/{plain_suspended}/resume"],
    "2   403 403 403 403 404 403 401": ["POST tokens/{pool_token}/rotate", "POST tokens/{pool_suspended}/resume"],
    "2   2   403 403 2   404 403 401": [
        "POST tokens/{hers}/suspend",
        "POST tokens/{plain}/suspend",
        "POST tokens/{pool_token}/suspend",
        "POST tokens/{hers}/revoke",
        "POST tokens/{plain}/revoke",
        "POST tokens/{pool_token}/revoke",
    ],
    "2   2   403 403 403 403 403 401": [
        "POST tokens/find",
        "POST token-operations",
        "POST token-operations/{looked_at}/execute",
    ],
}
EXPECTED = {
    caller: {call: status for row, calls in TABLE.items() for call in calls for status in [row.split()[column]]}
    for column, callers in enumerate(CALLERS.values())
    for caller in callers
}
EXPECTED["grace's terminal"]["POST token-operations/{looked_at}/execute"] = "403"  # it is signed in for weeks

WHY = {"reason": "matrix"}
ACCESS = {"action": "workflow:Create", "resource": "pool/my_pool"}
NEW_TOKEN = {"owner": "robot", "name": "new", "expires_at": str(in_days(9))}
QUERIES = {
    "GET access/check": "action=workflow:Create&resource=pool/my_pool",
    "GET access/check of robot": "action=workflow:Create&resource=pool/my_pool&user=robot",
    "GET access/check of gone": "action=workflow:Create&resource=pool/my_pool&user=gone",
}
BODIES: dict[str, Any] = {
    "POST access/check": ACCESS,
    "POST users": {"kind": "service", "username": "new", "accountable": "ada"},
    "PATCH users/{robot}": {"purpose": "matrix"},
    "POST users/{robot}/assign-role": {"role": "osmo-admin"},
    "POST users/{robot}/remove-role": {"role": POOL_ROLE, **WHY},
    "POST users/{robot}/hand-over": {"to": "mallory", **WHY},
    "POST users/{ada}/hand-over-accounts": {"to": "mallory", **WHY},
    "POST users/{ada}/groups": {"groups": ["operators"]},
    "POST assignments": {"user": "mallory", "role": "osmo-admin"},
    "POST roles": {"name": "new", "policies": []},
    "PATCH roles/{role}": {"description": "matrix"},
    "POST pools": {"name": "new"},
    "PATCH pools/{pool}": {"description": "matrix"},
    "POST tokens for ada": {**NEW_TOKEN, "owner": "ada"},
    "POST tokens with a plain role": {**NEW_TOKEN, "roles": [PLAIN_ROLE]},
    "POST tokens with a pool role": {**NEW_TOKEN, "roles": [POOL_ROLE]},
    "POST tokens/{hers}/rotate": {},
    "POST tokens/{plain}/rotate": {},
    "POST tokens/{pool_token}/rotate": {},
    "POST tokens/find": {"secret": "osmo_" + "x" * 49},
    "POST token-operations": {"action": "revoke", "filters": {"owner": "robot"}},
    "POST token-operations/{begun}/continue": {},
}


def signed_in(cast: Cast, who: str) -> Rest:
    name, _, by = who.partition("'s ")
    if name == "root-bot":
        return Rest(cast.administrator_token().plaintext)
    if by == "token":
        make: Any = cast.service_token if name == "robot" else cast.user_token
        return Rest(make(name="caller", owner=name, days=60).plaintext)
    rest = Rest(person=None if by else name)
    if by:
        rest.headers["authorization"] = f"Bearer {Terminal().signed_in(cast, name).tokens['id_token']}"
    return rest


def look(token: AccessToken, action: str, by: Actor) -> BulkOperation:
    return BulkOperation.preview(only(token), by=by, action=action, filters={"name": token.name})


def only(token: AccessToken) -> Any:
    return AccessToken.objects.filter(pk=token.pk)


def targets(cast: Cast, who: str) -> dict[str, int]:
    """The numbers that the table speaks of. The caller has looked at a set, if he may; grace has begun with another."""
    by, caller = cast.by("grace"), who.partition("'")[0]
    records: dict[str, Any] = {
        "hers": cast.user_token(name="hers"),
        "plain": cast.service_token("plain", [PLAIN_ROLE]),
        "pool_token": cast.service_token("pool"),
        "hers_suspended": cast.user_token(name="hers-2"),
        "plain_suspended": cast.service_token("plain-2", [PLAIN_ROLE]),
        "pool_suspended": cast.service_token("pool-2"),
    }
    for name, token in records.items():
        if name.endswith("_suspended"):
            token.suspend(by=by, **WHY)
    begun = look(records["pool_token"], "suspend", by)
    begun.start(only(records["pool_token"]), by=by, digest=begun.digest, reason="matrix")
    looker = cast.by(caller) if caller in {"olive", "root-bot"} else by
    records |= {name: User.objects.get(username=name) for name in ("robot", "ada", "gone")}
    records |= {"role": Role.objects.get(name=PLAIN_ROLE), "pool": cast.pool, "event": Event.objects.latest("pk")}
    records |= {"assignment": cast.robot.assignments.get(role__name=PLAIN_ROLE)}
    records |= {"begun": begun, "looked_at": look(records["plain"], "revoke", looker)}
    return {name: record.pk for name, record in records.items()}


def sent(rest: Rest, call: str, who: str, numbers: dict[str, int]) -> Any:
    method, address = call.split()[:2]
    path = address.format(**numbers)
    body = BODIES.get(call, WHY if method == "POST" else None)
    if call == "POST tokens for oneself":
        owner = who.partition("'")[0] or "ada"
        own = {"root-bot": ["osmo-admin"], "robot": [PLAIN_ROLE]}.get(owner)
        body = {**NEW_TOKEN, "owner": owner, **({"roles": own} if own else {})}
    if call.endswith("/execute"):
        body = {**WHY, "digest": BulkOperation.objects.get(pk=numbers["looked_at"]).digest}
    query = QUERIES.get(call, "reason=matrix" if method == "DELETE" else "")
    return rest.call(method, f"{path}?{query}", body, **({"if_match": "*"} if method == "PATCH" else {}))


@pytest.mark.parametrize("who", EXPECTED)
def test_each_caller_is_answered_as_the_table_says(cast: Cast, who: str) -> None:
    gone = User.create_person(by=cast.by("grace"), username="gone")
    rest, numbers = signed_in(cast, who), targets(cast, who)
    gone.deactivate(by=cast.by("grace"), **WHY)
    before, events, found = dump.tables(), Event.objects.count(), {}
    for call, status in EXPECTED[who].items():
        with transaction.atomic():
            answer = sent(rest, call, who, numbers)
            is_change = answer.status_code < 300 and not call.startswith("GET") and call != "POST access/check"
            assert (Event.objects.count() > events) == is_change, call
            transaction.set_rollback(is_change)  # so that the next call finds what this one found
        found[call] = str(answer.status_code)[: len(status)]
        assert (b'"secret":' in answer.content) == (
            is_change and bool(re.search("tokens for|tokens with|rotate", call))
        )

    assert found == EXPECTED[who]
    assert dump.tables() == before


def test_the_table_has_every_operation_that_there_is(cast: Cast) -> None:
    paths = Rest(person="grace").get("schema").json()["paths"]
    described = {
        f"{method.upper()} {path.removeprefix('/api/v1/')}" for path, methods in paths.items() for method in methods
    }

    assert {re.sub(r"\{\w+\}", "{id}", " ".join(call.split()[:2])) for call in EXPECTED["grace"]} == described
