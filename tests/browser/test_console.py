"""The console in a real browser. The fixtures fail a test in which the browser complains of anything."""

import re
from collections.abc import Callable

import pytest
from django.contrib.sessions.models import Session
from django.urls import reverse
from playwright.sync_api import BrowserContext, Page, expect
from pytest_django.live_server_helper import LiveServer

from profiles.models import Role
from tests.cast import PASSWORD, PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tests.console import ISSUE, address
from tokens.exchange import exchange
from tokens.models import AccessToken

SIZES = pytest.mark.parametrize("width", [1280, 390])
SECRET = re.compile(r"osmo_[0-9A-Za-z]{49}")


def fits(page: Page) -> bool:
    """Whether nothing sticks out to the right."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


@SIZES
def test_an_administrator_issues_a_service_token(
    stage: Cast, page: Page, context: BrowserContext, sign_in: Callable[[str], None], width: int
) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.set_viewport_size({"width": width, "height": 900})
    sign_in("grace")

    page.get_by_role("navigation", name="Sections").get_by_role("link", name="Access tokens").click()
    page.get_by_role("link", name="Issue a service token").click()
    page.get_by_label("Service account").press_sequentially("rob")
    expect(page.locator("datalist option")).to_have_attribute("value", "robot")
    page.get_by_label("Service account").fill("robot")
    page.get_by_role("button", name="Continue").click()
    page.get_by_label("Token name").fill("deploy")
    page.get_by_label(POOL_ROLE).check()
    page.get_by_role("button", name="30 days").click()
    expect(page.get_by_label("Expires")).to_have_value(in_days(30).isoformat())
    assert fits(page)
    page.get_by_role("button", name="Issue the token").click()

    secret = page.locator("#secret").inner_text()
    assert SECRET.fullmatch(secret)
    page.get_by_role("button", name="Copy secret").click()
    expect(page.get_by_role("status")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == secret
    page.get_by_role("button", name="Copy command").click()
    assert page.evaluate("navigator.clipboard.readText()").endswith(f" --method token --token {secret}")
    assert fits(page)
    assert secret not in page.url
    assert exchange(secret)

    page.get_by_role("link", name="I saved it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("robot/deploy")
    assert secret not in page.content()
    assert secret not in repr(context.cookies())
    assert secret not in repr([session.get_decoded() for session in Session.objects.all()])


def test_reloading_the_answer_shows_no_secret_and_makes_no_token(
    stage: Cast, page: Page, sign_in: Callable[[str], None]
) -> None:
    sign_in("grace")
    page.goto(f"{reverse(ISSUE)}?owner=robot")
    page.get_by_label("Token name").fill("deploy")
    page.get_by_label(PLAIN_ROLE).check()
    page.get_by_role("button", name="7 days").click()
    page.get_by_role("button", name="Issue the token").click()
    expect(page.locator("#secret")).to_be_visible()

    page.reload()

    expect(page.get_by_role("alert")).to_contain_text("Nothing was changed.")
    assert "not shown again" in page.content()
    assert not SECRET.search(page.content())
    assert AccessToken.objects.count() == 1


def test_two_quick_clicks_send_the_form_once(stage: Cast, page: Page, sign_in: Callable[[str], None]) -> None:
    sign_in("grace")
    page.goto(f"{reverse(ISSUE)}?owner=robot")
    page.get_by_label("Token name").fill("deploy")
    page.get_by_label(PLAIN_ROLE).check()
    page.get_by_role("button", name="7 days").click()

    page.get_by_role("button", name="Issue the token").dblclick()

    expect(page.locator("#secret")).to_be_visible()
    assert AccessToken.objects.count() == 1


def test_the_maximum_is_the_strictest_of_the_chosen_roles(
    stage: Cast, page: Page, sign_in: Callable[[str], None]
) -> None:
    Role.objects.get(name=PLAIN_ROLE).change(by=stage.by("grace"), max_token_days=14)
    sign_in("grace")
    page.goto(f"{reverse(ISSUE)}?owner=robot")

    page.get_by_role("button", name="Maximum").click()
    expect(page.get_by_label("Expires")).to_have_value(in_days(365).isoformat())
    page.get_by_label(PLAIN_ROLE).check()
    page.get_by_role("button", name="Maximum").click()
    expect(page.get_by_label("Expires")).to_have_value(in_days(14).isoformat())
    page.get_by_role("button", name="90 days").click()
    expect(page.get_by_label("Expires")).to_have_value(in_days(14).isoformat())


def test_a_token_is_issued_without_scripts(stage: Cast, live_server: LiveServer, page: Page) -> None:
    """What the script adds is convenience alone."""
    assert page.context.browser is not None
    context = page.context.browser.new_context(base_url=live_server.url, java_script_enabled=False)
    plain = context.new_page()
    plain.goto("/admin/login/")
    plain.get_by_label("User id").fill("grace")
    plain.get_by_label("Password").fill(PASSWORD)
    plain.get_by_role("button", name="Sign in").click()
    plain.goto(f"{reverse(ISSUE)}?owner=robot")
    assert plain.get_by_role("button", name="7 days").count() == 0
    plain.get_by_label("Token name").fill("deploy")
    plain.get_by_label(PLAIN_ROLE).check()
    plain.get_by_label("Expires").fill(in_days(7).isoformat())
    plain.get_by_role("button", name="Issue the token").click()

    assert SECRET.fullmatch(plain.locator("#secret").inner_text())
    assert plain.get_by_role("button", name="Copy secret").count() == 0
    context.close()


def test_a_token_is_rotated_and_revoked(stage: Cast, page: Page, sign_in: Callable[[str], None]) -> None:
    token = stage.service_token()
    sign_in("grace")

    page.goto(address(token))
    page.get_by_role("link", name="Rotate").click()
    page.get_by_label("1 hour").check()
    page.get_by_role("button", name="Rotate").click()
    assert exchange(page.locator("#secret").inner_text())
    page.get_by_role("link", name="I saved it").click()
    page.get_by_role("link", name="Revoke").click()
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("This field is required.")).to_be_visible()
    page.get_by_label("Reason").fill("it leaked")
    page.get_by_role("button", name="Revoke").click()

    expect(page.get_by_text("robot/ci is revoked for good.")).to_be_visible()
    assert AccessToken.objects.get().end_reason == "it leaked"
