"""Ending sets of tokens: only ever shorter, in batches, each told with its lines."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from osmo_portal.events import chain
from osmo_portal.events.actor import Actor
from osmo_portal.events.models import Event, EventLine
from profiles.models import Role, User
from tests import dump
from tests.bulk import many_tokens
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast
from tokens import exchange
from tokens.models import AccessToken, BulkChunk, BulkOperation, batches, bulk_operation
from tokens.models.bulk_operation import Action, look_at


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    for vendor in batches.BATCH_SIZES:
        monkeypatch.setitem(batches.BATCH_SIZES, vendor, 3)


def resume(tokens: Any, by: Actor) -> int:
    """Of tokens that were suspended past the trail, so that one set of events is left to look at."""
    AccessToken._base_manager.update(suspended_at=timezone.now())
    return int(tokens.resume(by=by, reason="spring"))


def ends() -> dict[str, datetime]:
    return dict(AccessToken.objects.values_list("name", "expires_at"))


# Who may.


@pytest.mark.parametrize("caller", ["grace", "olive"])
def test_administrators_and_operators_end_sets_whatever_their_power(cast: Cast, caller: str) -> None:
    cast.service_token(roles=[POOL_ROLE])
    cast.user_token("grace")

    assert AccessToken.objects.all().expire(by=cast.by(caller), reason="spring") == 2


def test_the_shell_ends_sets(cast: Cast) -> None:
    token = cast.service_token()

    assert AccessToken.objects.all().revoke(by=Actor.shell(), reason="spring") == 1
    assert AccessToken.objects.get(pk=token.pk).ended_by is None


def test_an_operators_token_does_not_end_sets(cast: Cast) -> None:
    by = cast.with_token(cast.user_token("olive"))

    for verb in ("expire", "revoke", "suspend"):
        with pytest.raises(PermissionDenied):
            getattr(AccessToken.objects.all(), verb)(by=by, reason="spring")


# Only shorter.


def test_expire_ends_now_what_would_live_longer(cast: Cast) -> None:
    token = cast.service_token()

    assert AccessToken.objects.all().expire(by=cast.by("olive"), reason="spring") == 1

    with pytest.raises(exchange.Refused, match="expired"):
        exchange.exchange(token.plaintext)


def test_expire_at_a_later_instant_shortens_and_never_lengthens(cast: Cast) -> None:
    for days in (5, 10, 20):
        cast.service_token(f"t{days}", days=days)
    before, at = ends(), timezone.now() + timedelta(days=10)

    count = AccessToken.objects.all().expire(by=cast.by("olive"), at=at, reason="spring")

    assert ends() == {name: min(end, at) for name, end in before.items()}
    assert count == sum(end > at for end in before.values()) > 0


def test_expire_in_the_past_means_now(cast: Cast) -> None:
    cast.service_token()
    now = timezone.now()

    AccessToken.objects.all().expire(by=cast.by("olive"), at=datetime(2000, 1, 1, tzinfo=UTC), reason="spring")

    assert now <= ends()["ci"] <= timezone.now()


def test_what_has_ended_is_left_alone(cast: Cast) -> None:
    revoked = cast.service_token("revoked")
    revoked.revoke(by=cast.by("ada"), reason="leaked")
    AccessToken.objects.all().expire(by=cast.by("olive"), reason="first")
    before = AccessToken.objects.values().get(pk=revoked.pk)

    for verb in ("expire", "revoke", "suspend"):
        getattr(AccessToken.objects.all(), verb)(by=cast.by("olive"), reason="second")
    AccessToken.objects.all().cap_lifetime(1, by=cast.by("olive"), reason="third")

    assert AccessToken.objects.values().get(pk=revoked.pk) == before


def test_suspend_stops_live_tokens_and_counts_them(cast: Cast, time_machine: Any) -> None:
    live, stopped = cast.service_token("live"), cast.service_token("stopped")
    short = cast.service_token("short", days=2)
    stopped.suspend(by=cast.by("ada"), reason="odd")
    since = AccessToken.objects.get(pk=stopped.pk).suspended_at
    time_machine.move_to(short.expires_at)

    assert AccessToken.objects.all().suspend(by=cast.by("olive"), reason="spring") == 1

    assert AccessToken.objects.get(pk=live.pk).state() == "suspended"
    assert AccessToken.objects.get(pk=stopped.pk).suspended_at == since
    assert AccessToken.objects.get(pk=short.pk).suspended_at is None


def test_revoke_ends_everything_that_is_listed(cast: Cast) -> None:
    tokens = [cast.service_token(name) for name in ("live", "stopped")]
    tokens[1].suspend(by=cast.by("ada"), reason="odd")

    assert AccessToken.objects.all().revoke(by=cast.by("olive"), reason="leaked in a repository") == 2

    for token in AccessToken.objects.all():
        assert (token.state(), token.ended_by, token.end_reason) == ("revoked", cast.olive, "leaked in a repository")


def test_a_capped_lifetime_counts_from_the_issue(cast: Cast) -> None:
    short, long = cast.service_token("short", days=5), cast.service_token("long", days=300)

    assert AccessToken.objects.all().cap_lifetime(30, by=cast.by("grace"), reason="policy") == 1

    assert ends() == {"short": short.expires_at, "long": long.issued_at + timedelta(days=30)}


def test_a_cap_that_is_over_ends_now_and_not_in_the_past(cast: Cast, time_machine: Any) -> None:
    token = cast.service_token(days=300)
    time_machine.move_to(token.issued_at + timedelta(days=40), tick=False)

    AccessToken.objects.all().cap_lifetime(30, by=cast.by("grace"), reason="policy")

    assert ends()["ci"] == token.issued_at + timedelta(days=40)


@pytest.mark.parametrize("days", [0, -5])
def test_a_cap_of_nothing_ends_now(cast: Cast, days: int) -> None:
    token = cast.service_token()

    AccessToken.objects.all().cap_lifetime(days, by=cast.by("grace"), reason="policy")

    assert token.issued_at < ends()["ci"] <= timezone.now()


def test_only_the_set_is_touched(cast: Cast) -> None:
    cast.service_token("mine", [PLAIN_ROLE])
    cast.service_token("pool")
    cast.user_token("ada", "hers")

    AccessToken.objects.carrying([POOL_ROLE]).revoke(by=cast.by("olive"), reason="spring")

    assert {token.name for token in AccessToken.objects.listed()} == {"mine", "hers"}


# In batches.


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 7])
@pytest.mark.parametrize(
    "end",
    [
        lambda tokens, by: tokens.expire(by=by, reason="spring"),
        lambda tokens, by: tokens.revoke(by=by, reason="spring"),
        lambda tokens, by: tokens.suspend(by=by, reason="spring"),
        lambda tokens, by: tokens.cap_lifetime(1, by=by, reason="spring"),
        lambda tokens, by: resume(tokens, by),
    ],
    ids=["expire", "revoke", "suspend", "cap", "resume"],
)
def test_every_token_is_in_exactly_one_batch(cast: Cast, count: int, end: Callable) -> None:
    tokens = [cast.service_token(f"t{n}") for n in range(count)]
    before = {token.pk: token.expires_at for token in tokens}

    done = end(AccessToken.objects.all(), cast.by("grace"))

    events = list(Event.objects.filter(action__startswith="tokens.").order_by("pk"))
    lines = EventLine.objects.all()
    assert done == count
    assert len(events) == -(-count // 3)
    assert sorted(line.object_id for line in lines) == sorted(before)
    assert {line.object_id: line.before for line in lines} == {pk: at.isoformat() for pk, at in before.items()}
    after = dict(AccessToken.objects.values_list("pk", "expires_at"))
    assert {line.object_id: line.after for line in lines} == {pk: at.isoformat() for pk, at in after.items()}
    assert {event.reason for event in events} == {"spring"}
    assert len({event.changes["operation"] for event in events}) == 1
    assert list(chain.faults()) == []


def test_two_operations_are_told_apart(cast: Cast) -> None:
    cast.service_token("one")
    AccessToken.objects.all().suspend(by=cast.by("grace"), reason="first")
    AccessToken.objects.all().revoke(by=cast.by("grace"), reason="second")

    operations = [event.changes["operation"] for event in Event.objects.filter(action__startswith="tokens.")]
    assert len({*operations}) == 2


def test_the_lines_tell_the_end_in_utc_however_it_was_given(cast: Cast) -> None:
    token = cast.service_token()
    end = (timezone.now() + timedelta(days=3)).astimezone(ZoneInfo("Asia/Kathmandu"))

    AccessToken.objects.all().expire(by=cast.by("grace"), at=end, reason="spring")

    line = EventLine.objects.get()
    assert line.object_label == "robot/ci"
    assert line.before == token.expires_at.isoformat()
    assert line.after == AccessToken.objects.get(pk=token.pk).expires_at.isoformat()
    assert list(chain.faults()) == []


def test_the_lines_tell_an_end_that_the_database_worked_out(cast: Cast) -> None:
    first, second = cast.service_token("one", days=20), cast.service_token("two", days=30)

    AccessToken.objects.all().cap_lifetime(10, by=Actor.shell(), reason="spring")

    assert dict(EventLine.objects.values_list("object_id", "after")) == {
        token.pk: (token.issued_at + timedelta(days=10)).isoformat() for token in (first, second)
    }


def test_a_set_may_have_been_fetched_for_a_list(cast: Cast) -> None:
    cast.service_token()

    assert AccessToken.objects.with_state().expire(by=Actor.shell(), reason="spring") == 1


def test_lines_of_what_does_not_expire_anew_keep_the_end(cast: Cast) -> None:
    token = cast.service_token()

    AccessToken.objects.all().suspend(by=Actor.shell(), reason="spring")

    line = EventLine.objects.get()
    assert line.before == line.after == token.expires_at.isoformat()


@pytest.mark.parametrize("microsecond", [0, 1, 120_000, 123_456, 500_000])
def test_a_line_writes_an_instant_to_the_microsecond(cast: Cast, microsecond: int) -> None:
    token = cast.service_token()
    end = token.expires_at.replace(microsecond=microsecond)
    AccessToken._base_manager.filter(pk=token.pk).update(expires_at=end)

    AccessToken.objects.all().suspend(by=Actor.shell(), reason="spring")

    line = EventLine.objects.get()
    assert line.before == line.after == end.isoformat()


def test_nothing_matched_writes_nothing(cast: Cast) -> None:
    cast.service_token()
    before = dump.tables()

    assert AccessToken.objects.filter(name="none").revoke(by=cast.by("olive"), reason="spring") == 0

    assert dump.tables() == before


@pytest.mark.usefixtures("small_batches")
def test_a_second_run_does_what_the_first_left(cast: Cast) -> None:
    for number in range(5):
        cast.service_token(f"t{number}")
    AccessToken.objects.filter(name__in=["t1", "t3"]).expire(by=cast.by("olive"), reason="first")
    done = ends()

    assert AccessToken.objects.all().expire(by=cast.by("olive"), reason="second") == 3

    assert {name: ends()[name] for name in ("t1", "t3")} == {name: done[name] for name in ("t1", "t3")}


def test_the_cost_of_a_batch_does_not_grow_with_it(cast: Cast) -> None:
    counts = []
    for size in (1, 20):
        for number in range(size):
            cast.service_token(f"t{number}")
        with CaptureQueriesContext(connection) as queries:
            AccessToken.objects.listed().revoke(by=cast.by("grace"), reason="spring")
        counts.append([query["sql"].split()[0] for query in queries])

    # Locked and read, changed, read again, the trail's lock (PostgreSQL) and head, the event, its lines.
    assert counts[0] == counts[1]
    assert counts[0].count("UPDATE") == 1
    assert counts[0].count("INSERT") == 2


# What follows from users and roles.


def test_deactivation_suspends_live_tokens_with_its_reason(cast: Cast) -> None:
    token = cast.user_token()

    cast.ada.deactivate(by=cast.by("grace"), reason="left the company")

    assert AccessToken.objects.get(pk=token.pk).state() == "suspended"
    event = Event.objects.get(action="tokens.suspended")
    assert event.reason == "ada was deactivated: left the company"


@pytest.mark.usefixtures("small_batches")
def test_deletion_revokes_all_tokens(cast: Cast) -> None:
    for number in range(7):
        cast.user_token(name=f"t{number}")

    cast.ada.mark_deleted(by=cast.by("grace"), reason="left the company")

    assert not AccessToken.objects.owned_by(cast.ada).listed().exists()
    assert AccessToken.objects.filter(end_reason="ada was deleted: left the company").count() == 7


def test_a_user_without_tokens_is_deactivated_without_a_batch(cast: Cast) -> None:
    cast.mallory.deactivate(by=cast.by("grace"), reason="left")

    assert not Event.objects.filter(action__startswith="tokens.").exists()


def test_a_reason_of_any_length_that_a_user_may_have_fits_on_its_tokens(cast: Cast) -> None:
    token = cast.user_token()

    cast.ada.mark_deleted(by=cast.by("grace"), reason="x" * 2_000)

    assert AccessToken.objects.get(pk=token.pk).end_reason.endswith("x" * 1_900)


# Which tokens.


@pytest.mark.parametrize(
    ("glob", "names"),
    [
        ("ci", {"ci"}),
        ("ci*", {"ci", "ci-nightly", "ci_x"}),
        ("*", {"ci", "ci-nightly", "ci_x", "CI", "build"}),
        ("??", {"ci", "CI"}),
        ("*-*", {"ci-nightly"}),
        ("ci_*", {"ci_x"}),
        ("c[i]", set()),
        ("ci.*", set()),
        ("(ci)+", set()),
        ("ci$|.*", set()),
        ("%", set()),
        ("\\", set()),
        ("\n", set()),
        ("", set()),
    ],
)
def test_a_glob_is_no_regular_expression(cast: Cast, glob: str, names: set[str]) -> None:
    for name in ("ci", "ci-nightly", "ci_x", "CI", "build"):
        cast.service_token(name)

    assert {token.name for token in AccessToken.objects.named_like(glob)} == names


def test_expiring_soon_and_unused(cast: Cast, time_machine: Any) -> None:
    soon, later = cast.service_token("soon", days=5), cast.service_token("later", days=50)
    exchange.exchange(later.plaintext)
    tokens = AccessToken.objects.all()

    assert list(tokens.expiring_within(7)) == [soon]
    assert list(tokens.expiring_within(4)) == []
    assert list(tokens.never_used()) == [soon]
    assert list(tokens.unused_since(soon.issued_at)) == []
    time_machine.move_to(soon.issued_at + timedelta(days=1))
    assert set(tokens.unused_since(timezone.now())) == {soon, later}
    exchange.exchange(later.plaintext)
    assert list(tokens.unused_since(timezone.now() - timedelta(hours=1))) == [soon]


@pytest.mark.parametrize("reason", ["", " ", "a\0b", "x" * 2_001])
def test_a_reason_is_asked_for_and_bounded(cast: Cast, reason: str) -> None:
    cast.service_token()
    before = dump.tables()

    for verb in ("expire", "revoke", "suspend"):
        with pytest.raises(ValidationError, match="reason"):
            getattr(AccessToken.objects.all(), verb)(by=cast.by("olive"), reason=reason)

    assert dump.tables() == before


# Resuming and handing over.


def test_a_set_is_resumed_as_far_as_the_power_goes(cast: Cast) -> None:
    for name, roles in (("strong", [POOL_ROLE]), ("weak", [PLAIN_ROLE]), ("live", [PLAIN_ROLE])):
        cast.service_token(name, roles)
    AccessToken.objects.exclude(name="live").suspend(by=cast.by("grace"), reason="x")

    assert AccessToken.objects.all().resume(by=cast.by("olive"), reason="over") == 1

    assert {token.name for token in AccessToken.objects.live()} == {"weak", "live"}
    assert AccessToken.objects.all().resume(by=cast.by("grace"), reason="over") == 1
    assert Event.objects.filter(action="tokens.resumed", reason="over").count() == 2


def test_a_token_at_the_maximum_of_one_of_its_roles_is_not_resumed(cast: Cast, time_machine: Any) -> None:
    Role.objects.get(name=PLAIN_ROLE).change(by=cast.by("grace"), max_token_days=10)
    token = cast.service_token("short", [PLAIN_ROLE], days=9)
    cast.service_token("long", [POOL_ROLE], days=60)
    AccessToken.objects.all().suspend(by=cast.by("grace"), reason="x")
    AccessToken._base_manager.filter(pk=token.pk).update(expires_at=token.issued_at + timedelta(days=60))
    time_machine.move_to(token.issued_at + timedelta(days=10))

    assert AccessToken.objects.all().resume(by=cast.by("grace"), reason="over") == 1
    assert AccessToken.objects.get(name="short").state() == "suspended"


@pytest.mark.parametrize(
    "by",
    [lambda cast: Actor.shell(), lambda cast: cast.by("ada"), lambda cast: cast.by("audrey")],
    ids=["shell", "ada", "audrey"],
)
def test_who_grants_nothing_resumes_no_set_and_hands_none_over(cast: Cast, by: Callable[[Cast], Actor]) -> None:
    cast.service_token().suspend(by=cast.by("grace"), reason="x")

    with pytest.raises(PermissionDenied):
        AccessToken.objects.all().resume(by=by(cast), reason="over")
    with pytest.raises(PermissionDenied):
        AccessToken.objects.all().hand_over(to=cast.mallory, by=by(cast), reason="over")
    assert AccessToken.objects.get().state() == "suspended"


def test_an_operator_hands_no_set_over(cast: Cast) -> None:
    cast.service_token()

    with pytest.raises(PermissionDenied):
        AccessToken.objects.all().hand_over(to=cast.mallory, by=cast.by("olive"), reason="over")


def test_handing_over_changes_no_right(cast: Cast) -> None:
    token = cast.service_token()
    before = AccessToken.objects.values().get(), set(cast.robot.held_role_names)

    assert AccessToken.objects.all().hand_over(to=cast.mallory, by=cast.by("grace"), reason="ada left") == 1

    robot = User.objects.get(username="robot")
    assert robot.accountable == cast.mallory
    assert (AccessToken.objects.values().get(), set(robot.held_role_names)) == before
    assert exchange.exchange(token.plaintext)
    assert AccessToken.objects.all().hand_over(to=cast.mallory, by=cast.by("grace"), reason="ada left") == 0


@pytest.mark.parametrize("to", ["robot", "gone"])
def test_a_set_is_handed_over_to_an_active_person_only(cast: Cast, to: str) -> None:
    cast.service_token()
    cast.mallory.deactivate(by=cast.by("grace"), reason="left")
    person = cast.robot if to == "robot" else cast.mallory

    with pytest.raises(ValidationError, match="active person"):
        AccessToken.objects.all().hand_over(to=person, by=cast.by("grace"), reason="over")


# Operations.


def operation_on(tokens: Any, by: Actor, action: str = "revoke", **words: Any) -> BulkOperation:
    operation = BulkOperation.preview(tokens, by=by, action=action, filters={}, **words)
    operation.start(tokens, by=by, digest=operation.digest, reason="spring")
    return operation


@pytest.mark.parametrize("name", ["ada", "audrey", "mallory"])
def test_who_has_no_power_over_sets_does_not_even_look(cast: Cast, name: str) -> None:
    cast.service_token()

    for action in Action.values:
        with pytest.raises(PermissionDenied):
            BulkOperation.preview(
                AccessToken.objects.all(), by=cast.by(name), action=action, filters={}, accountable=cast.ada
            )
    assert not BulkOperation.objects.exists()


def test_an_operators_token_begins_no_operation(cast: Cast) -> None:
    by = cast.with_token(cast.user_token("olive"))

    with pytest.raises(PermissionDenied):
        BulkOperation.preview(AccessToken.objects.all(), by=by, action="revoke", filters={})


@pytest.mark.parametrize("action", ["resume", "hand-over"])
def test_the_shell_begins_no_operation_that_grants(cast: Cast, action: str) -> None:
    cast.service_token()

    with pytest.raises(PermissionDenied):
        BulkOperation.preview(
            AccessToken.objects.all(), by=Actor.shell(), action=action, filters={}, accountable=cast.ada
        )


def test_what_was_looked_at_is_begun_by_who_may_and_once(cast: Cast) -> None:
    cast.service_token()
    tokens, by = AccessToken.objects.all(), cast.by("olive")
    operation = BulkOperation.look(tokens, actor=by, action="revoke", filters={})

    for other in (cast.by("ada"), cast.by("audrey"), Actor.shell()):
        with pytest.raises(PermissionDenied):
            operation.begin(tokens, by=other, reason="spring")
    operation.begin(tokens, by=by, reason="spring")
    with pytest.raises(ValidationError, match="Nothing was begun twice"):
        operation.begin(tokens, by=by, reason="spring")

    assert (BulkOperation.objects.count(), BulkChunk.objects.count()) == (1, 1)


def test_the_digest_does_not_depend_on_order_or_on_how_it_is_read(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    many_tokens(cast.robot, 10)
    tokens = AccessToken.objects.all()

    first = look_at(tokens.order_by("name").with_state())
    monkeypatch.setattr(bulk_operation, "STEP", 3)

    assert look_at(tokens.order_by("-expires_at")) == first
    assert first.count == 10
    assert look_at(tokens.exclude(name="bulk-3")).digest != first.digest


def test_a_set_that_is_too_large_is_refused(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    many_tokens(cast.robot, 3)
    monkeypatch.setattr(bulk_operation, "MAX_TOKENS", 2)

    with pytest.raises(ValidationError, match="Narrow the filters"):
        BulkOperation.preview(AccessToken.objects.all(), by=cast.by("grace"), action="revoke", filters={})


def test_reading_is_one_query_however_many_steps(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    many_tokens(cast.robot, 10)
    monkeypatch.setattr(bulk_operation, "STEP", 4)
    steps: list[list[int]] = []

    with transaction.atomic(), django_assert_num_queries(1 + 2 * (connection.vendor == "postgresql")):
        look_at(AccessToken.objects.all(), steps.append)  # PostgreSQL: a savepoint around it

    assert [len(step) for step in steps] == [4, 4, 2]


def multiply(token: AccessToken, times: int) -> None:
    """So many more tokens like it, in one statement."""
    columns = [f.column for f in AccessToken._meta.concrete_fields if f.name not in ("id", "name")]
    copied = ", ".join(columns)
    statement = (
        f"INSERT INTO tokens_accesstoken (name, {copied}) "  # noqa: S608  (our own columns)
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %s) "
        f"SELECT 'more-' || i, {copied} FROM n, tokens_accesstoken WHERE id = %s"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [times, token.pk])
        cursor.execute("ANALYZE")  # as the database does by itself, a minute after so many changes


def test_25_000_tokens_are_ended_in_batches_and_each_has_its_line(cast: Cast) -> None:
    multiply(cast.service_token(), 24_999)
    tokens = AccessToken.objects.owned_by(cast.robot)

    operation = operation_on(tokens, cast.by("grace"), "expire")
    told: list[int] = []
    operation.run(by=cast.by("grace"), progress=told.append)

    assert (operation.stage, operation.changed) == ("finished", 25_000)
    assert told == sorted(told)
    assert told[-1] == 25_000
    assert len(told) >= 3
    assert not tokens.live().exists()
    assert EventLine.objects.values("object_id").distinct().count() == 25_000
    assert Event.objects.get(action="tokens.bulk_executed").changes["count"] == 25_000
    assert not BulkChunk.objects.exists()
