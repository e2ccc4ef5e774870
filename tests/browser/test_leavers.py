"""A person leaves, and somebody else gets the service accounts, in a real browser."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from osmo_portal.events.models import Event
from profiles.models import User
from tests.browser.test_console import SIZES, fits
from tests.cast import Cast
from tokens.exchange import exchange


@SIZES
def test_a_leaver_is_deactivated_and_the_accounts_are_handed_over(
    stage: Cast, page: Page, sign_in: Callable[[str], None], width: int
) -> None:
    secret = stage.service_token("deploy").plaintext
    User.create_service_account(by=stage.by("grace"), username="fleet", accountable=stage.ada, purpose="Drives")
    page.set_viewport_size({"width": width, "height": 900})
    sign_in("grace")

    page.get_by_role("navigation", name="Sections").get_by_role("link", name="People").click()
    page.get_by_role("link", name="ada", exact=True).click()
    expect(page.get_by_role("region", name="Service accounts")).to_contain_text("Drives")
    page.get_by_role("link", name="Deactivate").click()
    expect(page.get_by_text("2 service accounts go into the leaver queue")).to_be_visible()
    page.get_by_label("Reason").fill("Moved to another company")
    page.get_by_role("button", name="Deactivate").click()
    assert fits(page)

    page.goto("/admin/profiles/serviceaccount/?state=left-behind")
    expect(page.get_by_text("Moved to another company")).to_be_visible()
    assert fits(page)
    page.get_by_role("link", name="Hand over fleet").click()
    page.get_by_label("Accountable from now on").press_sequentially("mall")
    expect(page.locator("datalist option")).to_have_attribute("value", "mallory")
    page.get_by_label("Accountable from now on").fill("mallory")
    page.get_by_role("button", name="Hand over").click()
    expect(page.get_by_text("mallory is accountable for fleet now.")).to_be_visible()

    page.get_by_role("link", name="Hand over the account of ada").click()
    expect(page.get_by_text("No right changes")).to_be_visible()
    page.get_by_label("Accountable from now on").fill("olive")
    page.get_by_label("Reason").fill("Ada left")
    page.get_by_role("button", name="Hand over").click()
    expect(page.get_by_text("Nobody left service accounts behind")).to_be_visible()
    assert exchange(secret)


def test_events_are_found_and_verified(stage: Cast, page: Page, sign_in: Callable[[str], None]) -> None:
    stage.service_token("deploy")
    sign_in("grace")

    page.get_by_role("navigation", name="Sections").get_by_role("link", name="Events").click()
    page.get_by_role("link", name="token.issued").first.click()
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    page.locator("#result_list tbody a").first.click()
    expect(page.get_by_text("The hash is right")).to_be_visible()

    page.goto("/admin/events/event/verify/")
    page.get_by_role("button", name="Verify now").click()
    expect(page.get_by_text("are whole.")).to_be_visible()
    assert fits(page)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_filtered_events_are_downloaded(stage: Cast, page: Page, sign_in: Callable[[str], None], form: str) -> None:
    sign_in("grace")
    page.goto("/admin/events/event/?action=pool.created")

    page.get_by_role("link", name="Export").click()
    expect(page.get_by_text("Events with action pool.created")).to_be_visible()
    page.get_by_label("CSV" if form == "csv" else "JSON lines").check()
    for _ in range(2):  # the page stays, and so does its button
        with page.expect_download() as download:
            page.get_by_role("button", name="Export").click()

    assert download.value.suggested_filename.endswith(f".{form}")
    assert "my_pool" in download.value.path().read_text()
    assert Event.objects.filter(action="events.exported").count() == 2
