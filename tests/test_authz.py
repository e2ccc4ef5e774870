"""/api/authz: yes or no to each request that a gateway gets, and no to whatever is odd."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client

from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tokens import exchange
from tokens.models import AccessToken, LastUse

SUBMIT = "/api/pool/my_pool/workflow"
FORMS = ["nginx", "traefik", "envoy"]


def ask(
    method: str,
    target: str,
    credential: str | None = None,
    *,
    form: str = "nginx",
    client: Any = None,
    **sent: Any,
) -> Any:
    """As a gateway asks. `sent` are further headers of the caller, which gateways pass on."""
    headers = {name.replace("_", "-"): value for name, value in sent.items()}
    if credential:
        headers["authorization"] = f"Bearer {credential}"
    client = client or Client()
    if form == "envoy":
        return client.generic(method, f"/api/authz{target}", headers=headers, RAW_URI=f"/api/authz{target}")
    kind = {"nginx": "original", "traefik": "forwarded"}[form]
    return client.get("/api/authz", headers={**headers, f"x-{kind}-method": method, f"x-{kind}-uri": target})


def jwt_of(token: AccessToken) -> str:
    return exchange.exchange(token.plaintext)[0]


def refused(answer: Any, status: int, reason: str) -> None:
    assert answer.status_code == status
    assert reason in answer.json()["message"]
    assert answer["x-osmo-reason"].isascii()
    assert not [name for name in answer.headers if name.lower().startswith("x-osmo-") and name != "x-osmo-reason"]


# Yes.


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("how", ["jwt", "secret"])
def test_what_the_roles_allow_passes_with_who_calls(cast: Cast, form: str, how: str) -> None:
    token = cast.service_token(roles=[POOL_ROLE, PLAIN_ROLE])
    credential = jwt_of(token) if how == "jwt" else token.plaintext

    answer = ask("POST", f"{SUBMIT}?dry_run=True", credential, form=form)

    assert answer.status_code == 200
    assert answer["x-osmo-user"] == "robot"
    assert answer["x-osmo-roles"] == f"{POOL_ROLE},{PLAIN_ROLE}"
    assert answer["x-osmo-token-name"] == "ci"
    assert not answer.has_header("x-osmo-allowed-pools")
    assert answer.content == b""
    assert answer["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/api/profile/settings", "/api/resources", "/api/resources/node?pools=my_pool"])
def test_the_pools_are_told_where_osmo_wants_them(cast: Cast, path: str) -> None:
    admin = cast.administrator_token().plaintext

    assert ask("GET", path, admin)["x-osmo-allowed-pools"] == "default,my_pool"
    assert not ask("POST", path, admin).has_header("x-osmo-allowed-pools")


def test_whoever_may_submit_nowhere_is_told_no_pool(cast: Cast) -> None:
    assert ask("GET", "/api/profile/settings", cast.user_token().plaintext)["x-osmo-allowed-pools"] == ""


@pytest.mark.parametrize("header", ["x_osmo_auth", "authorization"])
def test_clients_of_each_dialect_are_known(cast: Cast, header: str) -> None:
    text = jwt_of(cast.user_token())

    answer = ask("GET", "/api/pool", **{header: text if header == "x_osmo_auth" else f"Bearer {text}"})

    assert answer["x-osmo-user"] == "ada"


@pytest.mark.parametrize(
    ("method", "path", "passes"),
    [
        ("GET", "/api/pool", True),
        ("GET", "/api/pool/", True),
        ("GET", "/api/workflow", True),
        ("GET", "/api/workflow/w-1/spec?x=y", True),
        ("POST", "/api/auth/access_token/laptop", True),
        ("POST", "/api/pool/default/workflow", False),
        ("POST", SUBMIT, False),
        ("POST", "/api/workflow/w-1/exec/task/t", False),
        ("POST", "/api/workflow/w-1/portforward/t", False),
        ("HEAD", "/api/pool", False),
        ("OPTIONS", "/api/pool", False),
        ("DELETE", "/api/workflow/w-1", False),
        ("GET", "/api/auth/user", False),
        ("POST", "/api/auth/user/grace/access_token/x", False),
        ("GET", "/api/agent/listener/be", False),
        ("GET", "/", False),
        ("GET", "/nowhere", False),
    ],
)
def test_a_user_token_does_what_osmo_user_says(cast: Cast, method: str, path: str, passes: bool) -> None:
    answer = ask(method, path, cast.user_token().plaintext)

    assert answer.status_code == (200 if passes else 403)


@pytest.mark.parametrize(
    ("path", "passes"),
    [
        (SUBMIT, True),
        ("/api/pool/my_pool-gpu/workflow", True),
        ("/api/pool/other/workflow", False),
        ("/api/workflow/w/exec/task/t", False),
        ("/api/workflow/w/portforward/t", False),
    ],
)
def test_a_pool_role_opens_its_pool_alone(cast: Cast, path: str, passes: bool) -> None:
    """Of which pool a workflow is, its path does not say: entering it takes a role for all of them."""
    assert ask("POST", path, cast.service_token().plaintext).status_code == (200 if passes else 403)


def test_entering_is_for_roles_of_every_pool(cast: Cast) -> None:
    by = cast.by("grace")
    entering = [{"effect": "Allow", "actions": ["workflow:Exec"], "resources": ["pool/*"]}]
    cast.robot.assign_role(_role(by, "enter", entering), by=by)
    token = cast.service_token(roles=["enter"])

    assert ask("POST", "/api/workflow/w/exec/task/t", token.plaintext).status_code == 200
    assert ask("GET", "/api/router/exec/w/client/k", token.plaintext, upgrade="websocket").status_code == 200
    assert ask("POST", "/api/workflow/w/portforward/t", token.plaintext).status_code == 403


def _role(by: Any, name: str, policies: list[Any]) -> str:
    from profiles.models import Role

    return Role.create(by=by, name=name, policies=policies).name


def test_a_deny_of_the_owner_holds_for_a_token_without_that_role(cast: Cast) -> None:
    """D7: a narrow token is not wider than its owner."""
    by = cast.by("grace")
    cast.robot.assign_role(_role(by, "not-now", [{"effect": "Deny", "actions": ["*:*"], "resources": []}]), by=by)

    refused(ask("POST", SUBMIT, cast.service_token().plaintext), 403, "Role not-now denies")


# Who is nobody.


@pytest.mark.parametrize("form", FORMS)
def test_nobody_gets_401(cast: Cast, form: str) -> None:
    answer = ask("GET", "/api/version", form=form)

    refused(answer, 401, "Jwt is missing")
    assert answer["www-authenticate"] == 'Bearer realm="osmo"'


@pytest.mark.parametrize(
    ("credential", "reason"),
    [
        ("osmo_" + "x" * 49, "Access Token is invalid"),
        ("a" * 64, "Access Token is invalid"),
        ("x" * 5_000, "Access Token is invalid"),
        ("a.b", "Jwt is not in the form"),
        ("a.b.c", "Jwt verification fails"),
    ],
)
def test_a_wrong_credential_gets_401(cast: Cast, credential: str, reason: str) -> None:
    refused(ask("POST", SUBMIT, credential), 401, reason)


@pytest.mark.parametrize("how", ["jwt", "secret"])
def test_a_token_that_has_ended_gets_401_at_once(cast: Cast, how: str) -> None:
    token = cast.service_token()
    credential = jwt_of(token) if how == "jwt" else token.plaintext
    assert ask("POST", SUBMIT, credential).status_code == 200

    token.revoke(by=cast.by("grace"), reason="end")

    refused(ask("POST", SUBMIT, credential), 401, "Access Token has been revoked")


def test_two_credentials_that_differ_get_401(cast: Cast) -> None:
    mine, other = jwt_of(cast.user_token()), jwt_of(cast.service_token())

    refused(ask("GET", "/api/pool", mine, x_osmo_auth=other), 401, "different credentials")
    refused(ask("GET", "/api/pool", f"{mine},Bearer {other}"), 401, "Jwt is not in the form")


@pytest.mark.parametrize("header", ["x-osmo-user", "x-osmo-roles", "x-osmo-token-name", "x-osmo-allowed-pools"])
def test_what_the_caller_says_of_itself_does_not_count(cast: Cast, header: str) -> None:
    """S14."""
    claim = {header.replace("-", "_"): "osmo-admin"}

    assert ask("GET", "/api/pool", **claim).status_code == 401
    answer = ask("GET", "/api/pool", cast.user_token().plaintext, **claim)
    assert (answer["x-osmo-user"], answer["x-osmo-roles"]) == ("ada", "osmo-user")


def test_a_browser_session_and_a_cookie_count_for_nothing(cast: Cast) -> None:
    client = Client()
    client.force_login(cast.grace)
    client.cookies["IdToken"] = jwt_of(cast.administrator_token())

    assert ask("GET", "/api/pool", client=client).status_code == 401


# What is odd. The administrator's token shows that nothing else refuses.


ODD_TARGETS = [
    "",
    "api/pool",
    "*",
    "//api/pool",
    "/api//pool",
    "/api/pool//",
    "http://osmo/api/pool",
    "//osmo/api/pool",
    "/api/./pool",
    "/api/../api/pool",
    "/api/x/..",
    "/api/%2e%2e/pool",
    "/api/.%2E/pool",
    "/api%2Fpool",
    "/api%2fpool",
    "/api%5cpool",
    "/api\\pool",
    "/api/pool%252fx",
    "/api/pool;x=y",
    "/api/pool%3bx",
    "/api/pool%3Fx",
    "/api/pool%23x",
    "/api/pool#x",
    "/api/pool%00",
    "/api/pool%0a",
    "/api/pool%7f",
    "/api/p%6Fol",
    "/api/pool%",
    "/api/pool%zz",
    "/api/pool%ff",
    "/api/pool%c0%af",
    "/api/pool%C2%85",
    "/api/pool/é",
    "/api/pool /x",
    "/api/pool\tx",
    "/API/pool",
    "/Api/pool",
    "/api/Pool",
    "/api/pool/x/Workflow",
    "/Health",
    "/health,/api/pool",
    "/health?,/api/pool",
    "/health?a=b, http://osmo/api",
    "/api/pool?x=\x01",
    "/api/pool?" + "x" * 4_000,
]


@pytest.mark.parametrize("target", ODD_TARGETS)
def test_an_address_that_servers_may_read_differently_is_refused(cast: Cast, target: str) -> None:
    refused(ask("POST", target, cast.administrator_token().plaintext), 403, " ")


@pytest.mark.parametrize("target", [odd for odd in ODD_TARGETS if odd.startswith("/") and odd.isascii()])
def test_the_address_is_taken_as_it_was_sent(cast: Cast, target: str) -> None:
    """Envoy's form: what the server has decoded already plays no part."""
    answer = Client().get(
        "/api/authz/api/pool",
        headers={"authorization": f"Bearer {cast.administrator_token().plaintext}"},
        RAW_URI=f"/api/authz{target}",
    )

    assert answer.status_code == 403


