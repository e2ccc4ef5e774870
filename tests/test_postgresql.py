"""What a connection to PostgreSQL is opened with, what its errors mean, and what becomes of a request meanwhile."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from threading import Event as Signal
from types import SimpleNamespace
from typing import Any

import environ
import psycopg
import pytest
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.core.management import CommandError, call_command
from django.db import DataError, InternalError, OperationalError, connection
from django.db.backends.postgresql.psycopg_any import get_adapters_template  # type: ignore[import-untyped]
from django.test import Client
from psycopg.postgres import types
from psycopg.pq import Format

from osmo_portal import again, checks, postgresql
from osmo_portal.events import trail
from osmo_portal.events.actor import Actor
from osmo_portal.events.models import Event
from osmo_portal.signin import limits
from osmo_portal.signin.sessions import SessionStore
from profiles.models import Pool
from tests.cast import Cast
from tests.rest import Rest
from tokens.models import bulk_operation
from tokens.models.sign_in_request import SignInRequest

LIMITS = {"statement_timeout": 15, "lock_timeout": 10, "max_age": 600, "pgbouncer": False, "replica": False}
TIMESTAMPTZ = types["timestamptz"].oid
SEVERAL = "postgres://portal:p%40ss@db-1:5432,db-2:5433/portal?sslmode=verify-full&sslrootcert=/etc/ca.crt"


def connected(url: str, **others: Any) -> dict[str, Any]:
    return postgresql.connected(environ.Env().db_url_config(url), **LIMITS | others)


def test_several_hosts_are_asked_for_the_one_that_takes_writes() -> None:
    database = connected(SEVERAL)

    assert (database["HOST"], database["PORT"], database["PASSWORD"]) == ("db-1,db-2", "5432,5433", "p@ss")
    assert database["OPTIONS"]["target_session_attrs"] == "read-write"
    assert (database["OPTIONS"]["sslmode"], database["OPTIONS"]["sslrootcert"]) == ("verify-full", "/etc/ca.crt")


def test_every_wait_has_an_end() -> None:
    options = connected(SEVERAL)["OPTIONS"]

    assert options["connect_timeout"] == 3
    assert options["tcp_user_timeout"] == 5000
    assert options["keepalives_idle"] + options["keepalives_interval"] * options["keepalives_count"] <= 15
    limits = "-c statement_timeout=15000 -c lock_timeout=10000 -c idle_in_transaction_session_timeout=60000"
    assert options["options"] == limits


def test_the_address_has_the_last_word() -> None:
    options = connected(f"{SEVERAL}&connect_timeout=9&target_session_attrs=any&prepare_threshold=5")["OPTIONS"]

    assert (options["connect_timeout"], options["target_session_attrs"], options["prepare_threshold"]) == (9, "any", 5)


def test_a_session_behind_pgbouncer_is_left_as_it_is() -> None:
    database = connected(SEVERAL, pgbouncer=True)

    assert not {"options", "target_session_attrs"} & set(database["OPTIONS"])
    assert database["OPTIONS"]["prepare_threshold"] is None
    assert database["DISABLE_SERVER_SIDE_CURSORS"] is True


def test_where_the_role_has_the_limits_none_is_sent() -> None:
    assert "options" not in connected(SEVERAL, statement_timeout=0)["OPTIONS"]


@pytest.mark.parametrize(
    ("host", "mode", "count"),
    [("db-1", "require", 1), ("db-1", "verify-full", 0), ("127.0.0.1", "", 0), ("/run/postgresql", "", 0)],
)
def test_who_takes_any_server_for_the_database_is_told(monkeypatch: Any, host: str, mode: str, count: int) -> None:
    database = {"ENGINE": "django.db.backends.postgresql", "HOST": host, "OPTIONS": {"sslmode": mode}}
    monkeypatch.setattr(checks, "settings", SimpleNamespace(DATABASES={"default": database}))

    assert [one.id for one in checks.database_is_who_it_says()] == ["osmo.W002"] * count


# Errors.


def failing(state: str, kind: type[Exception] = OperationalError) -> Exception:
    error = kind("hunter2")
    error.__cause__ = psycopg.errors.lookup(state)("hunter2")
    return error


@pytest.fixture
def fail(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Makes the way in that adds a pool raise these first, one at each call, and gives the calls."""
    made = Pool.create.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(again, "PAUSES", (0, 0, 0))

    def patch(*errors: Exception, before: Callable[[], object] = int) -> list[int]:
        calls: list[int] = []

        def create(cls: Any, /, **words: Any) -> Any:
            before()
            calls.append(1)
            if len(calls) <= len(errors):
                raise errors[len(calls) - 1]
            return made(cls, **words)

        monkeypatch.setattr(Pool, "create", classmethod(create))
        return calls

    return patch


