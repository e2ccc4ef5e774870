"""The page on which the API is described and tried: Swagger UI under the strict policy, for signed-in people alone."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.looks import DESK, TELEPHONE, faults
from tests.browser.pages import MAX_REQUESTS, weighed
from tests.browser.pages import sign_in as signed_in
from tests.cast import Cast
from tokens.models import AccessToken

MAX_WEIGHT = 2_100_000  # bytes before compression: docs/performance.md says why
PATIENCE = 45_000  # milliseconds at most: a browser reads a large script

Opened = Callable[[str], Page]


@pytest.fixture
def opened(stage: Cast, page: Page, live_server: Any) -> Opened:
    def opened(name: str) -> Page:
        signed_in(page.context, name, live_server.url)
        page.set_default_timeout(PATIENCE)
        page.goto("/me/api/")
        page.locator("#operations-whoami-whoami").wait_for()
        return page

    return opened


def unfold(page: Page, operation: str) -> Locator:
    one = page.locator(f"#operations-{operation}")
    one.get_by_role("button").first.click()
    return one


def tried(page: Page, operation: str, **typed: str) -> Locator:
    """What came back: the status and the body. `typed` are parameters."""
    one = unfold(page, operation)
    one.get_by_role("button", name="Try it out").click()
    for name, value in typed.items():
        one.locator(f"[data-param-name={name}] input").fill(value)
    one.get_by_role("button", name="Execute", exact=True).click()
    answer = one.locator(".live-responses-table tbody")
    answer.wait_for()
    return answer


def test_a_person_tries_it_as_that_person(stage: Cast, opened: Opened):
    stage.service_token("not-hers")
    mine = stage.user_token("mallory", "laptop")
    page = opened("mallory")

    expect(tried(page, "whoami-whoami")).to_contain_text('"signed_in_by": "session"')
    tokens = tried(page, "tokens-tokens_list")
    expect(tokens).to_contain_text('"laptop"')
    expect(tokens).not_to_contain_text("not-hers")
    revoked = tried(page, "tokens-tokens_revoke_create", id=str(mine.pk))
    expect(revoked).to_contain_text('"state": "revoked"')
    assert AccessToken.objects.get(pk=mine.pk).ended_by == stage.mallory


def test_it_looks_as_the_console_does(opened: Opened):
    page = opened("ada")
    weight, requests = weighed(page)
    tried(page, "whoami-whoami")
    tried(page, "tokens-tokens_list")
    unfold(page, "tokens-tokens_create").get_by_role("button", name="Try it out").click()

    found = [fault for fault in faults(page, [DESK, TELEPHONE]) if not fault.startswith("it weighs")]

    assert not found, "\n".join(found)
    assert weight <= MAX_WEIGHT
    assert requests <= MAX_REQUESTS


def test_a_stranger_is_asked_to_sign_in(stage: Cast, page: Page):
    page.goto("/me/api/")

    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
