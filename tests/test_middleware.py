"""What every request passes: its address and id, NUL, double slashes, a database that is away, headers."""

import re
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, connection
from django.http import HttpRequest
from django.test import Client, RequestFactory

from osmo_portal.middleware import client_address
from tests.cast import PASSWORD, Cast
from tests.wire import Wire
from tokens import exchange, jwt

PROXIES = ["10.0.0.0/8", "192.0.2.7/32", "2001:db8:1::/48"]


def request(peer: str, forwarded: str | None = None) -> HttpRequest:
    made = RequestFactory().get("/", headers={"x-forwarded-for": forwarded} if forwarded is not None else {})
    made.META["REMOTE_ADDR"] = peer
    return made


# The client's address (S13).


@pytest.mark.parametrize("forwarded", [None, "", "203.0.113.9", "203.0.113.9, 10.0.0.1", "nonsense"])
def test_what_a_stranger_says_of_his_address_does_not_count(settings: Any, forwarded: str | None) -> None:
    settings.TRUSTED_PROXIES = PROXIES

    assert client_address(request("198.51.100.1", forwarded)) == "198.51.100.1"


@pytest.mark.parametrize("forwarded", ["203.0.113.9", "1.1.1.1, 203.0.113.9"])
def test_without_proxies_only_the_peer_counts(settings: Any, forwarded: str) -> None:
    settings.TRUSTED_PROXIES = []

    assert client_address(request("10.0.0.1", forwarded)) == "10.0.0.1"


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        (" 203.0.113.9 ", "203.0.113.9"),
        ("1.1.1.1, 203.0.113.9", "203.0.113.9"),
        ("1.1.1.1,203.0.113.9,10.9.9.9", "203.0.113.9"),
        ("1.1.1.1, 203.0.113.9, 192.0.2.7, 10.9.9.9", "203.0.113.9"),
        ("203.0.113.9, 2001:db8:1::5", "203.0.113.9"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("203.0.113.9, ::ffff:10.1.1.1", "203.0.113.9"),
        ("10.1.1.1", "10.1.1.1"),
        ("10.1.1.1, 10.2.2.2", "10.1.1.1"),
        ("nonsense", "10.0.0.1"),
        ("1.1.1.1, nonsense, 10.9.9.9", "10.9.9.9"),
        ("1.1.1.1, , 10.9.9.9", "10.9.9.9"),
        ("203.0.113.9:4711", "10.0.0.1"),
        ("[2001:db8::1]:443", "10.0.0.1"),
        ("1.1.1.1\r\nX-Evil: 1", "10.0.0.1"),
        ("010.010.010.010", "10.0.0.1"),
        ("0x7f.1", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("fe80::1%'; DROP TABLE x", "fe80::1"),
        ("9" * 10_000, "10.0.0.1"),
    ],
)
def test_behind_a_proxy_the_right_most_stranger_counts(settings: Any, forwarded: str, address: str) -> None:
    settings.TRUSTED_PROXIES = PROXIES

    assert client_address(request("10.0.0.1", forwarded)) == address


@pytest.mark.parametrize(
    ("peer", "address"),
    [("::ffff:203.0.113.9", "203.0.113.9"), ("fe80::1%eth0", "fe80::1"), ("", None), ("unix:", None), ("@", None)],
)
def test_a_peer_of_any_form_is_an_address_or_none(peer: str, address: str | None) -> None:
    assert client_address(request(peer)) == address


def test_a_mapped_proxy_is_the_proxy(settings: Any) -> None:
    settings.TRUSTED_PROXIES = ["10.0.0.0/8"]

    assert client_address(request("::ffff:10.0.0.1", "203.0.113.9")) == "203.0.113.9"


def test_the_address_is_what_the_database_stores(cast: Cast, settings: Any) -> None:
    settings.TRUSTED_PROXIES = ["127.0.0.1/32"]
    token = cast.service_token()
    client = Client(headers={"x-forwarded-for": "fe80::1%eth0"})

    response = client.post("/api/auth/jwt/access_token", {"token": token.plaintext}, content_type="application/json")

    token.refresh_from_db()
    assert response.status_code == 200
    assert token.last_use.ip == "fe80::1"


# Ids, NUL, slashes.


@pytest.mark.parametrize("path", ["/health", "/nowhere", "/api/v1/nowhere", "/health?x=%00"])
def test_every_answer_has_a_request_id_of_ours(db: None, client: Client, path: str) -> None:
    one = client.get(path, headers={"x-request-id": "forged"})
    two = client.get(path)

    assert re.fullmatch(r"[0-9a-f]{32}", one["x-request-id"])
    assert one["x-request-id"] != two["x-request-id"]


