"""Bad input under /api/v1/ gets a 4xx with problem details (RFC 9457) that say what is wrong; never a 500."""

import json
from typing import Any

import pytest
from django.db import OperationalError
from django.test import override_settings

from osmo_portal.events.models import Event
from tests.cast import Cast, in_days
from tests.rest import Rest, refused
from tokens.models import AccessToken

pytestmark = pytest.mark.django_db

ADDRESSES = [
    "tokens",
    "users",
    "roles",
    "pools",
    "tokens/{token}/rotate",
    "tokens/{token}/revoke",
    "users/{robot}/assign-role",
]


@pytest.fixture(params=ADDRESSES)
def address(request: pytest.FixtureRequest, cast: Cast) -> str:
    """Each address that takes a body, for an administrator."""
    token = cast.service_token()
    return str(request.param).format(token=token.pk, robot=cast.robot.pk)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"5",
        b'"text"',
        b"\xff\xfe",
        b'{"name": "\xff"}',
        '{"name": "x"}'.encode("utf-16"),
        b'{"name": "\\u0000"}',
        b'{"\\u0000": 1}',
        b'{"name": "\\ud800"}',
        b'{"\\udfff": 1}',
        b'{"name": NaN}',
        b'{"name": Infinity}',
        b'{"name": 1e999}',
        b'{"name": ' + b"9" * 5_000 + b"}",
        b'{"name": ' + b"[" * 100 + b"]" * 100 + b"}",
        b"[" * 100_000,
        b'{"a":' * 30_000 + b"1" + b"}" * 30_000,
        json.dumps({f"field-{n}": n for n in range(3_000)}).encode(),
        json.dumps({"x" * 10_000: "y"}).encode(),
    ],
    ids=lambda body: repr(body[:16]),
)
def test_a_body_that_is_no_sense_is_a_bad_request(cast: Cast, address: str, body: bytes):
    rest = Rest(person="grace")
    before = Event.objects.count()

    answer = rest.post(address, body)

    if address.endswith("rotate") and not body:
        assert answer.status_code == 200  # a rotation needs nothing to be said
        return
    refused(answer, 400)
    assert len(answer.content) < 10_000
    assert Event.objects.count() == before


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -1,
        10**400,
        1.5,
        "",
        " ",
        "x" * 3_000,
        "\n",
        "a\tb",
        "a\u202eb",
        "💥",
        [],
        [[]],
        {},
        {"a": 1},
        ["x"] * 200,
    ],
    ids=lambda value: repr(value)[:16],
)
@pytest.mark.parametrize("field", ["owner", "name", "expires_at", "roles"])
def test_every_field_of_a_token_stands_every_kind_of_value(cast: Cast, field: str, value: Any):
    body = {"owner": "robot", "name": "nightly", "expires_at": str(in_days(9)), "roles": ["osmo-my_pool"]}

    refused(Rest(person="grace").post("tokens", {**body, field: value}), 400, field)
    assert not AccessToken.objects.exists()


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "multipart/form-data; boundary=x",
        "application/xml",
        "nonsense",
    ],
)
def test_another_content_type_is_refused(cast: Cast, content_type: str):
    answer = Rest(cast.administrator_token().plaintext).call("POST", "pools", {"name": "x"}, content_type)

    refused(answer, 415, "media type")


@pytest.mark.parametrize("charset", ["utf-16", "zlib", "hex", "idna", "unicode_escape", "no-such-thing", '"'])
def test_the_body_is_utf_8_whatever_the_header_says(cast: Cast, charset: str):
    rest = Rest(cast.administrator_token().plaintext)

    answer = rest.call("POST", "pools", {"name": "x"}, f"application/json; charset={charset}")

    assert answer.status_code == 201


def test_a_body_over_the_limit_is_refused(cast: Cast):
    refused(Rest(person="grace").post("pools", {"name": "x", "description": "x" * 300_000}), 413, "too large")


