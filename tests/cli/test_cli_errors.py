import base64
import json
import socket
import threading
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from typing import Any

import pytest

from tests.cli.conftest import Osmo, Portal, handler

LIST = "GET /api/auth/access_token/user"
USER = {"message": "Token name nightly already exists.", "error_code": "USER", "workflow_id": None}
FORBIDDEN = {"message": "Forbidden", "error_code": 403}


@pytest.mark.parametrize(
    ("status", "body", "text", "exit_code"),
    [
        (400, USER, "Error message: Token name nightly already exists.\nError code: 400\n", 2),
        (403, FORBIDDEN, "Error message: Forbidden\nError code: 403\n", 2),
        (404, {"detail": "Not Found"}, 'Error message: {"detail": "Not Found"}\n', 2),
        (400, {"message": "alone"}, 'Error message: {"message": "alone"}\n', 2),
        (400, {"error_code": "USER"}, 'Error message: {"error_code": "USER"}\n', 2),
        (401, b"Jwt is missing", "Error message: Jwt is missing\n", 2),
        (422, {"detail": [{"loc": ["query"]}]}, 'Error message: {"detail": [{"loc": ["query"]}]}\n', 2),
        (
            400,
            USER | {"error_code": "USAGE"},
            "Error message: Token name nightly already exists.\nError code: 400\n",
            1,
        ),
        (
            400,
            {"message": "none left", "error_code": "RESOURCE"},
            "Error message: none left\nError code: 400\n",
            1,
        ),
        (
            429,
            {"message": "Slow down.", "error_code": "USER"},
            "Error message: Slow down.\nError code: 429\n",
            75,
        ),
        (429, b"slow down", "Error message: slow down\n", 75),
    ],
)
def test_a_refusal_is_told_as_the_released_clients_tell_it(
    osmo: Osmo, logged_in: Portal, status: int, body: Any, text: str, exit_code: int
) -> None:
    logged_in.on(LIST, body, status=status)

    result = osmo("token", "list")

    assert (result.stdout, result.returncode) == (text, exit_code)
    assert result.stderr == f"Server responded with status code {status}\n"


@pytest.mark.parametrize(
    ("status", "body", "message", "exit_code"),
    [
        (400, USER, "Token name nightly already exists.", 2),
        (400, USER | {"error_code": "RESOURCE"}, "Token name nightly already exists.", 1),
        (401, b"Jwt is missing", "Jwt is missing", 2),
        (429, b"slow down", "slow down", 75),
    ],
)
def test_a_refusal_is_json_where_json_was_asked_for(
    osmo: Osmo, logged_in: Portal, status: int, body: Any, message: str, exit_code: int
) -> None:
    logged_in.on(LIST, body, status=status)

    result = osmo("token", "list", "-t", "json")

    assert result.stdout == f'{{\n  "message": "{message}",\n  "code": {status}\n}}\n'
    assert result.returncode == exit_code


def test_a_failure_of_the_portal_shows_status_headers_and_body(osmo: Osmo, logged_in: Portal) -> None:
    logged_in.on(LIST, b"it broke", status=503, x_request_id="abc")

    text, as_json = osmo("token", "list"), osmo("token", "list", "-t", "json")

    lines = text.stdout.splitlines()
    assert lines[:2] == ["Error message: Status Code: 503", "Header:"]
    assert "  x-request-id: abc" in lines
    assert lines[-2:] == ["Body:", "it broke"]
    assert json.loads(as_json.stdout)["code"] == 503
    assert (text.returncode, as_json.returncode) == (10, 10)


@pytest.mark.parametrize(("status", "body"), [(200, b""), (204, b""), (200, b"<html>"), (200, b"\xff")])
def test_an_answer_that_is_not_json_is_a_failure_of_the_portal(
    osmo: Osmo, logged_in: Portal, status: int, body: bytes
) -> None:
    logged_in.on(LIST, body, status=status)

    result = osmo("token", "list")

    assert result.stdout.startswith("Error message: Error decoding JSON")
    assert result.returncode == 10


def test_an_answer_of_another_shape_is_a_failure_of_the_portal(osmo: Osmo, logged_in: Portal) -> None:
    logged_in.on(LIST, {"tokens": []})

    result = osmo("token", "list")

    assert result.stdout == "Error message: The portal's answer is not a list, as was expected.\n"
    assert result.returncode == 10


def test_any_other_success_is_a_success_with_a_remark(osmo: Osmo, logged_in: Portal) -> None:
    logged_in.on(LIST, [], status=201)

    result = osmo("token", "list")

    assert (result.stdout, result.stderr) == ("No tokens found\n", "Server responded with status code 201\n")
    assert result.returncode == 0


def test_a_redirect_is_a_failure_and_is_not_followed(osmo: Osmo, logged_in: Portal) -> None:
    logged_in.on(LIST, b"", status=302, Location="http://elsewhere.invalid/")

    result = osmo("token", "list")

    assert "The portal redirects to http://elsewhere.invalid/, which is not followed." in result.stdout
    assert result.returncode == 10
    assert logged_in.lines() == [LIST]


