"""Logging in by the browser, as the process does it and as the portal's answers steer it."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import pytest
import yaml

from tests.cli.conftest import Osmo, Portal

LOGIN, DEVICE, TOKEN = "/api/auth/login", "/api/auth/login/device", "/api/auth/login/token"
GRANT = "urn:ietf:params:oauth:grant-type:device_code"
DEVICE_CODE, REFRESH, NEXT = f"osmod_{'x' * 49}", f"osmor_{'y' * 49}", f"osmor_{'z' * 49}"
CODES = {
    "device_code": DEVICE_CODE,
    "user_code": "BCDF-GHJK",
    "verification_uri": "https://portal/me/device/",
    "verification_uri_complete": "https://portal/me/device/?user_code=BCDF-GHJK",
    "expires_in": 600,
    "interval": 0,
}


def offer(portal: Portal, **changed: Any) -> None:
    portal.on(
        f"GET {LOGIN}",
        {"device_endpoint": portal.url + DEVICE, "device_client_id": "osmo-cli", "token_endpoint": portal.url + TOKEN},
    )
    portal.on(f"POST {DEVICE}", {**CODES, **changed})


def grants(portal: Portal, jwt: str, refresh_token: str = REFRESH) -> None:
    portal.on(f"POST {TOKEN}", {"id_token": jwt, "refresh_token": refresh_token, "token_type": "Bearer"})


def form(portal: Portal, number: int) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(portal.asked[number].body).items()}


def save(osmo: Osmo, portal: Portal, jwt: str, refresh_token: str = REFRESH) -> None:
    login = {
        "id_token": jwt,
        "refresh_token": refresh_token,
        "refresh_url": portal.url + TOKEN,
        "client_id": "osmo-cli",
    }
    osmo.home.mkdir(parents=True, exist_ok=True)
    saved = {"url": portal.url, "name": "Ada", "osmo_token": False, "token_login": login}
    osmo.login_file.write_text(yaml.safe_dump(saved))


def test_a_login_shows_where_to_go_and_waits(osmo: Osmo, portal: Portal, make_jwt: Callable[..., str]) -> None:
    offer(portal)
    grants(portal, make_jwt(name="Ada Lovelace"))

    result = osmo("login", portal.url)

    assert (result.stdout, result.stderr, result.returncode) == (
        (
            "Visit https://portal/me/device/?user_code=BCDF-GHJK and complete authentication.\n"
            "Successfully logged in. Welcome Ada Lovelace.\n"
        ),
        "",
        0,
    )
    assert portal.lines() == [f"GET {LOGIN}", f"POST {DEVICE}", f"POST {TOKEN}"]
    assert form(portal, 1) == {"client_id": "osmo-cli", "scope": "openid offline_access profile"}
    assert form(portal, 2) == {"grant_type": GRANT, "device_code": DEVICE_CODE, "client_id": "osmo-cli"}


def test_the_login_file_is_that_of_the_released_clients(
    osmo: Osmo, portal: Portal, make_jwt: Callable[..., str]
) -> None:
    offer(portal)
    jwt = make_jwt(name="Ada")
    grants(portal, jwt)

    osmo("login", portal.url, "--method", "code")

    assert yaml.safe_load(osmo.login_file.read_text()) == {
        "url": portal.url,
        "name": "Ada",
        "osmo_token": False,
        "token_login": {
            "id_token": jwt,
            "refresh_token": REFRESH,
            "refresh_url": portal.url + TOKEN,
            "client_id": "osmo-cli",
        },
    }
    assert osmo.login_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        (
            {"verification_uri_complete": None},
            "Visit https://portal/me/device/ and enter the following code: BCDF-GHJK",
        ),
        ({"message": "Go there."}, "Go there."),
    ],
)
def test_what_to_do_is_said_as_the_portal_wants_it(
    osmo: Osmo, portal: Portal, make_jwt: Callable[..., str], codes: dict[str, Any], said: str
) -> None:
    offer(portal, **codes)
    grants(portal, make_jwt())

    assert osmo("login", portal.url).stdout.splitlines()[0] == said


@pytest.mark.parametrize("error", ["access_denied", "expired_token", "invalid_grant"])
def test_a_no_ends_the_waiting(osmo: Osmo, portal: Portal, error: str) -> None:
    offer(portal)
    portal.on(f"POST {TOKEN}", {"error": error, "error_description": f"about {DEVICE_CODE}"}, status=400)

    result = osmo("login", portal.url)

    assert result.stdout.splitlines()[1].startswith(f'Failed to log in: {{"error": "{error}"')
    assert DEVICE_CODE not in result.stdout + result.stderr
    assert result.returncode == 10
    assert not osmo.login_file.exists()


def test_a_code_that_nobody_approves_is_given_up(osmo: Osmo, portal: Portal) -> None:
    offer(portal, expires_in=0.3, interval=0.1)
    portal.on(f"POST {TOKEN}", {"error": "authorization_pending"}, status=400)

    result = osmo("login", portal.url)

    assert result.stdout.splitlines()[1] == "Failed to log in: nobody completed the authentication in time."
    assert (result.stderr, result.returncode) == ("", 10)
    assert len(portal.asked) >= 3


@pytest.mark.parametrize("answer", [dict.fromkeys(["device_endpoint", "token_endpoint"]), {}])
def test_a_portal_that_offers_none_is_told_apart(osmo: Osmo, portal: Portal, answer: dict[str, Any]) -> None:
    portal.on(f"GET {LOGIN}", answer)

    result = osmo("login", portal.url)

    assert "Use --method token" in result.stdout
    assert result.returncode == 2


@pytest.mark.parametrize("codes", [{"device_code": None}, {"user_code": ""}, {"verification_uri": None}])
def test_half_an_answer_is_a_failure_of_the_portal(osmo: Osmo, portal: Portal, codes: dict[str, Any]) -> None:
    offer(portal, **codes)

    assert osmo("login", portal.url).returncode == 10


@pytest.mark.parametrize("answer", [{}, {"id_token": "no jwt", "refresh_token": "x"}, {"id_token": "a.b.c"}, []])
def test_half_a_result_is_one_too(osmo: Osmo, portal: Portal, answer: Any) -> None:
    offer(portal)
    portal.on(f"POST {TOKEN}", answer)

    result = osmo("login", portal.url)

    assert result.returncode == 10
    assert not osmo.login_file.exists()


@pytest.mark.parametrize("method", ["password", "dev"])
def test_the_other_methods_are_refused(osmo: Osmo, portal: Portal, method: str) -> None:
    result = osmo("login", portal.url, "--method", method, "--username", "ada", "--password", "hunter2")

    assert f"Login by {method} is not supported" in result.stderr
    assert "hunter2" not in result.stdout + result.stderr
    assert result.returncode == 2
    assert portal.asked == []


def test_a_token_without_its_method_is_pointed_out(osmo: Osmo, portal: Portal, secret: str) -> None:
    result = osmo("login", portal.url, "--token", secret)

    assert "An access token is given with --method token." in result.stdout
    assert portal.asked == []


# Renewing.


def test_a_login_is_renewed_and_the_new_refresh_token_kept(
    osmo: Osmo, portal: Portal, make_jwt: Callable[..., str]
) -> None:
    save(osmo, portal, make_jwt(-1))
    fresh = make_jwt()
    grants(portal, fresh, NEXT)
    portal.on("GET /api/auth/access_token/user", [])

    result = osmo("token", "list")

    assert (result.stdout, result.returncode) == ("No tokens found\n", 0)
    assert portal.lines() == [f"POST {TOKEN}", "GET /api/auth/access_token/user"]
    assert form(portal, 0) == {"grant_type": "refresh_token", "refresh_token": REFRESH, "client_id": "osmo-cli"}
    saved = yaml.safe_load(osmo.login_file.read_text())["token_login"]
    assert (saved["id_token"], saved["refresh_token"]) == (fresh, NEXT)
    assert osmo.login_file.stat().st_mode & 0o777 == 0o600


def test_a_refused_renewal_asks_to_log_in_again_and_leaves_the_login(
    osmo: Osmo, portal: Portal, make_jwt: Callable[..., str]
) -> None:
    save(osmo, portal, make_jwt(-1))
    before = osmo.login_file.read_text()
    body = {"error": "invalid_grant", "error_description": f"about {REFRESH}"}
    portal.on(f"POST {TOKEN}", body, status=400)

    result = osmo("profile", "list")

    raw = json.dumps(body).replace(REFRESH, "[hidden]")
    assert result.stdout == (
        f'Unable to refresh login token (status code 400): {raw}\nPlease re-login with "osmo login"\n'
    )
    assert result.returncode == 10
    assert osmo.login_file.read_text() == before


def test_of_several_at_once_one_renews_the_login(osmo: Osmo, portal: Portal, make_jwt: Callable[..., str]) -> None:
    save(osmo, portal, make_jwt(-1))
    grants(portal, make_jwt(), NEXT)
    portal.on("GET /api/auth/access_token/user", [])
    portal.delay = 0.5

    processes = [osmo.start("token", "list") for _ in range(3)]

    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert portal.lines().count(f"POST {TOKEN}") == 1


def test_an_error_shows_no_refresh_token(osmo: Osmo, portal: Portal, make_jwt: Callable[..., str]) -> None:
    save(osmo, portal, make_jwt(), "a-refresh-token-of-another-form")
    portal.on(
        "GET /api/profile/settings", {"message": "a-refresh-token-of-another-form", "error_code": "USER"}, status=400
    )

    assert "another-form" not in osmo("profile", "list").stdout
