"""A service token from its account to its secret, and its rotation, in a real browser."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import BrowserContext, Dialog, Page, expect
from pytest_django.live_server_helper import LiveServer

from profiles.models import Role, User
from tests.cast import PASSWORD, PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tests.console import ISSUE, address
from tokens.exchange import Refused, exchange
from tokens.models import AccessToken

SECRET = re.compile(r"osmo_[0-9A-Za-z]{49}")
SignIn = Callable[[str], None]


def summary(page: Page) -> Any:
    return page.get_by_role("region", name="What the token will be able to do")


def issue(page: Page, name: str = "deploy") -> str:
    """Issues a token of robot; returns the secret that is shown."""
    page.goto(f"{reverse(ISSUE)}?owner=robot")
    page.get_by_label("Token name").fill(name)
    page.get_by_label(POOL_ROLE).check()
    page.get_by_role("button", name="7 days").click()
    page.get_by_role("button", name="Issue the token").click()
    expect(page.locator("#secret")).to_be_visible()
    return page.locator("#secret").inner_text()


def test_from_a_new_account_to_a_secret_that_is_saved(
    stage: Cast, page: Page, context: BrowserContext, sign_in: SignIn
) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    sign_in("grace")

    page.goto(reverse(ISSUE))
    page.get_by_label("Service account").fill("nightly")
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("link", name="New service account").click()
    expect(page.get_by_label("User id")).to_have_value("nightly")
    page.get_by_label("Purpose").fill("builds every night")
    page.get_by_label("Accountable person").fill("ada")
    expect(page.locator("label", has_text=POOL_ROLE)).to_contain_text("pool my_pool*: submit, exec, port-forward")
    page.get_by_label(POOL_ROLE).check()
    page.get_by_label(PLAIN_ROLE).check()
    page.get_by_role("button", name="Make the account and go on").click()

    expect(page.get_by_text("nightly is here.")).to_be_visible()
    page.get_by_label("Token name").fill("Build_East")
    expect(summary(page)).to_contain_text("Choose roles")
    page.get_by_label(POOL_ROLE).check()
    expect(summary(page)).to_contain_text("submit, exec, port-forward in my_pool")
    page.get_by_role("button", name="90 days").click()
    expect(summary(page)).to_contain_text(f"Until {in_days(90)} 00:00 UTC")
    page.get_by_label(POOL_ROLE).uncheck()
    page.get_by_label(PLAIN_ROLE).check()
    expect(summary(page)).to_contain_text("It reaches no pool")
    page.get_by_label(POOL_ROLE).check()
    page.get_by_role("button", name="Issue the token").click()

    secret = page.locator("#secret").inner_text()
    assert SECRET.fullmatch(secret)
    for button, shape in {
        "Copy secret": secret,
        "Copy command": f"osmo login http://[^ ]+ --method token --token {secret}",
        "Copy manifest": f'(?s)apiVersion: v1\n.*  name: osmo-nightly-build-east\n.*  OSMO_TOKEN: "{secret}"\n',
    }.items():
        page.get_by_role("button", name=button).click()
        expect(page.get_by_role("status")).to_have_text("Copied.")
        assert re.fullmatch(shape, page.evaluate("navigator.clipboard.readText()"))
    page.get_by_role("link", name="I saved it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("nightly/Build_East")
    assert secret not in page.content()
    assert User.objects.get(username="nightly").accountable == stage.ada
    assert exchange(secret)


def test_who_leaves_without_having_saved_the_secret_is_asked(stage: Cast, page: Page, sign_in: SignIn) -> None:
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    sign_in("grace")
    secret = issue(page)
    page.on("dialog", stay)

    page.get_by_role("link", name="Home").click(no_wait_after=True)
    page.wait_for_timeout(300)
    assert asked == ["beforeunload"]
    expect(page.locator("#secret")).to_have_text(secret)

    page.get_by_role("link", name="I saved it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("robot/deploy")
    assert asked == ["beforeunload"]


def test_on_paper_there_is_the_secret_the_command_the_name_and_the_end(
    stage: Cast, page: Page, sign_in: SignIn
) -> None:
    sign_in("grace")
    secret = issue(page)

    page.emulate_media(media="print", color_scheme="dark")

    printed = page.locator("body").inner_text()
    assert printed.count(secret) == 2
    for wanted in ("robot/deploy", "osmo login", f"{in_days(7)} 00:00 UTC"):
        assert wanted in printed
    for unwanted in ("OSMO portal", "Access tokens", "grace", "Copy", "only time", "apiVersion", "I saved it"):
        assert unwanted not in printed
    white = "rgb(255, 255, 255)"
    colours = "['body', '.module', '#secret'].map(part => getComputedStyle(document.querySelector(part)))"
    assert page.evaluate(f"{colours}.map(style => style.backgroundColor)") == [white] * 3
    assert page.evaluate(f"{colours}[2].color") == "rgb(0, 0, 0)"


def test_the_bounds_of_the_day_follow_the_chosen_roles(stage: Cast, page: Page, sign_in: SignIn) -> None:
    Role.objects.get(name=PLAIN_ROLE).change(by=stage.by("grace"), max_token_days=14)
    sign_in("grace")
    page.goto(f"{reverse(ISSUE)}?owner=robot")
    day = page.get_by_label("Expires")

    expect(page.get_by_role("button", name="Maximum (365 days)")).to_be_visible()
    expect(day).to_have_attribute("min", in_days(1).isoformat())
    expect(day).to_have_attribute("max", in_days(365).isoformat())
    day.fill(in_days(30).isoformat())
    page.get_by_label(PLAIN_ROLE).check()

    expect(page.get_by_role("button", name="Maximum (14 days)")).to_be_visible()
    expect(day).to_have_attribute("max", in_days(14).isoformat())
    expect(summary(page)).to_contain_text("cannot last longer than 14d")


def test_a_form_that_was_sent_has_no_button_to_press_again(stage: Cast, page: Page, sign_in: SignIn) -> None:
    sign_in("grace")
    page.goto(f"{reverse(ISSUE)}?owner=robot")
    # As if the answer took its time.
    page.evaluate("document.querySelector('[data-once]').addEventListener('submit', event => event.preventDefault())")

    page.get_by_role("button", name="Issue the token").click()

    expect(page.get_by_role("button", name="Issue the token")).to_be_disabled()


def test_without_scripts_a_button_tells_what_the_roles_come_to(
    stage: Cast, live_server: LiveServer, page: Page
) -> None:
    assert page.context.browser is not None
    context = page.context.browser.new_context(base_url=live_server.url, java_script_enabled=False)
    plain = context.new_page()
    plain.goto("/admin/login/")
    plain.get_by_label("User id").fill("grace")
    plain.get_by_label("Password").fill(PASSWORD)
    plain.get_by_role("button", name="Sign in").click()
    plain.goto(f"{reverse(ISSUE)}?owner=robot")
    plain.get_by_label("Token name").fill("deploy")
    plain.get_by_label(POOL_ROLE).check()
    plain.get_by_role("button", name="Show what the chosen roles come to").click()

    expect(summary(plain)).to_contain_text("submit, exec, port-forward in my_pool")
    expect(plain.get_by_label("Token name")).to_have_value("deploy")
    expect(plain.get_by_label(POOL_ROLE)).to_be_checked()
    assert not AccessToken.objects.exists()
    context.close()


def test_a_rotation_without_an_outage(stage: Cast, page: Page, sign_in: SignIn, time_machine: Any) -> None:
    token = stage.service_token()
    old = token.plaintext
    sign_in("grace")

    page.goto(address(token))
    page.get_by_role("link", name="Rotate").click()
    page.get_by_label("1 hour").check()
    page.get_by_role("button", name="Rotate").click()
    new = page.locator("#secret").inner_text()
    assert exchange(new)
    assert exchange(old)
    page.get_by_role("link", name="I saved it").click()
    secrets = page.get_by_role("region", name="Secrets")
    expect(secrets.get_by_role("row").nth(1)).to_contain_text(f"…{new[-4:]} live")
    expect(secrets.get_by_role("row").nth(2)).to_contain_text(f"…{old[-4:]} in its grace")

    time_machine.move_to(timezone.now() + timedelta(hours=1, seconds=1))
    with pytest.raises(Refused, match="its old secret has ended"):
        exchange(old)
    assert exchange(new)
    page.reload()

    expect(secrets.get_by_role("row").nth(2)).to_contain_text(f"…{old[-4:]} retired")
    expect(page.get_by_role("link", name="exchange refused retired")).to_be_visible()