def add_pool(cast: Cast) -> Any:
    caller = Rest(person="grace")
    caller.client.raise_request_exception = False
    return caller.post("pools", {"name": "arm-pool"})


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_who_gave_way_is_begun_anew(cast: Cast, fail: Any, state: str) -> None:
    calls = fail(failing(state), failing(state))

    answer = add_pool(cast)

    assert (answer.status_code, len(calls)) == (201, 3)
    assert Pool.objects.filter(name="arm-pool").count() == 1
    assert Event.objects.filter(action="pool.created", object_label="arm-pool").count() == 1


def test_it_is_not_begun_anew_for_ever(cast: Cast, fail: Any) -> None:
    calls = fail(*[failing("40P01")] * 9)

    assert (add_pool(cast).status_code, len(calls)) == (503, 4)


def test_it_is_not_begun_anew_once_something_was_kept(cast: Cast, fail: Any) -> None:
    calls = fail(failing("40P01"), before=keep)

    assert (add_pool(cast).status_code, len(calls)) == (503, 1)


def keep() -> None:
    """What another way in of the same request does."""
    with trail.audited():
        pass


def test_an_error_of_a_later_attempt_is_answered_as_if_it_had_been_the_first(cast: Cast, fail: Any) -> None:
    fail(failing("40001"), PermissionDenied("No."))

    assert add_pool(cast).status_code == 403


@pytest.mark.parametrize(
    ("state", "kind"), [("55P03", OperationalError), ("57014", OperationalError), ("25006", InternalError)]
)
def test_what_the_database_cannot_for_now_is_503_and_asked_once(cast: Cast, fail: Any, state: str, kind: Any) -> None:
    calls = fail(failing(state, kind))

    answer = add_pool(cast)

    assert (answer.status_code, len(calls)) == (503, 1)
    assert "hunter2" not in answer.content.decode()


def test_a_batch_that_gave_way_is_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(again, "PAUSES", (0, 0, 0))
    errors = [failing("40P01"), failing("40001")]

    def work() -> str:
        if errors:
            raise errors.pop()
        return "done"

    assert again.again(work) == "done"


# A commit that nobody heard the end of.


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no connection to break")
@pytest.mark.parametrize(("error", "known"), [(OperationalError("gone"), False), (failing("40001"), True)])
def test_a_commit_that_was_not_answered_may_have_been_made(monkeypatch: Any, error: Exception, known: bool) -> None:
    def commit() -> None:
        raise error

    with pytest.raises(OperationalError) as caught, trail.audited():
        monkeypatch.setattr(connection, "_commit", commit)

    assert isinstance(caught.value, postgresql.OutcomeUnknown) is not known


@pytest.fixture
def nobody_confirms(settings: Any) -> Iterator[None]:
    """A synchronous standby that is not there. Only who asks for it waits; the server of the tests does not."""

    def run(*statements: str) -> None:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    settings.STATEMENT_TIMEOUT = 0.5
    run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")
    run("SET synchronous_commit = on")
    yield
    run("SET synchronous_commit = off")
    run("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no standby")
@pytest.mark.skipif("TEST_DATABASE_URL" in os.environ, reason="a server of others keeps its settings")
def test_a_commit_that_no_standby_confirms_in_time_may_not_last(nobody_confirms: None) -> None:
    with pytest.raises(postgresql.OutcomeUnknown, match="No standby confirmed it"), trail.audited():
        trail.record("pool.created", Actor.shell(), Pool(name="p"))

    assert Event.objects.filter(action="pool.created").exists()


