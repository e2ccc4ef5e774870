"""The exchange: what it costs, what it records, and when a secret starts and stops working."""

import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from osmo_portal.events.models import Event
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tokens import exchange, jwt, secrets
from tokens.models import AccessToken, LastUse, Secret, last_use

MICROSECOND = timedelta(microseconds=1)
STANDING = 'FROM "tokens_secret"'
FAILURES = "portal_failures"  # of the address, and of what was sent
LAST_USE = "UPDATE tokens_lastuse"


def queries_of(secret: str, **facts: Any) -> list[str]:
    """The SQL of one exchange. Keys are remembered beforehand, as in a process that has run for a while."""
    jwt.key_set()
    with CaptureQueriesContext(connection) as queries:
        exchange.exchange(secret, **facts)
    return [query["sql"] for query in queries]


def assert_named(queries: list[str], *parts: str) -> None:
    assert len(queries) == len(parts), queries
    for query, part in zip(queries, parts, strict=True):
        assert part in query


def refusal(secret: str, **facts: Any) -> str:
    with pytest.raises(exchange.Refused) as refused:
        exchange.exchange(secret, **facts)
    return str(refused.value)


# What it costs.


def test_an_exchange_costs_one_query_and_two_when_last_use_is_due(cast: Cast, time_machine: Any) -> None:
    token = cast.service_token(roles=[POOL_ROLE, PLAIN_ROLE])
    time_machine.move_to(token.issued_at, tick=False)
    first = queries_of(token.plaintext)
    time_machine.shift(timedelta(seconds=60) - MICROSECOND)
    within = queries_of(token.plaintext)
    time_machine.shift(MICROSECOND)

    after = queries_of(token.plaintext)

    assert_named(first, STANDING, LAST_USE)
    assert_named(within, STANDING)
    assert_named(after, STANDING, LAST_USE)


def test_the_cost_does_not_grow_with_roles_tokens_or_secrets(cast: Cast) -> None:
    token = cast.service_token(roles=[POOL_ROLE, PLAIN_ROLE])
    for number in range(5):
        cast.service_token(f"other-{number}")
    rotated = token.rotate(by=cast.by("grace"))
    exchange.exchange(rotated.plaintext)

    assert_named(queries_of(rotated.plaintext), STANDING)
    assert_named(queries_of(token.plaintext), STANDING)


