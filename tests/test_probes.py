"""/health says that the process lives, /ready that it can serve; neither tells more, whatever the Host."""

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.db import InterfaceError, OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from osmo_portal import probes
from tokens.models import SigningKey

SAID = {"status": "OK"}


def not_ready(client: Client) -> str:
    answer = client.get("/ready")
    assert answer.status_code == 503
    assert answer.json().keys() == {"status", "reason"}
    return answer.json()["reason"]


def test_health_does_not_ask_the_database(client: Client) -> None:
    """Without the mark for it a query would fail this test."""
    assert client.get("/health").json() == SAID


def test_a_portal_that_can_serve_is_ready(db: None, client: Client) -> None:
    SigningKey.current_or_first()

    answer = client.get("/ready")

    assert (answer.status_code, answer.json()) == (200, SAID)
    assert answer["cache-control"] == "no-store"


def test_before_its_first_key_it_is_ready(db: None, client: Client) -> None:
    assert client.get("/ready").status_code == 200
    assert not SigningKey.objects.exists()


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_without_database_it_is_not_ready(db: None, client: Client, error: type[Exception]) -> None:
    def fail(*arguments: Any) -> None:
        raise error("connection refused: password=hunter2")

    with connection.execute_wrapper(fail):
        assert not_ready(client) == probes.NO_DATABASE
        assert client.get("/health").status_code == 200


def test_a_migration_that_is_not_applied_is_told(db: None, client: Client) -> None:
    MigrationRecorder(connection).record_unapplied("events", "0002_triggers")

    assert not_ready(client) == probes.NOT_MIGRATED


def test_a_migration_of_a_newer_version_does_no_harm(db: None, client: Client) -> None:
    MigrationRecorder(connection).record_applied("events", "9999_of_tomorrow")

    assert client.get("/ready").status_code == 200


def test_keys_that_cannot_be_opened_are_told(db: None, client: Client, settings: Any) -> None:
    SigningKey.current_or_first()
    settings.KEY_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

    assert not_ready(client) == probes.NO_KEYS


def test_a_standby_is_told(db: None, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "_takes_writes", lambda: False)

    assert not_ready(client) == probes.READ_ONLY


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_a_probe_may_use_any_host_and_plain_http(db: None, client: Client, settings: Any, path: str) -> None:
    settings.SECURE_SSL_REDIRECT = True

    assert client.get(path, headers={"host": "10.1.2.3:8000"}).status_code == 200


@pytest.mark.parametrize("path", ["/api/version", "/admin/login/", "/health/", "/healthy", "/ready/x"])
def test_everything_else_wants_the_portals_own(db: None, client: Client, path: str) -> None:
    assert client.get(path, headers={"host": "10.1.2.3:8000"}).status_code == 400


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_probes_only_read(db: None, client: Client, path: str) -> None:
    assert client.post(path).status_code == 405
