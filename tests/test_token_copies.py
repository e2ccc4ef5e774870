"""Until when an offline copy of a JWT can be alive, to the second, and what the console says of it."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import jwt as pyjwt
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.cast import Cast, in_days
from tests.console import address, text, visitor
from tokens import copies
from tokens.exchange import exchange
from tokens.models import AccessToken, LastUse, last_use

Used = Callable[[AccessToken, float], AccessToken]
# Ahead of the database, whose clock counts as well: the later one says what has ended.
NOW = datetime(2100, 5, 1, 12, 0, 0, tzinfo=timezone.get_default_timezone())


def seconds(amount: float) -> timedelta:
    return timedelta(seconds=amount)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every use is recorded, as on PostgreSQL."""
    monkeypatch.setattr(last_use, "misses_none", lambda: True)


@pytest.fixture
def clock(time_machine: Any) -> Any:
    time_machine.move_to(NOW, tick=False)
    return time_machine


def used(token: AccessToken, ago: float) -> AccessToken:
    LastUse.objects.filter(token=token).update(at=timezone.now() - seconds(ago))
    return AccessToken.objects.with_state().get(pk=token.pk)


def expiry_of(jwt: str) -> datetime:
    claims = pyjwt.decode(jwt, options={"verify_signature": False})
    return datetime.fromtimestamp(claims["exp"], tz=timezone.get_default_timezone())


# The bound.


@pytest.mark.usefixtures("recorded")
def test_a_token_that_was_never_used_has_no_copies(cast: Cast) -> None:
    assert copies.dead_from(cast.service_token()) is None


@pytest.mark.usefixtures("recorded", "clock")
@pytest.mark.parametrize(
    ("ago", "left"),
    [(0, 300), (1, 300), (59, 300), (60, 300), (61, 299), (359, 1), (359.5, 1), (360, 0), (361, -1), (86_400, -86_040)],
)
def test_the_bound_is_the_last_possible_use_and_300_seconds(cast: Cast, ago: float, left: int) -> None:
    """Within a minute of the use that is recorded there may be others."""
    token = used(cast.service_token(), ago)

    assert copies.dead_from(token) == NOW + seconds(left)


@pytest.mark.usefixtures("clock")
def test_where_a_use_may_be_left_out_it_may_have_been_just_now(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_use, "misses_none", lambda: False)
    token = cast.service_token()

    assert copies.dead_from(token) == NOW + seconds(300)
    assert copies.dead_from(used(token, 86_400)) == NOW + seconds(300)


def test_a_busy_sqlite_leaves_uses_out_and_postgresql_does_not() -> None:
    assert last_use.misses_none() is (connection.vendor == "postgresql")


@pytest.mark.usefixtures("recorded")
def test_no_copy_outlives_its_token(cast: Cast, clock: Any) -> None:
    token = used(cast.service_token(), 0)
    clock.move_to(token.expires_at - seconds(100), tick=False)
    token = used(token, 0)

    assert copies.dead_from(token) == token.expires_at


@pytest.mark.usefixtures("recorded")
def test_a_copy_made_before_the_token_was_shortened_lives_on(cast: Cast, clock: Any) -> None:
    token = cast.service_token()
    clock.shift(seconds(20))
    used(token, 10)
    AccessToken.objects.filter(pk=token.pk).expire(by=cast.by("grace"), reason="over")
    clock.shift(seconds(100))

    assert copies.dead_from(AccessToken.objects.with_state().get()) == NOW + seconds(320)


@pytest.mark.usefixtures("recorded")
def test_so_does_one_made_before_a_rotation_set_an_earlier_end(cast: Cast, clock: Any) -> None:
    token = cast.service_token(days=31)
    clock.move_to(datetime.combine(in_days(1), datetime.min.time(), NOW.tzinfo) - seconds(50), tick=False)
    token = used(token, 0)
    token.rotate(by=cast.by("grace"), expires=in_days(1))
    stopped = timezone.now()

    fresh = AccessToken.objects.with_state().get()

    assert fresh.expires_at == stopped + seconds(50)
    assert copies.dead_from(fresh) == stopped + seconds(300)


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("stop", ["suspend", "revoke"])
def test_once_the_token_has_stopped_the_bound_stands_still(cast: Cast, clock: Any, stop: str) -> None:
    token = used(cast.service_token(), 0)
    getattr(token, stop)(by=cast.by("grace"), reason="x")
    clock.shift(timedelta(days=2))

    assert copies.dead_from(AccessToken.objects.with_state().get()) == NOW + seconds(300)