@pytest.mark.parametrize(
    "path", ["/health\0", "/api/v1/users/\0", "/admin/\0", "/health?x=a%00b", "/admin/login/?next=%00", "/nowhere?%00"]
)
def test_nul_in_the_address_is_told(db: None, client: Client, path: str) -> None:
    response = client.get(path.replace("\0", "%00"))

    assert response.status_code == 400
    assert "NUL" in response.content.decode()


def test_an_encoded_percent_sign_is_no_nul(db: None, client: Client) -> None:
    assert client.get("/health?x=%2500").status_code == 200


@pytest.mark.parametrize("path", ["/health", "//health", "///health"])
def test_slashes_at_the_beginning_are_one(db: None, path: str) -> None:
    plain = RequestFactory().get("/")
    environment = {**plain.environ, "PATH_INFO": path}

    assert Client().request(**environment).status_code == 200


def test_folded_slashes_lead_nowhere_else(db: None) -> None:
    plain = RequestFactory().get("/")

    response = Client().request(**{**plain.environ, "PATH_INFO": "//evil.example.com/admin"})

    assert response.status_code == 404
    assert "location" not in response.headers


# A database that is away.


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("post", "/api/auth/jwt/access_token"),
        ("get", "/api/auth/keys"),
        ("get", "/api/profile/settings"),
        ("get", "/api/v1/tokens"),
        ("get", "/admin/"),
        ("post", "/admin/login/"),
    ],
)
def test_a_database_that_is_away_is_503_and_opens_nothing(
    cast: Cast, method: str, path: str, error: type[Exception]
) -> None:
    token = cast.service_token()
    text, _ = exchange.exchange(token.plaintext)
    client = Client(headers={"x-osmo-auth": text}, raise_request_exception=False)
    client.force_login(cast.grace)
    jwt.forget_keys()
    body: dict[str, str] = {"token": token.plaintext} if "jwt" in path else {"username": "grace", "password": PASSWORD}

    def fail(execute: Any, *arguments: Any) -> None:
        raise error("connection refused: password=hunter2")

    with connection.execute_wrapper(fail):
        response = getattr(client, method)(
            path, body, **({"content_type": "application/json"} if "jwt" in path else {})
        )

    assert response.status_code == 503
    assert "try again in a moment" in response.content.decode()
    assert "hunter2" not in response.content.decode()
    assert "no-store" in response["cache-control"]


def test_another_error_is_500_and_says_nothing(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError("hunter2")

    monkeypatch.setattr(exchange, "of_secret", fail)
    client = Client(raise_request_exception=False)

    response = client.post(
        "/api/auth/jwt/access_token", {"token": cast.service_token().plaintext}, content_type="application/json"
    )

    assert response.status_code == 500
    assert "hunter2" not in response.content.decode()
    assert response["x-request-id"] in response.json()["message"]


# Headers.


@pytest.mark.parametrize("path", ["/health", "/nowhere", "/admin/login/", "/health?x=%00", "/"])
def test_every_answer_carries_the_headers(db: None, client: Client, path: str) -> None:
    response = client.get(path)

    policy = response["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert response["x-content-type-options"] == "nosniff"
    assert response["x-frame-options"] == "DENY"
    assert "no-store" in response["cache-control"]
    assert response["referrer-policy"] in {"same-origin", "no-referrer"}


def test_the_answer_with_a_jwt_is_not_cached(cast: Cast) -> None:
    response = Client().post(
        "/api/auth/jwt/access_token", {"token": cast.service_token().plaintext}, content_type="application/json"
    )

    assert response.status_code == 200
    assert response["cache-control"] == "no-store"


@pytest.mark.parametrize("name", ["x-osmo-user", "x-osmo-roles", "x-osmo-token-name"])
def test_what_a_stranger_says_of_himself_does_not_count(cast: Cast, name: str) -> None:
    """S14: the headers of a gateway mean nothing here."""
    assert Client(headers={name: "osmo-admin"}).get("/api/profile/settings").status_code == 401

    wire = Wire(cast.user_token().plaintext)
    response = wire.get("/api/profile/settings", **{name: "grace"})
    assert response.json()["profile"]["username"] == "ada"
    assert response.json()["roles"] == ["osmo-user"]


@pytest.mark.parametrize(
    ("path", "passed"),
    [("/api/version", False), ("/api/v1/tokens", True), ("/apis", True), ("//api/version", False), ("/health", True)],
)
def test_a_programs_request_goes_past_what_is_for_pages(cast: Cast, path: str, passed: bool) -> None:
    client = Client()
    client.force_login(cast.grace)

    request = client.request(PATH_INFO=path).wsgi_request

    assert hasattr(request, "session") == hasattr(request, "user") == passed


def test_without_a_browsers_session_nobody_is_asked_for_one(cast: Cast, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        response = Client().get("/api/v1/tokens")

    assert response.status_code == 401
    assert not hasattr(response.wsgi_request, "session")