def test_a_portal_that_cannot_be_reached_is_told(osmo: Osmo, logged_in: Portal, make_jwt: Callable[..., str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    osmo.save(f"http://127.0.0.1:{port}", make_jwt())

    text, as_json = osmo("token", "list"), osmo("token", "list", "-t", "json")

    assert text.stdout.startswith("Cannot connect to OSMO service, with error:\n")
    assert json.loads(as_json.stdout)["code"] == 1
    assert (text.returncode, as_json.returncode) == (10, 10)


def open_up(server: ThreadingHTTPServer) -> None:
    server.server_activate()
    server.serve_forever(0.02)


def test_a_portal_that_starts_late_is_tried_again(osmo: Osmo, make_jwt: Callable[..., str]) -> None:
    scripted = Portal()
    scripted.on(LIST, [])
    with ThreadingHTTPServer(("127.0.0.1", 0), handler(scripted), bind_and_activate=False) as server:
        server.server_bind()
        osmo.save(f"http://127.0.0.1:{server.server_port}", make_jwt())
        late = threading.Timer(1.5, open_up, [server])
        late.start()

        result = osmo("token", "list", OSMO_CONNECT_RETRIES="5")
        late.join(1.5)
        server.shutdown()

    assert (result.stdout, result.returncode) == ("No tokens found\n", 0)


def test_a_request_that_may_have_reached_the_portal_is_not_repeated(osmo: Osmo, logged_in: Portal) -> None:
    logged_in.on("POST /api/auth/access_token/user/nightly", b"short", Content_Length="99")

    result = osmo("token", "set", "nightly", OSMO_CONNECT_RETRIES="5")

    assert result.returncode == 10
    assert len(logged_in.asked) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["token", "list"],
        ["token", "set", "nightly"],
        ["token", "delete", "nightly"],
        ["profile", "list"],
        ["profile", "set", "pool", "p"],
        ["pool", "list"],
    ],
)
def test_nothing_is_done_without_a_login(osmo: Osmo, arguments: list[str]) -> None:
    result = osmo(*arguments)

    assert result.stdout == 'Error message: Must login first with "login" command\nError code: 1\n'
    assert result.returncode == 2


def test_the_missing_login_is_json_where_json_was_asked_for(osmo: Osmo) -> None:
    result = osmo("profile", "list", "-t", "json")

    assert json.loads(result.stdout) == {"message": 'Must login first with "login" command', "code": 1}
    assert result.returncode == 2


@pytest.mark.parametrize("arguments", [[], ["token"], ["nonsense"], ["token", "list", "--nonsense"], ["token", "set"]])
def test_a_wrong_command_line_gets_the_usage_on_stderr(osmo: Osmo, arguments: list[str]) -> None:
    result = osmo(*arguments)

    assert result.stdout == ""
    assert result.stderr.startswith("Usage: osmo")
    assert result.returncode == 2


def test_the_portals_warning_is_decoded_and_cannot_steer_the_terminal(osmo: Osmo, logged_in: Portal) -> None:
    warning = base64.b64encode("WARNING: token t3\nexpires \x1b[31msoon\u202e".encode()).decode()
    logged_in.on(LIST, [], x_osmo_warning=warning)

    result = osmo("token", "list")

    assert result.stderr == "WARNING: token t3\nexpires \\x1b[31msoon\\u202e\n"
    assert result.stdout == "No tokens found\n"


@pytest.mark.parametrize("warning", ["not base64!", "/w==", ""])
def test_a_warning_that_cannot_be_decoded_is_left_out(osmo: Osmo, logged_in: Portal, warning: str) -> None:
    logged_in.on(LIST, [], x_osmo_warning=warning)

    result = osmo("token", "list")

    assert (result.stdout, result.stderr, result.returncode) == ("No tokens found\n", "", 0)


@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_portal_that_echoes_the_secret_and_the_jwt_does_not_get_them_printed(
    osmo: Osmo, logged_in: Portal, secret: str, status: int
) -> None:
    saved = osmo.login_file.read_text()
    jwt = saved.split("id_token: ")[1].split("\n")[0]
    logged_in.on(LIST, {"message": f"{secret} and {jwt}", "error_code": "USER"}, status=status, x_echo=secret)

    result = osmo("token", "list")

    assert "[hidden] and [hidden]" in result.stdout
    assert jwt not in result.stdout + result.stderr


def test_a_message_cannot_steer_the_terminal(osmo: Osmo, logged_in: Portal) -> None:
    logged_in.on(LIST, {"message": "\x1b]0;owned\x07", "error_code": "USER"}, status=400)

    result = osmo("token", "list")

    assert result.stdout == "Error message: \\x1b]0;owned\\x07\nError code: 400\n"
