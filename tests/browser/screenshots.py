"""`make screenshots` takes the pictures of the main pages for docs/images, by day and by night."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from tests.browser.chromium import FLAGS, chromium
from tests.browser.portal import portal

IMAGES = Path(__file__).resolve().parent.parent.parent / "docs" / "images"
WINDOW: Any = {"width": 1280, "height": 800}
SCHEMES: list[Any] = ["light", "dark"]
Picture = tuple[str, Callable[[Page], object]]


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    with portal() as demo, sync_playwright() as playwright:
        _fill()
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        for scheme in SCHEMES:
            context = browser.new_context(base_url=demo.url, viewport=WINDOW, color_scheme=scheme)
            for name, open_page in _pictures(context, demo.url, scheme):
                page = context.new_page()
                open_page(page)
                path = IMAGES / f"{name}-{scheme}.png"
                page.screenshot(path=path, animations="disabled")
                page.close(run_before_unload=False)
                print(f"{path.name}: {path.stat().st_size / 1000:.0f} KB")
        browser.close()


def _fill() -> None:
    """With the demonstration where there is one, else with what the tests look at."""
    from django.core.management import call_command, get_commands

    from tests.cast import Cast
    from tests.furniture import furnish

    if "seed_demo" in get_commands():
        call_command("seed_demo")
    else:
        furnish(Cast())


def _pictures(context: Any, url: str, scheme: str) -> Iterator[Picture]:
    """Name and way of each, as an administrator sees it."""
    from django.db.models import Count, Q
    from django.urls import reverse

    from profiles.models import Kind, Role, User
    from tests.browser.pages import sign_in
    from tests.console import ISSUE, address
    from tokens.models import AccessToken

    administrator = User.objects.administrators().order_by("pk")[0]
    used = AccessToken.objects.live().of_kind("service").exclude(last_use__at=None).order_by("-rotations", "-pk")
    token = used.select_related("owner")[0]
    issue = f"{reverse(ISSUE)}?owner={token.owner.username}"
    role = Role.objects.existing().pool_roles().filter(immutable=False).order_by("-pk")[0]
    sign_in(context, administrator.username, url)
    yield "first-page", lambda page: page.goto("/admin/")
    yield "token-list", lambda page: page.goto(reverse("admin:tokens_accesstoken_changelist"))
    yield "token", lambda page: page.goto(address(token))
    yield "issue", lambda page: _choose(page, issue, f"weekly-{scheme}")
    yield "secret", lambda page: _issue(page, issue, f"nightly-{scheme}")
    yield "role-preview", lambda page: _preview(page, address(role, "edit"))
    yield "events", lambda page: page.goto(reverse("admin:events_event_changelist"))
    live = Count("tokens", filter=Q(tokens__ended_at=None))
    people = User.objects.filter(kind=Kind.PERSON, is_active=True).exclude(accounts=None)
    person = people.annotate(live=live).order_by("-live", "pk")[0]
    sign_in(context, person.username, url)
    yield "my-tokens", lambda page: page.goto(reverse("my_tokens"))


def _choose(page: Page, issue: str, name: str) -> None:
    page.goto(issue)
    page.get_by_label("Token name").fill(name)
    page.locator("input[name=roles]").first.check()
    page.get_by_role("button", name="30 days").click()
    page.wait_for_load_state("networkidle")


def _issue(page: Page, issue: str, name: str) -> None:
    _choose(page, issue, name)
    page.get_by_role("button", name="Issue the token").click()
    page.locator("#secret").wait_for()


def _preview(page: Page, edit: str) -> None:
    page.goto(edit)
    page.get_by_label("Maximum lifetime").fill("20")
    page.locator("button[type=submit].default").click()
    page.wait_for_load_state()


if __name__ == "__main__":
    main()