@pytest.mark.parametrize("sent", [None, "", "/api/pool", "//api/authz/api/pool", "http://portal/api/authz/api/pool"])
def test_without_the_address_as_sent_nothing_passes(cast: Cast, sent: str | None) -> None:
    raw: dict[str, Any] = {} if sent is None else {"RAW_URI": sent}

    answer = Client().get(
        "/api/authz/api/pool", headers={"authorization": f"Bearer {cast.administrator_token().plaintext}"}, **raw
    )

    assert answer.status_code == 403


@pytest.mark.parametrize("target", ["/api/pool", "/api/bucket/a%20b", "/api/bucket/%C3%A9", "/api/x?a=%2F..%00&b=//,c"])
def test_an_address_that_is_read_alike_everywhere_passes(cast: Cast, target: str) -> None:
    assert ask("GET", target, cast.administrator_token().plaintext).status_code == 200


@pytest.mark.parametrize("method", ["", "get", "Get", "TRACE", "CONNECT", "PROPFIND", "WEBSOCKET", "GET,POST", "GET "])
def test_an_odd_method_is_refused(cast: Cast, method: str) -> None:
    refused(ask(method, "/api/pool", cast.administrator_token().plaintext), 403, "method")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-original-method": "GET"},
        {"x-original-uri": "/api/pool"},
        {"x-forwarded-method": "GET"},
        {"x-forwarded-uri": "/api/pool"},
        {"x-original-method": "GET", "x-forwarded-uri": "/api/pool"},
        {"x-original-method": "GET", "x-original-uri": "/api/pool", "x-forwarded-uri": "/health"},
        {"x-forwarded-method": "GET", "x-forwarded-uri": "/api/pool", "x-original-uri": "/health"},
    ],
)
def test_a_request_that_is_not_told_in_one_way_is_refused(cast: Cast, headers: dict[str, str]) -> None:
    """A caller may send the other gateway's headers, which come through."""
    credential = {"authorization": f"Bearer {cast.administrator_token().plaintext}"}

    refused(Client().get("/api/authz", headers={**credential, **headers}), 403, "in one way")


