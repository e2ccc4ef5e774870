"""The audit trail: what is changed is told, what is told stays, and tampering shows."""

import importlib
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, models, transaction
from django.utils import timezone

from osmo_portal.events import chain, triggers
from osmo_portal.events.actor import Actor, Door
from osmo_portal.events.models import Event, EventLine, Line
from osmo_portal.events.trail import UnrecordedChange, audited, record, touch
from profiles.models import Pool, Role, RoleAssignment, Settings, User
from tests import dump
from tests.cast import Cast
from tokens.models import AccessToken, Secret, SigningKey, TokenRole

SHELL = Actor.shell()


def run(sql: str, *values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


def tamper(sql: str, *values: Any) -> None:
    """What somebody does who owns the database."""
    triggers.drop(connection)
    run(sql, *values)
    triggers.create(connection)


def a_batch(cast: Cast) -> Event:
    cast.service_token("one")
    cast.service_token("two")
    AccessToken.objects.all().revoke(by=cast.by("grace"), reason="spring")
    event = Event.objects.first()
    assert event is not None
    return event


# The guard: nothing is changed past the trail.


@pytest.mark.parametrize(
    "change",
    [
        lambda pool: pool.save(),
        lambda pool: Pool(name="new").save(),
        lambda pool: Pool.objects.create(name="new"),
        lambda pool: Pool.objects.get_or_create(name="new"),
        lambda pool: Pool.objects.update_or_create(name="default", defaults={"online": True}),
        lambda pool: Pool.objects.update(online=True),
        lambda pool: Pool.objects.filter(name="default").update(online=True),
        lambda pool: Pool.objects.bulk_create([Pool(name="new")]),
        lambda pool: Pool.objects.bulk_update([pool], ["description"]),
        lambda pool: pool.delete(),
        lambda pool: Pool.objects.all().delete(),
    ],
)
@pytest.mark.django_db
def test_a_change_outside_an_audited_block_is_refused(change: Callable[[Pool], Any]) -> None:
    before = dump.tables()

    with pytest.raises(UnrecordedChange):
        change(Pool.objects.get(name="default"))

    assert dump.tables() == before


@pytest.mark.parametrize(
    "model", [AccessToken, TokenRole, Secret, SigningKey, User, Role, RoleAssignment, Pool, Settings]
)
@pytest.mark.django_db
def test_every_model_that_matters_is_guarded(model: type[models.Model]) -> None:
    with pytest.raises(UnrecordedChange):
        model().save()
    with pytest.raises(UnrecordedChange):
        model._default_manager.update(pk=1)


@pytest.mark.django_db
def test_a_change_through_a_relation_is_guarded(cast: Cast) -> None:
    token = cast.service_token()

    for attempt in (
        lambda: token.secrets.update(slot=None),
        lambda: token.roles.all().update(token=token),
        lambda: cast.robot.assignments.update(removed_at=None),
        lambda: cast.ada.accounts.update(is_active=False),
        lambda: cast.ada.accounts.clear(),
    ):
        with pytest.raises(UnrecordedChange):
            attempt()


@pytest.mark.django_db
def test_a_block_that_changed_something_and_told_nothing_is_rolled_back() -> None:
    def change_in_silence() -> None:
        with audited():
            Pool.objects.update(online=True)

    with pytest.raises(UnrecordedChange, match="no event tells of it"):
        change_in_silence()

    assert not Pool.objects.filter(online=True).exists()


@pytest.mark.django_db
def test_a_silent_change_in_a_nested_block_is_noticed() -> None:
    def change_in_silence() -> None:
        with audited(), audited():
            Pool.objects.update(online=True)

    with pytest.raises(UnrecordedChange):
        change_in_silence()

    assert not Pool.objects.filter(online=True).exists()


@pytest.mark.django_db
def test_a_block_that_changed_nothing_writes_nothing() -> None:
    with audited():
        pass

    assert not Event.objects.exists()


@pytest.mark.django_db
def test_recording_outside_a_block_is_refused() -> None:
    with pytest.raises(UnrecordedChange):
        record("x", SHELL, Pool(name="x"))
    with pytest.raises(UnrecordedChange):
        touch()


@pytest.mark.django_db
def test_after_a_block_the_guard_is_up_again() -> None:
    pool = Pool.objects.get(name="default")
    with audited():
        pool.save()
        record("pool.changed", SHELL, pool)
    with pytest.raises(ZeroDivisionError), audited():
        raise ZeroDivisionError

    with pytest.raises(UnrecordedChange):
        pool.save()


# Together or not at all.


@pytest.mark.django_db
def test_a_failure_after_the_change_takes_the_event_with_it() -> None:
    def fail() -> None:
        with audited():
            Pool.objects.update(online=True)
            record("pool.changed", SHELL, Pool(name="default"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert not Event.objects.exists()
    assert not Pool.objects.filter(online=True).exists()


@pytest.mark.django_db
def test_what_a_nested_block_rolled_back_is_not_told() -> None:
    def fail() -> None:
        with audited():
            Pool.objects.update(maintenance=True)
            record("inner", SHELL, Pool(name="default"))
            raise ZeroDivisionError

    with audited():
        Pool.objects.update(online=True)
        record("outer", SHELL, Pool(name="default"))
        with pytest.raises(ZeroDivisionError):
            fail()

    assert [event.action for event in Event.objects.all()] == ["outer"]
    assert Pool.objects.filter(online=True, maintenance=False).exists()


@pytest.mark.django_db
def test_a_rolled_back_silent_change_needs_no_event() -> None:
    def fail() -> None:
        with audited():
            Pool.objects.update(maintenance=True)
            raise ZeroDivisionError

    with audited(), pytest.raises(ZeroDivisionError):
        fail()

    assert not Event.objects.exists()


@pytest.mark.django_db
def test_events_of_nested_blocks_are_written_once_in_their_order() -> None:
    with audited():
        record("first", SHELL, Pool(name="x"))
        with audited():
            record("second", SHELL, Pool(name="x"))
            assert not Event.objects.exists()
        record("third", SHELL, Pool(name="x"))

    assert list(Event.objects.order_by("pk").values_list("pk", "action")) == [(1, "first"), (2, "second"), (3, "third")]


@pytest.mark.django_db
def test_an_outer_transaction_takes_change_and_event_with_it() -> None:
    def fail() -> None:
        with transaction.atomic():
            Pool.create(by=Actor.bootstrap(), name="new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert not Pool.objects.filter(name="new").exists()
    assert not Event.objects.exists()


# What an event says.


def test_an_event_says_who_by_which_token_which_door_and_from_where(cast: Cast) -> None:
    token = cast.administrator_token()
    known = cast.with_token(token)
    by = Actor(door=Door.REST, user=known.user, roles=known.roles, token=token, address="2001:db8::7", request_id="r-1")
    before = timezone.now()

    Pool.create(by=by, name="fresh", description="New.")

    event = Event.objects.get(action="pool.created", object_label="fresh")
    assert (event.actor, event.actor_id, event.token_id, event.via) == ("root-bot", token.owner.pk, token.pk, "rest")
    assert (event.ip, event.request_id) == ("2001:db8::7", "r-1")
    assert (event.object_type, event.object_id) == ("pool", Pool.objects.get(name="fresh").pk)
    assert event.changes == {"description": "New."}
    assert before <= event.at <= timezone.now()
    assert event.at.utcoffset() == timedelta(0)


def test_the_shell_is_named_with_its_account_and_machine(cast: Cast) -> None:
    cast.service_token()

    AccessToken.objects.all().revoke(by=Actor.shell(), reason="spring")

    event = Event.objects.get(action="tokens.revoked")
    assert re.fullmatch(r"system:\S+@\S+", event.actor)
    assert (event.actor_id, event.via) == (None, "command")


def test_a_change_says_before_and_after(cast: Cast) -> None:
    cast.pool.change(by=cast.by("grace"), maintenance=True, total_capacity=16)

    event = Event.objects.get(action="pool.changed")
    assert event.changes == {"maintenance": [False, True], "total_capacity": [8, 16]}


def test_a_batch_stands_in_the_timeline_of_each_object(cast: Cast) -> None:
    event = a_batch(cast)

    lines = {line.object_label: line for line in event.lines.all()}
    assert lines.keys() == {"robot/one", "robot/two"}
    assert event.object_label == "2 tokens"
    assert set(event.lines.values_list("object_id", flat=True)) == set(AccessToken.objects.values_list("pk", flat=True))


def test_events_outlive_what_they_speak_of() -> None:
    """No foreign key leads out of the events."""
    relations = [f for f in Event._meta.get_fields() if f.is_relation and not f.auto_created]

    assert relations == []


def test_a_very_long_label_is_cut(cast: Cast) -> None:
    owner = User.create_person(by=cast.by("grace"), username="u" * 254)

    AccessToken.issue(
        by=cast.by("grace"), owner=owner, name="t" * 254, expires=timezone.now().date() + timedelta(days=3)
    )

    assert Event.objects.get(action="token.issued").object_label == f"{'u' * 254}/{'t' * 254}"
    with audited():
        record("x", SHELL, Pool(name="x"), label="y" * 5_000)
    assert Event.objects.get(action="x").object_label == "y" * 600


# The chain.


def test_the_chain_of_a_days_work_is_whole(cast: Cast) -> None:
    a_batch(cast)

    assert list(chain.faults()) == []
    assert list(chain.faults(chain.head())) == []
    assert list(Event.objects.order_by("pk").values_list("pk", flat=True)) == list(range(1, Event.objects.count() + 1))


@pytest.mark.django_db
def test_the_chain_of_nothing_is_whole() -> None:
    assert chain.head() == (0, "0" * 64)
    assert list(chain.faults()) == list(chain.faults(chain.head())) == []


def test_each_event_holds_the_hash_of_the_one_before(cast: Cast) -> None:
    events = list(Event.objects.order_by("pk"))

    assert events[0].previous_hash == "0" * 64
    assert [event.previous_hash for event in events[1:]] == [event.hash for event in events[:-1]]


EDITS: dict[str, Any] = {
    "at": timezone.now() - timedelta(days=1),
    "actor": "mallory",
    "actor_id": 424242,
    "token_id": 424242,
    "via": "rest",
    "request_id": "forged",
    "ip": "203.0.113.66",
    "action": "harmless",
    "object_type": "nothing",
    "object_id": 424242,
    "object_label": "nothing",
    "reason": "none",
    "changes": {"role": "osmo-user"},
    "lines_digest": "0" * 64,
    "previous_hash": "1" * 64,
    "hash": "2" * 64,
}


def test_every_field_is_edited_below() -> None:
    assert {*EDITS} == {field.name for field in Event._meta.concrete_fields} - {"id"}


@pytest.mark.parametrize("field", EDITS)
@pytest.mark.parametrize("position", ["first", "middle", "last"])
def test_an_edit_of_any_field_shows(cast: Cast, field: str, position: str) -> None:
    last, _ = chain.head()
    number = {"first": 1, "middle": last // 2, "last": last}[position]

    triggers.drop(connection)
    Event.objects.filter(pk=number).update(**{field: EDITS[field]})

    assert [fault for fault in chain.faults() if str(number) in fault]


def test_an_address_that_is_none_shows(cast: Cast) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL stores no such thing.")
    tamper("UPDATE events_event SET ip = 'nonsense' WHERE id = 3")

    assert list(chain.faults()) == ["Event 3 was changed."]


def test_an_edit_with_its_hash_computed_anew_shows_at_the_next(cast: Cast) -> None:
    event = Event.objects.get(pk=3)
    event.actor = "mallory"

    triggers.drop(connection)
    Event.objects.filter(pk=3).update(actor="mallory", hash=event.computed_hash())

    assert list(chain.faults()) == ["Event 4 does not follow event 3."]


@pytest.mark.parametrize("number", [1, 5])
def test_a_deletion_shows(cast: Cast, number: int) -> None:
    tamper("DELETE FROM events_event WHERE id = %s", number)

    assert list(chain.faults()) == [f"Events {number} to {number} are missing."]


def test_a_reorder_shows(cast: Cast) -> None:
    triggers.drop(connection)
    for old, new in ((3, 1_000), (4, 3), (1_000, 4)):
        Event.objects.filter(pk=old).update(id=new)

    assert [fault for fault in chain.faults() if fault == "Event 3 was changed."]


def test_a_cut_tail_shows_against_a_checkpoint(cast: Cast) -> None:
    number, known = chain.head()
    tamper("DELETE FROM events_event WHERE id > %s", number - 2)

    assert list(chain.faults()) == []
    assert list(chain.faults((number, known))) == [
        f"The tail is cut: the checkpoint knows {number} events, the table holds {number - 2}."
    ]


def test_a_tail_that_was_cut_and_grew_again_shows_against_a_checkpoint(cast: Cast) -> None:
    number, known = chain.head()
    tamper("DELETE FROM events_event WHERE id > %s", number - 1)
    cast.pool.change(by=cast.by("grace"), maintenance=True)

    assert chain.head()[0] == number
    assert list(chain.faults()) == []
    assert list(chain.faults((number, known))) == [f"Event {number} is not the one of the checkpoint."]


def test_an_inserted_event_shows(cast: Cast) -> None:
    last = Event.objects.get(pk=chain.head()[0])
    last.pk, last.hash = last.pk + 1, "3" * 64
    last.save(force_insert=True)

    assert [fault for fault in chain.faults() if f"Event {last.pk}" in fault]


@pytest.mark.parametrize("field", ["object_id", "object_label", "before", "after"])
def test_an_edited_line_of_a_batch_shows(cast: Cast, field: str) -> None:
    event = a_batch(cast)

    triggers.drop(connection)
    EventLine.objects.filter(event=event, object_label="robot/one").update(**{field: 2**40})

    assert list(chain.faults()) == [f"The lines of event {event.pk} were changed."]


def test_a_deleted_line_of_a_batch_shows(cast: Cast) -> None:
    event = a_batch(cast)

    tamper("DELETE FROM events_eventline WHERE object_label = 'robot/one'")

    assert list(chain.faults()) == [f"The lines of event {event.pk} were changed."]


def test_a_line_that_was_added_shows(cast: Cast) -> None:
    event = a_batch(cast)

    EventLine.objects.create(event=event, object_id=1, object_label="robot/three")

    assert list(chain.faults()) == [f"The lines of event {event.pk} were changed."]


@pytest.mark.parametrize("text", ['"', "\\", "\\u0041", "{}[],:", "line\nbreak", "ünï→😀", "%s", "'; --"])
def test_lines_are_written_as_they_are_whatever_stands_in_them(cast: Cast, text: str) -> None:
    written = [(2**62, text, "", text), (1, "second", text, "")]
    with audited():
        lines: list[EventLine | Line] = [written[0], EventLine(object_id=1, object_label="second", before=text)]
        record("tokens.expired", cast.by("grace"), User(), label="two", lines=lines)

    event = Event.objects.get(action="tokens.expired")
    assert list(event.lines.values_list("object_id", "object_label", "before", "after")) == written
    assert list(chain.faults()) == []


def test_a_line_that_was_added_to_an_event_without_lines_shows(cast: Cast) -> None:
    EventLine.objects.create(event_id=3, object_id=1, object_label="robot/ci")

    assert list(chain.faults()) == ["Event 3 has lines that it was not written with."]


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "::1", "::1.2.3.4", "::102:304", "2001:DB8:0:0:1::1"])
def test_no_address_makes_the_chain_look_broken(cast: Cast, address: str) -> None:
    """PostgreSQL and Python write some addresses differently."""
    by = Actor(door=Door.REST, user=cast.grace, roles=frozenset({"osmo-admin"}), address=address)

    Pool.create(by=by, name="fresh")

    assert list(chain.faults()) == []


@pytest.mark.parametrize("text", ["é", "𝄞", "a\tb\nc", "'\"\\", "<script>"])
def test_no_text_makes_the_chain_look_broken(cast: Cast, text: str) -> None:
    cast.pool.change(by=cast.by("grace"), description=f"a{text}b")

    assert list(chain.faults()) == []


# The database itself refuses.

REFUSED = "neither changed nor deleted"


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE {table} SET object_label = 'x'",
        "UPDATE {table} SET object_label = 'x' WHERE id = 1",
        "DELETE FROM {table}",
        "DELETE FROM {table} WHERE id = (SELECT max(id) FROM {table})",
    ],
)
@pytest.mark.parametrize("table", ["events_event", "events_eventline"])
def test_the_database_refuses_to_change_and_to_delete(cast: Cast, sql: str, table: str) -> None:
    a_batch(cast)
    before = dump.tables()

    with pytest.raises(DatabaseError, match=REFUSED), transaction.atomic():
        run(sql.format(table=table))

    assert dump.tables() == before


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT OR REPLACE INTO {table} SELECT * FROM {table}",
        "REPLACE INTO {table} SELECT * FROM {table}",
        "UPDATE OR REPLACE {table} SET id = id + 1",
    ],
)
@pytest.mark.parametrize("table", ["events_event", "events_eventline"])
def test_sqlite_refuses_to_replace(cast: Cast, sql: str, table: str) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("Only SQLite replaces.")
    a_batch(cast)
    before = dump.tables()

    with pytest.raises(DatabaseError, match=REFUSED), transaction.atomic():
        run(sql.format(table=table))

    assert dump.tables() == before


