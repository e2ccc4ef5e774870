"""Lists under /api/v1/: the console's filters and search, for everybody on what is his, and pages by key."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.db.models import F, Model

from osmo_portal.events.models import Event
from profiles.models import User
from tests.bulk import many_tokens
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast
from tests.rest import Rest, refused
from tests.snapshot import scene
from tokens.models import AccessToken, BulkOperation, TokenRole

pytestmark = pytest.mark.django_db


@pytest.fixture
def tokens(cast: Cast) -> dict[str, AccessToken]:
    return scene("lists of the API", lambda: _tokens(cast))


def _tokens(cast: Cast) -> dict[str, AccessToken]:
    made = {
        "of-ada": cast.user_token("ada", "of-ada", days=5, description="The yellow laptop"),
        "of-mallory": cast.user_token("mallory", "of-mallory"),
        "of-robot": cast.service_token("of-robot", [PLAIN_ROLE]),
        "strong": cast.service_token("strong", [POOL_ROLE], days=100),
        "gone": cast.service_token("gone", [PLAIN_ROLE]),
    }
    made["gone"].revoke(by=cast.by("grace"), reason="leaked")
    made["of-robot"].suspend(by=cast.by("grace"), reason="pause")
    return made


LIVE = {"of-ada", "of-mallory", "of-robot", "strong"}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", LIVE),
        ("state=any", LIVE | {"gone"}),
        ("state=revoked", {"gone"}),
        ("state=suspended", {"of-robot"}),
        ("kind=service", {"of-robot", "strong"}),
        ("expiring=7", {"of-ada"}),
        ("used=never", LIVE),
        ("role=team-reader", {"of-robot"}),
        ("pool=my_pool", {"strong"}),
        ("owner=robot", {"of-robot", "strong"}),
        ("issuer=grace&kind=person", {"of-ada", "of-mallory"}),
        ("accountable=ada", {"of-robot", "strong"}),
        ("q=yellow", {"of-ada"}),
        ("q=robot", {"of-robot", "strong"}),
        ("name=strong", {"strong"}),
        ("name=of-*", LIVE - {"strong"}),
        ("over_lifetime=1", set()),
    ],
)
def test_a_list_of_tokens_is_that_of_the_console(cast: Cast, tokens: Any, query: str, found: set[str]):
    assert Rest(person="olive").names(f"tokens?{query}") == found


def test_every_filter_of_the_console_is_one_here_and_is_described(cast: Cast):
    schema = Rest(person="grace").get("schema").json()["paths"]

    sections: dict[str, type[Model]] = {"tokens": AccessToken, "token-operations": BulkOperation, "events": Event}
    for route, model in sections.items():
        section: Any = admin.site.get_model_admin(model)
        offered = {one.parameter_name for one in section.list_filter}
        described = {one["name"] for one in schema[f"/api/v1/{route}"]["get"]["parameters"]}
        assert offered <= described


@pytest.mark.parametrize("query", ["owner={}", "issuer={}", "accountable={}", "q={}", "role={}", "pool={}"])
def test_to_a_stranger_what_is_foreign_is_as_absent_in_every_filter(cast: Cast, tokens: Any, query: str):
    rest = Rest(person="mallory")
    known = "my_pool" if "pool" in query else POOL_ROLE if "role" in query else "robot"

    foreign, absent = rest.get(f"tokens?{query.format(known)}"), rest.get(f"tokens?{query.format('never-was')}")

    assert foreign.status_code == absent.status_code == 200
    assert foreign.json() == absent.json() == {"next": None, "previous": None, "results": []}


def test_who_sees_everything_is_told_what_there_is_not(cast: Cast):
    refused(Rest(person="olive").get("tokens?owner=never-was"), 400, "There is no user")


@pytest.mark.parametrize("name", ["q", "owner", "name", "role"])
def test_a_secret_in_an_address_is_not_looked_at_and_not_repeated(cast: Cast, name: str):
    secret = str(cast.service_token().plaintext)

    answer = Rest(person="grace").get(f"tokens?{name}={secret}")

    refused(answer, 400, "looks like a secret")
    assert secret not in answer.content.decode()


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("users?kind=service", {"robot"}),
        ("users?state=inactive", {"mallory"}),
        ("users?state=deleted", {"otto"}),
        ("users?accountable=ada", {"robot"}),
        ("users?q=o", {"olive"}),
        ("users?role=osmo-admin", {"grace"}),
    ],
)
def test_users_are_filtered_as_in_the_console(cast: Cast, path: str, found: set[str]):
    by = cast.by("grace")
    cast.mallory.deactivate(by=by, reason="left")
    User.create_person(by=by, username="otto").mark_deleted(by=by, reason="made by mistake")

    assert Rest(person="audrey").names(path, "username") == found


def test_what_was_deleted_is_listed_to_the_consoles_people_alone(cast: Cast):
    cast.pool.mark_deleted(by=cast.by("grace"), reason="gone")

    assert Rest(person="audrey").names("pools?state=deleted") == {"my_pool"}
    assert Rest(person="ada").names("pools?state=deleted") == set()
    assert Rest(person="ada").names("roles?power=pool") == {POOL_ROLE, "osmo-admin"}


# Pages.


def walk(rest: Rest, address: str, towards: str = "next") -> list[list[int]]:
    pages = []
    while address:
        page = rest.get(address).json()
        pages.append([one["id"] for one in page["results"]])
        address = page[towards]
    return pages


@pytest.mark.parametrize("ordering", ["", "name", "-expires_at", "issued_at"])
def test_pages_in_any_order_neither_repeat_nor_miss(cast: Cast, ordering: str):
    many_tokens(cast.robot, 25)
    AccessToken._base_manager.update(expires_at=AccessToken._base_manager.values("expires_at")[:1])  # all alike
    rest = Rest(person="grace")

    pages = walk(rest, f"tokens?page_size=10{'&ordering=' * bool(ordering)}{ordering}")

    assert [len(page) for page in pages] == [10, 10, 5]
    assert len({pk for page in pages for pk in page}) == 25


def test_what_is_added_or_changed_meanwhile_shifts_no_page(cast: Cast):
    many_tokens(cast.robot, 9)
    rest = Rest(person="grace")
    first = rest.get("tokens?ordering=-expires_at&page_size=3").json()
    seen = [one["id"] for one in first["results"]]

    many_tokens(cast.robot, 400, prefix="new")  # many of them before the place of the second page
    beside_the_page = F("issued_at") + timedelta(seconds=1)
    AccessToken._base_manager.filter(pk=seen[-1]).update(expires_at=beside_the_page)
    second = [one["id"] for one in rest.get(first["next"]).json()["results"]]

    assert not {*seen} & {*second}
    expiries = AccessToken.objects.in_bulk(second)
    assert all(expiries[pk].expires_at <= AccessToken.objects.get(pk=seen[1]).expires_at for pk in second)


def test_one_goes_back_as_one_came(cast: Cast):
    many_tokens(cast.robot, 25)
    rest, back, address = Rest(person="grace"), [], "tokens?page_size=10&ordering=name"
    forth = walk(rest, address)
    while address:
        last, address = address, rest.get(address).json()["next"]

    back = walk(rest, last, "previous")

    assert back[::-1] == forth


def test_a_filter_brings_its_order_as_in_the_console(cast: Cast, tokens: Any):
    names = [one["name"] for one in Rest(person="grace").get("tokens?expiring=90").json()["results"]]

    assert names == ["of-ada", "of-mallory"]


def test_a_deep_page_costs_the_queries_of_the_first(cast: Cast, django_assert_num_queries):
    many_tokens(cast.robot, 300)
    rest = Rest(person="grace")
    address = "tokens?page_size=100&ordering=expires_at"
    for _ in range(3):
        # The session, its user, his roles and groups; tokens; their users, uses, roles and live secrets.
        with django_assert_num_queries(9):
            page = rest.get(address).json()
        address = page["next"]
    assert address is None


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "bnVsbA",
        "W10",
        "WyJwayIsZmFsc2UsIiIsLTFd",
        "WyJwYXNzd29yZCIsZmFsc2UsIiIsMV0",
        "WyJleHBpcmVzX2F0IixmYWxzZSwieCIsMV0",
    ],
)
@pytest.mark.parametrize("ordering", ["", "&ordering=expires_at"])
def test_a_cursor_of_ones_own_making_is_refused(cast: Cast, cursor: str, ordering: str):
    assert Rest(person="grace").get(f"tokens?cursor={cursor}{ordering}").status_code in {400, 404}


@pytest.mark.parametrize(
    "address",
    [
        # Half of a surrogate pair; before the year 1 in UTC.
        "ordering=name&cursor=WyJuYW1lIixmYWxzZSwiXHVkODAwIiwxXQ",
        "ordering=expires_at&cursor=WyJleHBpcmVzX2F0IixmYWxzZSwiMDAwMS0wMS0wMVQwMDowMDowMCsxNDowMCIsMV0",
    ],
)
def test_a_cursor_with_what_no_column_holds_is_refused(cast: Cast, address: str):
    refused(Rest(person="grace").get(f"tokens?{address}"), 404, "cursor")


def test_one_is_asked_for_without_parameters(cast: Cast):
    token = cast.service_token()

    refused(Rest(person="grace").get(f"tokens/{token.pk}?state=any"), 400, "state")
    assert TokenRole.objects.filter(token=token).exists()