@pytest.mark.parametrize("header", ["x-original-uri", "x-forwarded-uri", "x-original-method"])
def test_envoys_form_and_another_gateways_headers_are_refused(cast: Cast, header: str) -> None:
    admin = cast.administrator_token().plaintext

    refused(ask("GET", "/api/pool", admin, form="envoy", **{header.replace("-", "_"): "/health"}), 403, "in one way")


@pytest.mark.parametrize(
    "header", ["x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url"]
)
def test_headers_that_make_it_another_request_are_refused(cast: Cast, header: str) -> None:
    admin = cast.administrator_token().plaintext

    refused(ask("GET", "/api/pool", admin, **{header.replace("-", "_"): "DELETE"}), 403, "take it for another")


def test_a_websocket_is_a_request_of_its_own(cast: Cast) -> None:
    by = cast.by("grace")
    policies = [{"actions": ["http:/api/a:Get", "http:/api/b:Websocket"]}]
    cast.robot.assign_role(_role(by, "old", policies), by=by)
    token = cast.service_token(roles=["old"]).plaintext

    assert ask("GET", "/api/a", token).status_code == 200
    assert ask("GET", "/api/b", token).status_code == 403
    told: dict[str, Any]
    for told in ({"upgrade": "WebSocket"}, {"x_original_upgrade": "websocket"}):
        assert ask("GET", "/api/a", token, **told).status_code == 403
        assert ask("GET", "/api/b", token, **told).status_code == 200
    by_address = Client().get(
        "/api/authz?upgrade=websocket",
        headers={"authorization": f"Bearer {token}", "x-forwarded-method": "GET", "x-forwarded-uri": "/api/a"},
    )
    assert by_address.status_code == 403


