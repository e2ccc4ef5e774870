"""Walks the URLconf: every route, with every credential that must not work (S17), and for every stranger."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from osmo_portal.events.models import Event
from tests.cast import PLAIN_ROLE, Cast
from tests.terminal import Terminal
from tests.wire import Wire
from tokens import exchange, jwt
from tokens.models import AccessToken, SigningKey, TerminalSignIn

pytestmark = pytest.mark.django_db

# Whoever comes is answered here; each is looked at by tests of its own.
PUBLIC = {
    "/",
    "/health",
    "/ready",
    "/metrics",
    "/api/version",
    "/client/version",
    "/api/auth/login",
    "/api/auth/keys",
    "/api/auth/jwt/access_token",
    "/api/auth/login/device",
    "/api/auth/login/token",
    "/admin/login/",
    "/admin/login/second-step/",
    "/admin/login/forgotten/",
    "/admin/login/forgotten/sent/",
    "/admin/login/new-password/my-token/",
    "/admin/logout/",
    "/admin/jsi18n/",
}
# What anybody who is signed in may do: it is about the own sign-in alone.
OWN = ("/admin/password_change/", "/admin/confirm/", "/admin/own/")
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def routes(patterns: list[Any] | None = None, prefix: str = "/") -> Iterator[str]:
    """Every address of the URLconf, with something plausible where a name or number goes."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        here = prefix + plausible(str(pattern.pattern))
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, here)
        elif isinstance(pattern, URLPattern):
            yield here


def plausible(pattern: str) -> str:
    pattern = re.sub(r"<int:[^>]+>", "1", pattern)
    pattern = re.sub(r"<[^>]*:?[^>]+>", "my-token", pattern.replace("(?P<url>.*)$", "nowhere"))
    pattern = re.sub(r"\(\?P<\w+>[^)]*\)", "auth", re.sub(r"\(\?Pmy-token[^)]*\)", "auth", pattern))
    return pattern.replace("^", "").replace("$", "").replace("\\Z", "").replace("\\.", ".")


GUARDED = sorted({route for route in routes() if route not in PUBLIC})
API = [route for route in GUARDED if not route.startswith(("/admin/", "/me/"))]
PERSONS = [route for route in GUARDED if route.startswith("/me/")]
ADMIN = [route for route in GUARDED if route.startswith("/admin/")]


def test_the_walk_finds_the_routes():
    assert {"/api/profile/settings", "/api/auth/access_token/user/my-token", "/api/v1/tokens/1/rotate"} <= set(API)
    assert {"/api/auth/user/my-token/access_token/my-token", "/api/auth/roles/my-token/users"} <= set(API)
    assert {"/api/configs/role/my-token", "/api/configs/history/my-token/revision/1/tags"} <= set(API)
    assert {"/admin/", "/admin/tokens/accesstoken/"} <= set(ADMIN)
    assert {"/me/", "/me/tokens/new/", "/me/tokens/1/rotate/"} <= set(PERSONS)
    assert len(API) > 20
    assert len(ADMIN) > 20


def expired(cast: Cast, token: AccessToken) -> None:
    AccessToken.objects.filter(pk=token.pk).expire(by=cast.by("grace"), reason="S17")


def role_lost(cast: Cast, token: AccessToken) -> None:
    cast.robot.remove_role(PLAIN_ROLE, by=cast.by("grace"))


def rotated(cast: Cast, token: AccessToken) -> None:
    token.rotate(by=cast.by("grace"), grace=timedelta(0))


ENDS: dict[str, Callable[[Cast, AccessToken], Any]] = {
    "expired": expired,
    "revoked": lambda cast, token: token.revoke(by=cast.by("grace"), reason="S17"),
    "suspended": lambda cast, token: token.suspend(by=cast.by("grace"), reason="S17"),
    "owner inactive": lambda cast, token: cast.robot.deactivate(by=cast.by("grace"), reason="S17"),
    "owner deleted": lambda cast, token: cast.robot.mark_deleted(by=cast.by("grace"), reason="S17"),
    "role lost": role_lost,
    "secret retired": rotated,
    "signing key void": lambda cast, token: SigningKey.rotate(by=cast.by("grace"), void=True),
}


