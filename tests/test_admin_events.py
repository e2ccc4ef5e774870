"""The audit trail in the console: read, and nothing else."""

import io
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from osmo_portal.console import timeline, words
from osmo_portal.events import chain, triggers, verification
from osmo_portal.events.admin import actions_from
from osmo_portal.events.models import Event, EventLine
from tests.cast import PLAIN_ROLE, Cast
from tests.console import address, last_event, text, visitor
from tokens.models import AccessToken
from tokens.models.batches import BATCH_SIZES

LIST = "admin:events_event_changelist"
VERIFY = "admin:events_event_verify"


def listed(**query: Any) -> list[str]:
    page = visitor("audrey").get(reverse(LIST), query)
    return [event.action for event in page.context["cl"].result_list]


def labels(**query: Any) -> list[str]:
    page = visitor("audrey").get(reverse(LIST), query)
    return [event.object_label for event in page.context["cl"].result_list]


def test_events_are_filtered_by_action_door_and_actor(cast: Cast) -> None:
    cast.service_token()

    assert listed(action="token.issued") == ["token.issued"]
    assert listed(action="nothing") == []
    assert set(listed(actor="grace")) == {"user.created", "role.assigned", "token.issued"}
    assert "pool.created" in listed(via="command")
    assert "token.issued" not in listed(via="command")
    assert listed(via="admin", action="token.issued", actor="olive") == []


def test_an_event_is_shown_in_full(cast: Cast) -> None:
    cast.robot.remove_role(PLAIN_ROLE, by=cast.by("grace"), reason="was for a week")
    event = Event.objects.get(action="role.removed")

    page = visitor("audrey").get(address(event))

    assert "was for a week" in text(page)
    assert event.hash in text(page)
    assert event.previous_hash in text(page)
    assert page.context["buttons"] == []


def test_the_door_is_written_as_its_filter_offers_it(cast: Cast) -> None:
    cast.service_token()
    page = reverse("admin:events_event_changelist")

    for shown in (visitor("grace").get(page), visitor("grace").get(address(last_event()))):
        assert f">{last_event().via}<" in re.sub(r"\s", "", text(shown))


def test_an_event_leads_to_what_it_is_about(cast: Cast) -> None:
    token = cast.service_token()
    issued = Event.objects.get(action="token.issued")
    created = Event.objects.get(action="user.created", object_label="robot")
    pool = Event.objects.get(action="pool.created")
    client = visitor("audrey")

    assert address(token) in text(client.get(address(issued)))
    assert reverse("admin:profiles_person_whoever", args=[cast.robot.pk]) in text(client.get(address(created)))
    assert address(cast.pool) in text(client.get(address(pool)))


def test_a_batch_lists_its_lines(cast: Cast) -> None:
    for number in range(3):
        cast.service_token(f"t{number}")
    AccessToken.objects.all().revoke(by=cast.by("grace"), reason="all of them")

    page = text(visitor("audrey").get(address(Event.objects.get(action="tokens.revoked"))))

    assert page.count("robot/t") == 3
    assert "More records" not in page


