"""My tokens in a real browser, of a person for whom the console does not open."""

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from pytest_django.live_server_helper import LiveServer

from tests.browser.pages import sign_in
from tests.cast import Cast, in_days
from tokens.exchange import exchange
from tokens.models import AccessToken

SECRET = re.compile(r"osmo_[0-9A-Za-z]{49}")


@pytest.fixture
def stage(transactional_db: None) -> Cast:
    return Cast()


@pytest.mark.parametrize("width", [1280, 390])
def test_a_person_issues_rotates_and_revokes_a_token(
    stage: Cast, page: Page, context: BrowserContext, live_server: LiveServer, width: int
) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.set_viewport_size({"width": width, "height": 900})
    sign_in(context, "ada", live_server.url)

    page.goto("/")
    expect(page.get_by_role("heading", level=1)).to_have_text("My tokens")
    expect(page.get_by_role("navigation", name="Sections")).to_have_count(0)
    page.get_by_role("link", name="Issue a user token").click()
    page.get_by_label("Token name").fill("laptop")
    page.get_by_role("button", name="30 days").click()
    expect(page.get_by_label("Expires")).to_have_value(in_days(30).isoformat())
    page.get_by_role("button", name="Issue the token").click()
    first = page.locator("#secret").inner_text()
    page.get_by_role("button", name="Copy secret").click()
    assert page.evaluate("navigator.clipboard.readText()") == first
    assert SECRET.fullmatch(first)
    page.get_by_role("link", name=re.compile("on to the token")).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("laptop")
    assert first not in page.content()

    page.get_by_role("link", name="Rotate").click()
    page.get_by_label("no longer").check()
    page.get_by_role("button", name="Rotate").click()
    second = page.locator("#secret").inner_text()
    assert exchange(second)
    page.get_by_role("link", name=re.compile("on to the token")).click()
    page.get_by_role("link", name="Revoke").click()
    page.get_by_label("Reason").fill("the laptop is gone")
    page.get_by_role("button", name="Revoke").click()

    expect(page.get_by_text("is revoked for good.")).to_be_visible()
    page.get_by_role("link", name="My tokens").click()
    expect(page.get_by_text("You have no token yet.")).to_be_visible()
    page.get_by_role("link", name="Revoked tokens").click()
    expect(page.get_by_role("link", name="laptop")).to_be_visible()
    assert AccessToken.objects.get().end_reason == "the laptop is gone"


def test_an_accountable_person_ends_a_leaked_service_token(
    stage: Cast, page: Page, context: BrowserContext, live_server: LiveServer
) -> None:
    token = stage.service_token("leaked")
    sign_in(context, "ada", live_server.url)

    page.goto("/me/")
    page.get_by_role("link", name="leaked").click()
    expect(page.get_by_role("link", name="Rotate")).to_have_count(0)
    page.get_by_role("link", name="Revoke").click()
    page.get_by_label("Reason").fill("pasted into a chat")
    page.get_by_role("button", name="Revoke").click()

    expect(page.get_by_text("is revoked for good.")).to_be_visible()
    token.refresh_from_db()
    assert (token.ended_by, token.end_reason) == (stage.ada, "pasted into a chat")


def test_a_session_is_all_that_opens_it(stage: Cast, page: Page) -> None:
    page.goto("/me/tokens/new/")

    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    assert page.url.endswith("/admin/login/?next=/me/tokens/new/")
