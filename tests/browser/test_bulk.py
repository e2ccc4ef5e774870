"""Journey 5 in a real browser: filter, preview, execute against the digest, watch, read the report."""

from collections.abc import Callable

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from osmo_portal.events import chain
from osmo_portal.events.models import Event
from tests.browser.test_console import fits
from tests.bulk import many_tokens
from tests.cast import PASSWORD, Cast
from tokens.admin import bulk
from tokens.models import AccessToken, BulkOperation, batches

MANY = 1_000
LIST = reverse("admin:tokens_accesstoken_changelist")


@pytest.fixture
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that there is something to watch: 250 tokens a request."""
    monkeypatch.setattr(bulk, "SLICE", 0)
    for vendor in batches.BATCH_SIZES:
        monkeypatch.setitem(batches.BATCH_SIZES, vendor, 250)


def begin(page: Page, do: str, count: int) -> None:
    page.goto(f"{LIST}?owner=robot&state=active")
    page.get_by_label("With all filtered tokens").select_option(label=do)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_text("owner: robot")).to_be_visible()
    page.get_by_role("button", name="Preview the set").click()
    page.get_by_label("Reason").fill("end of the project")
    page.get_by_label("Number of tokens").fill(f"{count:,}")


@pytest.mark.usefixtures("small_slices")
@pytest.mark.parametrize("width", [1280, 390])
def test_a_large_set_is_ended(stage: Cast, page: Page, sign_in: Callable[[str], None], width: int) -> None:
    many_tokens(stage.robot, MANY)
    hers = stage.user_token("ada", "hers")
    page.set_viewport_size({"width": width, "height": 900})
    seen: list[float] = []
    page.expose_function("moved", lambda value: seen.append(value))
    sign_in("grace")
    begin(page, "Revoke", MANY)
    assert fits(page)
    page.add_init_script(
        "addEventListener('DOMContentLoaded', () => { const bar = document.querySelector('progress');"
        "if (bar) new MutationObserver(() => moved(bar.value)).observe(bar, {attributes: true}); })"
    )

    page.get_by_role("button", name="Revoke: 1,000 of 1,000").click()

    expect(page.get_by_role("heading", name="Report")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("1,000 of 1,000 tokens")).to_be_visible()
    assert fits(page)
    assert len({*seen}) > 3
    assert seen == sorted(seen)
    assert AccessToken.objects.in_state("revoked").count() == MANY
    assert AccessToken.objects.get(pk=hers.pk).state() == "active"
    assert Event.objects.filter(action="tokens.bulk_executed").count() == 1
    assert list(chain.faults()) == []


@pytest.mark.usefixtures("small_slices")
def test_a_closed_page_leaves_what_can_be_continued(stage: Cast, page: Page, sign_in: Callable[[str], None]) -> None:
    many_tokens(stage.robot, MANY)
    sign_in("grace")
    begin(page, "Suspend", MANY)
    page.get_by_role("button", name="Suspend: 1,000 of 1,000").click()
    expect(page.get_by_role("status")).to_contain_text("of 1,000")
    page.close()

    again = page.context.new_page()
    operation = BulkOperation.objects.get()
    again.goto(reverse("admin:tokens_bulkoperation_changelist"))
    again.get_by_role("link", name="Suspend: 1,000 tokens").click()
    expect(again.get_by_role("button", name="Continue")).to_be_visible()
    handled = BulkOperation.objects.get().handled
    again.wait_for_timeout(500)
    operation.refresh_from_db()
    assert operation.handled == handled < MANY  # looking does not continue it
    again.get_by_role("button", name="Continue").click()

    expect(again.get_by_role("heading", name="Report")).to_be_visible(timeout=60_000)
    assert AccessToken.objects.in_state("suspended").count() == MANY


@pytest.mark.usefixtures("small_slices")
def test_without_scripts_a_button_continues(stage: Cast, live_server: LiveServer, page: Page) -> None:
    many_tokens(stage.robot, 600)
    assert page.context.browser is not None
    context = page.context.browser.new_context(base_url=live_server.url, java_script_enabled=False)
    plain = context.new_page()
    plain.goto("/admin/login/")
    plain.get_by_label("User id").fill("grace")
    plain.get_by_label("Password").fill(PASSWORD)
    plain.get_by_role("button", name="Sign in").click()
    begin(plain, "Revoke", 600)
    plain.get_by_role("button", name="Revoke: 600 of 600").click()

    for handled in ("0 of 600", "250 of 600", "500 of 600"):
        expect(plain.get_by_role("status")).to_have_text(handled)
        plain.get_by_role("button", name="Continue").click()

    expect(plain.get_by_role("heading", name="Report")).to_be_visible()
    assert AccessToken.objects.listed().count() == 0
    context.close()
