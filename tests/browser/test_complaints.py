"""The fixtures of this folder notice what they promise to notice."""

import time

import pytest
from playwright.sync_api import Page

POLICY = """<meta http-equiv="Content-Security-Policy" content="default-src 'self'">"""


def show(page: Page, html: str) -> None:
    page.route("**/made-up", lambda route: route.fulfill(body=html, content_type="text/html"))
    page.goto("/made-up")


def wait_for(page: Page, complaints: list[str], text: str) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and not any(text in complaint for complaint in complaints):
        page.wait_for_timeout(20)
    return any(text in complaint for complaint in complaints)


def test_a_page_without_fault_is_not_complained_of(page: Page, complaints: list[str]) -> None:
    show(page, f"{POLICY}<p>All is well</p>")

    assert page.get_by_text("All is well").is_visible()
    assert complaints == []


@pytest.mark.parametrize(
    ("html", "complaint"),
    [
        ("<script>console.error('lost')</script>", "lost"),
        ("<script>throw new Error('broken')</script>", "broken"),
        (f"{POLICY}<p style='color: red'>", "style-src-attr forbids inline"),
        (f"{POLICY}<script>let unsafe</script>", "script-src-elem forbids inline"),
        ("<img src='http://elsewhere.invalid/a.png'>", "asked another host: http://elsewhere.invalid/a.png"),
        ("<img src='/absent.png'>", "404"),
    ],
)
def test_a_page_with_a_fault_is_complained_of(page: Page, complaints: list[str], html: str, complaint: str) -> None:
    show(page, html)

    assert wait_for(page, complaints, complaint), complaints
    complaints.clear()
