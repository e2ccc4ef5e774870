import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import EXCHANGE, Osmo, Portal

WELCOME = "Successfully logged in. Welcome .\n"


def test_a_login_exchanges_the_secret_in_the_body_and_greets(
    osmo: Osmo, portal: Portal, secret: str, make_jwt: Callable[..., str]
) -> None:
    portal.grants(make_jwt(name="Ada Lovelace"))

    result = osmo("login", portal.url + "/", "--method", "token", "--token", secret)

    assert (result.stdout, result.stderr, result.returncode) == (
        "Successfully logged in. Welcome Ada Lovelace.\n",
        "",
        0,
    )
    assert portal.lines() == [f"POST {EXCHANGE}"]
    assert json.loads(portal.asked[0].body) == {"token": secret}
    assert portal.asked[0].headers["user-agent"] == "osmo-cli/6.0.0"
    assert "x-osmo-client-version" not in portal.asked[0].headers


def test_the_login_file_has_the_keys_of_the_released_clients_and_is_private(
    osmo: Osmo, portal: Portal, secret: str, make_jwt: Callable[..., str]
) -> None:
    token = make_jwt()
    portal.grants(token)

    osmo("login", portal.url, "--method", "token", "--token", secret)

    assert yaml.safe_load(osmo.login_file.read_text()) == {
        "url": portal.url,
        "name": "",
        "osmo_token": True,
        "token_login": {
            "id_token": token,
            "refresh_token": secret,
            "refresh_url": portal.url + EXCHANGE,
            "client_id": None,
        },
    }
    assert osmo.login_file.stat().st_mode & 0o777 == 0o600
    assert osmo.home.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in osmo.home.iterdir()] == ["login.yaml"]


def test_an_open_login_file_is_private_after_the_next_login(
    osmo: Osmo, logged_in: Portal, secret: str, make_jwt: Callable[..., str]
) -> None:
    osmo.login_file.chmod(0o644)
    logged_in.grants(make_jwt())

    osmo("login", logged_in.url, "--method", "token", "--token", secret)

    assert osmo.login_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("flag", ["--token-file", "--token_file"])
@pytest.mark.parametrize("form", ["{secret}\n", "https://elsewhere/api/auth/jwt/access_token?access_token={secret}\n"])
def test_a_token_file_holds_the_secret_or_the_older_address(
    osmo: Osmo,
    portal: Portal,
    secret: str,
    make_jwt: Callable[..., str],
    tmp_path: Path,
    flag: str,
    form: str,
) -> None:
    portal.grants(make_jwt())
    file = tmp_path / "token"
    file.write_text(form.format(secret=secret))

    result = osmo("login", portal.url, "--method", "token", flag, str(file))

    assert (result.stdout, result.returncode) == (WELCOME, 0)
    assert json.loads(portal.asked[0].body) == {"token": secret}


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({"OSMO_CONFIG_FILE_DIR": "{home}/own", "XDG_CONFIG_HOME": "{home}/xdg"}, "own/login.yaml"),
        ({"OSMO_CONFIG_FILE_DIR": "", "XDG_CONFIG_HOME": "{home}/xdg"}, "xdg/osmo/login.yaml"),
        ({"OSMO_CONFIG_FILE_DIR": "", "XDG_CONFIG_HOME": ""}, ".config/osmo/login.yaml"),
    ],
)
def test_the_login_file_lies_where_the_released_clients_look(
    osmo: Osmo,
    portal: Portal,
    secret: str,
    make_jwt: Callable[..., str],
    tmp_path: Path,
    variables: dict[str, str],
    place: str,
) -> None:
    portal.grants(make_jwt())
    environment = {name: text.format(home=tmp_path) for name, text in variables.items()}

    osmo("login", portal.url, "--method", "token", "--token", secret, **environment)

    assert (tmp_path / place).is_file()


@pytest.mark.parametrize("arguments", [[], ["--token", ""]])
def test_a_login_without_a_token_asks_for_one(osmo: Osmo, portal: Portal, arguments: list[str]) -> None:
    result = osmo("login", portal.url, "--method", "token", *arguments)

    assert "Must provide token file with --token_file or --token" in result.stdout
    assert result.returncode == 2
    assert portal.asked == []


def test_a_token_file_that_cannot_be_read_is_not_named(osmo: Osmo, portal: Portal, secret: str) -> None:
    result = osmo("login", portal.url, "--method", "token", "--token-file", secret)

    assert (result.stdout, result.returncode) == (
        "Error message: Cannot read the token file.\nError code: 1\n",
        2,
    )