@pytest.mark.usefixtures("recorded")
def test_a_fraction_of_a_second_is_rounded_up(cast: Cast, clock: Any) -> None:
    token = used(cast.service_token(), 0)
    clock.shift(seconds(60.000001))

    assert copies.dead_from(token) == NOW + seconds(360)
    clock.move_to(NOW + seconds(0.000001), tick=False)
    assert copies.dead_from(token) == NOW + seconds(301)


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("later", [0, 0.5, 30, 59.9, 60, 61])
def test_no_jwt_that_was_given_out_lives_past_the_bound(cast: Cast, clock: Any, later: float) -> None:
    token = cast.service_token()
    clock.shift(seconds(0.7))
    exchange(token.plaintext)
    clock.shift(seconds(later))
    jwt, _ = exchange(token.plaintext)
    clock.shift(seconds(20))
    token.revoke(by=cast.by("grace"), reason="leaked")

    bound = copies.dead_from(AccessToken.objects.with_state().get())

    assert bound is not None
    assert expiry_of(jwt) <= bound < timezone.now() + seconds(301)


@pytest.mark.usefixtures("recorded")
def test_it_costs_two_queries(cast: Cast) -> None:
    token = used(cast.service_token(), 10)

    with CaptureQueriesContext(connection) as seen:
        copies.dead_from(token)

    first, second = [query["sql"] for query in seen]
    assert "events_eventline" in first  # shortened in a batch
    assert "events_event" in second  # shortened by a rotation


# What the console says.


@pytest.mark.usefixtures("recorded", "clock")
@pytest.mark.parametrize("slug", ["revoke", "suspend"])
def test_the_page_says_the_instant_beforehand_and_afterwards(cast: Cast, slug: str) -> None:
    token = used(cast.service_token(), 100)
    client = visitor("grace")

    page = text(client.get(address(token, slug)))
    after = text(client.post(address(token, slug), {"reason": "leaked"}, follow=True))

    assert "may accept a copy until 2100-05-01 12:04:20 UTC" in page
    assert "Offline copies of its JWT are dead from 2100-05-01 12:04:20 UTC on." in after
    assert "dead from 2100-05-01 12:04:20 UTC</dd>" in " ".join(after.split()).replace(" </dd>", "</dd>")


@pytest.mark.usefixtures("recorded", "clock")
@pytest.mark.parametrize(("ago", "why"), [(None, "It was never used"), (7200, "It was last used 2 hours ago")])
def test_the_page_says_that_no_copy_can_be_alive(cast: Cast, ago: float | None, why: str) -> None:
    token = cast.service_token()
    if ago:
        used(token, ago)
    client = visitor("grace")

    page = text(client.get(address(token, "revoke")))
    after = text(client.post(address(token, "revoke"), {"reason": "leaked"}, follow=True))

    assert f"{why}, so no offline copy of a JWT can be alive." in page
    assert "robot/ci is revoked for good. No offline copy of its JWT can be alive." in after


@pytest.mark.usefixtures("recorded")
def test_a_use_between_the_page_and_the_click_is_counted(cast: Cast, clock: Any) -> None:
    token = cast.service_token()
    client = visitor("grace")
    client.get(address(token, "revoke"))
    exchange(token.plaintext)
    clock.shift(seconds(5))

    after = text(client.post(address(token, "revoke"), {"reason": "leaked"}, follow=True))

    assert "dead from 2100-05-01 12:05:05 UTC on." in after


@pytest.mark.usefixtures("recorded", "clock")
def test_a_rotation_without_grace_says_when_the_copies_of_the_old_secret_are_dead(cast: Cast) -> None:
    token = used(cast.service_token(), 0)

    answer = visitor("grace").post(address(token, "rotate"), {"grace": "0", "rotations": 0})

    assert "The old secret is dead. Offline copies of its JWT are dead from 2100-05-01 12:05:00 UTC on." in text(answer)