def test_a_large_batch_is_paged_by_its_lines(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osmo_portal.events.admin.LINES_SHOWN", 2)
    for number in range(3):
        cast.service_token(f"t{number}")
    AccessToken.objects.all().revoke(by=cast.by("grace"), reason="all of them")
    batch = address(Event.objects.get(action="tokens.revoked"))
    client = visitor("audrey")

    first = text(client.get(batch))
    further = re.search(r"\?after=\d+", first)
    assert further
    second = text(client.get(batch + further[0]))

    assert first.count("robot/t") == 2
    assert second.count("robot/t") == 1
    assert "More records" not in second
    assert client.get(f"{batch}?after=nonsense").status_code == 200


# Filters and search.


def test_events_are_found_by_the_record_they_are_about(cast: Cast) -> None:
    token = cast.service_token("deploy")

    assert listed(about="robot/deploy") == ["token.issued"]
    assert listed(about=f"#{token.pk}", kind="accesstoken") == ["token.issued"]
    assert listed(about="#999999") == []
    assert listed(about="robot/dep") == []
    assert set(listed(kind="pool")) == {"pool.created"}


def test_events_are_found_by_the_days_of_utc(cast: Cast, time_machine: Any) -> None:
    begin, end = _midnight(10), _midnight(12)
    for name, instant in {
        "before": begin - timedelta(seconds=1),
        "first": begin,
        "last": end - timedelta(seconds=1),
        "after": end,
    }.items():
        time_machine.move_to(instant, tick=False)
        cast.service_token(name, days=20)
    issued, first, last = {"action": "token.issued"}, str(begin.date()), str(end.date() - timedelta(days=1))

    assert labels(**issued, **{"from": first, "to": last}) == ["robot/last", "robot/first"]
    assert labels(**issued, **{"from": last}) == ["robot/after", "robot/last"]
    assert labels(**issued, to=str(begin.date() - timedelta(days=1))) == ["robot/before"]
    assert labels(**{"from": "2099-01-01"}) == []


def _midnight(days: int) -> datetime:
    return datetime.now(tz=UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=days)


def test_events_of_a_clock_that_was_put_back_are_found(cast: Cast, time_machine: Any) -> None:
    midnight = _midnight(10)
    time_machine.move_to(midnight + timedelta(seconds=10), tick=False)
    cast.service_token("early", days=20)
    time_machine.move_to(midnight - timedelta(seconds=10), tick=False)
    cast.service_token("late", days=20)

    assert labels(action="token.issued", **{"from": str(midnight.date())}) == ["robot/early"]
    assert labels(action="token.issued", to=str(midnight.date() - timedelta(days=1))) == ["robot/late"]


@pytest.mark.parametrize("day", ["31.1.2026", "2026-02-30", "0001-01-01", "9999-12-31", "x"])
def test_what_is_no_day_matches_nothing(cast: Cast, day: str) -> None:
    assert listed(**{"from": day}) == []
    assert listed(to=day) == []


def test_the_batches_of_one_operation_are_found(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BATCH_SIZES, connection.vendor, 2)
    for number in range(3):
        cast.service_token(f"t{number}")
    AccessToken.objects.all().suspend(by=cast.by("grace"), reason="pause")
    batch = last_event()
    operation = batch.changes["operation"]

    assert listed(operation=operation) == ["tokens.suspended"] * 2
    assert listed(operation="another") == []
    assert f"?operation={operation}" in text(visitor("audrey").get(address(batch)))


def test_the_index_of_operations_is_used(cast: Cast) -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")

    # Without an order: of a table that it knows to be small, PostgreSQL would as soon read the index of the numbers.
    assert "event_operation" in Event.objects.of_operation("x").order_by().explain()


@pytest.mark.parametrize("order", ["actor", "via", "object_type", "object_label", "request_id"])
def test_each_filter_has_an_index_in_the_order_of_the_list(cast: Cast, order: str) -> None:
    indexes = [index.fields for index in Event._meta.indexes]

    assert [order, "-id"] in indexes


def test_events_are_searched_by_request_and_number(cast: Cast) -> None:
    visitor("grace").post(address(cast.ada, "describe"), {"display_name": "Ada", "email": ""})
    event = last_event()
    assert event.request_id

    for term in (event.request_id, str(event.pk)):
        assert listed(q=term) == ["user.changed"], term
    assert listed(q="nothing of that kind") == []
    assert listed(q="9" * 30) == []


def test_actions_are_completed_while_they_are_typed(cast: Cast) -> None:
    client = visitor("audrey")

    names = client.get(reverse("admin:events_event_suggest"), {"q": "role."}).json()["names"]

    assert names == ["role.assigned", "role.created"]


def test_completing_an_action_is_one_query_however_many_events(cast: Cast) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert "pool.created" in actions_from("", 100)

    assert len(queries) == 1


# The chain.


def forge(event: Event, **fields: Any) -> None:
    """Writes past the triggers, as somebody with the database in hands would."""
    triggers.drop(connection)
    try:
        with connection.cursor() as cursor:
            for name, value in fields.items():
                cursor.execute(f"UPDATE events_event SET {name} = %s WHERE id = %s", [value, event.pk])  # noqa: S608
    finally:
        triggers.create(connection)


def test_an_event_says_that_it_is_whole_and_leads_to_its_neighbours(cast: Cast) -> None:
    event = Event.objects.get(action="pool.created")

    page = text(visitor("audrey").get(address(event)))

    assert "The hash is right" in page
    assert reverse("admin:events_event_change", args=[event.pk + 1]) in page


def test_the_page_of_a_changed_event_says_so(cast: Cast) -> None:
    event = Event.objects.get(action="pool.created")
    forge(event, actor="mallory")

    page = text(visitor("audrey").get(address(event)))

    assert "Somebody has tampered with the trail here." in page
    assert f"Event {event.pk} was changed." in page
    assert "The hash is right" not in page


def test_an_event_with_a_hash_of_its_own_making_does_not_hold_on_to_the_next(cast: Cast) -> None:
    event = Event.objects.get(action="pool.created")
    event.actor = "mallory"
    forge(event, actor="mallory", hash=event.computed_hash())
    client = visitor("audrey")

    assert f"Event {event.pk + 1} does not follow event {event.pk}." in text(client.get(address(event)))
    after = Event.objects.get(pk=event.pk + 1)
    assert f"Event {after.pk} does not follow event {event.pk}." in text(client.get(address(after)))


def test_lines_that_were_changed_removed_or_added_show_on_the_page(cast: Cast) -> None:
    cast.service_token()
    AccessToken.objects.all().expire(by=cast.by("grace"), reason="over")
    batch, plain = last_event(), Event.objects.get(action="pool.created")
    triggers.drop(connection)
    EventLine.objects.filter(event=batch).update(after="later")
    EventLine.objects.create(event=plain, object_id=1, object_label="forged")
    triggers.create(connection)
    client = visitor("audrey")

    assert f"The lines of event {batch.pk} were changed." in text(client.get(address(batch)))
    assert f"Event {plain.pk} has lines that it was not written with." in text(client.get(address(plain)))


def test_the_list_says_what_was_verified_and_when(cast: Cast) -> None:
    client = visitor("audrey")
    assert "never verified with a record" in text(client.get(reverse(LIST)))
    number, last_hash = chain.head()

    call_command("verify_events", "--record", stdout=io.StringIO(), stderr=io.StringIO())
    page = " ".join(text(client.get(reverse(LIST))).split())

    assert f"Events 1 to {number}, verified" in page
    assert f"The trail has {chain.head()[0]} events" in page
    assert chain.head()[1] in page
    assert last_hash != chain.head()[1]
    assert "never verified" not in page


def test_an_administrator_verifies_the_last_events(cast: Cast) -> None:
    number, _ = chain.head()
    client = visitor("grace")
    number, _ = chain.head()

    answer = client.post(reverse(VERIFY), follow=True)

    assert f"Events 1 to {number} are whole." in text(answer)
    assert last_event().action == "events.tail_verified"
    assert last_event().changes == {"first": 1, "last": number, "faults": 0}


def test_verifying_names_the_faults_and_keeps_their_number(cast: Cast) -> None:
    event = Event.objects.get(action="pool.created")
    forge(event, reason="nothing to see here")
    client = visitor("grace")

    answer = client.post(reverse(VERIFY))

    assert f"Event {event.pk} was changed." in text(answer)
    assert last_event().changes["faults"] == 1
    assert "tampered with" in text(client.get(reverse(LIST)))


def test_only_the_last_events_are_verified(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osmo_portal.events.verification.TAIL_LENGTH", 3)
    forge(Event.objects.get(pk=1), reason="long ago")
    client = visitor("grace")
    number, _ = chain.head()

    assert client.post(reverse(VERIFY)).status_code == 302
    assert last_event().changes == {"first": number - 2, "last": number, "faults": 0}


def test_a_gap_among_the_last_events_is_a_fault(cast: Cast) -> None:
    missing = Event.objects.get(action="pool.created").pk
    triggers.drop(connection)
    Event.objects.filter(pk=missing).delete()
    triggers.create(connection)

    client = visitor("grace")
    assert f"Events {missing} to {missing} are missing." in text(client.post(reverse(VERIFY)))
    assert f"Event {missing} is missing." in text(client.get(reverse("admin:events_event_change", args=[missing + 1])))


@pytest.mark.parametrize("name", ["olive", "audrey"])
def test_others_verify_nothing(cast: Cast, name: str) -> None:
    client = visitor(name)

    assert client.post(reverse(VERIFY)).status_code == 403
    assert reverse(VERIFY) not in text(client.get(reverse(LIST)))
    assert not Event.objects.filter(action="events.tail_verified").exists()
    with pytest.raises(PermissionDenied):
        verification.verify_tail(by=cast.by(name))
    with pytest.raises(PermissionDenied):
        verification.keep_whole(1, 0, by=cast.by(name))


# Timelines and query counts.


def test_a_long_history_is_paged_by_number(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        cast.ada.describe(by=cast.by("grace"), display_name=f"Ada {number}")
    pages = [timeline.page(cast.ada, "", size=2)]
    while pages[-1].older:
        pages.append(timeline.page(cast.ada, str(pages[-1].older), size=2))

    numbers = [entry.event.pk for page in pages for entry in page.entries]
    assert numbers == [entry.event.pk for entry in timeline.timeline(cast.ada, limit=500)]
    assert len(numbers) == len(set(numbers)) >= 6


def test_the_history_page_leads_to_what_is_older(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline.page, "__defaults__", (1,))
    cast.ada.describe(by=cast.by("grace"), display_name="Countess")
    client = visitor("audrey")

    first = text(client.get(address(cast.ada, "history")))
    older = re.search(r"\?before=\d+", first)
    assert older
    second = text(client.get(address(cast.ada, "history") + older[0]))

    assert "Countess" in first
    assert "Countess" not in second
    assert "The newest" in second
    assert client.get(address(cast.ada, "history") + "?before=x").status_code == 200


def test_the_pages_of_events_cost_the_same_however_many_there_are(cast: Cast) -> None:
    client = visitor("audrey")
    pages = [reverse(LIST), address(Event.objects.get(action="pool.created")), address(cast.robot, "history")]

    def costs() -> list[int]:
        counted = []
        for page in pages:
            with CaptureQueriesContext(connection) as queries:
                client.get(page)
            counted.append(len(queries))
        return counted

    costs()
    before = costs()
    for number in range(30):
        cast.robot.describe(by=cast.by("grace"), purpose=f"CI {number}")

    # Session, user, roles, groups; the list: head, two verifications, a page (and, without paging by number, counts);
    # an event: it, lines or none, neighbours thrice; a history: the record, its roles, events, lines.
    assert costs() == before
    assert max(before) <= 14


# Words.


def event(action: str, **changes: Any) -> Event:
    return Event(action=action, changes=changes)


def test_a_change_is_told_as_before_and_after() -> None:
    told = words.changes(event("role.changed", description=["", "Reads"], max_token_days=[None, 7]))

    assert told == [("description", "nothing → Reads"), ("max token days", "nothing → 7")]


def test_what_stayed_the_same_or_says_nothing_is_left_out() -> None:
    assert words.changes(event("token.rotated", expires_at=["x", "x"], note=None, roles=[])) == []
    assert words.changes(event("token.rotated", grace_seconds=86_400)) == [("grace", "1 day")]


def test_a_list_of_a_new_record_is_no_before_and_after() -> None:
    assert words.changes(event("token.issued", roles=["a", "b"])) == [("roles", "a, b")]


def test_instants_booleans_and_policies_are_readable() -> None:
    told = words.changes(
        event(
            "pool.changed",
            online=[False, True],
            expires_at=["2026-01-02T00:00:00+00:00", "2026-02-03T00:00:00+00:00"],
            policies=[[{"effect": "Allow"}], []],
            count=3,
        )
    )

    assert told == [
        ("online", "no → yes"),
        ("expires at", "2026-01-02 00:00 UTC → 2026-02-03 00:00 UTC"),
        ("policies", '[{"effect": "Allow"}] → nothing'),
        ("count", "3"),
    ]


def test_actions_are_spoken() -> None:
    assert words.spoken("user.password_changed") == "user password changed"
    assert words.spoken("signin.failed") == "sign-in failed"
