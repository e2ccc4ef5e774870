"""Every page of the portal, found by walking the URLconf, so that a new one cannot be forgotten."""

import logging
import re
from collections.abc import Iterable, Iterator
from typing import Any

from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from playwright.sync_api import BrowserContext, Page

from osmo_portal.console.section import Section
from osmo_portal.events.models import Event
from profiles.admin.users import UserSection
from profiles.models import User
from tests.console import ISSUE, sections, visitor
from tokens.models import AccessToken, TerminalSignIn

MAX_WEIGHT = 250_000  # bytes before compression
MAX_REQUESTS = 25
NOBODY = "nobody"
VISITORS = ["grace", "olive", "audrey", "ada", NOBODY]

# Routes at which no visitor gets a page by GET, and why. Patterns are matched at the beginning.
NO_PAGES = {
    r"\^?api/|client/|(health|ready|metrics)$": "for programs",
    r"me/api/$": "Swagger UI, looked at in test_api_page",
    r"$": "leads on to the first page",
    r"admin/logout/$": "answers a POST alone; the page after it is walked on its own",
    r"admin/jsi18n/$": "a script, which our pages do not ask for",
    r"admin/autocomplete/$": "answers Django's own selects, which our pages do not have",
    r"admin/r/": "leads on to a public page, and no record has one",
    r"admin/\^\(\?P<app_label>": "leads on to the first page",
    r"admin/\(\?P<url>": "whatever is not there",
    r"admin/\w+/\w+/suggest/$": "completes what is typed: JSON",
    r"admin/\w+/\w+/add/$": "Django's; refused, each section has its own",
    r"admin/\w+/\w+/<path:object_id>/delete/$": "Django's; refused, nothing is deleted",
    r"admin/\w+/\w+/<path:object_id>/$": "leads on to the record",
    r"admin/profiles/person/whoever/": "leads on to the person or the service account",
    r"admin/login/(second-step|new-password)/": "a step of signing in, looked at in test_sign_in",
    r"admin/login/sso/": "leads on to the provider or back to the sign-in",
    r"me/device/decide/$": "a step of signing a terminal in, looked at in test_terminal",
    r"admin/own/key/<int:pk>/remove/": "for those who have a security key, looked at in test_sign_in",
    r"admin/tokens/accesstoken/(find|export)/": "answer a POST alone: the first in test_find, the second with a file",
}

# At times Chromium tells no size of what its cache gave: that is fetched once more. What stands in the address itself
# (data:) is no request.
WEIGH = """async () => Promise.all(
  ["navigation", "resource"].flatMap(kind => performance.getEntriesByType(kind))
    .filter(entry => entry.name.startsWith(location.origin))
    .map(async entry => entry.decodedBodySize || (await (await fetch(entry.name)).arrayBuffer()).byteLength))"""


def routes(patterns: list[Any] | None = None, before: str = "") -> Iterator[str]:
    """Every route as Django spells it: with its converters."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        here = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, here)
        elif isinstance(pattern, URLPattern):
            yield here


def routes_to_pages() -> list[str]:
    return [route for route in routes() if not any(re.match(pattern, route) for pattern in NO_PAGES)]


def console_pages() -> list[str]:
    """And the first of a person's own pages, which those who have the console see as well."""
    return [route for route in routes_to_pages() if not route.startswith("me/") or route == "me/"]


def pages_of(name: str, among: Iterable[str] = ()) -> dict[str, list[str]]:
    """The addresses at which `name` gets a page, by the route that leads there. One address a route, but the pages of
    records in all their states."""
    client = Client() if name == NOBODY else visitor(name)
    candidates = {route: _addresses(route, name) for route in among or routes_to_pages()}
    logging.disable(logging.WARNING)  # of what is refused, and there is much of it
    found = {route: _opened(client, route, addresses) for route, addresses in candidates.items()}
    logging.disable(logging.NOTSET)
    return {route: addresses for route, addresses in found.items() if addresses}


def more_pages() -> list[str]:
    """What an administrator sees at the same routes under other circumstances."""
    lists = [f"{section.address('changelist')}?q=nothing-like-it" for section in sections() if section.search_fields]
    return [*lists, f"{reverse(ISSUE)}?owner=robot", "/admin/no-such-page/"]


def sign_in(context: BrowserContext, name: str, url: str) -> None:
    """By a session that is there already: how people sign in is looked at elsewhere."""
    cookie = visitor(name).cookies["sessionid"]
    context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": url}])


def weighed(page: Page) -> tuple[int, int]:
    """What the page that is open weighs with all that it asked for, in bytes before compression; and the requests."""
    sizes = page.evaluate(WEIGH)
    return sum(sizes), len(sizes)


def _opened(client: Client, route: str, addresses: list[str]) -> list[str]:
    """The first of the addresses that answers with a page; of records, all. Where three are refused, all are."""
    opened, refused = [], 0
    for address in addresses:
        answer = client.get(address)
        refused += answer.status_code == 403
        if answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/html"):
            opened.append(address)
        if refused == 3 or (opened and not route.endswith("/change/")):
            break
    return opened


def _addresses(route: str, name: str) -> list[str]:
    """The route with the number of each record in place that it may be about."""
    if "<" not in route:
        return [f"/{route}"]
    return [re.sub(r"<[^>]*>", str(pk), f"/{route}") for pk in _numbers(route, name)]


def _numbers(route: str, name: str) -> list[int]:
    for section in sections():
        if route.startswith(section.address("changelist").lstrip("/")):
            return _telling(section) if route.endswith("/change/") else _all(section, name)
    if route.startswith("me/terminals/"):
        return [*TerminalSignIn.objects.filter(owner__username=name).values_list("pk", flat=True)]
    accountable = User.objects.filter(accountable__username=name)
    return [*_own_first(AccessToken.objects.all(), name), *accountable.values_list("pk", flat=True)]


def _all(section: Section, name: str = "") -> list[int]:
    records = section.model._default_manager.order_by("-pk")
    if isinstance(section, UserSection):
        records = records.filter(kind=section.kind)
    return _own_first(records, name) if section.model is AccessToken else [*records.values_list("pk", flat=True)]


def _own_first(tokens: Any, name: str) -> list[int]:
    numbers = tokens.order_by("-pk").values_list("pk", flat=True)
    return [*numbers.filter(owner__username=name), *numbers.exclude(owner__username=name)]


def _telling(section: Section) -> list[int]:
    """The newest record of each state; of what has no state, the newest three."""
    records = section.model._default_manager.filter(pk__in=_all(section)).order_by("-pk")
    by_state: dict[Any, int] = {}
    for record in records[:200]:
        by_state.setdefault(_state(record, len(by_state)), record.pk)
    return [*by_state.values()]


def _state(record: Any, seen: int) -> Any:
    if isinstance(record, AccessToken):
        return (record.state(), record.owner.is_service_account, record.rotations)
    if isinstance(record, User):
        return (record.is_active, record.deleted_at is None)
    if isinstance(record, Event):
        return bool(record.lines_digest)  # of a batch, or of one record
    return min(seen, 2)
