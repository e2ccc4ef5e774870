"""The console's first page: what is about to break, each number with the list behind it."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from osmo_portal.console import bars
from profiles.models import Pool, Role, User
from tests.bulk import many_tokens
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tests.console import counting, hold_the_count, listed, text, visitor, wait_for_the_count
from tokens import outlook
from tokens.exchange import Refused, exchange
from tokens.models import AccessToken, LastUse

INDEX = reverse("admin:index")
ISSUE_THE_FIRST = "Issue the first"

LABELS = {
    "expired in the last 24 hours": 1,
    "expire within 7 days": 2,
    "expire within 30 days": 3,
    "live longer than the policy allows": 1,
    "live tokens": 7,
    "never used": 6,
    "unused for 90 days": 2,
    "service accounts whose accountable person left": 1,
    "times a retired secret was used in 7 days": 1,
    "times a revoked token was used in 7 days": 1,
}


def reshape(token: AccessToken, **fields: Any) -> AccessToken:
    """The token as time, which no test waits for, would have made it."""
    AccessToken._base_manager.filter(pk=token.pk).update(**fields)
    return token


def back_by(days: float) -> dict[str, Any]:
    then = timezone.now() - timedelta(days=days)
    return {"created_at": then, "issued_at": then}


def refused(secret: str) -> None:
    with pytest.raises(Refused):
        exchange(secret)


@pytest.fixture
def some_of_everything(cast: Cast) -> Cast:
    grace, now = cast.by("grace"), timezone.now()
    reshape(cast.service_token("expired"), **back_by(9), expires_at=now - timedelta(hours=3))
    reshape(cast.service_token("long-expired"), **back_by(9), expires_at=now - timedelta(hours=30))
    cast.service_token("soon", days=3)
    cast.service_token("this-week", days=5)
    cast.service_token("this-month", days=20, roles=[PLAIN_ROLE])
    reshape(cast.service_token("endless", days=300), **back_by(100))
    reshape(cast.service_token("idle"), **back_by(95))
    LastUse.objects.filter(token__name="idle").update(at=now - timedelta(days=91))
    rotated = cast.service_token("rotated")
    old = str(rotated.plaintext)
    rotated.rotate(by=grace, grace=timedelta(0))
    refused(old)
    revoked = cast.service_token("revoked")
    revoked.revoke(by=grace, reason="it leaked")
    refused(revoked.plaintext)
    cast.service_token("paused").suspend(by=grace, reason="wait")
    cast.user_token("mallory")
    left = User.create_person(by=grace, username="leaver")
    User.create_service_account(by=grace, username="orphan", accountable=left, purpose="alone")
    left.deactivate(by=grace, reason="left")
    return cast


def shown(client: Client) -> Any:
    return client.get(INDEX).context


def test_each_figure_says_what_it_counts(some_of_everything: Cast) -> None:
    figures = shown(visitor("grace"))["figures"]

    assert {figure.label: figure.count.number for figure in figures} == LABELS


def test_each_figure_leads_to_a_list_that_shows_that_number(some_of_everything: Cast) -> None:
    client = visitor("grace")

    for figure in shown(client)["figures"]:
        assert listed(client, figure.url) == figure.count.number, figure.label


def test_each_bar_leads_to_a_list_that_shows_its_number(some_of_everything: Cast) -> None:
    client = visitor("grace")

    weeks = shown(client)["weeks"]

    assert len(weeks) == 12
    assert [week.bar.number for week in weeks[:3]] == [2, 0, 1]
    assert sum(week.bar.number for week in weeks) == 6  # all but the endless one
    for week in weeks:
        assert listed(client, week.bar.url) == week.bar.number, week.bar.label


def test_each_row_leads_to_a_list_that_shows_its_number(some_of_everything: Cast) -> None:
    client = visitor("grace")

    page = shown(client)

    assert {row.name: row.count.number for row in page["by_role"]} == {POOL_ROLE: 5, PLAIN_ROLE: 1, "osmo-user": 1}
    assert {row.name: row.count.number for row in page["by_pool"]} == {"my_pool": 5}
    for row in [*page["by_role"], *page["by_pool"]]:
        assert listed(client, row.url) == row.count.number, row.name


def test_a_token_with_two_roles_of_a_pool_reaches_it_once(cast: Cast) -> None:
    policies = [{"effect": "Allow", "actions": ["workflow:Exec"], "resources": ["pool/my_pool"]}]
    Role.create(by=cast.by("grace"), name="second", policies=policies)
    cast.robot.assign_role("second", by=cast.by("grace"))
    cast.service_token(roles=[POOL_ROLE, "second"])

    assert [(row.name, row.count.number) for row in shown(visitor("grace"))["by_pool"]] == [("my_pool", 1)]


def test_only_the_ten_largest_are_shown(cast: Cast) -> None:
    roles = [f"extra-{number:02}" for number in range(12)]
    for name in roles:
        Role.create(by=cast.by("grace"), name=name)
        cast.robot.assign_role(name, by=cast.by("grace"))
    cast.service_token("many", roles=roles)
    cast.service_token("one", roles=["extra-11"])

    rows = shown(visitor("grace"))["by_role"]

    assert [row.name for row in rows] == ["extra-11", *roles[:9]]
    assert [row.share for row in rows[:2]] == [100, 50]


# Cost.


def fails() -> None:
    raise OperationalError("canceling statement due to statement timeout")


def queries_of(client: Client) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert client.get(INDEX).status_code == 200
    return len(queries)


def test_the_page_costs_under_ten_queries_however_much_there_is(
    cast: Cast, time_machine_days: Callable[[float], None]
) -> None:
    # session · person · the person's roles · groups · all counts · roles of tokens · pools · pool roles · events
    client = visitor("grace")
    cast.service_token()
    few = queries_of(client)
    many_tokens(cast.robot, 300)
    for number in range(15):
        Pool.create(by=cast.by("grace"), name=f"pool-{number}")
        policies = [{"effect": "Allow", "actions": ["workflow:*"], "resources": [f"pool/pool-{number}"]}]
        Role.create(by=cast.by("grace"), name=f"role-{number}", policies=policies)
    time_machine_days(0.01)

    assert queries_of(client) == few <= 9


def test_within_a_minute_nothing_is_counted_again(cast: Cast, time_machine: Any) -> None:
    client = visitor("grace")
    cast.service_token("first")
    before = shown(client)["outlook"]
    cast.service_token("second")

    # session · person · the person's roles · groups · events
    assert queries_of(client) == 5
    assert shown(client)["outlook"] == before
    assert f"{before.counted_at:%H:%M} UTC" in text(client.get(INDEX))

    time_machine.move_to(timezone.now() + timedelta(seconds=61))
    assert shown(client)["outlook"].figures["live"].number == 2


@pytest.mark.django_db(transaction=True)
def test_what_is_some_minutes_old_is_shown_once_more_while_a_thread_counts(time_machine: Any) -> None:
    cast = Cast()
    cast.service_token("first")
    assert outlook.outlook().figures["live"].number == 1
    cast.service_token("second")
    time_machine.move_to(timezone.now() + timedelta(seconds=61))

    older = outlook.outlook()
    wait_for_the_count()

    assert (older.figures["live"].number, older.is_fresh) == (1, False)
    assert outlook.outlook().figures["live"].number == 2
    assert outlook.outlook().is_fresh


@pytest.mark.django_db(transaction=True)
def test_who_comes_after_a_long_time_gets_what_is_counted_now(time_machine: Any) -> None:
    cast = Cast()
    outlook.outlook()
    cast.service_token("first", days=5)
    time_machine.move_to(timezone.now() + outlook.SHOWN + timedelta(seconds=1))

    assert outlook.outlook().figures["live"].number == 1


@pytest.mark.django_db(transaction=True)
def test_a_count_that_takes_long_keeps_nobody_waiting_for_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    Cast().service_token("first")
    go, client = hold_the_count(monkeypatch), visitor("grace")

    first, second = client.get(INDEX), client.get(INDEX)
    at_work = counting()
    go.set()
    for thread in at_work:
        thread.join()

    assert len(at_work) == 1
    for page in (first, second):
        assert page.context["outlook"] is None
        assert "All tokens are being counted" in text(page)
    assert {figure.label: figure.count.number for figure in shown(client)["figures"]}["live tokens"] == 1


@pytest.mark.django_db(transaction=True)
def test_a_count_that_fails_is_told_and_tried_again_after_a_while(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, time_machine: Any
) -> None:
    Cast().service_token("first")
    client, count = visitor("grace"), outlook.count
    monkeypatch.setattr(outlook, "count", fails)

    for _ in range(3):
        page = client.get(INDEX)
        wait_for_the_count()

    assert "The tokens could not be counted" in text(page)
    assert "data-pending" not in text(page)
    assert [record.message for record in caplog.records] == ["The figures of the first page could not be counted."]

    monkeypatch.setattr(outlook, "count", count)
    time_machine.move_to(timezone.now() + outlook.AFTER_FAILURE + timedelta(seconds=1))
    client.get(INDEX)
    wait_for_the_count()
    assert shown(client)["outlook"].figures["live"].number == 1


@pytest.mark.django_db(transaction=True)
def test_figures_of_some_minutes_ago_are_shown_while_newer_ones_cannot_be_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, time_machine: Any
) -> None:
    Cast().service_token("first")
    before = outlook.outlook()
    monkeypatch.setattr(outlook, "count", fails)
    time_machine.move_to(timezone.now() + timedelta(seconds=61))

    for _ in range(2):
        assert outlook.outlook() == before
        wait_for_the_count()

    assert len(caplog.records) == 1


def test_of_several_who_come_first_one_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    figures, counted = outlook.Outlook(timezone.now(), {}, (), (), ()), []

    def count_slowly() -> outlook.Outlook:
        counted.append(threading.current_thread())
        time.sleep(0.2)
        return figures

    monkeypatch.setattr(outlook, "count", count_slowly)
    with ThreadPoolExecutor(4) as visitors:
        found = [*visitors.map(lambda _: outlook.outlook(), range(4))]

    assert found == [figures] * 4
    assert len(counted) == 1


def test_what_is_more_than_the_cap_is_not_counted(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlook, "CAP", 3)
    many_tokens(cast.robot, 5)
    client = visitor("grace")

    page = shown(client)

    live = next(figure for figure in page["figures"] if figure.label == "live tokens")
    assert str(live.count) == "3+"
    assert [str(row.count) for row in page["by_pool"]] == ["3+"]
    assert page["weeks"][0].bar.short == "3+"


def test_exactly_the_cap_is_counted(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlook, "CAP", 5)
    many_tokens(cast.robot, 5)

    page = shown(visitor("grace"))

    assert [str(row.count) for row in page["by_role"]] == ["5"]


def test_large_numbers_are_grouped() -> None:
    assert str(outlook.Count(1234)) == "1,234"
    assert str(outlook.Count.capped(10_001)) == "10,000+"
    assert str(outlook.Count.capped(10_000)) == "10,000"


# Who sees it.


@pytest.mark.parametrize("name", ["grace", "olive", "audrey"])
def test_whoever_may_open_the_console_sees_the_same(some_of_everything: Cast, name: str) -> None:
    shown(visitor("grace"))

    figures = shown(visitor(name))["figures"]

    assert {figure.label: figure.count.number for figure in figures} == LABELS


def test_nobody_else_sees_what_was_counted(some_of_everything: Cast) -> None:
    shown(visitor("grace"))

    for client in (Client(), visitor("ada"), visitor("mallory")):
        assert client.get(INDEX).status_code == 302


def test_who_sees_the_page_sees_every_token(cast: Cast) -> None:
    """One count serves all of them. Should the console open for somebody who sees less, this fails."""
    for group in Group.objects.all():
        User.objects.get(username="mallory").put_into_groups([group.name], by=cast.by("grace"))
        client = visitor("mallory")
        token = cast.service_token(f"of-{group.name}")

        assert client.get(INDEX).status_code == 200
        assert client.get(reverse("admin:tokens_accesstoken_change", args=[token.pk])).status_code == 200


# Empty.


@pytest.mark.parametrize(("name", "offered"), [("grace", True), ("olive", True), ("audrey", False)])
def test_without_a_token_it_says_how_to_begin(cast: Cast, name: str, offered: bool) -> None:
    page = text(visitor(name).get(INDEX))

    assert "No token yet" in page
    assert (ISSUE_THE_FIRST in page) == offered
    assert "What is about to break?" not in page


def test_with_dead_tokens_only_it_says_what_there_is(cast: Cast) -> None:
    cast.service_token().revoke(by=cast.by("grace"), reason="over")

    page = text(visitor("grace").get(INDEX))

    assert "No token yet" not in page
    assert "No live token reaches a pool." in page


# The lists behind it.


def names(found: Any) -> set[str]:
    return {token.name for token in found}


def test_over_lifetime_is_what_the_portal_or_a_role_allows_less_than(cast: Cast, settings: Any) -> None:
    settings.MAX_TOKEN_DAYS = 100
    cast.service_token("fine", days=100)
    reshape(cast.service_token("over-portal"), expires_at=timezone.now() + timedelta(days=101))
    Role.objects.get(name=PLAIN_ROLE).change(by=cast.by("grace"), max_token_days=10)
    cast.service_token("within-role", days=10, roles=[PLAIN_ROLE])
    over_role = cast.service_token("over-role", days=5, roles=[POOL_ROLE, PLAIN_ROLE])
    reshape(over_role, expires_at=timezone.now() + timedelta(days=11))
    ended = reshape(cast.service_token("ended"), expires_at=timezone.now() + timedelta(days=200))
    ended.revoke(by=cast.by("grace"), reason="over")
    reshape(cast.service_token("expired"), **back_by(300), expires_at=timezone.now() - timedelta(days=1))

    assert names(AccessToken.objects.over_lifetime()) == {"over-portal", "over-role"}


def test_a_role_that_was_lost_still_bounds_the_life_of_its_token(cast: Cast) -> None:
    """As at use: losing a role must not make a token live longer."""
    token = cast.service_token(roles=[POOL_ROLE, PLAIN_ROLE])
    Role.objects.get(name=PLAIN_ROLE).change(by=cast.by("grace"), max_token_days=10)
    reshape(token, expires_at=timezone.now() + timedelta(days=20))
    cast.robot.remove_role(PLAIN_ROLE, by=cast.by("grace"))

    assert names(AccessToken.objects.over_lifetime()) == {"ci"}


def test_expired_yesterday_are_those_that_ended_in_the_last_day(cast: Cast, time_machine: Any) -> None:
    cast.service_token("ends", days=1)
    cast.service_token("lives", days=2)

    for hours, found in [(0.1, {"ends"}), (23.9, {"ends"}), (24.1, {"lives"})]:
        midnight = timezone.now().replace(year=in_days(1).year, month=in_days(1).month, day=in_days(1).day)
        at = midnight.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(hours=hours)
        assert names(AccessToken.objects.expired_yesterday(at)) == found, hours


def test_alarms_older_than_a_week_are_not_counted(cast: Cast, time_machine_days: Callable[[float], None]) -> None:
    token = cast.service_token()
    token.revoke(by=cast.by("grace"), reason="it leaked")
    refused(token.plaintext)
    time_machine_days(7.1)
    client = visitor("grace")

    figures = {figure.label: figure for figure in shown(client)["figures"]}

    figure = figures["times a revoked token was used in 7 days"]
    assert figure.count.number == listed(client, figure.url) == 0


# The drawing.


def drawn(*numbers: int) -> list[bars.Drawn]:
    return bars.draw([bars.Bar(number, "1 Jan", bars.short(number), "", "/") for number in numbers])


def test_the_highest_bar_fills_the_drawing_and_the_lowest_is_seen() -> None:
    high, low, none = drawn(10_000, 1, 0)

    assert (high.y, high.height) == (bars.TOP, bars.BASE - bars.TOP)
    assert low.height == bars.LOWEST
    assert none.height == 0
    assert {bar.y + bar.height for bar in (high, low, none)} == {bars.BASE}


def test_bars_share_the_width() -> None:
    first, *_, last = drawn(*range(12))

    assert first.slot_x == "0.000%"
    assert float(last.slot_x[:-1]) + float(last.slot_width[:-1]) == pytest.approx(100, abs=0.01)


def test_no_bar_at_all_is_drawn_as_nothing() -> None:
    assert [bar.height for bar in drawn(0, 0)] == [0, 0]
    assert drawn() == []


@pytest.mark.parametrize(
    ("numbers", "cliffs"),
    [
        ((5, 5, 5, 5), [False] * 4),
        ((1, 1, 1, 1, 40), [False] * 4 + [True]),
        ((0, 0, 0, 4), [False] * 4),
        ((0, 0, 0, 5), [False] * 3 + [True]),
    ],
)
def test_a_cliff_stands_out(numbers: tuple[int, ...], cliffs: list[bool]) -> None:
    assert [bar.stands_out for bar in drawn(*numbers)] == cliffs


@pytest.mark.parametrize(
    ("number", "written"), [(0, "0"), (999, "999"), (1_000, "1.0k"), (1_249, "1.2k"), (9_949, "9.9k"), (9_950, "10k")]
)
def test_numbers_on_bars_are_short(number: int, written: str) -> None:
    assert bars.short(number) == written


def test_the_calendar_is_a_table_too(cast: Cast) -> None:
    cast.service_token(days=3)

    page = text(visitor("grace").get(INDEX))

    assert "The same as a table" in page
    assert f"1 token ends in the 7 days from {in_days(0)}" in page
    assert "style=" not in page
