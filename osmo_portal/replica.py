"""Lists and exports from a streaming replica, where REPLICA_URL names one.

What is read there was all there when it was asked for: the primary says how far its log is, and the replica whether it
has come so far. So a list shows what the same person, or anybody, changed a moment before; where the replica is not so
far, or not there, the primary is read. Nothing else is read from a replica: not who somebody is, nor what he may do.
"""

import logging
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

from django.conf import settings
from django.db import InterfaceError, OperationalError, ProgrammingError, connections, transaction
from django.db.models import QuerySet

from osmo_portal import metrics
from osmo_portal.postgresql import TOO_LONG, TRY_AGAIN, state_of

PRIMARY, REPLICA = "default", "replica"
PATIENCE, PAUSE = 0.05, 0.005  # seconds in which the replica may catch up, and between two looks at it
BEHIND, AWAY = 1, 5  # seconds for which it is left alone after it did not, or did not answer

# A commit is acknowledged once it is flushed; where the role does without that, once it is written down.
POSITION = """
    SELECT at::text, left(pg_walfile_name(at), 8) FROM (
        SELECT CASE current_setting('synchronous_commit')
            WHEN 'off' THEN pg_current_wal_insert_lsn() ELSE pg_current_wal_flush_lsn()
        END
    ) AS log (at)
"""
# Positions of different timelines say nothing of each other: one that missed a failover may have come further.
IS_AS_NEW = """
    SELECT pg_is_in_recovery() AND pg_last_wal_replay_lsn() >= %s::pg_lsn AND timeline_id = %s
    FROM pg_control_checkpoint()
"""

log = logging.getLogger(__name__)
T = TypeVar("T")
_there: ContextVar[bool] = ContextVar("reading_the_replica", default=False)
_left_alone_until = 0.0


class Position(NamedTuple):
    lsn: str
    timeline: int


class Router:
    """All goes to the primary but what `read` reads, related records included."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return REPLICA if _there.get() else PRIMARY

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return PRIMARY

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool:
        return True

    def allow_migrate(self, alias: str, app_label: str, **hints: Any) -> bool:
        return alias == PRIMARY


def read(found: "QuerySet[Any]", how: Callable[["QuerySet[Any]"], T]) -> T:
    """What `how` reads of a list that decides nothing: of the replica where it is as new as the primary."""
    if REPLICA not in settings.DATABASES:
        return how(found)
    if not connections[PRIMARY].in_atomic_block and time.monotonic() >= _left_alone_until:
        position = _position()
        try:
            with transaction.atomic(using=REPLICA):  # behind a pooler: of one server
                if _comes_as_far(position):
                    records = _read_there(found, how)
                    metrics.LISTS.labels(REPLICA).inc()
                    return records
            _leave_alone(BEHIND)
        except (OperationalError, InterfaceError, ProgrammingError) as error:
            if state_of(error) in TOO_LONG:
                raise
            if state_of(error) not in TRY_AGAIN:  # as where replay took away what was being read
                _leave_alone(AWAY)
                connections[REPLICA].close()
                log.warning("The replica cannot be read; lists come from the primary for %d s: %s", AWAY, error)
    metrics.LISTS.labels("primary").inc()
    return how(found)


def is_as_new() -> bool:
    """Whether the replica could be read now. Raises DatabaseError where it does not answer."""
    return _comes_as_far(_position())


def _position() -> Position:
    with connections[PRIMARY].cursor() as cursor:
        cursor.execute(POSITION)
        lsn, timeline = cursor.fetchone()
    return Position(lsn, int(timeline, 16))


def _comes_as_far(position: Position) -> bool:
    deadline = time.monotonic() + PATIENCE
    with connections[REPLICA].cursor() as cursor:
        while True:
            cursor.execute(IS_AS_NEW, position)
            if cursor.fetchone()[0]:
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(PAUSE)


def _read_there(found: "QuerySet[Any]", how: Callable[["QuerySet[Any]"], T]) -> T:
    token = _there.set(True)
    try:
        return how(found.using(REPLICA))
    finally:
        _there.reset(token)


def _leave_alone(seconds: float) -> None:
    global _left_alone_until
    _left_alone_until = time.monotonic() + seconds
