"""`migrate` on PostgreSQL: one run at a time, and no long wait for a table that others use."""

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from osmo_portal.management.commands import migrate

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer anyway"),
]
NAMES = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")


@contextmanager
def another(*statements: str) -> Iterator[Any]:
    """A connection with an open transaction that has done this."""
    other = connection.copy()
    other.set_autocommit(False)
    try:
        with other.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        yield other
    finally:
        other.close()


def run(*args: str) -> str:
    err = io.StringIO()
    call_command("migrate", *args, verbosity=0, stderr=err)
    return err.getvalue()


def limits() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(f'current_setting({name!r})' for name in NAMES)}")
        return list(cursor.fetchone())


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "PAUSE", 0.05)
    monkeypatch.setattr(migrate, "WAIT", "50ms")


def test_it_waits_for_another_run_without_being_in_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    before = limits()

    with another(f"SELECT pg_advisory_xact_lock({migrate.LOCK})") as other:
        monkeypatch.setattr(time, "sleep", lambda seconds: other.close())
        said = run()

    assert "Another migrate is at work; waiting for it." in said
    assert limits() == before


def test_it_gives_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "ALONE_WITHIN", 0)

    with another(f"SELECT pg_advisory_xact_lock({migrate.LOCK})"), pytest.raises(CommandError, match="Look what it"):
        run()


@pytest.fixture
def step_back() -> Iterator[None]:
    """One migration to do, which takes a lock on the tokens: it makes a key to them."""
    call_command("migrate", "tokens", "0006", verbosity=0)
    yield
    call_command("migrate", verbosity=0)


def test_it_tries_again_where_a_table_is_in_use(step_back: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with another("LOCK TABLE tokens_accesstoken IN SHARE MODE") as other:
        monkeypatch.setattr(time, "sleep", lambda seconds: other.close())
        said = run()

    assert "A table is in use just now; trying again." in said
    assert run("--check") == ""


def test_it_does_not_try_for_ever(step_back: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "ATTEMPTS", 2)

    with another("LOCK TABLE tokens_accesstoken IN SHARE MODE"), pytest.raises(OperationalError, match="lock timeout"):
        run()
    migrate._begin_anew(connection)
