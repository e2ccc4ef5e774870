"""How the portal talks to PostgreSQL: what a connection is opened with, and what its errors mean.

Every wait has an end, so that a request whose database is away fails instead of hanging: `connect_timeout` for each
host, `tcp_user_timeout` and the keepalives where packets get lost, and on the server's side limits on statements, on
waits for a lock and on transactions whose portal is gone.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from threading import Timer
from typing import Any

from django.conf import settings
from django.db import InterfaceError, InternalError, OperationalError, connection, transaction
from psycopg.abc import Buffer
from psycopg.types.datetime import TimestamptzLoader


class OutcomeUnknown(OperationalError):
    """Nobody here knows whether a transaction lasts: the connection broke meanwhile, or no standby confirmed it."""


NOBODY_THERE = {
    "connect_timeout": 3,  # seconds, for each host
    "tcp_user_timeout": 5_000,  # ms without an answer to what was sent
    "keepalives_idle": 5,  # seconds of silence before the other side is asked whether it is there
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
TRY_AGAIN = {"40001", "40P01"}  # the database chose this transaction to give way
TOO_LONG = {"57014", "55P03"}  # a statement's or a lock's time is up
READ_ONLY = {"25006"}  # a standby, where a primary was
GONE_MEANWHILE = {"25P03", "25P04"}  # the transaction lasted too long
_LOCAL = "SELECT set_config('synchronous_commit', 'local', true) WHERE current_setting('synchronous_commit') <> 'off'"


def connected(
    database: dict[str, Any], *, statement_timeout: int, lock_timeout: int, max_age: int, pgbouncer: bool, replica: bool
) -> dict[str, Any]:
    """Django's settings of a database, completed. What its address says itself stays.

    Behind a pgbouncer that pools by transaction a session is nobody's: no limits are set with it (set them on the
    database role), nothing is prepared, and no cursor outlives its transaction.
    """
    options = {**NOBODY_THERE, **database.get("OPTIONS", {})}
    completed = {**database, "CONN_MAX_AGE": max_age, "CONN_HEALTH_CHECKS": True, "OPTIONS": options}
    if pgbouncer:
        options.setdefault("prepare_threshold", None)
        return {**completed, "DISABLE_SERVER_SIDE_CURSORS": True}
    options.setdefault("prepare_threshold", 2)
    # Among several hosts, and also where one name leads to another host after a failover.
    options.setdefault("target_session_attrs", "prefer-standby" if replica else "read-write")
    limits = {
        "statement_timeout": statement_timeout * 1_000,
        "lock_timeout": lock_timeout * 1_000,
        # A portal that is gone, or cut off, must not keep the others from writing.
        "idle_in_transaction_session_timeout": 60_000,
    }
    said = " ".join(f"-c {name}={value}" for name, value in limits.items() if statement_timeout)
    if said:
        options.setdefault("options", said)
    return completed


class InstantLoader(TimestamptzLoader):
    """What Django registers reads the same, in UTC too, for ten times the work: a regular expression for each."""

    timezone = UTC  # Django asks for it

    def load(self, data: Buffer) -> datetime:
        try:
            return datetime.fromisoformat(str(data, "ascii"))
        except ValueError:  # not of our years, or not written as ISO 8601
            return super().load(data)


def read_instants(connection: Any, **_: Any) -> None:
    """For a connection that was just made."""
    if connection.vendor == "postgresql" and connection.timezone == UTC:
        connection.connection.adapters.register_loader("timestamptz", InstantLoader)


@contextmanager
def unhurried() -> Iterator[None]:
    """Lets statements take as long as they need: for a command about very many rows, whose session is its own.

    Behind a pgbouncer that pools by transaction it is not, and the limit stays what the database role says.
    """
    if connection.vendor != "postgresql" or settings.PGBOUNCER:
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
    try:
        yield
    finally:
        if connection.is_usable():  # else the next connection has its limits anyway
            with connection.cursor() as cursor:
                cursor.execute("RESET statement_timeout")


@contextmanager
def unconfirmed() -> Iterator[None]:
    """A transaction of something that may be lost with the server: its commit waits for no standby.

    Nothing ends that wait but Commit. Inside another transaction that one decides.
    """
    if connection.vendor != "postgresql" or connection.in_atomic_block:
        yield
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_LOCAL)
        yield


def check_references_at_once() -> None:
    """From here on each statement of this transaction checks what its rows refer to.

    Left to the commit, that of very many rows takes longer than Commit is patient.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def state_of(error: BaseException) -> str | None:
    """The SQLSTATE that the server gave the error, if it came from a server."""
    return getattr(error.__cause__, "sqlstate", None) or getattr(error, "sqlstate", None)


def is_away(error: BaseException) -> bool:
    """Whether it is the database that cannot, for now; not what it was asked."""
    away = isinstance(error, OperationalError | InterfaceError)
    return away or (isinstance(error, InternalError) and state_of(error) in READ_ONLY | GONE_MEANWHILE)


def is_silent(error: BaseException) -> bool:
    """Whether the connection broke, so that nobody said what became of it."""
    state = state_of(error)
    return state is None or state.startswith(("08", "57P"))


class Commit:
    """Watches one. No limit of the server's ends the wait for a synchronous standby, so it is given up from here.

    The server then commits with a warning: it `is_doubtful`, since a standby that takes over may not have it.
    """

    def __init__(self) -> None:
        self.is_doubtful = False
        self._raw: Any = None
        self._patience: Timer | None = None

    def begin(self, connection: Any) -> None:
        if connection.vendor != "postgresql" or connection.savepoint_ids:  # the end of a savepoint is no commit
            return
        self._raw = connection.connection
        self._raw.add_notice_handler(self._hear)
        if settings.STATEMENT_TIMEOUT:
            self._patience = Timer(settings.STATEMENT_TIMEOUT, self._give_up)
            self._patience.daemon = True
            self._patience.start()

    def end(self) -> None:
        if self._patience:
            self._patience.cancel()
            self._patience.join()  # so that it ends no statement of later
        if self._raw:
            self._raw.remove_notice_handler(self._hear)

    def _hear(self, said: Any) -> None:
        self.is_doubtful |= said.severity_nonlocalized == "WARNING"

    def _give_up(self) -> None:
        with suppress(Exception):  # the connection may be gone, which is found out where it is used
            self._raw.cancel_safe(timeout=NOBODY_THERE["connect_timeout"])