@pytest.mark.parametrize("secret", ["", "x", "osmo_" + "0" * 49, "A" * 1_000_000, "osmo_" + "A" * 48 + "!"])
def test_what_cannot_be_a_secret_costs_no_query(db: None, secret: str, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert refusal(secret) == "Access Token is invalid"


def test_an_unknown_secret_costs_one_query(db: None) -> None:
    """Besides the counts of the failure."""
    with CaptureQueriesContext(connection) as queries:
        refusal(secrets.generate())

    assert_named([query["sql"] for query in queries], STANDING, FAILURES, FAILURES)


def test_counting_queries_can_fail(cast: Cast, django_assert_num_queries: Any) -> None:
    token = cast.service_token()

    with pytest.raises(pytest.fail.Exception), django_assert_num_queries(0):
        exchange.exchange(token.plaintext)


# Last use.


def test_last_use_is_recorded_with_address_and_agent(cast: Cast, time_machine: Any) -> None:
    token = cast.service_token()
    time_machine.move_to(token.issued_at + timedelta(hours=1), tick=False)

    exchange.exchange(token.plaintext, address="2001:db8::1", agent="osmo-cli/6.0.0")

    use = LastUse.objects.get(token=token)
    assert (use.at, use.ip, use.agent) == (token.issued_at + timedelta(hours=1), "2001:db8::1", "osmo-cli/6.0.0")


def test_last_use_is_written_at_most_once_a_minute(cast: Cast, time_machine: Any) -> None:
    token = cast.service_token()
    time_machine.move_to(token.issued_at, tick=False)
    exchange.exchange(token.plaintext, address="192.0.2.1")
    time_machine.shift(59)

    exchange.exchange(token.plaintext, address="192.0.2.2")

    assert LastUse.objects.get(token=token).ip == "192.0.2.1"
    time_machine.shift(1)
    exchange.exchange(token.plaintext, address="192.0.2.2")
    assert LastUse.objects.get(token=token).ip == "192.0.2.2"


def test_a_long_agent_is_cut_and_an_unknown_address_is_none(cast: Cast) -> None:
    token = cast.service_token()

    exchange.exchange(token.plaintext, address=None, agent="x" * 5_000)

    use = LastUse.objects.get(token=token)
    assert (use.ip, use.agent) == (None, "x" * 200)


def test_a_use_writes_no_event_and_does_not_touch_the_token(cast: Cast) -> None:
    token = cast.service_token()
    jwt.key_set()  # the first signing key is an event
    before, events = AccessToken.objects.values().get(pk=token.pk), Event.objects.count()

    exchange.exchange(token.plaintext)

    assert AccessToken.objects.values().get(pk=token.pk) == before
    assert Event.objects.count() == events


def test_a_refused_use_is_no_use(cast: Cast) -> None:
    token = cast.service_token()
    token.suspend(by=cast.by("grace"), reason="odd")

    refusal(token.plaintext, address="192.0.2.1")

    assert LastUse.objects.get(token=token).at is None


@pytest.mark.django_db(transaction=True)
def test_an_exchange_does_not_wait_for_a_last_use_that_somebody_else_is_writing() -> None:
    """With a writer that never ends the exchange would hang, or fail, if it waited."""
    token = Cast().service_token()
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            last_use.note(token.pk, at=token.issued_at, ip="192.0.2.9", agent="slow")
            held.set()
            done.wait(30)
        connection.close()

    jwt.key_set()
    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(30)
    try:
        assert exchange.exchange(token.plaintext, address="192.0.2.1")
    finally:
        done.set()
        thread.join()
    assert LastUse.objects.get(token=token).ip == "192.0.2.9"


def test_the_patience_of_the_connection_is_put_back(cast: Cast) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("Only SQLite has a busy timeout.")
    before = connection.connection.execute("PRAGMA busy_timeout").fetchone()

    exchange.exchange(cast.service_token().plaintext)

    assert connection.connection.execute("PRAGMA busy_timeout").fetchone() == before != (0,)


# From when to when (S36).


def test_a_token_works_until_its_end_and_not_at_it(cast: Cast, time_machine: Any) -> None:
    token = cast.service_token(days=5)

    time_machine.move_to(token.expires_at - MICROSECOND, tick=False)
    assert exchange.exchange(token.plaintext)
    time_machine.move_to(token.expires_at, tick=False)
    assert refusal(token.plaintext) == "Access Token has expired"
    time_machine.move_to(token.expires_at + MICROSECOND, tick=False)
    assert refusal(token.plaintext) == "Access Token has expired"


def test_state_and_querysets_agree_about_the_end(cast: Cast) -> None:
    token = cast.service_token(days=5)

    def live(at: datetime) -> tuple[str, bool, bool, bool]:
        tokens = AccessToken.objects.filter(pk=token.pk)
        found = [tokens.live(at), tokens.in_state("active", at), tokens.in_state("expired", at)]
        return (token.state(at), *(queryset.exists() for queryset in found))  # type: ignore[return-value]

    assert live(token.expires_at - MICROSECOND) == ("active", True, True, False)
    assert live(token.expires_at) == ("expired", False, False, True)


def test_an_old_secret_works_until_its_grace_ends_and_not_at_it(cast: Cast, time_machine: Any) -> None:
    token = cast.service_token()
    time_machine.move_to(token.issued_at, tick=False)
    token.rotate(by=cast.by("grace"), grace=timedelta(hours=2))

    time_machine.shift(timedelta(hours=2) - MICROSECOND)
    assert exchange.exchange(token.plaintext)
    time_machine.shift(MICROSECOND)
    assert refusal(token.plaintext) == "Access Token was rotated and its old secret has ended"


def test_the_maximum_lifetime_ends_at_its_microsecond(cast: Cast, time_machine: Any, settings: Any) -> None:
    token = cast.service_token(days=31)
    settings.MAX_TOKEN_DAYS = 10

    time_machine.move_to(token.issued_at + timedelta(days=10) - MICROSECOND, tick=False)
    assert exchange.exchange(token.plaintext)
    time_machine.shift(MICROSECOND)
    assert refusal(token.plaintext) == "Access Token has expired"


def test_an_old_secret_never_lives_longer_than_the_token(cast: Cast, time_machine: Any) -> None:
    token = cast.service_token(days=2)

    token.rotate(by=cast.by("grace"), grace=timedelta(days=30), expires=in_days(40))
    time_machine.move_to(token.expires_at, tick=False)

    assert refusal(token.plaintext) == "Access Token was rotated and its old secret has ended"


# Rotation.


def test_both_secrets_work_during_the_grace(cast: Cast) -> None:
    token = cast.service_token()

    rotated = token.rotate(by=cast.by("grace"))

    assert rotated.plaintext != token.plaintext
    assert exchange.exchange(token.plaintext)
    assert exchange.exchange(rotated.plaintext)


def test_without_grace_only_the_new_one_works(cast: Cast) -> None:
    token = cast.service_token()

    rotated = token.rotate(by=cast.by("grace"), grace=timedelta(0))

    assert refusal(token.plaintext)
    assert exchange.exchange(rotated.plaintext)


def test_the_first_use_of_a_rotated_secret_is_told_once(cast: Cast) -> None:
    rotated = cast.service_token().rotate(by=cast.by("grace"))

    for _ in range(3):
        exchange.exchange(rotated.plaintext, address="192.0.2.1", request_id="r1")

    event = Event.objects.get(action="secret.first_used")
    assert (event.object_id, event.actor, event.ip, event.request_id) == (rotated.pk, "robot", "192.0.2.1", "r1")
    assert Secret.objects.get(digest=secrets.digest(rotated.plaintext)).first_used_at


def test_the_use_of_the_old_secret_is_no_first_use_of_the_new_one(cast: Cast) -> None:
    token = cast.service_token()
    token.rotate(by=cast.by("grace"))

    exchange.exchange(token.plaintext)

    assert not Event.objects.filter(action="secret.first_used").exists()


def test_a_secret_that_was_never_rotated_has_no_first_use(cast: Cast) -> None:
    token = cast.service_token()

    exchange.exchange(token.plaintext)

    assert not Event.objects.filter(action="secret.first_used").exists()


def test_the_old_secret_lives_on_after_the_first_use_of_the_new_one(cast: Cast) -> None:
    token = cast.service_token()
    rotated = token.rotate(by=cast.by("grace"))

    exchange.exchange(rotated.plaintext)

    assert exchange.exchange(token.plaintext)


def test_the_old_secret_ends_with_the_first_use_of_the_new_one_where_that_was_asked_for(cast: Cast) -> None:
    token = cast.service_token()
    rotated = token.rotate(by=cast.by("grace"), end_old_at_first_use=True)
    assert exchange.exchange(token.plaintext)  # by its own use it does not end
    assert exchange.exchange(token.plaintext)

    exchange.exchange(rotated.plaintext)

    assert refusal(token.plaintext) == "Access Token was rotated and its old secret has ended"
    assert exchange.exchange(rotated.plaintext)


def test_the_first_use_of_the_second_rotation_does_not_end_the_newest(cast: Cast, time_machine: Any) -> None:
    first = cast.service_token().rotate(by=cast.by("grace"), grace=timedelta(0), end_old_at_first_use=True)
    second = first.rotate(by=cast.by("grace"), end_old_at_first_use=True)

    exchange.exchange(second.plaintext)

    assert exchange.exchange(second.plaintext)
    assert refusal(first.plaintext)


def test_at_most_two_secrets_live(cast: Cast) -> None:
    first = cast.service_token()
    second = first.rotate(by=cast.by("grace"))

    with pytest.raises(ValidationError, match="Two secrets live already"):
        second.rotate(by=cast.by("grace"))
    third = second.rotate(by=cast.by("grace"), grace=timedelta(0))

    assert [refusal(token.plaintext) for token in (first, second)]
    assert exchange.exchange(third.plaintext)
    assert Secret.objects.filter(token=first).live().count() == 1


def test_slots_are_used_again_and_again(cast: Cast, time_machine: Any) -> None:
    token = cast.service_token(days=300)
    for _ in range(5):
        token = token.rotate(by=cast.by("grace"), grace=timedelta(hours=1))
        time_machine.move_to(datetime.now(tz=token.issued_at.tzinfo) + timedelta(hours=1), tick=False)

    slots = Secret.objects.filter(token=token).exclude(slot=None).order_by("slot")
    assert [secret.slot for secret in slots] == [0, 1]
    assert Secret.objects.filter(token=token).count() == 6
    assert exchange.exchange(token.plaintext)


@pytest.mark.parametrize("grace", [timedelta(microseconds=-1), timedelta(days=30, microseconds=1), timedelta.max])
def test_a_grace_out_of_bounds_is_refused(cast: Cast, grace: timedelta) -> None:
    token = cast.service_token()

    with pytest.raises(ValidationError, match="between 0 and 30 days"):
        token.rotate(by=cast.by("grace"), grace=grace)
    assert Secret.objects.filter(token=token).count() == 1


def test_of_two_rotations_that_began_from_the_same_state_one_wins(cast: Cast) -> None:
    token = cast.service_token()
    same = AccessToken.objects.get(pk=token.pk)
    rotated = token.rotate(by=cast.by("grace"), grace=timedelta(0))

    with pytest.raises(ValidationError, match="rotated by somebody else just now"):
        same.rotate(by=cast.by("grace"), grace=timedelta(0))
    assert exchange.exchange(rotated.plaintext)


# The alarm.


def test_the_use_of_a_retired_secret_raises_an_alarm_once_an_hour(cast: Cast, time_machine: Any) -> None:
    token = cast.service_token()
    time_machine.move_to(token.issued_at, tick=False)
    token.rotate(by=cast.by("grace"), grace=timedelta(0))
    alarms = Event.objects.filter(action="exchange.refused.retired", object_id=token.pk)

    for _ in range(3):
        refusal(token.plaintext, address="203.0.113.9")
    assert alarms.count() == 1
    time_machine.shift(timedelta(hours=1) - MICROSECOND)
    refusal(token.plaintext)
    assert alarms.count() == 1
    time_machine.shift(MICROSECOND)
    refusal(token.plaintext)

    assert alarms.count() == 2
    assert alarms.last().ip == "203.0.113.9"  # type: ignore[union-attr]


def test_each_reason_and_each_token_has_an_alarm_of_its_own(cast: Cast) -> None:
    one, two = cast.service_token("one"), cast.service_token("two")
    for token in (one, two):
        token.suspend(by=cast.by("grace"), reason="odd")
        refusal(token.plaintext)
        refusal(token.plaintext)
    one.revoke(by=cast.by("grace"), reason="leaked")
    refusal(one.plaintext)

    told = Event.objects.filter(action__startswith="exchange.refused").order_by("pk")
    assert list(told.values_list("action", "object_id")) == [
        ("exchange.refused.suspended", one.pk),
        ("exchange.refused.suspended", two.pk),
        ("exchange.refused.revoked", one.pk),
    ]


def test_the_alarm_names_the_secret_but_not_its_text(cast: Cast) -> None:
    token = cast.service_token()
    token.revoke(by=cast.by("grace"), reason="leaked")

    refusal(token.plaintext)

    event = Event.objects.get(action="exchange.refused.revoked")
    assert event.changes == {"secret": Secret.objects.get(token=token).pk}
    assert (event.actor, event.object_label) == ("robot", "robot/ci")


def test_a_flood_of_refusals_costs_two_queries_each(cast: Cast) -> None:
    token = cast.service_token()
    token.revoke(by=cast.by("grace"), reason="leaked")
    refusal(token.plaintext)

    with CaptureQueriesContext(connection) as queries:
        refusal(token.plaintext)

    assert_named([query["sql"] for query in queries], STANDING, FAILURES, FAILURES, 'FROM "events_event"')
