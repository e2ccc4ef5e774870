"""What holds for every page: axe-core finds nothing, it fits a telephone, it is light, and the browser is content."""

import re
from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.urls import reverse
from playwright.sync_api import BrowserContext, Page
from pytest_django.live_server_helper import LiveServer

from osmo_portal.signin.models import ProviderSubject
from profiles.models import User
from tests.browser.looks import DESK, TELEPHONE, Look, faults
from tests.browser.pages import (
    NO_PAGES,
    NOBODY,
    VISITORS,
    console_pages,
    more_pages,
    pages_of,
    routes,
    routes_to_pages,
    sign_in,
)
from tests.cast import PLAIN_ROLE, Cast, in_days
from tests.console import ISSUE, address
from tests.furniture import furnish
from tokens.models import AccessToken

# A missing page is one of those that are looked at; the browser tells of its status.
EXPECTED = "Failed to load resource: the server responded with a status of 404"


@pytest.fixture
def stage(transactional_db: None, settings: Any) -> Cast:
    """With mail and a provider: without them some pages are not there."""
    settings.SENDS_MAIL, settings.OIDC_ISSUER, settings.OIDC_CLIENT_ID = True, "https://id.example", "portal"
    cast = Cast()
    furnish(cast)
    give_factors(cast.grace)
    give_factors(cast.mallory)
    ProviderSubject.bind(cast.mallory, issuer=settings.OIDC_ISSUER, subject="s-1", by=cast.by("grace"))
    return cast


def give_factors(person: User) -> None:
    TOTP.activate(person, generate_totp_secret())
    RecoveryCodes.activate(person)


def walk(page: Page, addresses: list[str], complaints: list[str], looks: list[Look]) -> list[str]:
    found = []
    for path in addresses:
        page.goto(path)
        found += [f"{path}: {fault}" for fault in faults(page, looks)]
        found += [f"{path}: {complaint}" for complaint in complaints if not complaint.startswith(EXPECTED)]
        complaints.clear()
    return found


def test_every_page_of_an_administrator_is_in_order(
    stage: Cast, page: Page, context: BrowserContext, live_server: LiveServer, complaints: list[str]
) -> None:
    opened = pages_of("grace", console_pages())
    addresses = [*chain.from_iterable(opened.values()), *more_pages()]
    sign_in(context, "grace", live_server.url)

    found = walk(page, addresses, complaints, [DESK, TELEPHONE])

    assert len(addresses) > 60
    assert not found, "\n".join(found)


def test_every_page_of_a_person_is_in_order(
    stage: Cast, page: Page, context: BrowserContext, live_server: LiveServer, complaints: list[str]
) -> None:
    addresses = [*chain.from_iterable(pages_of("ada").values()), "/me/?state=revoked"]
    sign_in(context, "ada", live_server.url)

    found = walk(page, addresses, complaints, [DESK, TELEPHONE])

    assert len(addresses) >= 9
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("name", "look", "at_least"), [("olive", TELEPHONE, 25), ("audrey", DESK, 20), (NOBODY, DESK, 1)]
)
def test_the_pages_of_the_others_are_in_order(
    stage: Cast,
    page: Page,
    context: BrowserContext,
    live_server: LiveServer,
    complaints: list[str],
    name: str,
    look: Look,
    at_least: int,
) -> None:
    """The same pages with less on them, so one look is enough."""
    addresses = [opened[0] for opened in pages_of(name, console_pages()).values()]
    if name != NOBODY:
        sign_in(context, name, live_server.url)

    found = walk(page, addresses, complaints, [look])

    assert len(addresses) >= at_least
    assert not found, "\n".join(found)


def send_an_empty_form(page: Page) -> None:
    page.goto(address(AccessToken.objects.live().order_by("pk")[0], "revoke"))
    page.get_by_role("button", name="Revoke").click()
    page.get_by_text("Nothing was changed.").wait_for()


def issue_a_token(page: Page) -> None:
    page.goto(f"{reverse(ISSUE)}?owner=robot")
    page.get_by_label("Token name").fill("deploy")
    page.get_by_label(PLAIN_ROLE).check()
    page.get_by_label("Expires").fill(in_days(7).isoformat())
    page.get_by_role("button", name="Issue the token").click()
    page.locator("#secret").wait_for()


def suspend_a_token(page: Page) -> None:
    page.goto(address(AccessToken.objects.live().order_by("pk")[0], "suspend"))
    page.get_by_label("Reason").fill("to see the message")
    page.get_by_role("button", name="Suspend").click()
    page.locator(".messagelist").get_by_text("is suspended.").wait_for()


def sign_out(page: Page) -> None:
    page.goto("/admin/")
    page.get_by_role("button", name=re.compile("log out|sign out", re.IGNORECASE)).click()
    page.get_by_text("You are signed out.").wait_for()


@pytest.mark.parametrize("step", [send_an_empty_form, issue_a_token, suspend_a_token, sign_out])
def test_a_page_that_answers_a_form_is_in_order(
    stage: Cast,
    page: Page,
    context: BrowserContext,
    live_server: LiveServer,
    step: Callable[[Page], None],
) -> None:
    sign_in(context, "grace", live_server.url)

    step(page)

    assert [*faults(page, [DESK, TELEPHONE])] == []


def test_no_page_is_forgotten(stage: Cast) -> None:
    """A route is walked, or stands with its reason on the list of those that lead to no page."""
    forgotten = routes_to_pages()

    for name in VISITORS:
        walked = pages_of(name, forgotten) if forgotten else {}
        forgotten = [route for route in forgotten if route not in walked]

    assert not forgotten, "No visitor got a page at these. Add records to tests/furniture.py, or a reason to NO_PAGES."


def test_no_reason_is_left_over() -> None:
    known = [*routes()]

    assert [pattern for pattern in NO_PAGES if not any(re.match(pattern, route) for route in known)] == []


def test_the_look_notices_what_it_promises(page: Page) -> None:
    html = """<!doctype html><html lang="en"><title>Bad</title><link rel="icon" href="data:,"><main><h1>Bad</h1>
      <img src="data:,"><p style="color: #999; background: #fff">faint</p>
      <div style="width: 500px">wide</div></main></html>"""
    page.route("**/made-up", lambda route: route.fulfill(body=html, content_type="text/html"))
    page.goto("/made-up")

    found = "\n".join(faults(page, [DESK, TELEPHONE]))

    for fault in ("it weighs", "light, 1280 px: image-alt", "dark, 390 px: color-contrast", "it is 508 px wide"):
        assert fault in found