@pytest.mark.parametrize(
    "sql",
    [
        "TRUNCATE {table} CASCADE",
        "INSERT INTO {table} SELECT * FROM {table} ON CONFLICT (id) DO UPDATE SET object_label = 'x'",
        "MERGE INTO {table} t USING {table} s ON t.id = s.id WHEN MATCHED THEN DELETE",
    ],
)
@pytest.mark.parametrize("table", ["events_event", "events_eventline"])
def test_postgresql_refuses_to_truncate_to_upsert_and_to_merge(cast: Cast, sql: str, table: str) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("Only PostgreSQL knows these.")
    a_batch(cast)
    run("SET CONSTRAINTS ALL IMMEDIATE")  # a pending foreign key would refuse TRUNCATE first
    before = dump.tables()

    with pytest.raises(DatabaseError, match=REFUSED), transaction.atomic():
        run(sql.format(table=table))

    assert dump.tables() == before


def test_django_itself_cannot_change_or_delete_an_event(cast: Cast) -> None:
    event = Event.objects.get(pk=1)
    event.actor = "mallory"

    for attempt in (event.save, event.delete, Event.objects.all().delete, lambda: Event.objects.update(actor="x")):
        with pytest.raises(DatabaseError, match=REFUSED), transaction.atomic():
            attempt()
    with pytest.raises(DatabaseError, match=REFUSED), transaction.atomic():
        Event.objects.bulk_update([event], ["actor"])


def test_the_migration_makes_the_triggers_and_can_be_undone(cast: Cast) -> None:
    migration = importlib.import_module("osmo_portal.events.migrations.0002_triggers").Migration

    assert migration.operations
    triggers.drop(connection)
    run("DELETE FROM events_eventline")
    triggers.create(connection)
    with pytest.raises(DatabaseError, match=REFUSED), transaction.atomic():
        run("DELETE FROM events_event")
