"""What is about to break: each figure, bar and row of the first page leads to a list that shows its number."""

import io
import re
from collections.abc import Callable

import pytest
from django.core.management import call_command
from playwright.sync_api import Locator, Page, expect

from tests.browser.looks import DESK, TELEPHONE, faults
from tests.cast import PASSWORD, Cast
from tests.console import hold_the_count
from tests.snapshot import scene

SHOWN = re.compile(r"([\d,]+) (?:access token|service account|event)")


@pytest.fixture
def open_first_page(page: Page) -> Callable[[str, str], None]:
    def sign_in(name: str, password: str) -> None:
        page.goto("/")
        page.get_by_label("User id").fill(name)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name="What happened last")).to_be_visible()

    return sign_in


@pytest.fixture
def company(transactional_db: None) -> str:
    """The password of maya, an administrator."""
    return scene("demo with a password", _company)


def _company() -> str:
    out = io.StringIO()
    call_command("seed_demo", stdout=out, stderr=io.StringIO())
    return next(line.split()[1] for line in out.getvalue().splitlines() if line.startswith("maya"))


def as_number(text: str | None) -> int:
    return int((text or "").replace(",", ""))


def follow(page: Page, link: Locator) -> int:
    """How many records the list behind the link says it shows. Comes back."""
    link.click()
    if "left-behind" in page.url:
        return _queue(page)
    expect(page.locator("#changelist")).to_contain_text(SHOWN)  # the page may still be arriving
    said = SHOWN.search(page.locator("#changelist").inner_text())
    assert said, page.url
    shown = as_number(said[1])
    assert page.locator("#result_list tbody tr").count() == min(shown, 50)
    page.go_back()
    expect(page.get_by_role("heading", name="What happened last")).to_be_visible()
    return shown


def _queue(page: Page) -> int:
    expect(page.get_by_role("heading", name="Leaver queue")).to_be_visible()
    shown = page.get_by_role("rowheader").count()
    page.go_back()
    expect(page.get_by_role("heading", name="What happened last")).to_be_visible()
    return shown


def test_each_figure_leads_to_a_list_that_shows_its_number(
    company: str, page: Page, open_first_page: Callable[[str, str], None]
) -> None:
    open_first_page("maya", company)
    figures = page.locator(".figures a")
    expect(figures).to_have_count(10)

    for index in range(figures.count()):
        number = as_number(figures.nth(index).locator("strong").inner_text())
        assert number > 0
        assert follow(page, figures.nth(index)) == number, index


def test_each_bar_leads_to_a_list_that_shows_its_number(
    company: str, page: Page, open_first_page: Callable[[str, str], None]
) -> None:
    open_first_page("maya", company)
    bars = page.locator(".calendar svg a")
    expect(bars).to_have_count(12)

    for index in range(bars.count()):
        number = as_number(bars.nth(index).locator(".number").text_content())
        assert follow(page, bars.nth(index)) == number, index


def test_each_row_leads_to_a_list_that_shows_its_number(
    company: str, page: Page, open_first_page: Callable[[str, str], None]
) -> None:
    open_first_page("maya", company)
    rows = page.locator(".breakdown li")
    expect(rows).to_have_count(20)

    for index in [0, 9, 10, 19]:
        number = as_number(rows.nth(index).locator(".number").inner_text())
        assert follow(page, rows.nth(index).get_by_role("link")) == number, index


def test_the_calendar_is_used_with_the_keyboard_and_read_as_a_table(
    company: str, page: Page, open_first_page: Callable[[str, str], None]
) -> None:
    open_first_page("maya", company)
    cliff = page.get_by_role("link", name="a cliff")
    expect(cliff).to_have_count(1)

    page.get_by_text("The same as a table").click()
    table = page.get_by_role("region", name="When live tokens end").get_by_role("table")
    expect(table.get_by_role("cell")).to_have_text(page.locator(".calendar svg .number").all_text_contents())

    cliff.focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("expires_from=.*expires_to="))


def test_the_page_fits_every_window_in_light_and_dark(
    company: str, page: Page, open_first_page: Callable[[str, str], None]
) -> None:
    open_first_page("maya", company)
    bar, slot = page.locator(".calendar .bar").first, page.locator(".calendar .slot").first
    fills = set()

    for width, scheme in [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        fills.add(bar.evaluate("bar => getComputedStyle(bar).fill"))
        box = slot.bounding_box()
        assert box is not None
        assert box["width"] >= 24  # what a finger hits
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    assert len(fills) == 2
    assert "rgb(0, 0, 0)" not in fills  # which is what SVG has without the stylesheet


def test_without_a_token_the_first_is_issued_from_here(
    transactional_db: None, page: Page, open_first_page: Callable[[str, str], None]
) -> None:
    Cast()
    open_first_page("grace", PASSWORD)

    page.get_by_role("link", name="Issue the first").click()

    expect(page.get_by_label("Service account")).to_be_visible()


def test_figures_that_take_long_are_put_in_once_they_are_counted(
    transactional_db: None,
    page: Page,
    open_first_page: Callable[[str, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Cast().service_token("first")
    go = hold_the_count(monkeypatch)
    open_first_page("grace", PASSWORD)
    told = page.get_by_role("status").filter(has_text="All tokens are being counted")
    expect(told).to_be_visible()
    assert [*faults(page, [DESK, TELEPHONE])] == []

    go.set()

    expect(page.get_by_role("link", name="1 live tokens")).to_be_visible()
    expect(told).to_have_count(0)
    page.get_by_role("link", name="1 live tokens").click()
    expect(page.locator("#changelist")).to_contain_text("1 access token")


def test_figures_that_cannot_be_counted_are_not_waited_for(
    transactional_db: None,
    page: Page,
    open_first_page: Callable[[str, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Cast().service_token("first")
    go = hold_the_count(monkeypatch, fails=True)
    open_first_page("grace", PASSWORD)
    expect(page.get_by_role("status").filter(has_text="All tokens are being counted")).to_be_visible()

    go.set()

    expect(page.get_by_role("status").filter(has_text="The tokens could not be counted")).to_be_visible()
    expect(page.locator("[data-pending]")).to_have_count(0)
    assert [*faults(page, [DESK, TELEPHONE])] == []
    page.get_by_role("link", name="Look again").click()
    expect(page.get_by_role("status").filter(has_text="The tokens could not be counted")).to_be_visible()