@pytest.mark.parametrize(
    "number", ["0", "-1", "abc", "1.5", "9" * 19, "9" * 30, "9" * 5_000, "%00", "1%00", "%ff", "١", "1/", "../1"]
)
@pytest.mark.parametrize("collection", ["tokens", "users", "roles", "pools"])
def test_an_id_that_is_none_is_not_found(cast: Cast, collection: str, number: str):
    answer = Rest(person="grace").get(f"{collection}/{number}")

    refused(answer, 400 if "%00" in number else 404)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "roles"),
        ("PATCH", "users"),
        ("DELETE", "tokens"),
        ("OPTIONS", "tokens"),
        ("TRACE", "pools"),
        ("POST", "schema"),
    ],
)
def test_a_method_that_does_not_exist_is_refused(cast: Cast, method: str, path: str):
    refused(Rest(person="grace").call(method, path, {}), 405, method)


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "image/*"])
def test_there_is_json_and_nothing_else(cast: Cast, accept: str):
    refused(Rest(person="grace").get("pools", accept=accept), 406)
    assert Rest(person="grace").get("pools", accept="*/*")["content-type"] == "application/json"


@pytest.mark.parametrize("query", ["format=html", "format=api", "format=xml"])
def test_no_browsable_api_hides_behind_a_parameter(cast: Cast, query: str):
    refused(Rest(person="grace").get(f"pools?{query}"), 404)


@pytest.mark.parametrize(
    "value", ["%ff", "%ed%a0%80", "é", "%0a", "x" * 5_000, "%F0%9F%92%A5", "'", "\\", "[", "(", "?" * 300]
)
@pytest.mark.parametrize("parameter", ["name", "owner", "role", "pool", "state", "kind", "unused_since", "cursor"])
def test_a_filter_stands_every_value(cast: Cast, parameter: str, value: str):
    cast.service_token()

    answer = Rest(person="grace").get(f"tokens?{parameter}={value}")

    assert answer.status_code in {200, 400, 404}
    if answer.status_code == 200 and parameter != "cursor":
        assert answer.json()["results"] == []


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Bearer x", "Bearer a.b.c", "Basic YTpi", "Bearer \xff", "Bearer " + "x" * 10_000],
)
def test_a_credential_that_is_none_is_401(cast: Cast, header: str):
    refused(Rest().get("tokens", authorization=header), 401)


def test_two_different_credentials_are_refused(cast: Cast):
    rest = Rest(cast.administrator_token().plaintext)

    refused(rest.get("tokens", x_osmo_auth="other"), 401, "Send one")


def test_a_secret_is_no_credential_here_and_is_not_echoed(cast: Cast):
    secret = cast.administrator_token().plaintext

    answer = Rest().get("tokens", authorization=f"Bearer {secret}")

    refused(answer, 401)
    assert secret[5:] not in answer.content.decode()


@pytest.mark.parametrize("path", ["", "nothing", "tokens/", "users/1/", "tokens/1/explode", "schema/"])
def test_an_address_that_does_not_exist_has_problem_details_too(cast: Cast, path: str):
    refused(Rest(person="grace").get(path), 404, "nothing at this address")


@override_settings(ALLOWED_HOSTS=["portal.example.com"])
def test_a_host_that_is_not_ours_has_problem_details_too(cast: Cast):
    refused(Rest().get("tokens"), 400)


def test_problem_details_name_each_field(cast: Cast):
    problem = Rest(person="grace").post("tokens", {"owner": "robot", "digest": "00"}).json()

    assert problem["type"] == "about:blank"
    assert problem["title"] == "Bad Request"
    assert list(problem["errors"]) == ["digest"]
    assert problem["detail"] == problem["errors"]["digest"][0]


def broken(monkeypatch: pytest.MonkeyPatch, error: Exception) -> Any:
    """The answer where the program or the database fails."""

    def fail(*args: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr("profiles.models.Pool.create", fail)
    rest = Rest(person="grace")
    rest.client.raise_request_exception = False
    return rest.post("pools", {"name": "x"})


def test_an_error_of_the_program_tells_a_number_and_nothing_else(cast: Cast, monkeypatch: pytest.MonkeyPatch):
    answer = broken(monkeypatch, RuntimeError("inner workings"))

    refused(answer, 500, answer["x-request-id"])
    assert "inner" not in answer.content.decode()


def test_a_database_that_does_not_answer_is_503(cast: Cast, monkeypatch: pytest.MonkeyPatch):
    refused(broken(monkeypatch, OperationalError("too many connections for role portal")), 503, "try again")