@pytest.mark.parametrize(("method", "upgrade"), [("POST", "websocket"), ("GET", "h2c"), ("GET", "websocket, h2c")])
def test_another_upgrade_is_refused(cast: Cast, method: str, upgrade: str) -> None:
    admin = cast.administrator_token().plaintext

    refused(ask(method, "/api/pool", admin, x_original_upgrade=upgrade), 403, "another protocol")


# What it costs and leaves behind.


def test_a_secret_sent_directly_is_used_by_that(cast: Cast) -> None:
    """Else a token would count as unused and be cleared away, though its program works all day."""
    token = cast.service_token()

    ask("POST", SUBMIT, token.plaintext, user_agent="robot/1")

    used = LastUse.objects.get(token=token)
    assert used.at
    assert used.agent == "robot/1"


def test_the_first_use_of_a_rotated_secret_ends_the_old_one(cast: Cast) -> None:
    token = cast.service_token()
    old = token.plaintext
    new = token.rotate(by=cast.by("grace"), grace=timedelta(hours=1), end_old_at_first_use=True).plaintext

    assert ask("POST", SUBMIT, new).status_code == 200

    refused(ask("POST", SUBMIT, old), 401, "rotated")


@pytest.mark.parametrize("form", FORMS)
def test_a_database_that_is_away_is_no(cast: Cast, form: str) -> None:
    text = jwt_of(cast.administrator_token())

    def fail(*arguments: Any) -> None:
        raise OperationalError("connection refused")

    with connection.execute_wrapper(fail):
        assert ask("GET", "/api/pool", text, form=form).status_code == 503


def test_a_gateway_may_ask_by_any_host_and_without_tls(cast: Cast, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    token = cast.user_token().plaintext

    for form in FORMS:
        assert ask("GET", "/api/pool", token, form=form, host="osmo.internal:8080").status_code == 200


def test_a_reason_fits_into_json_and_a_header(cast: Cast) -> None:
    by = cast.by("grace")
    policies = [{"actions": ['http:!/api/"x\\é*:*']}]
    cast.robot.assign_role(_role(by, "quoting", policies), by=by)
    admin = cast.service_token(roles=["quoting"])

    reason = ask("GET", "/api/%22x%C3%A9", admin.plaintext)["x-osmo-reason"]

    assert reason.isascii()
    assert not {'"', "\\"} & set(reason)


def test_an_expiry_holds_here_too(cast: Cast, time_machine_days: Any) -> None:
    token = cast.user_token(days=3)
    time_machine_days((in_days(4) - in_days(0)).days)

    refused(ask("GET", "/api/pool", token.plaintext), 401, "expired")
