"""Instants are written in UTC; on hover the browser tells them on the clock of the place."""

import pytest
from playwright.sync_api import Browser, expect
from pytest_django.live_server_helper import LiveServer

from tests.browser.pages import sign_in
from tests.cast import Cast
from tests.console import address


@pytest.mark.parametrize(("place", "hour"), [("Asia/Kolkata", "5:30"), ("Europe/Lisbon", "12:00")])
def test_whoever_points_at_an_instant_is_told_the_local_time(
    stage: Cast, browser: Browser, live_server: LiveServer, place: str, hour: str
) -> None:
    token = stage.service_token()
    context = browser.new_context(base_url=live_server.url, timezone_id=place, locale="en-US")
    sign_in(context, "grace", live_server.url)
    page = context.new_page()
    page.goto(address(token))
    expires = page.locator(f"time[datetime^='{token.expires_at:%Y-%m-%d}']").first
    expect(expires).to_have_text(f"{token.expires_at:%Y-%m-%d} 00:00 UTC")
    assert expires.get_attribute("title") is None

    expires.hover()

    told = expires.get_attribute("title") or ""
    assert f"{token.expires_at:%A, %B} {token.expires_at.day}, {token.expires_at.year}" in told
    assert told.replace("12:00:00", "12:00").replace("5:30:00", "5:30").count(f" {hour}") == 1
    context.close()