@pytest.mark.parametrize(
    "url",
    [
        "portal",
        "ftp://portal",
        "http://",
        "http://ada:hunter2@portal",
        "http://portal?x=1",
        "http://portal#x",
        "http://portal:x",
        "http://por tal",
        "http://[::1",
    ],
)
def test_a_bad_address_is_refused_and_not_echoed(osmo: Osmo, secret: str, url: str) -> None:
    result = osmo("login", url, "--method", "token", "--token", secret)

    assert "Bad url" in result.stderr
    assert "hunter2" not in result.stderr
    assert result.returncode == 2
    assert not osmo.login_file.exists()


def test_a_secret_given_in_the_wrong_place_is_blotted_out(osmo: Osmo, portal: Portal, secret: str) -> None:
    result = osmo("login", portal.url, secret, "--method", "token")

    assert "Got unexpected extra argument(s) ([hidden])" in result.stderr
    assert result.returncode == 2


def test_plain_http_to_another_machine_is_warned_of_at_login_and_goes_through_the_proxy(
    osmo: Osmo, portal: Portal, secret: str, make_jwt: Callable[..., str]
) -> None:
    portal.on(f"POST http://portal.invalid{EXCHANGE}", {"token": make_jwt()})
    portal.on("GET http://portal.invalid/api/auth/access_token/user", [])

    login = osmo("login", "http://portal.invalid", "--method", "token", "--token", secret, HTTP_PROXY=portal.url)
    after = osmo("token", "list", HTTP_PROXY=portal.url)

    assert login.stderr == (
        "WARNING: http://portal.invalid is not encrypted; others on the network can read your token.\n"
    )
    assert (login.stdout, after.stdout, after.stderr) == (WELCOME, "No tokens found\n", "")


def test_a_loopback_address_is_never_asked_through_a_proxy(osmo: Osmo, logged_in: Portal) -> None:
    logged_in.on("GET /api/auth/access_token/user", [])

    result = osmo("token", "list", HTTP_PROXY="http://127.0.0.1:1", http_proxy="http://127.0.0.1:1")

    assert (result.stdout, result.returncode) == ("No tokens found\n", 0)


@pytest.mark.parametrize("setting", [{"HTTPS_PROXY": "gopher://proxy"}, {"SSL_CERT_FILE": "/nowhere.pem"}])
def test_a_bad_proxy_or_certificate_file_is_told(osmo: Osmo, secret: str, setting: dict[str, str]) -> None:
    result = osmo("login", "https://portal.invalid", "--method", "token", "--token", secret, **setting)

    assert result.stdout.startswith("Cannot connect to OSMO service, with error:\n")
    assert result.returncode == 10


def test_a_refused_exchange_says_so_and_saves_nothing(osmo: Osmo, portal: Portal, secret: str) -> None:
    body = {"message": f"Access Token is invalid: {secret}", "error_code": "USER", "workflow_id": None}
    portal.on(f"POST {EXCHANGE}", body, status=400)

    result = osmo("login", portal.url, "--method", "token", "--token", secret)

    raw = json.dumps(body).replace(secret, "[hidden]")
    assert result.stdout == (
        f'Unable to refresh login token (status code 400): {raw}\nPlease re-login with "osmo login"\n'
    )
    assert result.stderr == "Server responded with status code 400\n"
    assert result.returncode == 10
    assert not osmo.login_file.exists()


@pytest.mark.parametrize(
    "answer", [{}, {"token": None}, {"token": "no jwt"}, {"token": "a.b.c\r\nx: y"}, [], b"<html>"]
)
def test_an_exchange_without_a_jwt_is_a_failure_of_the_portal(
    osmo: Osmo, portal: Portal, secret: str, answer: object
) -> None:
    portal.on(f"POST {EXCHANGE}", answer)

    result = osmo("login", portal.url, "--method", "token", "--token", secret)

    assert result.stdout.startswith("Error message: ")
    assert result.returncode == 10
    assert not osmo.login_file.exists()


def test_a_redirect_is_not_followed(osmo: Osmo, portal: Portal, secret: str) -> None:
    portal.on(f"POST {EXCHANGE}", b"", status=307, Location=portal.url + "/elsewhere")

    result = osmo("login", portal.url, "--method", "token", "--token", secret)

    assert portal.lines() == [f"POST {EXCHANGE}"]
    assert result.returncode == 10


def test_a_live_jwt_is_used_as_it_is(osmo: Osmo, logged_in: Portal) -> None:
    logged_in.on("GET /api/auth/access_token/user", [])

    osmo("token", "list")

    assert logged_in.lines() == ["GET /api/auth/access_token/user"]
    headers = logged_in.asked[0].headers
    saved = yaml.safe_load(osmo.login_file.read_text())
    assert headers["authorization"] == f"Bearer {saved['token_login']['id_token']}"
    assert headers["x-osmo-client-version"] == "6.0.0"
    assert headers["user-agent"] == "osmo-cli/6.0.0"


