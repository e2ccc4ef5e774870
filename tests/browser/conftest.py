"""A real browser against a live server. A page that logs an error, breaks the content security policy or asks another
host for anything fails its test."""

import os
import threading
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright
from pytest_django.live_server_helper import LiveServer

from tests.browser.chromium import FLAGS, chromium
from tests.cast import PASSWORD, Cast

# Playwright's event loop runs in the thread of the test, where Django would refuse every query.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"

TELL_VIOLATIONS = """document.addEventListener("securitypolicyviolation", event =>
    console.error(`${event.violatedDirective} forbids ${event.blockedURI} at line ${event.lineNumber}`))"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that no worker waits for another at the end."""
    items.sort(key=lambda item: item.path.name != "test_every_page.py")


def pytest_runtest_setup() -> None:
    """Measure the tests alone: what the live server runs is measured without a browser, and tracing slows it down."""
    threading.settrace(None)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser, live_server: LiveServer) -> Iterator[BrowserContext]:
    """A fresh profile: no cookies, no cache."""
    context = browser.new_context(base_url=live_server.url)
    context.set_default_timeout(10_000)
    context.add_init_script(TELL_VIOLATIONS)
    yield context
    context.close()


@pytest.fixture
def complaints(context: BrowserContext, live_server: LiveServer) -> Iterator[list[str]]:
    """What the browser complained of. A test that expects a complaint removes it from the list."""
    complaints: list[str] = []

    def note_errors(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(f"{message.text} ({message.location.get('url', '')})")

    def note_strangers(request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme not in {"about", "blob", "data"} and url.netloc != urlsplit(live_server.url).netloc:
            complaints.append(f"asked another host: {request.url}")

    context.on("console", note_errors)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    context.on("request", note_strangers)
    yield complaints
    assert not complaints, "The browser complained:\n" + "\n".join(complaints)


@pytest.fixture
def page(context: BrowserContext, complaints: list[str]) -> Page:
    return context.new_page()


@pytest.fixture
def stage(transactional_db: None) -> Cast:
    return Cast()


@pytest.fixture
def sign_in(page: Page) -> Callable[[str], None]:
    def sign_in(name: str) -> None:
        page.goto("/")
        page.get_by_label("User id").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name="Console")).to_be_visible()

    return sign_in
