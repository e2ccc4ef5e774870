"""Rules 2, 3, 5 and 10 in a real browser, as an administrator, an operator, an auditor and a person meet them."""

from collections.abc import Callable
from typing import Any

import pytest
from django.urls import reverse
from playwright.sync_api import BrowserContext, Error, Locator, Page, expect
from pytest_django.live_server_helper import LiveServer

from profiles.models import User
from tests import dump
from tests.browser.pages import sign_in
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tests.console import ISSUE, address
from tokens.models import AccessToken

NEW_ACCOUNT = "admin:tokens_accesstoken_new-account"
REFUSED = "Failed to load resource: the server responded with a status of 403"

As = Callable[[str], None]


@pytest.fixture
def enter(context: BrowserContext, live_server: LiveServer) -> As:
    return lambda name: sign_in(context, name, live_server.url)


def fill(page: Page, name: str = "deploy") -> None:
    page.goto(f"{reverse(ISSUE)}?owner=robot")
    page.get_by_label("Token name").fill(name)
    page.get_by_label("Expires").fill(in_days(7).isoformat())


def forge_role(box: Locator, role: str) -> None:
    """As somebody does who knows the page's tools: the box stays, what it stands for changes."""
    box.evaluate("(box, role) => { box.value = role; box.checked = true }", role)


def refused(page: Page, complaints: list[str], path: str) -> bool:
    answer = page.goto(path)
    complaints[:] = [complaint for complaint in complaints if not complaint.startswith(REFUSED)]
    return answer is not None and answer.status == 403


def offered(page: Page) -> dict[str, bool]:
    return {name: page.get_by_role("link", name=name, exact=True).count() > 0 for name in ("Rotate", "Resume")}


def test_an_administrator_gives_a_pool_role_and_an_operator_is_not_offered_it(
    stage: Cast, page: Page, enter: As
) -> None:
    enter("grace")
    page.goto(f"{reverse(ISSUE)}?owner=robot")
    expect(page.get_by_label(POOL_ROLE)).to_be_visible()

    enter("olive")
    page.goto(f"{reverse(ISSUE)}?owner=robot")

    expect(page.get_by_label(PLAIN_ROLE)).to_be_visible()
    expect(page.get_by_label(POOL_ROLE)).to_have_count(0)
    expect(page.get_by_text(POOL_ROLE)).to_be_visible()  # held back, and the page says so


def test_an_operator_who_forges_a_pool_role_gets_no_token(stage: Cast, page: Page, enter: As) -> None:
    enter("olive")
    fill(page)
    forge_role(page.get_by_label(PLAIN_ROLE), POOL_ROLE)

    page.get_by_role("button", name="Issue the token").click()

    expect(page.get_by_text("Nothing was changed.")).to_be_visible()
    expect(page.locator("#secret")).to_have_count(0)
    assert not AccessToken.objects.exists()


def test_only_an_administrator_makes_service_accounts(
    stage: Cast, page: Page, enter: As, complaints: list[str]
) -> None:
    pages = [reverse(NEW_ACCOUNT), reverse("admin:profiles_serviceaccount_new")]

    for name in ("olive", "audrey", "ada"):
        enter(name)
        assert [refused(page, complaints, path) for path in pages] == [True, True], name

    enter("grace")
    assert [refused(page, complaints, path) for path in pages] == [False, False]
    assert User.objects.get(kind="service") == stage.robot


def test_an_auditor_and_a_person_issue_no_service_token(
    stage: Cast, page: Page, enter: As, complaints: list[str]
) -> None:
    enter("audrey")
    page.goto(reverse("admin:tokens_accesstoken_changelist"))
    expect(page.get_by_role("link", name="Issue a service token")).to_have_count(0)

    for name in ("audrey", "ada"):
        enter(name)
        assert refused(page, complaints, f"{reverse(ISSUE)}?owner=robot"), name


def test_a_service_token_needs_a_role_and_one_that_its_account_holds(stage: Cast, page: Page, enter: As) -> None:
    enter("grace")
    fill(page)
    page.get_by_role("button", name="Issue the token").click()
    expect(page.get_by_text("Choose at least one role")).to_be_visible()

    fill(page)
    forge_role(page.get_by_label(PLAIN_ROLE), "osmo-admin")
    page.get_by_role("button", name="Issue the token").click()

    expect(page.get_by_text("Nothing was changed.")).to_be_visible()
    assert not AccessToken.objects.exists()


def test_nobody_is_offered_a_secret_beyond_his_power(stage: Cast, page: Page, enter: As, complaints: list[str]) -> None:
    strong = stage.service_token("strong", [POOL_ROLE])
    plain = stage.service_token("plain", [PLAIN_ROLE])

    enter("olive")
    page.goto(address(plain))
    assert offered(page)["Rotate"]
    page.goto(address(strong))
    assert not offered(page)["Rotate"]
    assert refused(page, complaints, address(strong, "rotate"))
    strong.suspend(by=stage.by("grace"), reason="a trial")
    page.goto(address(strong))
    assert not offered(page)["Resume"]

    enter("ada")  # she is accountable for the account, which gives her no power over its secrets
    page.goto(f"/me/tokens/{plain.pk}/")
    assert not any(offered(page).values())
    enter("grace")
    page.goto(address(strong))
    assert offered(page) == {"Rotate": False, "Resume": True}


@pytest.mark.parametrize("name", ["grace", "olive", "ada"])
def test_a_secret_is_shown_once_and_stays_nowhere(
    stage: Cast, page: Page, context: BrowserContext, enter: As, name: str
) -> None:
    enter(name)
    page.on("dialog", lambda dialog: dialog.accept())
    secret = issue_as(page, name)

    assert secret not in page.url
    page.get_by_role("link", name="I saved it").click()
    with pytest.raises(Error, match="ERR_CACHE_MISS"):  # the browser has no copy, and sends no form again by itself
        page.go_back()
    page = context.new_page()  # the other one may still be on its way to say so
    page.goto("/me/" if name == "ada" else reverse("admin:tokens_accesstoken_changelist"))

    assert secret not in page.content()
    assert secret not in kept_by(page, context)
    assert secret not in dump.text()


def issue_as(page: Page, name: str) -> str:
    if name == "ada":
        page.goto(reverse("my_token_new"))
        page.get_by_label("Token name").fill("laptop")
        page.get_by_label("Expires").fill(in_days(7).isoformat())
    else:
        fill(page)
        page.get_by_label(PLAIN_ROLE).check()
    page.get_by_role("button", name="Issue the token").click()
    return page.locator("#secret").inner_text()


def kept_by(page: Page, context: BrowserContext) -> str:
    """All that the browser keeps for the portal."""
    stored: Any = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, history.state])")
    return f"{context.cookies()} {stored}"
