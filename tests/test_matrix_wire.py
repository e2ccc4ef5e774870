"""Who may do what on the released clients' wire: each caller and each call, against a table (S24).

To a caller by token groups give nothing, so an administrator's, an operator's and a stranger's user token are alike.
"""

from typing import Any

import pytest

from tests import dump
from tests.cast import PLAIN_ROLE, Cast, in_days
from tests.wire import Wire

pytestmark = pytest.mark.django_db

BASE, USERS = "/api/auth/access_token", "/api/auth/user"
OWN = {
    "list own": f"GET {BASE}",
    "roles of own": f"GET {BASE}/caller/roles",
    "issue own": f"POST {BASE}/new?expires_at={{soon}}",
    "end own": f"DELETE {BASE}/mine",
}
ADAS = {
    "list ada's": f"GET {USERS}/ada/access_token",
    "issue ada's": f"POST {USERS}/ada/access_token/new2?expires_at={{soon}}",
    "end ada's": f"DELETE {USERS}/ada/access_token/target",
}
ROBOTS = {
    "list robot's": f"GET {USERS}/robot/access_token",
    "issue robot's": f"POST {USERS}/robot/access_token/new2?expires_at={{soon}}",
    "end robot's": f"DELETE {USERS}/robot/access_token/target",
}
OF_USERS = {
    "list users": f"GET {USERS}",
    "create user": f'POST {USERS} {{"id": "erin"}}',
    "get user": f"GET {USERS}/robot",
    "roles of user": f"GET {USERS}/robot/roles",
    "add role": f'POST {USERS}/robot/roles {{"role_name": "osmo-admin"}}',
    "remove role": f"DELETE {USERS}/robot/roles/{PLAIN_ROLE}",
    "users of role": "GET /api/auth/roles/osmo-admin/users",
    "add role to many": 'POST /api/auth/roles/osmo-admin/users {"user_ids": ["mallory"]}',
    "delete user": f"DELETE {USERS}/mallory",
}
CONFIGS = {
    "show roles": "GET /api/configs/role",
    "show role": f"GET /api/configs/role/{PLAIN_ROLE}",
    "set role": f'PUT /api/configs/role/{PLAIN_ROLE} {{"configs": {{"policies": []}}}}',
    "update roles": 'PUT /api/configs/role {"configs": [{"name": "new", "policies": []}]}',
    "show pools": "GET /api/configs/pool",
    "show pool": "GET /api/configs/pool/my_pool",
    "set pool": 'PUT /api/configs/pool/new {"configs": {"backend": "b"}}',
    "update pool": 'PATCH /api/configs/pool/new {"configs_dict": {"backend": "c"}}',
    "update pools": 'PUT /api/configs/pool {"configs": {"newer": {"backend": "b"}}}',
    "history": "GET /api/configs/history",
    "diff": "GET /api/configs/diff?config_type=ROLE&first_revision=1&second_revision=2",
    "tag": 'POST /api/configs/history/role/revision/1/tags {"set_tags": ["x"]}',
    "delete revision": "DELETE /api/configs/history/role/revision/2",
    "delete pool": "DELETE /api/configs/pool/newer",
    "roll back": 'POST /api/configs/history/rollback {"revision": 1, "config_type": "POOL"}',
    "delete role": "DELETE /api/configs/role/new",
}
CALLS = {**OWN, **ADAS, **ROBOTS, **OF_USERS, **CONFIGS}


def table(own: int, adas: int, robots: int, users: int, but: dict[str, int] | None = None) -> dict[str, int]:
    """The configuration is for whom the users are."""
    groups = [(OWN, own), (ADAS, adas), (ROBOTS, robots), (OF_USERS, users), (CONFIGS, users)]
    return {call: status for calls, status in groups for call in calls} | (but or {})


READS_OWN = {"list own": 200, "roles of own": 200}
STRANGER = table(200, 400, 400, 403)
EXPECTED: dict[str, dict[str, int]] = {
    "nobody": table(401, 401, 401, 401),
    "administrator's service token": table(200, 200, 200, 200),
    "grace": STRANGER,
    "olive": STRANGER,
    "mallory": STRANGER,
    "audrey": table(403, 403, 403, 403, READS_OWN | {"list ada's": 400, "list robot's": 400}),
    "ada": table(200, 200, 200, 403, {"issue robot's": 403}),
    "robot": table(403, 403, 403, 403, READS_OWN | {"list ada's": 400, "list robot's": 200}),
}


def secret_of(cast: Cast, who: str) -> str | None:
    """The caller's token, and another of the same owner to end."""
    if who == "nobody":
        return None
    if who == "administrator's service token":
        bot = cast.administrator_token("bot").owner
        cast.service_token("mine", ["osmo-admin"], owner=bot.username)
        return cast.service_token("caller", ["osmo-admin"], owner=bot.username).plaintext
    make: Any = cast.service_token if who == "robot" else cast.user_token
    make(name="mine", owner=who)
    return make(name="caller", owner=who, days=60).plaintext


@pytest.mark.parametrize("who", EXPECTED)
def test_each_caller_is_answered_as_the_table_says(cast: Cast, who: str) -> None:
    wire = Wire(secret_of(cast, who), header="authorization")
    cast.user_token(name="target")
    cast.service_token(name="target")
    found = {}
    for name, call in CALLS.items():
        method, path, *body = call.replace("{soon}", str(in_days(9))).split(" ", 2)
        before = dump.tables()

        answer = wire.call(method, path, body[0].encode() if body else None)

        found[name] = answer.status_code
        changed = dump.tables() != before
        assert changed == (answer.status_code == 200 and method != "GET"), name
    assert found == EXPECTED[who]


def test_the_table_says_something_of_every_kind_of_answer() -> None:
    assert {status for said in EXPECTED.values() for status in said.values()} == {200, 400, 401, 403}
    assert all(set(said) == set(CALLS) for said in EXPECTED.values())
