"""Queries that are compiled once: they read what the ORM reads, are counted, and outlive a lost connection."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.db.models import BooleanField, CharField, DateTimeField, Func, Value
from django.utils import timezone

from osmo_portal import postgresql
from osmo_portal.compiled import Compiled, Given
from profiles.models import User
from tests.cast import Cast

COLUMNS = ("pk", "username", "is_active", "created_at", "deleted_at")
NAMED = Compiled(lambda: User.objects.filter(username=Given("name", CharField())).values_list(*COLUMNS))


def test_it_reads_what_the_orm_reads(cast: Cast) -> None:
    for user in (cast.ada, cast.robot):
        expected = list(User.objects.filter(pk=user.pk).values_list(*COLUMNS))

        assert NAMED.rows(name=user.username) == expected
    assert NAMED.rows(name="nobody' OR 1=1 --") == []


def test_values_are_prepared_as_by_their_fields(cast: Cast) -> None:
    cast.mallory.deactivate(by=cast.by("grace"), reason="x")
    found = Compiled(
        lambda: User.objects.filter(
            is_active=Given("active", BooleanField()), created_at__lte=Given("now", DateTimeField())
        ).values_list("username")
    )

    assert found.rows(active=False, now=timezone.now()) == [("mallory",)]
    assert found.rows(active=False, now=cast.mallory.created_at - timedelta(days=1)) == []


def test_its_queries_are_counted(cast: Cast, django_assert_num_queries: Any) -> None:
    NAMED.rows(name="ada")

    with django_assert_num_queries(2) as queries:
        NAMED.rows(name="ada")
        NAMED.rows(name="grace")

    assert all("username" in query["sql"] for query in queries.captured_queries)


@pytest.fixture
def lost(transactional_db: None) -> None:
    """The server has ended the connection, as when it was restarted."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no connection that could be lost.")
    NAMED.rows(name="ada")
    ended = connection.copy()
    try:
        with ended.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [connection.connection.info.backend_pid])
    finally:
        ended.close()


def test_a_lost_connection_is_made_anew(lost: None) -> None:
    assert NAMED.rows(name="nobody") == []


def test_within_a_transaction_a_lost_connection_is_told(lost: None) -> None:
    with pytest.raises(OperationalError), transaction.atomic():
        NAMED.rows(name="nobody")
    connection.close()


def test_what_the_server_refuses_is_not_asked_again(cast: Cast) -> None:
    asked = []

    def refuse(*arguments: Any) -> None:
        asked.append(arguments)
        raise OperationalError("canceling statement due to statement timeout")

    with connection.execute_wrapper(refuse), pytest.raises(OperationalError):
        NAMED.rows(name="ada")

    assert len(asked) == 1


@pytest.fixture
def unwatched(transactional_db: None) -> Compiled:
    """Nobody counts queries, and no transaction is open: so as in production."""
    assert not connection.queries_logged
    assert connection.get_autocommit()
    Cast()
    return Compiled(lambda: User.objects.filter(username=Given("name", CharField())).values_list(*COLUMNS))


def test_by_the_driver_itself_it_reads_the_same(unwatched: Compiled) -> None:
    for name in ("ada", "robot", "nobody' OR 1=1 --", "é\\x%s"):
        expected = list(User.objects.filter(username=name).values_list(*COLUMNS))

        assert [unwatched.rows(name=name) for _ in range(3)] == [expected] * 3


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite prepares nothing by name.")
def test_what_the_server_forgot_is_prepared_anew(unwatched: Compiled) -> None:
    unwatched.rows(name="ada")
    with connection.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")

    assert [row[1] for row in unwatched.rows(name="ada")] == ["ada"]


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no such limit.")
def test_a_limit_of_the_server_is_told_as_by_the_driver(unwatched: Compiled) -> None:
    slow = Compiled(lambda: User.objects.annotate(slept=Func(Value(5.0), function="pg_sleep")).values_list("slept"))
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 50")

    with pytest.raises(OperationalError, match="statement timeout") as error:
        slow.rows()

    assert postgresql.state_of(error.value) == "57014"
    assert unwatched.rows(name="nobody") == []
    connection.close()


def test_within_a_transaction_it_sees_what_was_done_there(unwatched: Compiled) -> None:
    unwatched.rows(name="ada")
    with transaction.atomic():
        User._base_manager.filter(username="ada").update(username="lovelace")

        assert len(unwatched.rows(name="lovelace")) == 1
        transaction.set_rollback(True)
    assert unwatched.rows(name="lovelace") == []