@pytest.mark.parametrize("end", ENDS)
def test_no_api_route_opens_for_a_jwt_whose_token_has_ended(cast: Cast, end):
    token = cast.service_token(roles=[PLAIN_ROLE])
    wire = Wire(token.plaintext)
    assert wire.get("/api/profile/settings").status_code == 200

    ENDS[end](cast, token)
    before = Event.objects.count()

    for route in API:
        for method in METHODS:
            assert wire.call(method, route).status_code == 401, (method, route)
    assert Event.objects.count() == before


@pytest.mark.parametrize("end", ["ended", "owner inactive"])
def test_no_api_route_opens_for_a_terminal_whose_sign_in_has_ended(cast: Cast, end: str) -> None:
    wire = Terminal().signed_in(cast, "mallory").wire()
    assert wire.get("/api/profile/settings").status_code == 200

    if end == "ended":
        TerminalSignIn.objects.all().end(by=cast.by("grace"), reason="S17")
    else:
        cast.mallory.deactivate(by=cast.by("grace"), reason="S17")
    before = Event.objects.count()

    for route in API:
        for method in METHODS:
            assert wire.call(method, route).status_code == 401, (method, route)
    assert Event.objects.count() == before


@pytest.mark.parametrize("credential", ["", "nonsense", "a.b.c", "Basic Zm9vOmJhcg==", "the secret itself"])
def test_no_api_route_opens_for_a_stranger(cast: Cast, credential):
    secret = str(cast.service_token().plaintext)
    value = secret if credential == "the secret itself" else credential
    before, client = Event.objects.count(), Client()

    for route in API:
        for method in METHODS:
            for headers in (
                {"x-osmo-auth": value},
                {"authorization": f"Bearer {value}"},
                {"cookie": f"IdToken={value}"},
            ):
                answer = client.generic(method, route, b"{}", content_type="application/json", headers=headers)
                # A gateway may be sent the secret itself; what it asks here is no question.
                refused = {401, 403} if route.startswith("/api/authz") else {401}
                assert answer.status_code in refused, (method, route, headers)
                assert secret not in answer.content.decode()
    assert Event.objects.count() == before


def test_no_page_opens_for_a_jwt_and_none_makes_a_session(cast: Cast):
    of_token, _ = exchange.exchange(cast.administrator_token().plaintext)
    at_terminal = Terminal().signed_in(cast, "grace").tokens["id_token"]
    assert jwt.verify(of_token)
    assert jwt.verify(at_terminal, jwt.TERMINAL_TYPE)
    before, client = Event.objects.count(), Client()

    for route in ADMIN + PERSONS:
        for method in ("GET", "POST"):
            for headers in ({"x-osmo-auth": at_terminal}, {"authorization": f"Bearer {of_token}"}):
                answer = client.generic(method, route, headers=headers)
                assert answer.status_code in {302, 403, 404, 405}, (method, route)
                assert "sessionid" not in client.cookies
    assert Event.objects.count() == before


@pytest.mark.parametrize("who", ["nobody", "robot"])
def test_no_page_of_persons_opens_for_whoever_is_none(cast: Cast, who):
    client = Client()
    if who == "robot":
        client.force_login(cast.robot)
    before = Event.objects.count()

    for route in PERSONS:
        for method in METHODS:
            answer = client.generic(method, route)
            assert answer.status_code == 302, (method, route)
            assert answer["location"].startswith("/admin/login/?next=/me/")
    assert Event.objects.count() == before


@pytest.mark.parametrize("who", ["mallory", "robot"])
def test_no_page_of_the_console_opens_for_whoever_does_not_administer_it(cast: Cast, who):
    client = Client()
    client.force_login(getattr(cast, who))
    before = Event.objects.count()

    for route in ADMIN:
        if route.startswith(OWN):
            continue
        for method in ("GET", "POST"):
            answer = client.generic(method, route)
            assert answer.status_code in {302, 403, 404, 405}, (method, route)
    assert Event.objects.count() == before


def test_an_auditor_changes_nothing_anywhere(cast: Cast):
    client = Client()
    client.force_login(cast.audrey)
    before = Event.objects.count()

    for route in GUARDED:
        if route.startswith(OWN):
            continue
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            answer = client.generic(method, route, b"{}", content_type="application/json")
            assert answer.status_code in {401, 403, 404, 405}, (method, route)
    assert Event.objects.count() == before


def test_no_get_changes_anything_even_for_an_administrator(cast: Cast):
    client = Client()
    client.force_login(cast.grace)
    before = Event.objects.count()

    for route in GUARDED:
        assert client.get(route).status_code < 500, route
    assert Event.objects.count() == before
