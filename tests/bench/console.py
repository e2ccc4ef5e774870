"""How fast the console's pages are with many tokens: within the process, by Django's own client, query by query.

The budget is for the slowest of twenty calls but one. What is about the lists of tokens goes through every filter.
"""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import NamedTuple

from django.core.cache import caches
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from osmo_portal.console.paging import Order
from osmo_portal.events.models import Event
from osmo_portal.keyset import Place
from profiles.models import Pool, Role, User
from tests.bench.plans import read_whole
from tests.bench.work import busy
from tests.console import visitor, wait_for_the_count
from tokens import secrets
from tokens.admin.filters import FILTERS
from tokens.models import AccessToken, Secret

CALLS = 20
LIST, FILTER, API_LIST = 150, 300, 60  # milliseconds
HOST = "127.0.0.1"
API_TOKENS = "/api/v1/tokens"


class Page(NamedTuple):
    name: str
    url: str
    budget: int = LIST
    post: dict[str, str] | None = None
    cold: bool = False


class Timing(NamedTuple):
    """In milliseconds. `work` is what the processors were busy with it, here and in the database's process: about what
    a machine takes that does nothing else."""

    page: Page
    work: float
    p50: float
    p95: float
    queries: int
    whole: list[str]  # tables that PostgreSQL would read whole
    slowest: str  # query


def measure() -> list[Timing]:
    client = visitor("grace", SERVER_NAME=HOST)
    return [timing(client, page) for page in pages()]


