"""What every test may count on: a database of its own, cheap password hashes, static files without a manifest."""

import gc
import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import django
import hypothesis
import pytest
import pytest_django
from coverage import Coverage

from tests import databases

# Before anything reads Django's settings.
DATABASE = databases.prepare()
os.environ["DJANGO_SETTINGS_MODULE"] = "osmo_portal.settings"
django.setup()

from django.conf import settings
from django.core.cache import caches
from django.db import connection
from django.test import TransactionTestCase
from django.utils import timezone

from osmo_portal.events import triggers
from osmo_portal.signin import limits
from tests import output, snapshot
from tests.cast import Cast
from tokens import jwt

settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
settings.STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
settings.WHITENOISE_AUTOREFRESH = True  # finds the files where they are, without collectstatic

# The same examples in every run: a failure is news about the change, not about the dice.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

MEASURED_CASES = 2
_cases: Counter[str] = Counter()

WIRE_ROWS = "test_wire_conformance.py::test_the_released_clients"


def pytest_report_header() -> str:
    return f"database: {DATABASE}"


def pytest_addoption(parser: pytest.Parser) -> None:
    told = "only tests that ask the database: the others, which ran with another one, would do the same again"
    parser.addoption("--asking-the-database", action="store_true", help=told)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--asking-the-database"):
        passed_over = [item for item in items if not _asks_the_database(item)]
        config.hook.pytest_deselected(items=passed_over)
        items[:] = [item for item in items if _asks_the_database(item)]


def _asks_the_database(item: pytest.Item) -> bool:
    fixtures = {"db", "transactional_db", "live_server"} & {*getattr(item, "fixturenames", ())}
    return bool(fixtures or item.get_closest_marker("django_db"))


def pytest_collection_finish() -> None:
    """What was loaded and collected stays until the end: it is not searched for garbage again and again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool, bool]:
    """Measure the first cases of each test alone: tracing doubles the time, and the others show little that is new. So
    what is reported is a lower bound."""
    test = item.nodeid.partition("[")[0]
    _cases[test] += 1
    measuring = Coverage.current() if _cases[test] > MEASURED_CASES else None
    if measuring:
        measuring.stop()
    try:
        return (yield)
    finally:
        if measuring:
            measuring.start()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    output.search(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Add what ran on which database to the file that `make test` prints at its end."""
    path = os.environ.get("TEST_SUMMARY")
    if path and "PYTEST_XDIST_WORKER" not in os.environ:
        counts = {kind: len(terminalreporter.stats.get(kind, [])) for kind in databases.OUTCOMES}
        story = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count) or "no tests"
        rows = [report for report in terminalreporter.stats.get("passed", []) if WIRE_ROWS in report.nodeid]
        story += f", {len(rows)} of them rows of the released clients' wire" if rows else ""
        with Path(path).open("a") as summary:
            summary.write(f"{os.environ.get('TEST_TITLE', '')}{DATABASE}: {story}\n")


@pytest.fixture(scope="session")
def django_db_modify_db_settings(request: pytest.FixtureRequest) -> None:
    """Give each process a test database of its own."""
    if connection.vendor == "sqlite":
        name = Path(connection.settings_dict["NAME"]).with_name("test.sqlite3")
        connection.settings_dict["TEST"]["NAME"] = str(name)
    request.getfixturevalue("django_db_modify_db_settings_parallel_suffix")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: pytest_django.DjangoDbBlocker) -> Iterator[None]:
    """After each test that commits, empty the tables and put back what the migrations had put in.

    Django flushes them all; the triggers that guard the events stand aside for that alone. Tests that roll back do not
    come this way.
    """
    flush = TransactionTestCase._fixture_teardown  # type: ignore[attr-defined]
    with django_db_blocker.unblock():
        pristine = snapshot.everything()

    def flush_and_reload(case: TransactionTestCase) -> None:
        # Both keep Django from making permissions and content types, which are in `pristine`.
        case.serialized_rollback = True
        connection._test_serialized_contents = ""  # type: ignore[attr-defined]
        triggers.drop(connection)
        try:
            flush(case)
        finally:
            triggers.create(connection)
        snapshot.write(pristine)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", flush_and_reload)
        yield


@pytest.fixture(autouse=True)
def forgotten_keys() -> None:
    """Each process keeps its signing keys; each test has its own."""
    jwt.forget_keys()


@pytest.fixture(autouse=True)
def forgotten_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first page keeps what it counted for a minute; each test has its own. No chance adds a query."""
    caches["local"].clear()
    monkeypatch.setattr(limits, "CLEARED", 2**62)


@pytest.fixture
def cast(db: None) -> Cast:
    return Cast()


@pytest.fixture
def time_machine_days(time_machine: Any) -> Callable[[float], None]:
    """Goes so many days into the future."""
    return lambda days: time_machine.move_to(timezone.now() + timedelta(days=days), tick=True)
