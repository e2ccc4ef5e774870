import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import OperationalError, connections

from osmo_portal.postgresql import TOO_LONG, state_of

LOCK = 0x05_30_4D_49  # an advisory lock that nothing else in this database uses
WAIT = "2s"  # for a lock on a table: as long as it is waited for, everybody else queues behind
ATTEMPTS, PAUSE = 60, 2.0
ALONE_WITHIN = 3600  # seconds


class Command(migrate.Command):
    """Django's, for a database in use: one run at a time, statements as long as they take, and no long wait for a lock.

    A migration that does not get its lock is tried again, while those before it stay done.
    """

    def handle(self, *args: Any, **options: Any) -> None:
        connection = connections[options["database"]]
        if connection.vendor != "postgresql":
            super().handle(*args, **options)
            return
        with _alone(connection, self.stderr.write):
            for _ in range(ATTEMPTS - 1):
                try:
                    with _limits(connection):
                        super().handle(*args, **options)
                except OperationalError as error:
                    if state_of(error) not in TOO_LONG:
                        raise
                    _begin_anew(connection)
                    self.stderr.write("A table is in use just now; trying again.")
                    time.sleep(PAUSE)
                else:
                    return
            with _limits(connection):
                super().handle(*args, **options)


def _begin_anew(connection: Any) -> None:
    """Where a statement fails at the end of a migration, Django leaves its transaction open."""
    connection.connection.close()
    connection.connect()


@contextmanager
def _alone(connection: Any, say: Any) -> Iterator[None]:
    """Waits until no other run is at work. It asks again and again: an index that is made concurrently waits for
    everybody who is in the middle of a statement."""
    guard = connection.copy()
    deadline = time.monotonic() + ALONE_WITHIN
    try:
        guard.set_autocommit(False)  # the lock is the transaction's, which works through pgbouncer too
        while not _locked(guard):
            if time.monotonic() > deadline:
                raise CommandError("Another migrate has been at work for an hour. Look what it waits for.")
            say("Another migrate is at work; waiting for it.")
            time.sleep(PAUSE)
        yield
    finally:
        guard.close()


def _locked(guard: Any) -> bool:
    with guard.cursor() as cursor:
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        got = bool(cursor.fetchone()[0])
    if not got:
        guard.rollback()
    return got


@contextmanager
def _limits(connection: Any) -> Iterator[None]:
    names = {"statement_timeout": "0", "lock_timeout": f"'{WAIT}'", "idle_in_transaction_session_timeout": "0"}
    with connection.cursor() as cursor:
        for name, value in names.items():
            cursor.execute(f"SET {name} = {value}")
    try:
        yield
    finally:
        if connection.is_usable():  # else the next connection has its limits anyway
            with connection.cursor() as cursor:
                for name in names:
                    cursor.execute(f"RESET {name}")
