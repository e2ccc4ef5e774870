"""Signing in, in a real browser: a password, an authenticator app, a security key."""

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.core import mail
from django.urls import reverse
from playwright.sync_api import Browser, BrowserContext, Page, expect
from pytest_django.live_server_helper import LiveServer

from profiles.models import User
from tests.browser.looks import DESK, TELEPHONE, faults
from tests.cast import PASSWORD, Cast

OWN = reverse("mfa_index")
NEW = "a long enough phrase"


@pytest.fixture
def stage(transactional_db: None) -> Cast:
    return Cast()


@pytest.fixture
def enter(page: Page) -> Callable[[str], None]:
    """Takes the first step: user id and password."""

    def enter(name: str) -> None:
        page.goto("/admin/login/")
        page.get_by_label("User id").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()

    return enter


@pytest.fixture
def key(context: BrowserContext, page: Page) -> None:
    """A virtual security key that agrees to everything."""
    devtools = context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "usb", "hasUserVerification": True, "isUserVerified": True}
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": {**options, "automaticPresenceSimulation": True}})


def code_of(secret: str, ahead: int = 0) -> str:
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30 + ahead))


def in_order(page: Page) -> bool:
    """Light at a desk, dark on a telephone."""
    found = [*faults(page, [DESK, TELEPHONE])]
    assert not found, "\n".join(found)
    return True


def test_an_app_is_added_and_asked_for_at_the_next_sign_in(
    stage: Cast, page: Page, enter: Callable[[str], None]
) -> None:
    enter("grace")
    page.goto(OWN)
    page.get_by_role("link", name="Add an authenticator app").click()
    secret = page.locator("#key").inner_text()
    assert in_order(page)
    page.get_by_label("Authenticator code").fill("000000")
    page.get_by_role("button", name="Add the app").click()
    expect(page.get_by_text("That was not right.")).to_be_visible()
    expect(page.get_by_label("Authenticator code")).to_be_focused()
    expect(page.get_by_label("Authenticator code")).to_have_value("")
    page.get_by_label("Authenticator code").fill(code_of(secret))
    page.get_by_role("button", name="Add the app").click()

    assert len(page.locator("#codes").inner_text().split("\n")) == 10
    assert in_order(page)
    page.emulate_media(media="print")
    expect(page.get_by_role("heading", name="Recovery codes of grace at localhost")).to_be_visible()
    expect(page.get_by_role("button")).to_have_count(0)
    page.emulate_media(media="screen")
    page.get_by_role("link", name="I have them").click()
    expect(page.get_by_text("10 left.")).to_be_visible()
    assert in_order(page)
    page.get_by_role("button", name="Log out").click()

    enter("grace")
    expect(page.get_by_role("heading", name="Second step")).to_be_visible()
    assert in_order(page)
    page.get_by_label("Code").fill("000000")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("That was not right.")).to_be_visible()
    expect(page.get_by_label("Code")).to_have_value("")
    assert in_order(page)
    page.get_by_label("Code").fill(code_of(secret, ahead=1))
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Console")).to_be_visible()


def test_a_security_key_is_added_and_used(stage: Cast, page: Page, key: None, enter: Callable[[str], None]) -> None:
    enter("grace")
    page.goto(reverse("add_key"))
    page.get_by_label("Name of the key").fill("Blue key in the drawer of the desk at the window")
    page.get_by_role("button", name="Add the key").click()
    expect(page.get_by_role("heading", name="Your recovery codes")).to_be_visible()
    page.get_by_role("link", name="I have them").click()
    expect(page.get_by_role("rowheader", name="Blue key")).to_be_visible()
    assert in_order(page)
    assert page.locator(".factors").evaluate("table => table.scrollWidth <= table.clientWidth")
    assert page.get_by_role("rowheader", name="Blue key").evaluate("name => name.clientWidth") > 200
    page.get_by_role("button", name="Log out").click()

    enter("grace")
    expect(page.get_by_role("button", name="Use the security key")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Console")).to_be_visible()

    page.goto(f"{reverse('admin:confirm')}?next={OWN}")
    expect(page.get_by_text("Prove once more that it is you, in one of these ways.")).to_be_visible()
    expect(page.get_by_role("button", name="Continue with the password")).to_be_visible()
    assert in_order(page)
    page.get_by_role("button", name="Use the security key").click()
    expect(page.get_by_role("heading", name="Your sign-in")).to_be_visible()
    page.get_by_role("link", name="Remove Blue key").click()
    expect(page.get_by_role("heading", name="Remove Blue key")).to_be_visible()
    assert in_order(page)
    page.get_by_role("button", name="Remove it").click()
    expect(page.get_by_text("Your security key is removed.")).to_be_visible()
    assert not Authenticator.objects.exists()


def test_a_security_key_needs_a_portal_with_a_name(stage: Cast, browser: Browser, live_server: LiveServer) -> None:
    page = browser.new_page(base_url=live_server.url.replace("localhost", "127.0.0.1"))
    page.goto(reverse("add_key"))
    page.get_by_label("User id").fill("grace")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Add the key").click()
    expect(page.get_by_text("open the portal by its name")).to_be_visible()
    page.close()


def test_a_link_in_a_mail_sets_a_password(stage: Cast, page: Page, settings: Any, live_server: LiveServer) -> None:
    settings.SENDS_MAIL, settings.PORTAL_URL = True, live_server.url
    page.goto("/admin/login/")
    page.get_by_role("link", name="Password forgotten").click()
    page.get_by_label("User id or e-mail address").fill("ada")
    page.get_by_role("button", name="Send the link").click()
    expect(page.get_by_role("heading", name="Look at your mail")).to_be_visible()
    (link,) = re.findall(r"http://\S+\?key=\S+", str(mail.outbox[-1].body))

    page.goto(link)
    expect(page.get_by_label("New password", exact=True)).to_be_focused()
    assert in_order(page)
    for field in ("New password", "New password confirmation"):
        page.get_by_label(field, exact=True).fill(NEW)
    page.get_by_role("button", name="Set the password").click()

    expect(page.get_by_text("Your password is set.")).to_be_visible()
    assert User.objects.get(username="ada").check_password(NEW)
    page.goto(link)
    expect(page.get_by_role("button", name="Set the password")).to_have_count(0)
    expect(page.get_by_role("link", name="Back to the sign-in")).to_be_visible()
    assert in_order(page)


def test_a_wrong_password_is_told(stage: Cast, page: Page, enter: Callable[[str], None]) -> None:
    page.goto("/admin/login/")
    page.get_by_label("User id").fill("grace")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_label("Password")).to_be_focused()
    assert in_order(page)

    enter("grace")
    page.goto(reverse("admin:confirm"))
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Continue").click()

    expect(page.get_by_role("alert")).to_be_visible()
    assert in_order(page)
