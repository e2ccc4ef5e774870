"""The harness itself: which database the tests run on, and what they leave to each other."""

import os
import threading

import pytest
from django.db import DatabaseError, connection

from osmo_portal.events.models import Event
from profiles.models import Pool, Role
from tests import databases
from tests.cast import Cast


def test_the_tests_run_on_the_database_that_was_asked_for() -> None:
    assert connection.vendor == os.environ.get("TEST_DATABASE", "sqlite")


def test_an_unknown_database_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_DATABASE", "oracle")
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)

    with pytest.raises(pytest.UsageError, match="must be sqlite or postgresql"):
        databases.prepare()


@pytest.mark.django_db(transaction=True)
def test_threads_see_one_database() -> None:
    seen = []

    def count() -> None:
        seen.append(Pool.objects.count())
        connection.close()

    thread = threading.Thread(target=count)
    thread.start()
    thread.join()

    assert seen == [Pool.objects.count()] != [0]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("turn", ["first", "second"])
def test_a_test_that_commits_finds_and_leaves_the_database_as_migrated(turn: str) -> None:
    assert not Event.objects.exists()
    assert set(Role.objects.values_list("name", flat=True)) == {
        "osmo-admin", "osmo-user", "osmo-backend", "osmo-ctrl", "osmo-default",
    }  # fmt: skip

    Cast()

    with pytest.raises(DatabaseError, match="neither changed nor deleted"):
        Event.objects.all()._raw_delete("default")
