"""A secret leaked: it is pasted, its token found, and revoked."""

from collections.abc import Callable

import pytest
from django.urls import reverse
from playwright.sync_api import Page, Request, expect

from osmo_portal.events.models import Event
from tests.browser.test_console import SIZES, fits
from tests.cast import POOL_ROLE, Cast
from tokens.exchange import exchange
from tokens.models import AccessToken
from tokens.secrets import digest

LIST = reverse("admin:tokens_accesstoken_changelist")


@pytest.fixture
def addresses(page: Page) -> list[str]:
    """All that the browser asked for, and what it said where it came from."""
    seen: list[str] = []

    def note(request: Request) -> None:
        seen.append(f"{request.url} {request.headers.get('referer', '')}")

    page.on("request", note)
    return seen


@SIZES
def test_a_leaked_secret_is_found_and_revoked(
    stage: Cast,
    page: Page,
    addresses: list[str],
    sign_in: Callable[[str], None],
    width: int,
) -> None:
    token = stage.service_token("ci", [POOL_ROLE])
    exchange(token.plaintext, address="192.0.2.7")
    page.set_viewport_size({"width": width, "height": 900})
    sign_in("grace")
    page.goto(LIST)

    page.get_by_label("Search").fill(str(token.plaintext))
    page.get_by_role("button", name="Search").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("This is a secret of robot/ci")
    for told in (POOL_ROLE, "ada is accountable", "from 192.0.2.7", "live"):
        expect(page.get_by_text(told, exact=told == "live").first).to_be_visible()
    assert fits(page)
    page.get_by_role("link", name="Revoke it").click()
    page.get_by_label("Reason").fill("found in a repository")
    page.get_by_role("button", name="Revoke").click()

    expect(page.get_by_text("robot/ci is revoked for good.")).to_be_visible()
    revoked = AccessToken.objects.get()
    assert (revoked.state(), revoked.end_reason) == ("revoked", "found in a repository")
    actions = list(Event.objects.values_list("action", flat=True)[:2])
    assert actions == ["token.revoked", "secret.looked_up"]
    assert not [address for address in addresses if str(token.plaintext)[5:20] in address]


def test_a_digest_is_found_too_and_filters_stay_with_a_text(
    stage: Cast,
    page: Page,
    sign_in: Callable[[str], None],
) -> None:
    token = stage.service_token("deploy-east")
    stage.user_token("ada", "deploy-hers")
    sign_in("olive")
    page.goto(f"{LIST}?kind=service")
    page.get_by_label("Search").fill(digest(token.plaintext).hex())
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("This is a secret of robot/deploy-east")

    page.get_by_role("link", name="Back to the access tokens").click()
    page.get_by_text("Filter", exact=True).click()
    page.get_by_label("Kind").select_option("service")
    page.get_by_role("button", name="Show").click()
    page.get_by_label("Search").fill("east")
    page.get_by_role("button", name="Search").click()

    expect(page.get_by_role("link", name="deploy-east")).to_be_visible()
    assert page.url.endswith(f"{LIST}?kind=service&q=east")
    page.get_by_role("link", name="Kind: service tokens").click()
    assert page.url.endswith(f"{LIST}?q=east")


def test_an_auditors_browser_does_not_send_what_looks_like_a_secret(
    stage: Cast,
    page: Page,
    addresses: list[str],
    sign_in: Callable[[str], None],
) -> None:
    token = stage.service_token("deploy")
    sign_in("audrey")
    page.goto(LIST)
    sent = len(addresses)

    for secret in (str(token.plaintext), digest(token.plaintext).hex(), f"osmo login --token {token.plaintext}"):
        page.get_by_label("Search").fill(secret)
        page.get_by_role("button", name="Search").click()
        assert page.evaluate("!document.querySelector('#searchbar').validity.valid")
    assert not [address for address in addresses[sent:] if "/static/" not in address.split()[0]]

    page.get_by_label("Search").fill("deploy")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("link", name="deploy", exact=True)).to_be_visible()
