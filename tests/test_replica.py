"""What of a list comes from where. That the replica is as new is tried in processes/test_postgresql_servers.py."""

import time
from contextlib import nullcontext
from types import SimpleNamespace

import psycopg
import pytest
from django.db import InterfaceError, OperationalError, ProgrammingError
from django.db.models import QuerySet

from osmo_portal import checks, replica
from profiles.models import Pool


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where lists are read, with a replica that has everything; nothing is asked there."""
    read: list[str] = []
    monkeypatch.setattr(replica, "settings", SimpleNamespace(DATABASES={"default": {}, "replica": {}}))
    monkeypatch.setattr(replica, "_left_alone_until", 0.0)
    monkeypatch.setattr(replica, "_position", lambda: replica.Position("0/1", 1))
    monkeypatch.setattr(replica, "_comes_as_far", lambda position: True)
    monkeypatch.setattr("osmo_portal.replica.transaction", SimpleNamespace(atomic=lambda using: nullcontext()))
    monkeypatch.setattr(
        replica,
        "connections",
        {"default": SimpleNamespace(in_atomic_block=False), "replica": SimpleNamespace(close=int)},
    )
    return read


def pools(places: list[str]) -> None:
    def how(found: "QuerySet[Pool]") -> None:
        assert replica.Router().db_for_read(Pool) == found.db, "with what belongs to the records"
        places.append(found.db)

    replica.read(Pool.objects.all(), how)
    assert replica.Router().db_for_read(Pool) == replica.Router().db_for_write(Pool) == "default"


def failing(state: str | None, kind: type[Exception]) -> Exception:
    error = kind("gone")
    error.__cause__ = psycopg.errors.lookup(state)("gone") if state else None
    return error


def test_a_list_comes_from_a_replica_that_has_everything(places: list[str]) -> None:
    pools(places)

    assert places == ["replica"]


def test_within_a_change_nothing_does(places: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osmo_portal.replica.connections", {"default": SimpleNamespace(in_atomic_block=True)})
    pools(places)

    assert places == ["default"]


def test_one_that_is_behind_is_left_alone_for_a_while(places: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = iter([False])
    monkeypatch.setattr(replica, "_comes_as_far", lambda position: next(asked))
    pools(places)
    pools(places)

    assert places == ["default"] * 2


@pytest.mark.parametrize(
    ("state", "kind", "left_alone"),
    [
        (None, OperationalError, True),
        (None, InterfaceError, True),
        ("57P01", OperationalError, True),
        ("42501", ProgrammingError, True),
        ("40001", OperationalError, False),
    ],
)
def test_what_the_replica_cannot_the_primary_does(
    places: list[str], monkeypatch: pytest.MonkeyPatch, state: str | None, kind: type[Exception], left_alone: bool
) -> None:
    def fail(position: object) -> bool:
        raise failing(state, kind)

    monkeypatch.setattr(replica, "_comes_as_far", fail)
    pools(places)

    assert places == ["default"]
    assert (replica._left_alone_until > time.monotonic()) is left_alone


def test_what_took_too_long_there_is_not_asked_again(places: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(position: object) -> bool:
        raise failing("57014", OperationalError)

    monkeypatch.setattr(replica, "_comes_as_far", fail)

    with pytest.raises(OperationalError):
        pools(places)
    assert places == []


@pytest.mark.parametrize(
    ("engines", "wrong"),
    [
        (["postgresql", "postgresql"], False),
        (["postgresql", "sqlite3"], True),
        (["sqlite3"], True),
    ],
)
def test_a_replica_of_nothing_is_e013(monkeypatch: pytest.MonkeyPatch, engines: list[str], wrong: bool) -> None:
    databases = {str(number): {"ENGINE": f"django.db.backends.{name}"} for number, name in enumerate(engines)}
    monkeypatch.setattr(checks, "settings", SimpleNamespace(REPLICA_URL="postgres://x", DATABASES=databases))

    assert [message.id for message in checks.replica_is_one()] == ["osmo.E013"] * wrong
