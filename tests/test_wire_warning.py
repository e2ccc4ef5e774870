"""Who calls by a token that is about to end is told so in a header that the clients print."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from osmo_portal import api
from tests.cast import Cast, in_days
from tests.console import visitor
from tests.wire import Wire

pytestmark = pytest.mark.django_db

PROFILE = "/api/profile/settings"


def told(answer: Any) -> str:
    return base64.b64decode(answer.headers.get("x-osmo-warning", ""), validate=True).decode("ascii")


@pytest.mark.parametrize(("days", "warned"), [(1, True), (7, True), (8, False), (31, False)])
def test_a_token_that_ends_within_7_days_says_so(cast: Cast, days: int, warned: bool) -> None:
    wire = Wire(cast.user_token(name="t3", days=days).plaintext)

    text = told(wire.get(PROFILE))

    expected = f"WARNING: Access token t3 is expiring on {in_days(days)} at 12AM UTC."
    assert text == (expected if warned else "")


@pytest.mark.parametrize("header", ["x-osmo-auth", "authorization"])
@pytest.mark.parametrize("path", [PROFILE, "/api/auth/access_token", "/api/pool_quota?all_pools=True"])
def test_every_answer_says_it_to_clients_of_either_dialect(cast: Cast, header: str, path: str) -> None:
    assert told(Wire(cast.user_token(days=2).plaintext, header=header).get(path)).startswith("WARNING: Access token")


def test_a_refusal_says_it_too(cast: Cast) -> None:
    answer = Wire(cast.user_token(days=2).plaintext).delete("/api/auth/access_token/user/nothing")

    assert answer.status_code == 400
    assert told(answer)


def test_the_holder_of_a_rotated_secret_is_told_when_that_ends(cast: Cast) -> None:
    token = cast.user_token(days=31)
    old = Wire(token.plaintext)
    new = Wire(token.rotate(by=cast.by("grace")).plaintext)

    assert f"is expiring on {in_days(1)} at " in told(old.get(PROFILE))
    assert told(new.get(PROFILE)) == ""


def test_strangers_and_browsers_are_told_nothing(cast: Cast) -> None:
    cast.user_token(days=2)

    assert told(Client().get(PROFILE)) == ""
    assert told(visitor("ada").get("/api/v1/tokens/")) == ""


@pytest.mark.parametrize(
    ("at", "words"),
    [((0, 0), "12AM"), ((12, 0), "12PM"), ((9, 5), "9:05AM"), ((23, 59), "11:59PM"), ((13, 0), "1PM")],
)
def test_the_hour_is_written_as_the_released_servers_write_it(at: tuple[int, int], words: str) -> None:
    text = api._warning("ci", datetime(2026, 11, 26, *at, 30, tzinfo=UTC))

    assert text == f"WARNING: Access token ci is expiring on 2026-11-26 at {words} UTC."


def test_a_token_begins_to_warn_in_its_last_week(cast: Cast, time_machine_days: Callable[[float], None]) -> None:
    token = cast.user_token(days=31)
    time_machine_days(24)

    assert told(Wire(token.plaintext).get(PROFILE))