@pytest.mark.parametrize(("life", "exchanges"), [(2, 1), (-10, 1), (60, 0)])
def test_a_jwt_is_renewed_when_less_than_three_seconds_are_left(
    osmo: Osmo, portal: Portal, make_jwt: Callable[..., str], life: int, exchanges: int
) -> None:
    osmo.save(portal.url, make_jwt(life))
    fresh = make_jwt(600)
    portal.grants(fresh)
    portal.on("GET /api/auth/access_token/user", [])

    osmo("token", "list")

    assert portal.lines() == [f"POST {EXCHANGE}"] * exchanges + ["GET /api/auth/access_token/user"]
    kept = yaml.safe_load(osmo.login_file.read_text())["token_login"]["id_token"] == fresh
    assert kept is bool(exchanges)


def test_a_login_of_the_older_client_is_renewed_and_otherwise_left_alone(
    osmo: Osmo, portal: Portal, secret: str, make_jwt: Callable[..., str]
) -> None:
    old = {
        "name": "",
        "osmo_token": True,
        "token_login": {
            "id_token": make_jwt(-1),
            "refresh_token": None,
            "refresh_url": f"{portal.url}{EXCHANGE}?access_token={secret}",
        },
        "url": portal.url,
        "unheard_of": 1,
    }
    osmo.home.mkdir(parents=True)
    osmo.login_file.write_text(yaml.safe_dump(old))
    fresh = make_jwt()
    portal.grants(fresh)
    portal.on("GET /api/auth/access_token/user", [])

    result = osmo("token", "list")

    assert (result.stdout, result.returncode) == ("No tokens found\n", 0)
    assert json.loads(portal.asked[0].body) == {"token": secret}
    old["token_login"]["id_token"] = fresh  # type: ignore[index]
    assert yaml.safe_load(osmo.login_file.read_text()) == old
    assert osmo.login_file.stat().st_mode & 0o777 == 0o600


def test_a_failed_renewal_leaves_the_login_and_asks_to_log_in_again(
    osmo: Osmo, portal: Portal, make_jwt: Callable[..., str]
) -> None:
    osmo.save(portal.url, make_jwt(-1))
    saved = osmo.login_file.read_text()
    portal.on(f"POST {EXCHANGE}", {"message": "Access Token has expired", "error_code": "USER"}, status=400)

    result = osmo("profile", "list")

    assert result.stdout.startswith("Unable to refresh login token (status code 400): ")
    assert result.stdout.endswith('Please re-login with "osmo login"\n')
    assert result.returncode == 10
    assert osmo.login_file.read_text() == saved


def test_a_login_by_another_method_is_used_while_it_lasts(
    osmo: Osmo, portal: Portal, make_jwt: Callable[..., str]
) -> None:
    login = {"id_token": make_jwt(), "refresh_token": "idp", "refresh_url": "http://idp.invalid/token"}
    osmo.home.mkdir(parents=True)
    saved = {"url": portal.url, "name": "ada", "osmo_token": False, "token_login": login}
    osmo.login_file.write_text(yaml.safe_dump(saved))
    portal.on("GET /api/auth/access_token/user", [])

    lasting = osmo("token", "list")
    login["id_token"] = make_jwt(-1)
    osmo.login_file.write_text(yaml.safe_dump(saved))
    over = osmo("token", "list")

    assert lasting.returncode == 0
    assert over.stdout == 'This login cannot be renewed by this client.\nPlease re-login with "osmo login"\n'
    assert over.returncode == 10
    assert portal.lines() == ["GET /api/auth/access_token/user"]


@pytest.mark.parametrize("content", ["", "[]", "url: 5", "a: b: c", "\x00", "osmo_token: true"])
def test_a_broken_login_file_is_named_and_not_shown(osmo: Osmo, content: str) -> None:
    osmo.home.mkdir(parents=True)
    osmo.login_file.write_text(content)

    result = osmo("token", "list")

    assert result.stdout == (
        f'Error message: Cannot read {osmo.login_file}. Please re-login with "osmo login"\nError code: 1\n'
    )
    assert result.returncode == 2


def test_logout_forgets_the_login_and_asks_nothing(osmo: Osmo, logged_in: Portal) -> None:
    first, second = osmo("logout"), osmo("logout")

    assert (first.stdout, first.returncode) == ("Successfully logged out.\n", 0)
    assert (second.stdout, second.returncode) == ("Successfully logged out.\n", 0)
    assert not osmo.login_file.exists()
    assert logged_in.asked == []


def test_an_interrupted_command_exits_with_3(osmo: Osmo, logged_in: Portal) -> None:
    logged_in.delay = 30
    command = [sys.executable, "-m", "osmo_cli", "profile", "list"]
    with subprocess.Popen(command, env=osmo.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 20
        while not logged_in.asked and time.monotonic() < deadline:
            time.sleep(0.02)

        process.send_signal(signal.SIGINT)

        assert process.communicate(timeout=20) == (b"", b"")
        assert process.returncode == 3
