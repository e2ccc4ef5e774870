"""R6: a token or a JWT opens no page of the console and makes no browser session."""

import pytest
from django.contrib.auth import authenticate
from django.contrib.sessions.models import Session
from django.test import Client

from profiles.backends import PersonBackend
from tests.cast import PASSWORD, Cast
from tokens import exchange


@pytest.mark.parametrize("header", ["x-osmo-auth", "authorization"])
def test_an_administrators_jwt_opens_no_page_of_the_console(cast: Cast, client: Client, header: str) -> None:
    text, _ = exchange.exchange(cast.administrator_token().plaintext)
    value = f"Bearer {text}" if header == "authorization" else text

    for path in ("/admin/", "/admin/tokens/accesstoken/", "/admin/profiles/role/"):
        response = client.get(path, headers={header: value})

        assert response.status_code == 302
        assert response["location"].startswith("/admin/login/")
    assert not Session.objects.exists()


def test_a_token_has_no_groups_in_force(cast: Cast) -> None:
    by = cast.with_token(cast.user_token("olive"))

    assert not by.is_operator
    assert cast.by("olive").is_operator


@pytest.mark.parametrize("password", [None, "", "!", PASSWORD])
def test_a_service_account_cannot_sign_in(cast: Cast, password: str | None) -> None:
    assert authenticate(username="robot", password=password) is None


def test_a_secret_is_no_password(cast: Cast) -> None:
    token = cast.user_token()

    assert authenticate(username="ada", password=token.plaintext) is None
    assert authenticate(username="ada", password=PASSWORD) == cast.ada


def test_a_session_of_a_service_account_is_nobodys(cast: Cast) -> None:
    backend = PersonBackend()

    assert backend.get_user(cast.ada.pk) == cast.ada
    assert backend.get_user(cast.robot.pk) is None


def test_a_session_ends_with_its_person(cast: Cast) -> None:
    cast.ada.deactivate(by=cast.by("grace"), reason="left")
    cast.mallory.mark_deleted(by=cast.by("grace"), reason="left")

    assert PersonBackend().get_user(cast.ada.pk) is None
    assert PersonBackend().get_user(cast.mallory.pk) is None


def test_a_service_account_that_is_administrator_has_no_console(cast: Cast) -> None:
    bot = cast.administrator_token().owner

    assert bot.is_administrator
    assert not bot.is_staff
    assert not bot.has_perm("tokens.view_accesstoken")
