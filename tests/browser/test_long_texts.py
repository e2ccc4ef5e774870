"""No text is too long for a page: names at their longest and texts without a space are broken into lines."""

from itertools import chain

import pytest
from django.urls import reverse
from django.utils.http import urlencode
from playwright.sync_api import BrowserContext, Page
from pytest_django.live_server_helper import LiveServer

from profiles.models import Pool, Role, User
from profiles.names import MAX_LENGTH
from tests.browser.looks import DESK, TELEPHONE
from tests.browser.pages import console_pages, pages_of, routes_to_pages, sign_in
from tests.cast import Cast, in_days
from tests.console import ISSUE
from tokens.models import AccessToken, BulkOperation

NAME = "W" * MAX_LENGTH
TEXT = "W" * 1_000


@pytest.fixture
def stage(transactional_db: None) -> Cast:
    """One record of each kind, all of them with texts of this length, and events about them."""
    cast = Cast()
    by = cast.by("grace")
    cast.ada.describe(by=by, display_name=NAME, email="")
    Pool.create(by=by, name=NAME, description=TEXT, backend=NAME)
    allow = [{"effect": "Allow", "actions": ["workflow:*"], "resources": [f"pool/{NAME}"]}]
    Role.create(by=by, name=NAME, description=TEXT, policies=allow)
    person = User.create_person(by=by, username=f"{NAME[1:]}P", display_name=NAME)
    account = User.create_service_account(
        by=by, username=NAME, accountable=cast.ada, purpose=TEXT, display_name=NAME, roles=[NAME]
    )
    left = User.create_service_account(by=by, username=f"{NAME[1:]}L", accountable=person, purpose=TEXT, roles=[NAME])
    person.deactivate(by=by, reason=TEXT)
    for owner in (account, left):
        AccessToken.issue(by=by, owner=owner, name=NAME, expires=in_days(9), roles=[NAME], description=TEXT)
    AccessToken.objects.get(owner=left).revoke(by=by, reason=TEXT)
    tokens = AccessToken.objects.filter(owner=account)
    BulkOperation.preview(tokens, by=by, action="revoke", filters={"owner": NAME})
    begun = BulkOperation.preview(tokens, by=by, action="suspend", filters={"owner": NAME})
    begun.start(tokens, by=by, digest=begun.digest, reason=TEXT)
    return cast


def too_wide(page: Page, addresses: list[str]) -> list[str]:
    found = []
    for path in addresses:
        page.goto(path)
        for window, _ in (DESK, TELEPHONE):
            page.set_viewport_size(window)
            width = page.evaluate("document.documentElement.scrollWidth")
            if width > window["width"]:
                found.append(f"{path} is {width} px wide where {window['width']} px are there")
    return found


def test_long_texts_fit_every_page_of_the_console(
    stage: Cast, page: Page, context: BrowserContext, live_server: LiveServer
) -> None:
    addresses = [*chain.from_iterable(pages_of("grace", console_pages()).values())]
    issue = f"{reverse(ISSUE)}?{urlencode({'owner': NAME})}"
    sign_in(context, "grace", live_server.url)

    assert too_wide(page, [*addresses, issue]) == []


def test_long_texts_fit_the_pages_of_a_person(
    stage: Cast, page: Page, context: BrowserContext, live_server: LiveServer
) -> None:
    AccessToken.issue(by=stage.by("ada"), owner=stage.ada, name=NAME, expires=in_days(9), description=TEXT)
    addresses = [*chain.from_iterable(pages_of("ada", [r for r in routes_to_pages() if r.startswith("me/")]).values())]
    sign_in(context, "ada", live_server.url)

    assert too_wide(page, addresses) == []


def test_a_long_text_leaves_room_for_the_other_columns_of_a_list(
    stage: Cast, page: Page, context: BrowserContext, live_server: LiveServer
) -> None:
    stage.robot.describe(by=stage.by("grace"), purpose=TEXT)
    sign_in(context, "grace", live_server.url)

    page.goto(f"{reverse('admin:profiles_serviceaccount_changelist')}?q=robot")

    assert page.evaluate("(r => r.scrollWidth - r.clientWidth)(document.querySelector('.results'))") == 0