def timing(client: Client, page: Page) -> Timing:
    ask = _asking(client, page)
    ask()
    before = busy()
    took = sorted(_milliseconds(ask, page.cold) for _ in range(CALLS))
    work = (busy() - before) * 1000 / CALLS
    with transaction.atomic(), CaptureQueriesContext(connection) as queries:  # in which nothing is counted beside
        _forget(page.cold)
        ask()
    slowest = max(queries.captured_queries, key=lambda query: float(query["time"]))
    whole = sorted(set().union(*(read_whole(query["sql"]) for query in queries.captured_queries)))
    said = f"{slowest['time']} {slowest['sql']}"
    return Timing(page, work, took[len(took) // 2], took[-2], len(queries), whole, said)


def _asking(client: Client, page: Page) -> Callable[[], None]:
    def ask() -> None:
        answer = client.get(page.url) if page.post is None else client.post(page.url, page.post)
        if answer.status_code not in (200, 302):
            raise AssertionError(f"{page.url}: {answer.status_code}")

    return ask


def _milliseconds(ask: Callable[[], None], cold: bool) -> float:
    _forget(cold)
    begin = time.perf_counter()
    ask()
    took = (time.perf_counter() - begin) * 1000
    wait_for_the_count()
    return took


def _forget(cold: bool) -> None:
    if cold:
        caches["local"].clear()


# The pages.


def pages() -> Iterator[Page]:
    index = reverse("admin:index")
    yield Page("first page, shown while its figures are counted", index, cold=True)
    yield Page("first page, counted within the minute", index)
    yield from _token_lists()
    yield from _searches()
    yield from _records()
    yield from _lists()
    yield Page("tokens of the API", API_TOKENS, API_LIST)
    yield Page("tokens of the API, deep page", deep_page(), API_LIST)


def deep_page() -> str:
    """Of the API's list of tokens, the one in its middle."""
    middle = AccessToken.objects.order_by("pk")[AccessToken.objects.count() // 2]
    place = Place.of(middle, Order("pk", descending=False), backwards=False)
    return f"{API_TOKENS}?cursor={place.written()}"


def _token_lists() -> Iterator[Page]:
    list_ = reverse("admin:tokens_accesstoken_changelist")
    yield Page("tokens", list_)
    yield Page("tokens, last page", f"{list_}?last=1")
    for column, name in ((0, "name"), (5, "expires"), (7, "issued by")):
        for sign in ("", "-"):
            yield Page(f"tokens by {name}{', descending' * bool(sign)}", f"{list_}?o={sign}{column}")
            yield Page(f"tokens by {name}{', descending' * bool(sign)}, last page", f"{list_}?o={sign}{column}&last=1")
    for offered in FILTERS:
        for value in _values(offered.parameter_name):
            query = f"{offered.parameter_name}={value}"
            yield Page(f"tokens, {query}", f"{list_}?{query}", FILTER)
            yield Page(f"tokens, {query}, last page", f"{list_}?{query}&last=1", FILTER)


def _values(parameter: str) -> list[str]:
    """Of each filter; what is common and what is rare."""
    today = timezone.now().date()
    common, rare = Role.objects.get(name__endswith="-000"), Role.objects.get(name__endswith="-051")
    values = {
        "state": ["active", "suspended", "expired", "revoked", "any"],
        "kind": ["person", "service"],
        "expiring": ["7", "30", "90", "yesterday"],
        "used": ["never", "unused-90"],
        "role": [common.name, rare.name, "osmo-user"],
        "pool": [Pool.objects.order_by("pk")[0].name, Pool.objects.order_by("pk")[1].name],
        "owner": [_account(0).username, _account(17).username, "grace"],
        "issuer": ["grace", User.objects.filter(kind="person").order_by("pk")[8].username],
        "accountable": [_account(17).accountable.username, "grace"],  # type: ignore[union-attr]
        "expires_from": [str(today - timedelta(days=300)), str(today + timedelta(days=360))],
        "expires_to": [str(today - timedelta(days=300)), str(today + timedelta(days=360))],
        "unused_since": [str(today), str(today - timedelta(days=300))],
        "over_lifetime": ["1"],
    }
    return values[parameter]


def _account(number: int) -> User:
    """The first one owns a hundredth of all tokens."""
    return User.objects.filter(kind="service").order_by("pk")[number]


def _searches() -> Iterator[Page]:
    list_ = reverse("admin:tokens_accesstoken_changelist")
    token = AccessToken.objects.order_by("pk")[12_345]
    for name, typed in {
        "the whole name": token.name,
        "a prefix": token.name[:-1],
        "the middle of a name": token.name.split("-")[-1],
        "the owner": token.owner.username,
        "owner/name": str(token),
        "a common word": "nightly",
        "two common words": "nightly lidar",
        "what is nowhere": "zebra",
    }.items():
        yield Page(f"tokens, search for {name}", f"{list_}?q={typed}", FILTER)
    find = reverse("admin:tokens_accesstoken_find")
    yield Page("tokens, search for a secret", find, FILTER, {"q": str(secrets.generate())})
    known = Secret.objects.order_by("pk")[12_345]
    yield Page("tokens, search for a known digest", find, FILTER, {"q": bytes(known.digest).hex()})


def _records() -> Iterator[Page]:
    service, personal = AccessToken.objects.order_by("-pk")[0], AccessToken.objects.of_kind("person")[0]
    role, busy = Role.objects.get(name__endswith="-051"), Role.objects.get(name__endswith="-000")
    for name, route, pk in [
        ("a service token", "tokens_accesstoken_change", service.pk),
        ("a user token", "tokens_accesstoken_change", personal.pk),
        ("a person", "profiles_person_change", personal.owner.pk),
        ("the administrator", "profiles_person_change", User.objects.get(username="grace").pk),
        ("a service account", "profiles_serviceaccount_change", _account(17).pk),
        ("a service account with many tokens", "profiles_serviceaccount_change", _account(0).pk),
        ("a role", "profiles_role_change", role.pk),
        ("a role that many hold", "profiles_role_change", busy.pk),
        ("the role of every person", "profiles_role_change", Role.objects.get(name="osmo-user").pk),
        ("a pool", "profiles_pool_change", Pool.objects.order_by("pk")[0].pk),
        ("an event", "events_event_change", Event.objects.order_by("-pk")[0].pk),
    ]:
        yield Page(name, reverse(f"admin:{route}", args=[pk]))
    for name, which in [("a role", role), ("a role that many hold", busy)]:
        url = reverse("admin:profiles_role_edit", args=[which.pk])
        form = {"description": which.description, "policies": "[]", "max_token_days": "7"}
        yield Page(f"preview of a change to {name}", url, FILTER, form)
        yield Page(
            f"preview of the end of {name}",
            reverse("admin:profiles_role_delete-record", args=[which.pk]),
            FILTER,
            {"reason": "x"},
        )
    deactivate = reverse("admin:profiles_serviceaccount_deactivate", args=[_account(0).pk])
    yield Page("what deactivating that account would do", deactivate, FILTER)


def _lists() -> Iterator[Page]:
    person = User.objects.filter(kind="person").order_by("pk")[8].username
    for model, queries in {
        "profiles_person": ["", "q=p-arm-1", "state=inactive", "state=deleted", "last=1"],
        "profiles_serviceaccount": [
            "",
            "q=arm-build-1",
            "state=inactive",
            "state=left-behind",
            f"accountable={person}",
        ],
        "profiles_role": ["", "q=arm", "power=pool", "state=deleted"],
        "profiles_pool": ["", "q=arm"],
        "events_event": [
            "",
            "last=1",
            "action=token.issued",
            "action=exchange.refused.retired&days=7",
            "action=user.password_changed",
            "days=30",
            f"actor={person}",
            "actor=nobody",
            "about=robot/ci-17",
            "about=%2317",
            "operation=bulk-17",
            "operation=bulk-none",
            "kind=accesstoken",
            "kind=pool",
            "via=rest",
            "via=my-tokens",
            f"from={timezone.now().date() - timedelta(days=200)}&to={timezone.now().date() - timedelta(days=100)}",
            f"to={timezone.now().date() - timedelta(days=399)}",
            "q=request-17",
        ],
    }.items():
        for query in queries:
            url = reverse(f"admin:{model}_changelist")
            name = model.split("_")[1]
            yield Page(
                f"{name}{', ' * bool(query)}{query}", f"{url}?{query}" if query else url, FILTER if query else LIST
            )
    yield Page("access matrix", reverse("admin:profiles_role_matrix"), FILTER)
