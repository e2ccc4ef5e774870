"""What the released clients send and what they are answered: one row for each case of each call (wire.md 4 to 10).

A call of 6.0 and 6.1 is not sent by 6.2 and 6.3, and the other way round; where all send it, the row counts for all.
"""

import re
from dataclasses import dataclass
from typing import Any
from unittest import mock

from profiles.names import TOKEN_NAME, USER_ID
from tests.cast import PLAIN_ROLE, POOL_ROLE, in_days

OLDER, NEWER = ("6.0", "6.1"), ("6.2", "6.3")
ALL = OLDER + NEWER
LINES = {"6.0": "6.0.0", "6.1": "6.1.3", "6.2": "6.2.10", "6.3": "6.3.1"}
PERSON, ADMINISTRATOR, SERVICE = "ada", "root-bot", "robot"
NOBODY, MALFORMED = "nobody", "whoever sends no JWT for one"


@dataclass(frozen=True)
class Like:
    """Equals every text that matches."""

    pattern: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and re.fullmatch(self.pattern, other) is not None

    def __hash__(self) -> int:
        return hash(self.pattern)


SECRET = Like("osmo_[0-9A-Za-z]{49}")
JWT = Like(r"[\w-]+\.[\w-]+\.[\w-]+")
INSTANT = Like(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z")
EPOCH = mock.ANY


@dataclass(frozen=True)
class Row:
    """`answer` is the JSON of a success, or the message of a refusal, or its JSON where the code is not USER; None is
    the `null` that says nothing.

    In texts `{soon}`, `{far}`, `{end}`, `{today}` stand for days: allowed, too late, of the caller's token, and today.
    """

    call: str
    case: str
    lines: tuple[str, ...]
    who: str
    request: str
    answer: Any = None
    status: int = 200
    body: Any = None

    def __str__(self) -> str:
        return f"{self.call}: {self.case}"


def filled(value: Any) -> Any:
    days = {"soon": in_days(9), "far": "9999-12-31", "end": in_days(60), "today": in_days(0)}
    if isinstance(value, str):
        return re.sub(r"{(\w+)}", lambda found: str(days[found[1]]), value)
    if isinstance(value, dict):
        return {name: filled(inner) for name, inner in value.items()}
    return [filled(inner) for inner in value] if isinstance(value, list) else value


def listed(user: str, name: str, roles: list[str], kind: str = "USER", description: str = "") -> dict[str, Any]:
    fields = {"user_name": user, "token_name": name, "expires_at": "{end}T00:00:00", "description": description}
    return {**fields, "access_type": kind, "roles": roles}


BASE = "/api/auth/access_token"
USERS, ROLES = "/api/auth/user", "/api/auth/roles"
EXCHANGE = "/api/auth/jwt/access_token"
PROFILE = "/api/profile/settings"
ADAS = [listed("ada", "my-token", ["osmo-user"]), listed("ada", "spare", ["osmo-user"], description="for later")]
ROBOTS = [listed("robot", "ci", [POOL_ROLE], "SERVICE")]
TRAINERS = [listed("trainer", "trainer", [PLAIN_ROLE], "SERVICE")]
ROOTS = [listed("root-bot", "root-bot", ["osmo-admin"], "SERVICE")]
ONLY_ADMINISTRATORS = "Only an administrator may list, issue and delete service tokens."
ONLY_ADMINISTRATORS_USERS = "Only an administrator may list, create, change and delete users."
ISSUES_NOTHING = "A service account issues and deletes no tokens. Ask an administrator."
NO_ROLES = "Assigning roles to user access tokens is not supported."
BAD_DATE = "Invalid date format notadate. Date must be in YYYY-MM-DD format (e.g. 2025-12-31)"
BAD_NAME = f"Token name 9bad must match regex {TOKEN_NAME}"
PAST = "Expiration date must be past the current date ({today})"
TOO_LONG = "Access token cannot last longer than 365d"
TOO_FAR = "Access token expiration date cannot be more than 365d from now"
NOT_HELD = "User does not have all the requested roles. Token creation failed. "
NO_DATE = "expires_at is missing. Add it as YYYY-MM-DD."
NO_SECRET = 'Send the secret as {"token": "..."} in the body, as text.'
NO_SUCH_NAME = '"service" cannot name a token: it is part of an address. Choose another.'
GHOST = "User ghost not found"


def assigned(role: str, by: str) -> dict[str, Any]:
    return {"role_name": role, "assigned_by": by, "assigned_at": INSTANT}


def made(name: str, by: str = "root-bot") -> dict[str, Any]:
    return {"id": name, "created_at": INSTANT, "created_by": by}


def of_call(call: str, lines: tuple[str, ...], who: str, request: str, *cases: tuple[Any, ...]) -> list[Row]:
    """Rows of one call. A case is its name, what follows the request, status, answer, then another caller or body."""
    rows = []
    for name, rest, status, answer, *other in cases:
        caller = next((one for one in other if isinstance(one, str)), who)
        body = next((one for one in other if not isinstance(one, str)), None)
        rows.append(Row(call, name, lines, caller, request + rest, answer, status, body))
    return rows


EXCHANGES = [
    *of_call(
        "GET exchange",
        OLDER,
        NOBODY,
        f"GET {EXCHANGE}",
        ("done", "?access_token={secret}", 200, {"token": JWT, "expires_at": EPOCH, "error": None}),
        ("unknown token", f"?access_token=osmo_{'x' * 49}", 400, "Access Token is invalid"),
        ("other length", "?access_token=short", 400, "Access Token is invalid"),
        ("expired", "?access_token={expired}", 400, "Access Token has expired"),
        ("parameter missing", "", 422, NO_SECRET),
    ),
    *of_call(
        "POST exchange",
        NEWER,
        NOBODY,
        f"POST {EXCHANGE}",
        ("done", "", 200, {"token": JWT, "expires_at": EPOCH, "error": None}, {"token": "{secret}"}),
        ("unknown token", "", 400, "Access Token is invalid", {"token": f"osmo_{'x' * 49}"}),
        ("other length", "", 400, "Access Token is invalid", {"token": "short"}),
        ("expired", "", 400, "Access Token has expired", {"token": "{expired}"}),
        ("field missing", "", 422, NO_SECRET, {}),
        ("broken JSON", "", 422, "The body is not JSON.", b"{"),
    ),
]

OLDER_TOKENS = [
    *of_call(
        "create user token",
        OLDER,
        PERSON,
        f"POST {BASE}/user/",
        ("done", "new?expires_at={soon}", 200, SECRET),
        ("with a description", "new?expires_at={soon}&description=a+b", 200, SECRET),
        ("bad name", "9bad?expires_at=notadate", 400, BAD_NAME),
        ("no date", "new?expires_at=notadate", 400, BAD_DATE),
        ("past", "new?expires_at={today}", 400, PAST),
        ("too long", "new?expires_at={far}", 400, TOO_LONG),
        ("taken", "spare?expires_at={soon}", 400, "Token name spare already exists."),
        ("roles", "new?expires_at={soon}&roles=osmo-user", 400, NO_ROLES),
        ("denied", "new?expires_at={soon}", 403, ISSUES_NOTHING, SERVICE),
        ("date missing", "new", 422, NO_DATE),
    ),
    *of_call(
        "create service token",
        OLDER,
        ADMINISTRATOR,
        f"POST {BASE}/service/",
        ("done", f"new?expires_at={{soon}}&roles={POOL_ROLE}&roles={PLAIN_ROLE}", 200, SECRET),
        ("unknown role", f"9bad?expires_at=x&roles={POOL_ROLE}&roles=nosuch", 400, "Invalid role: nosuch"),
        ("no role", "new?expires_at={soon}", 400, "At least one role must be specified for the access token."),
        ("bad name", f"9bad?expires_at=notadate&roles={POOL_ROLE}", 400, BAD_NAME),
        ("no date", f"new?expires_at=notadate&roles={POOL_ROLE}", 400, BAD_DATE),
        ("past", f"new?expires_at={{today}}&roles={POOL_ROLE}", 400, PAST),
        ("too long", f"new?expires_at={{far}}&roles={POOL_ROLE}", 400, TOO_LONG),
        ("taken", "root-bot?expires_at={soon}&roles=osmo-admin", 400, "Token name root-bot already exists."),
        (
            "a person's name",
            f"ada?expires_at={{soon}}&roles={POOL_ROLE}",
            400,
            "ada is the name of a person. Choose another name for the service token.",
        ),
        ("denied", f"new?expires_at={{soon}}&roles={POOL_ROLE}", 403, ONLY_ADMINISTRATORS, PERSON),
        ("date missing", f"new?roles={POOL_ROLE}", 422, NO_DATE),
    ),
    *of_call(
        "delete user token",
        OLDER,
        PERSON,
        f"DELETE {BASE}/user/",
        ("done", "spare", 200, None),
        ("not there", "nope", 400, "User access token nope does not exist."),
        ("foreign", "theirs", 400, "User access token theirs does not exist."),
        ("no name", "9%20bad", 400, "User access token 9 bad does not exist."),
        ("denied", "ci", 403, ISSUES_NOTHING, SERVICE),
    ),
    *of_call(
        "delete service token",
        OLDER,
        ADMINISTRATOR,
        f"DELETE {BASE}/service/",
        ("done", "trainer", 200, None),
        ("not there", "nope", 400, "Service access token nope does not exist."),
        ("a person's", "spare", 400, "Service access token spare does not exist."),
        ("no name", "9%20bad", 400, "Service access token 9 bad does not exist."),
        ("denied", "trainer", 403, ONLY_ADMINISTRATORS, PERSON),
    ),
    *of_call(
        "list own tokens of 6.0",
        OLDER,
        PERSON,
        f"GET {BASE}/user",
        ("done", "", 200, ADAS),
        ("no credential", "", 401, "Jwt is missing", NOBODY),
        ("not found one deeper", "/spare/more", 404, "There is nothing at this address."),
    ),
    *of_call(
        "list service tokens",
        OLDER,
        ADMINISTRATOR,
        f"GET {BASE}/service",
        ("done", "", 200, [*ROBOTS, *ROOTS, *TRAINERS]),
        ("no credential", "", 401, "Jwt is missing", NOBODY),
        ("denied", "", 403, ONLY_ADMINISTRATORS, PERSON),
    ),
    *of_call(
        "token of a secret",
        OLDER,
        PERSON,
        f"GET {BASE}?access_token=",
        ("done", "{secret}", 200, ADAS[0]),
        ("unknown", "osmo_nonsense", 400, "Access Token is invalid"),
        ("empty", "", 400, "Access Token is invalid"),
    ),
]

REFUSED_NEWER = [
    ("bad name", "9bad?expires_at={soon}", 400, BAD_NAME),
    ("no date", "new?expires_at=notadate", 400, BAD_DATE),
    ("past", "new?expires_at={today}", 400, PAST),
    ("too far", "new?expires_at={far}", 400, TOO_FAR),
    ("date missing", "new", 422, NO_DATE),
]
NEWER_TOKENS = [
    *of_call(
        "create own token",
        NEWER,
        PERSON,
        f"POST {BASE}/",
        ("done", "new?expires_at={soon}", 200, SECRET),
        ("with a description", "new?expires_at={soon}&description=a+b", 200, SECRET),
        ("of an administrator's account", "new?expires_at={soon}", 200, SECRET, ADMINISTRATOR),
        *REFUSED_NEWER,
        ("taken", "spare?expires_at={soon}", 400, "Token name spare already exists."),
        ("roles", "new?expires_at={soon}&roles=osmo-user", 400, NO_ROLES),
        ("a word of an address", "service?expires_at={soon}", 400, NO_SUCH_NAME),
        ("denied", "new?expires_at={soon}", 403, ISSUES_NOTHING, SERVICE),
    ),
    *of_call(
        "delete own token",
        NEWER,
        PERSON,
        f"DELETE {BASE}/",
        ("done", "spare", 200, None),
        ("not there", "nope", 400, "Access token nope does not exist."),
        ("foreign", "theirs", 400, "Access token theirs does not exist."),
        ("a word of an address", "user", 400, "Access token user does not exist."),
        ("no name", "9%20bad", 400, "Access token 9 bad does not exist."),
        ("denied", "ci", 403, ISSUES_NOTHING, SERVICE),
    ),
    *of_call(
        "list own tokens",
        NEWER,
        PERSON,
        f"GET {BASE}",
        ("done", "", 200, ADAS),
        ("unknown parameters", "?count=x", 200, ADAS),
        ("no credential", "", 401, "Jwt is missing", NOBODY),
    ),
    *of_call(
        "roles of own token",
        NEWER,
        PERSON,
        f"GET {BASE}/",
        (
            "done",
            "spare/roles",
            200,
            {"user_name": "ada", "token_name": "spare", "roles": [assigned("osmo-user", "grace")]},
        ),
        ("not there", "nope/roles", 400, "Token nope not found or does not belong to current user"),
        ("foreign", "theirs/roles", 400, "Token theirs not found or does not belong to current user"),
        ("without the word roles", "spare", 405, 'Method "GET" not allowed.'),
    ),
    *of_call(
        "create a user's token",
        NEWER,
        ADMINISTRATOR,
        f"POST {USERS}/",
        ("done", "robot/access_token/new?expires_at={soon}", 200, SECRET),
        ("with roles", f"robot/access_token/new?expires_at={{soon}}&roles={POOL_ROLE}", 200, SECRET),
        ("of a person", "ada/access_token/new?expires_at={soon}", 200, SECRET),
        ("of oneself", "ada/access_token/new?expires_at={soon}", 200, SECRET, PERSON),
        *[(name, f"robot/access_token/{rest}", status, text) for name, rest, status, text in REFUSED_NEWER],
        ("unknown user", "ghost/access_token/new?expires_at={soon}", 400, GHOST),
        ("blank user", "%20/access_token/new?expires_at={soon}", 400, "User ID must not be empty"),
        ("taken", "robot/access_token/ci?expires_at={soon}", 400, "Token name ci already exists."),
        (
            "role not held",
            "robot/access_token/new?expires_at={soon}&roles=osmo-ctrl",
            400,
            NOT_HELD + "User robot does not hold the role osmo-ctrl.",
        ),
        (
            "unknown role",
            "robot/access_token/new?expires_at={soon}&roles=nosuch",
            400,
            NOT_HELD + "Invalid role: nosuch",
        ),
        (
            "role twice",
            f"robot/access_token/new?expires_at={{soon}}&roles={POOL_ROLE}&roles={POOL_ROLE}",
            400,
            f"Role {POOL_ROLE} is listed twice.",
        ),
        ("roles on a person's", "ada/access_token/new?expires_at={soon}&roles=osmo-user", 400, NO_ROLES),
        (
            "denied",
            "robot/access_token/new?expires_at={soon}",
            403,
            "Only an administrator may issue service tokens.",
            PERSON,
        ),
    ),
    *of_call(
        "list a user's tokens",
        NEWER,
        ADMINISTRATOR,
        f"GET {USERS}/",
        ("done", "robot/access_token", 200, ROBOTS),
        ("of a person", "ada/access_token", 200, ADAS),
        ("unknown user", "ghost/access_token", 400, GHOST),
        ("foreign user", "grace/access_token", 400, "User grace not found", PERSON),
        ("blank user", "%20/access_token", 400, "User ID must not be empty"),
    ),
    *of_call(
        "delete a user's token",
        NEWER,
        ADMINISTRATOR,
        f"DELETE {USERS}/",
        ("done", "robot/access_token/ci", 200, None),
        ("unknown user", "ghost/access_token/ci", 400, GHOST),
        ("not there", "robot/access_token/nope", 400, "Access token nope does not exist."),
        ("blank user", "%20/access_token/ci", 400, "User ID must not be empty"),
        ("denied", "robot/access_token/ci", 403, ISSUES_NOTHING, SERVICE),
    ),
]

ROBOT = made("robot", "grace")
ROBOTS_ROLES = [assigned(POOL_ROLE, "grace"), assigned(PLAIN_ROLE, "grace")]
NEWER_USERS = [
    *of_call(
        "list users",
        NEWER,
        ADMINISTRATOR,
        f"GET {USERS}",
        (
            "done",
            "?count=100&id_prefix=ro",
            200,
            {
                "total_results": 2,
                "start_index": 1,
                "items_per_page": 2,
                "users": [made("root-bot", "grace"), ROBOT],
            },
        ),
        (
            "holders of roles",
            f"?count=1&start_index=1&roles={POOL_ROLE}&roles=nosuch",
            200,
            {"total_results": 1, "start_index": 1, "items_per_page": 1, "users": [ROBOT]},
        ),
        (
            "none",
            "?id_prefix=zzz",
            200,
            {"total_results": 0, "start_index": 1, "items_per_page": 0, "users": []},
        ),
        ("denied", "", 403, ONLY_ADMINISTRATORS_USERS, PERSON),
        ("no number", "?count=x", 422, "count must be a number."),
    ),
    *of_call(
        "create user",
        NEWER,
        ADMINISTRATOR,
        f"POST {USERS}",
        ("done", "", 200, made("erin"), {"id": "erin", "roles": [POOL_ROLE]}),
        ("without roles", "", 200, made("erin"), {"id": "erin"}),
        ("a person", "", 200, made("ann@example.org"), {"id": "ann@example.org", "roles": ["osmo-user"]}),
        ("bad id", "", 400, f"Username bad name must match regex {USER_ID}", {"id": "bad name"}),
        ("taken", "", 400, "User robot already exists", {"id": "robot"}),
        ("unknown role", "", 400, "Role nosuch does not exist", {"id": "erin", "roles": ["nosuch"]}),
        ("denied", "", 403, ONLY_ADMINISTRATORS_USERS, PERSON, {"id": "erin"}),
        ("id missing", "", 422, "id is missing, or is no text.", {}),
        ("broken JSON", "", 422, "The body is not JSON.", b"{"),
    ),
    *of_call(
        "get user",
        NEWER,
        ADMINISTRATOR,
        f"GET {USERS}/",
        ("done", "robot", 200, {**ROBOT, "roles": ROBOTS_ROLES}),
        ("not there", "ghost", 400, GHOST),
        ("denied", "robot", 403, ONLY_ADMINISTRATORS_USERS, PERSON),
        ("no id", "bad%20name", 400, "User bad name not found"),
    ),
    *of_call(
        "delete user",
        NEWER,
        ADMINISTRATOR,
        f"DELETE {USERS}/",
        ("done", "robot", 200, None),
        ("not there", "ghost", 400, GHOST),
        ("denied", "robot", 403, ONLY_ADMINISTRATORS_USERS, PERSON),
        ("no id", "bad%20name", 400, "User bad name not found"),
    ),
    *of_call(
        "roles of user",
        NEWER,
        ADMINISTRATOR,
        f"GET {USERS}/",
        ("done", "robot/roles", 200, {"user_id": "robot", "roles": ROBOTS_ROLES}),
        ("not there", "ghost/roles", 400, GHOST),
        ("denied", "robot/roles", 403, ONLY_ADMINISTRATORS_USERS, SERVICE),
    ),
    *of_call(
        "add role",
        NEWER,
        ADMINISTRATOR,
        f"POST {USERS}/",
        (
            "done",
            "ada/roles",
            200,
            {"user_id": "ada", **assigned(PLAIN_ROLE, "root-bot")},
            {"role_name": PLAIN_ROLE},
        ),
        (
            "held already",
            "robot/roles",
            200,
            {"user_id": "robot", **assigned(PLAIN_ROLE, "grace")},
            {"role_name": PLAIN_ROLE},
        ),
        ("unknown role", "ada/roles", 400, "Role nosuch does not exist", {"role_name": "nosuch"}),
        ("unknown user", "ghost/roles", 400, GHOST, {"role_name": PLAIN_ROLE}),
        ("denied", "ada/roles", 403, ONLY_ADMINISTRATORS_USERS, PERSON, {"role_name": PLAIN_ROLE}),
        ("role missing", "ada/roles", 422, "role_name is missing, or is no text.", {}),
    ),
    *of_call(
        "remove role",
        NEWER,
        ADMINISTRATOR,
        f"DELETE {USERS}/",
        ("done", f"robot/roles/{PLAIN_ROLE}", 200, None),
        ("not held", f"ada/roles/{PLAIN_ROLE}", 200, None),
        ("unknown role", "robot/roles/nosuch", 200, None),
        ("unknown user", f"ghost/roles/{PLAIN_ROLE}", 200, None),
        ("denied", f"robot/roles/{PLAIN_ROLE}", 403, ONLY_ADMINISTRATORS_USERS, PERSON),
        (
            "of the last administrator",
            "grace/roles/osmo-admin",
            400,
            "This is the last active administrator. Make another one first",
        ),
    ),
    *of_call(
        "users of role",
        NEWER,
        ADMINISTRATOR,
        f"GET {ROLES}/",
        (
            "done",
            f"{POOL_ROLE}/users",
            200,
            {
                "role_name": POOL_ROLE,
                "users": [{"user_id": "robot", "assigned_by": "grace", "assigned_at": INSTANT}],
            },
        ),
        ("unknown role", "nosuch/users", 400, "Role nosuch does not exist"),
        ("denied", f"{POOL_ROLE}/users", 403, ONLY_ADMINISTRATORS_USERS, PERSON),
    ),
    *of_call(
        "add role to many",
        NEWER,
        ADMINISTRATOR,
        f"POST {ROLES}/",
        (
            "done",
            f"{PLAIN_ROLE}/users",
            200,
            {"role_name": PLAIN_ROLE, "assigned": ["ada"], "already_assigned": ["robot"], "failed": ["ghost"]},
            {"user_ids": ["ada", "robot", "ghost"]},
        ),
        ("empty id", f"{PLAIN_ROLE}/users", 400, "User ID must not be empty", {"user_ids": ["ada", ""]}),
        ("unknown role", "nosuch/users", 400, "Role nosuch does not exist", {"user_ids": ["ada"]}),
        ("denied", f"{PLAIN_ROLE}/users", 403, ONLY_ADMINISTRATORS_USERS, PERSON, {"user_ids": ["ada"]}),
        ("list missing", f"{PLAIN_ROLE}/users", 422, "user_ids must be a list of texts.", {}),
    ),
]

UNSET = {"email_notification": False, "slack_notification": False, "bucket": None, "pool": None}
NO_BUCKET = 'Bucket nosuch does not exist. Use the "osmo bucket list" CLI  to see all available buckets.'
USAGE = dict.fromkeys(["quota_used", "quota_free", "quota_limit", "total_usage", "total_capacity", "total_free"], "0")
MY_POOL: dict[str, Any] = {
    "name": "my_pool",
    "description": "",
    "status": "ONLINE",
    "download_type": None,
    "enable_maintenance": False,
    "backend": "default",
    "default_platform": "default",
    "default_exec_timeout": "",
    "default_queue_timeout": "",
    "max_exec_timeout": "",
    "max_queue_timeout": "",
    "default_exit_actions": {},
    "action_permissions": dict.fromkeys(["execute", "portforward", "cancel", "rsync"], "PRIVATE"),
    "topology_keys": [],
    "resources": {"gpu": {"guarantee": 0, "maximum": -1, "weight": 1}},
    "platforms": {
        "default": {
            "description": "",
            "host_network_allowed": False,
            "privileged_allowed": False,
            "allowed_mounts": [],
            "default_mounts": [],
        }
    },
}
MY_USAGE = {**USAGE, "total_capacity": "8", "total_free": "8"}
PROFILES_AND_POOLS = [
    *of_call(
        "read profile",
        ALL,
        PERSON,
        f"GET {PROFILE}",
        (
            "of a person",
            "",
            200,
            {
                "profile": {"username": "ada", **UNSET},
                "roles": ["osmo-user"],
                "pools": [],
                "token": {"name": "my-token", "expires_at": "{end}T00:00:00"},
            },
        ),
        (
            "of a service account",
            "",
            200,
            {
                "profile": {"username": "robot", **UNSET},
                "roles": [POOL_ROLE],
                "pools": ["my_pool"],
                "token": {"name": "ci", "expires_at": "{end}T00:00:00"},
            },
            SERVICE,
        ),
        ("no credential", "", 401, "Jwt is missing", NOBODY),
        ("a credential that is none", "", 401, "Jwt verification fails", MALFORMED),
    ),
    *of_call(
        "set profile",
        ALL,
        PERSON,
        f"POST {PROFILE}",
        ("bucket", "", 200, None, {"bucket": "osmo"}),
        ("pool", "", 200, None, {"pool": "my_pool"}),
        ("email", "", 200, None, {"email_notification": True}),
        ("slack in a word", "", 200, None, {"slack_notification": "yes"}),
        ("null", "", 200, None, {"bucket": None}),
        ("unknown keys", "", 200, None, {"color": "blue"}),
        ("nothing", "", 200, None),
        ("unknown bucket", "", 400, NO_BUCKET, {"bucket": "nosuch"}),
        ("unknown pool", "", 400, "Pool nosuch not found.", {"pool": "nosuch"}),
        (
            "denied",
            "",
            403,
            "A service account reads its profile. Ask an administrator to change it.",
            SERVICE,
            {"bucket": "osmo"},
        ),
        ("no boolean", "", 422, "email_notification must be true or false.", {"email_notification": "maybe"}),
        ("no text", "", 422, "bucket must be text.", {"bucket": 5}),
        ("broken JSON", "", 422, "The body is not JSON.", b"{"),
    ),
    *of_call(
        "pool list",
        ALL,
        PERSON,
        "GET /api/pool_quota",
        (
            "of some pools",
            "?pools=my_pool&pools=nosuch&all_pools=False",
            200,
            {"node_sets": [{"pools": [{**MY_POOL, "resource_usage": MY_USAGE}]}], "resource_sum": MY_USAGE},
        ),
        ("of unknown pools", "?pools=nosuch&all_pools=False", 200, {"node_sets": [], "resource_sum": USAGE}),
        ("no credential", "?all_pools=True", 401, "Jwt is missing", NOBODY),
        ("no boolean", "?all_pools=maybe", 422, "all_pools must be true or false."),
    ),
    *of_call(
        "pools",
        ALL,
        PERSON,
        "GET /api/pool",
        ("of some pools", "?pools=my_pool", 200, {"pools": {"my_pool": {**MY_POOL, "resources": {"gpu": None}}}}),
        ("no credential", "", 401, "Jwt is missing", NOBODY),
        ("no boolean", "?all_pools=maybe", 422, "all_pools must be true or false."),
    ),
]

VERSION = {"major": "6", "minor": "0", "revision": "0", "hash": ""}
PORTAL = "http://127.0.0.1:8000"
ASK_FOR_CODES, GIVE_TOKENS = "/api/auth/login/device", "/api/auth/login/token"
LOGIN = {
    "device_endpoint": PORTAL + ASK_FOR_CODES,
    "device_client_id": "osmo-cli",
    "browser_endpoint": None,
    "browser_client_id": None,
    "token_endpoint": PORTAL + GIVE_TOKENS,
    "logout_endpoint": None,
}
PUBLIC = [
    *of_call(
        "version",
        ALL,
        NOBODY,
        "GET /api/version",
        ("done", "", 200, VERSION),
        ("with a credential", "", 200, VERSION, PERSON),
        ("with a credential that is none", "", 200, VERSION, MALFORMED),
        ("a route that is not there", "/more", 404, "There is nothing at this address."),
    ),
    *of_call(
        "client version",
        ALL,
        NOBODY,
        "GET /client/version",
        ("done", "", 200, VERSION),
        ("a route that is not there", "/more", 404, "There is nothing at this address."),
    ),
    *of_call(
        "login information",
        ALL,
        NOBODY,
        "GET /api/auth/login",
        ("done", "", 200, LOGIN),
        ("a route that is not there", "/more", 404, "There is nothing at this address."),
    ),
]

CODES = {
    "device_code": Like("osmod_[0-9A-Za-z]{49}"),
    "user_code": Like("[B-Z]{4}-[B-Z]{4}"),
    "verification_uri": f"{PORTAL}/me/device/",
    "verification_uri_complete": Like(r".+/me/device/\?user_code=[B-Z]{4}-[B-Z]{4}"),
    "expires_in": 600,
    "interval": 5,
}
TOKENS = {
    "token_type": "Bearer",
    "access_token": JWT,
    "id_token": JWT,
    "expires_in": 300,
    "refresh_token": Like("osmor_[0-9A-Za-z]{49}"),
    "scope": "openid offline_access profile",
}
AS_CLIENT = "client_id=osmo-cli&scope=openid offline_access profile"
DEVICE_GRANT = "grant_type=urn:ietf:params:oauth:grant-type:device_code&client_id=osmo-cli&device_code="
REFRESH_GRANT = "grant_type=refresh_token&client_id=osmo-cli&refresh_token="
PASSWORD_GRANT = "grant_type=password&client_id=osmo-cli&username=ada&password=x&scope=openid"
LOST = f"osmod_{'x' * 49}"


def of_form(call: str, path: str, *cases: tuple[str, str, int, Any]) -> list[Row]:
    """Rows of a call that sends a form and no JWT: what is sent, and the answer, or the `error` of a refusal."""
    return [Row(call, name, ALL, NOBODY, f"POST {path}", answer, status, form) for name, form, status, answer in cases]


# In forms `{pending}`, `{approved}`, `{denied}`, `{over}` stand for device codes, `{refresh}` and `{used}` for refresh
# tokens of a terminal that is signed in.
TERMINALS = [
    *of_form(
        "ask for codes",
        ASK_FOR_CODES,
        ("done", AS_CLIENT, 200, CODES),
        ("unknown client", "client_id=somebody&scope=openid", 400, "invalid_client"),
        ("no client", "scope=openid", 400, "invalid_client"),
    ),
    *of_form(
        "poll",
        GIVE_TOKENS,
        ("done", DEVICE_GRANT + "{approved}", 200, TOKENS),
        ("nobody decided", DEVICE_GRANT + "{pending}", 400, "authorization_pending"),
        ("too often", DEVICE_GRANT + "{polled}", 400, "slow_down"),
        ("refused", DEVICE_GRANT + "{denied}", 400, "access_denied"),
        ("over", DEVICE_GRANT + "{over}", 400, "expired_token"),
        ("unknown code", DEVICE_GRANT + LOST, 400, "invalid_request"),
        ("no code", DEVICE_GRANT, 400, "invalid_request"),
    ),
    *of_form(
        "refresh",
        GIVE_TOKENS,
        ("done", REFRESH_GRANT + "{refresh}", 200, TOKENS),
        ("used long ago", REFRESH_GRANT + "{used}", 400, "invalid_grant"),
        ("ended", REFRESH_GRANT + "{ended}", 400, "invalid_grant"),
        ("unknown token", REFRESH_GRANT + "x", 400, "invalid_grant"),
        ("no token", "grant_type=refresh_token&client_id=osmo-cli", 400, "invalid_request"),
    ),
    *of_form(
        "login by password",
        GIVE_TOKENS,
        ("refused", PASSWORD_GRANT, 400, "unsupported_grant_type"),
    ),
]


CONFIG_ROLE, CONFIG_POOL, HISTORY = "/api/configs/role", "/api/configs/pool", "/api/configs/history"
ONLY_ADMINISTRATORS_CONFIG = "Only an administrator may read and change the configuration."
NO_ROLE, NO_POOL = "Role nosuch does not exist.", "Pool nosuch not found."
OTHER_TYPE = "Configs of the type BACKEND are not kept by this portal: it keeps ROLE and POOL."
LOCAL_INSTANT = Like(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}")
METHODS = ["get", "post", "put", "patch", "delete", "websocket"]
READS = {"effect": "Allow", "actions": ["dataset:Read", "pool:List"], "resources": ["*"]}


def request_to(path: str, method: str) -> dict[str, str]:
    return {"base": "http", "path": path, "method": method}


READER = {"name": PLAIN_ROLE, "description": "", "immutable": False}
OLDER_READER = {
    **READER,
    "policies": [
        {"actions": [request_to("/api/pool", "Get"), request_to("/api/pool_quota", "Get")], "stands_for": READS}
    ],
}
NEWER_READER = {**READER, "policies": [READS], "sync_mode": "import", "external_roles": [PLAIN_ROLE]}
OLDER_TEAM = {
    "name": "osmo-team-a",
    "description": "Generated Role for pool team-a",
    "policies": [{"actions": ["http:/api/pool/team-a*:post", "http:/api/profile/*:*"]}],
    "immutable": False,
}
NEWER_TEAM = {
    "name": "osmo-team-a",
    "description": "Generated Role for pool team-a",
    "policies": [{"effect": "Allow", "actions": ["workflow:*"], "resources": ["pool/team-a*"]}],
    "immutable": False,
}


def role_calls(lines: tuple[str, ...], reader: dict[str, Any], team: dict[str, Any], bad: str) -> list[Row]:
    def policies(*actions: Any) -> dict[str, Any]:
        return {"configs": {**team, "policies": [{"actions": [*actions]}]}}

    return [
        *of_call(
            "show role",
            lines,
            ADMINISTRATOR,
            f"GET {CONFIG_ROLE}/",
            ("done", PLAIN_ROLE, 200, reader),
            ("not there", "nosuch", 400, NO_ROLE),
            ("no name", "bad%20name", 400, "Role bad name does not exist."),
            ("denied", PLAIN_ROLE, 403, ONLY_ADMINISTRATORS_CONFIG, PERSON),
        ),
        *of_call(
            "set role",
            lines,
            ADMINISTRATOR,
            f"PUT {CONFIG_ROLE}/",
            ("made", "osmo-team-a", 200, None, {"configs": team, "description": "team a", "tags": ["t"]}),
            ("as it is", PLAIN_ROLE, 200, None, {"configs": reader, "description": "the same"}),
            ("other actions", "osmo-team-a", 200, None, policies(request_to("/api/app", "get"), "pool:List")),
            ("no actions", "osmo-team-a", 200, None, policies()),
            ("bad action", "osmo-team-a", 400, bad, policies("nonsense")),
            (
                "bad method",
                "osmo-team-a",
                400,
                f"Invalid method: fetch. Method must be one of: {['*', *METHODS]}",
                policies("http:/api/app:fetch"),
            ),
            (
                "two names",
                "osmo-team-b",
                400,
                "The address is about the role osmo-team-b, the body about osmo-team-a. Write one name.",
                {"configs": team},
            ),
            (
                "pool access for everybody",
                "osmo-user",
                400,
                "osmo-user must not give pool access: every person holds it. Make a role of its own for the pool.",
                {"configs": {**team, "name": "osmo-user"}},
            ),
            (
                "the administrators' role",
                "osmo-admin",
                400,
                "osmo-admin cannot be changed: the portal stands on it.",
                {"configs": {**team, "name": "osmo-admin"}},
            ),
            ("denied", "osmo-team-a", 403, ONLY_ADMINISTRATORS_CONFIG, SERVICE, {"configs": team}),
            ("field missing", "osmo-team-a", 422, "configs is missing: the role.", {"description": "d"}),
            ("no body", "osmo-team-a", 422, "configs is missing: the role."),
            ("broken JSON", "osmo-team-a", 422, "The body is not JSON.", b"{"),
            ("policies missing", "r", 422, "policies of the role r are missing.", {"configs": {"name": "r"}}),
        ),
        *of_call(
            "update roles",
            lines,
            ADMINISTRATOR,
            f"PUT {CONFIG_ROLE}",
            ("done", "", 200, None, {"configs": [reader, team], "description": "both", "tags": None}),
            ("listed twice", "", 400, "osmo-team-a is listed twice.", {"configs": [team, team]}),
            ("denied", "", 403, ONLY_ADMINISTRATORS_CONFIG, PERSON, {"configs": [team]}),
            ("no list", "", 422, "configs must be a list of roles.", {"configs": team}),
        ),
        *of_call(
            "history with data",
            lines,
            ADMINISTRATOR,
            f"GET {HISTORY}?config_types=ROLE&omit_data=False&",
            (
                "of a later revision",
                "revision=3&name=team-reader",
                200,
                {"configs": [{**entry("ROLE", 3, PLAIN_ROLE), "data": Holds(reader)}]},
            ),
            ("unknown revision", "revision=999", 200, {"configs": []}),
            ("revision 0", "revision=0", 422, "revision must be a number from 1 to 2147483647."),
        ),
        *of_call(
            "diff",
            lines,
            ADMINISTRATOR,
            "GET /api/configs/diff?config_type=ROLE&first_revision=",
            ("done", "2&second_revision=3", 200, {"first_data": mock.ANY, "second_data": Holds(reader)}),
            (
                "unknown revision",
                "2&second_revision=999",
                400,
                "No config history entry found for type ROLE at revision 999",
            ),
            ("revision missing", "2", 422, "second_revision must be a number from 1."),
        ),
    ]


class Holds:
    """Equals every list that has this element."""

    def __init__(self, element: Any) -> None:
        self.element = element

    def __eq__(self, other: object) -> bool:
        return isinstance(other, list) and self.element in other

    def __hash__(self) -> int:
        return 0


def entry(kind: str, revision: int, name: str, description: str = "") -> dict[str, Any]:
    return {
        "config_type": kind,
        "name": name,
        "revision": revision,
        "username": Like("system:.*"),
        "created_at": LOCAL_INSTANT,
        "description": description or f"Put complete {kind.lower()} {name}",
        "tags": None,
        "data": None,
    }


CONFIGURED_POOL: dict[str, Any] = {
    **{name: value for name, value in MY_POOL.items() if name != "resources"},
    "resources": {"gpu": None},
    "common_default_variables": {},
    "common_resource_validations": [],
    "common_pod_template": [],
    "common_group_templates": [],
}
CONFIGS = [
    *role_calls(OLDER, OLDER_READER, OLDER_TEAM, "Invalid action: nonsense"),
    *role_calls(
        NEWER,
        NEWER_READER,
        NEWER_TEAM,
        'Invalid action format: nonsense. Expected format: "resource:Action" (e.g., "workflow:Create", "*:*")',
    ),
    *of_call(
        "show roles",
        ALL,
        ADMINISTRATOR,
        f"GET {CONFIG_ROLE}",
        ("done", "", 200, mock.ANY),
        ("no credential", "", 401, "Jwt is missing", NOBODY),
        ("denied", "", 403, ONLY_ADMINISTRATORS_CONFIG, PERSON),
    ),
    *of_call(
        "delete role",
        ALL,
        ADMINISTRATOR,
        f"DELETE {CONFIG_ROLE}/",
        ("done", PLAIN_ROLE, 200, None, {"description": "unused"}),
        ("without a body", PLAIN_ROLE, 200, None),
        ("not there", "nosuch", 400, NO_ROLE, {"description": "unused"}),
        (
            "the administrators' role",
            "osmo-admin",
            400,
            "osmo-admin cannot be deleted: the portal stands on it.",
            {"description": "x"},
        ),
        ("denied", PLAIN_ROLE, 403, ONLY_ADMINISTRATORS_CONFIG, PERSON, {"description": "x"}),
        ("no text", PLAIN_ROLE, 422, "description must be text.", {"description": 5}),
    ),
    *of_call(
        "show pools",
        ALL,
        ADMINISTRATOR,
        f"GET {CONFIG_POOL}",
        ("all", "", 200, {"pools": {"default": mock.ANY, "my_pool": CONFIGURED_POOL}}),
        ("all with everything", "?verbose=True", 200, {"pools": {"default": mock.ANY, "my_pool": CONFIGURED_POOL}}),
        ("one", "/my_pool", 200, CONFIGURED_POOL),
        ("not there", "/nosuch", 400, NO_POOL),
        ("no name", "/bad%20name", 400, "Pool bad name not found."),
        ("denied", "/my_pool", 403, ONLY_ADMINISTRATORS_CONFIG, PERSON),
    ),
    *of_call(
        "set pool",
        ALL,
        ADMINISTRATOR,
        f"PUT {CONFIG_POOL}/",
        ("made", "new", 200, None, {"configs": {"backend": "default"}, "description": "d"}),
        ("as it is", "my_pool", 200, None, {"configs": CONFIGURED_POOL}),
        (
            "bad name",
            "bad%20name",
            400,
            'Pool name "bad name" is not valid! Name can only be alphanumeric and contain dash or underscore.',
            {"configs": {"backend": "default"}},
        ),
        (
            "bad name of a platform",
            "new",
            400,
            'Platform name "a b" is not valid! Name can only be alphanumeric and contain dash or underscore.',
            {"configs": {"backend": "default", "platforms": {"a b": {}}}},
        ),
        (
            "unknown default platform",
            "new",
            400,
            {"message": "Default platform nope not in platforms", "error_code": "USAGE", "workflow_id": None},
            {"configs": {"backend": "default", "default_platform": "nope"}},
        ),
        ("denied", "new", 403, ONLY_ADMINISTRATORS_CONFIG, SERVICE, {"configs": {"backend": "default"}}),
        ("backend missing", "new", 422, "backend is missing.", {"configs": {}}),
        ("field missing", "new", 422, "configs is missing: the pool.", {}),
    ),
    *of_call(
        "update pools",
        ALL,
        ADMINISTRATOR,
        f"PUT {CONFIG_POOL}",
        ("done", "", 200, None, {"configs": {"my_pool": CONFIGURED_POOL, "new": {"backend": "b"}}}),
        ("denied", "", 403, ONLY_ADMINISTRATORS_CONFIG, PERSON, {"configs": {}}),
        ("no object", "", 422, "configs must be an object: the pools by their names.", {"configs": []}),
    ),
    *of_call(
        "update pool",
        ALL,
        ADMINISTRATOR,
        f"PATCH {CONFIG_POOL}/",
        (
            "done",
            "my_pool",
            200,
            {**CONFIGURED_POOL, "description": "d", "enable_maintenance": True, "status": "MAINTENANCE"},
            {"configs_dict": {"description": "d", "enable_maintenance": True}, "description": "why"},
        ),
        ("not there", "nosuch", 400, NO_POOL, {"configs_dict": {"description": "d"}}),
        ("denied", "my_pool", 403, ONLY_ADMINISTRATORS_CONFIG, PERSON, {"configs_dict": {}}),
        ("field missing", "my_pool", 422, "configs_dict must be an object: what changes of the pool.", {}),
    ),
    *of_call(
        "delete pool",
        ALL,
        ADMINISTRATOR,
        f"DELETE {CONFIG_POOL}/",
        ("done", "my_pool", 200, None, {"description": "sold"}),
        ("not there", "nosuch", 400, NO_POOL, {"description": "sold"}),
        ("denied", "my_pool", 403, ONLY_ADMINISTRATORS_CONFIG, PERSON, {"description": "sold"}),
        ("broken JSON", "my_pool", 422, "The body is not JSON.", b"{"),
    ),
    *of_call(
        "history",
        ALL,
        ADMINISTRATOR,
        f"GET {HISTORY}?omit_data=True&",
        (
            "of one type",
            "offset=0&limit=20&order=ASC&config_types=ROLE&created_after=2000-01-01&name=team-reader",
            200,
            {"configs": [entry("ROLE", 3, PLAIN_ROLE)]},
        ),
        (
            "the newest",
            "config_types=POOL&order=DESC&limit=1",
            200,
            {"configs": [entry("POOL", 2, "my_pool")]},
        ),
        (
            "now",
            "at_timestamp=2999-11-23+17:44:57.664145",
            200,
            {"configs": [entry("POOL", 2, "my_pool"), mock.ANY]},
        ),
        ("by tags", "tags=initial-config&tags=nope", 200, {"configs": []}),
        ("before there was any", "created_before=2000-01-01T00:00:00", 200, {"configs": []}),
        ("another type", "config_types=BACKEND", 400, OTHER_TYPE),
        ("denied", "", 403, ONLY_ADMINISTRATORS_CONFIG, PERSON),
        ("unknown type", "config_types=NOPE", 422, "The config type must be one of ROLE, POOL."),
        ("too many", "limit=2000", 422, "limit must be a number from 1 to 1000."),
        ("no boolean", "omit_data=maybe", 422, "omit_data must be true or false."),
    ),
    *of_call(
        "delete revision",
        ALL,
        ADMINISTRATOR,
        f"DELETE {HISTORY}/",
        ("done", "role/revision/2", 200, None),
        ("the current", "role/revision/3", 400, "Cannot delete the current revision 3 for config type ROLE"),
        ("not there", "role/revision/999", 400, "No config history entry found for type ROLE at revision 999"),
        ("unknown type", "nope/revision/1", 400, 'Invalid config type "nope"'),
        ("another type", "backend/revision/1", 400, OTHER_TYPE),
        ("denied", "role/revision/2", 403, ONLY_ADMINISTRATORS_CONFIG, PERSON),
        ("revision 0", "role/revision/0", 422, "revision must be a number from 1."),
    ),
    *of_call(
        "rollback",
        ALL,
        ADMINISTRATOR,
        f"POST {HISTORY}/rollback",
        ("done", "", 200, None, {"revision": 1, "config_type": "ROLE", "description": "D", "tags": ["t"]}),
        ("of pools", "", 200, None, {"revision": 1, "config_type": "POOL", "description": "D"}),
        (
            "not there",
            "",
            400,
            "No config history entry found for type ROLE at revision 999",
            {"revision": 999, "config_type": "ROLE", "description": "D"},
        ),
        ("another type", "", 400, OTHER_TYPE, {"revision": 1, "config_type": "BACKEND", "description": "D"}),
        ("denied", "", 403, ONLY_ADMINISTRATORS_CONFIG, PERSON, {"revision": 1, "config_type": "ROLE"}),
        ("revision missing", "", 422, "revision must be a number from 1.", {"config_type": "ROLE"}),
        ("unknown type", "", 422, "The config type must be one of ROLE, POOL.", {"revision": 1, "config_type": "X"}),
    ),
    *of_call(
        "tag",
        ALL,
        ADMINISTRATOR,
        f"POST {HISTORY}/",
        ("set", "role/revision/3/tags", 200, None, {"set_tags": ["a", "b"], "delete_tags": ["c"]}),
        (
            "not there",
            "role/revision/999/tags",
            400,
            "No config history entry found for type ROLE at revision 999",
            {"set_tags": ["a"]},
        ),
        ("denied", "role/revision/3/tags", 403, ONLY_ADMINISTRATORS_CONFIG, PERSON, {"set_tags": ["a"]}),
        ("nothing to do", "role/revision/3/tags", 422, "set_tags or delete_tags must name a tag.", {}),
    ),
    *of_call(
        "another type",
        ALL,
        ADMINISTRATOR,
        "GET /api/configs/",
        ("of the history", "history?config_types=POOL&limit=1", 200, mock.ANY),
        ("asked for", "backend", 400, OTHER_TYPE),
        ("one of it", "backend/x", 400, OTHER_TYPE),
        ("denied", "backend", 403, ONLY_ADMINISTRATORS_CONFIG, PERSON),
        ("no type", "nope", 400, 'Invalid config type "nope"'),
    ),
]

ROWS = [*PUBLIC, *EXCHANGES, *OLDER_TOKENS, *NEWER_TOKENS, *NEWER_USERS, *PROFILES_AND_POOLS, *CONFIGS, *TERMINALS]