def save_session() -> None:
    session = SessionStore()
    session["who"] = "grace"
    session.save()
    session.flush()


def ask_at_terminal() -> None:
    SignInRequest.ask(device_code="d", user_code="BCDF-GHJK", client="osmo", agent="", address=None)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no standby")
@pytest.mark.skipif("TEST_DATABASE_URL" in os.environ, reason="a server of others keeps its settings")
@pytest.mark.parametrize(
    "write",
    [
        save_session,
        ask_at_terminal,
        lambda: cache.set("a", 1),
        lambda: cache.add("b", 1),
        lambda: limits.failed("192.0.2.1", "x"),
    ],
    ids=["session", "terminal", "set", "add", "failure"],
)
def test_what_may_be_lost_waits_for_no_standby(nobody_confirms: None, write: Callable[[], None]) -> None:
    raw, told, done = connection.connection, list[str](), Signal()

    def lose_patience() -> None:
        while not done.wait(2):
            raw.cancel_safe()

    raw.add_notice_handler(lambda said: told.append(said.severity_nonlocalized))
    with ThreadPoolExecutor(1) as beside:
        beside.submit(lose_patience)
        try:
            write()
        finally:
            done.set()

    assert told == []


def test_whose_change_may_have_been_made_is_told_so(cast: Cast, fail: Any) -> None:
    fail(postgresql.OutcomeUnknown("gone"))

    assert "Look whether it was made" in add_pool(cast).json()["detail"]


def test_a_session_that_cannot_be_read_is_503(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(cast.grace)

    def load(store: Any) -> None:
        raise OperationalError("hunter2")

    monkeypatch.setattr(SessionStore, "load", load)
    answer = client.get("/admin/")

    assert answer.status_code == 503
    assert "hunter2" not in answer.content.decode()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no limit on statements")
@pytest.mark.parametrize("pgbouncer", [False, True])
def test_a_command_about_a_set_of_tokens_takes_its_time(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, settings: Any, pgbouncer: bool
) -> None:
    def limit() -> str:
        with connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            return str(cursor.fetchone()[0])

    def look_at(tokens: Any) -> bulk_operation.Look:
        seen.append(limit())
        return bulk_operation.Look(0, "")

    usual = limit()
    seen: list[str] = []
    settings.PGBOUNCER = pgbouncer
    monkeypatch.setattr(bulk_operation, "look_at", look_at)

    with pytest.raises(CommandError, match="No token matches"):
        call_command("expire_tokens", "--all", "--dry-run")

    assert usual != "0"
    assert seen == [usual if pgbouncer else "0"]
    assert limit() == usual


WRITTEN = [
    "2026-11-28 07:30:21+00",
    "2026-11-28 07:30:21.5+00",
    "2026-11-28 07:30:21.000123+00",
    "0001-01-01 00:00:00+00",
    "9999-12-31 23:59:59.999999+00",
]


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "postgresql", reason="how PostgreSQL writes instants")
def test_instants_are_read_as_django_reads_them() -> None:
    django = get_adapters_template(use_tz=True, timezone=UTC).get_loader(TIMESTAMPTZ, Format.TEXT)
    raw = connection.connection
    ours = raw.adapters.get_loader(TIMESTAMPTZ, Format.TEXT)
    expected = [django(TIMESTAMPTZ, raw).load(text.encode()) for text in WRITTEN]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(['%s::timestamptz'] * len(WRITTEN))}", WRITTEN)
        found = cursor.fetchone()

    assert ours is postgresql.InstantLoader
    assert [*found] == expected
    assert {instant.tzinfo for instant in found} == {UTC}


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "postgresql", reason="how PostgreSQL writes instants")
@pytest.mark.parametrize("instant", ["infinity", "-infinity", "10000-01-01 00:00:00+00", "0044-03-15 00:00:00+00 BC"])
def test_an_instant_of_no_year_of_ours_is_refused(instant: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::timestamptz", [instant])
        with pytest.raises(DataError, match="timestamp"):
            cursor.fetchone()
