from datetime import datetime, timedelta
from typing import Any

from django.db import OperationalError, connection, models

INTERVAL = timedelta(minutes=1)

_UPDATE = "UPDATE tokens_lastuse SET at = %s, ip = %s, agent = %s WHERE token_id = %s"
# A row that somebody else is writing needs no second writer: its use is recorded by the other one. Nor is the disk
# waited for: a server that fails may forget the uses of its last half second, and those alone.
_UPDATE_UNLOCKED = (
    "UPDATE tokens_lastuse SET at = %s, ip = %s, agent = %s WHERE token_id IN "
    "(SELECT token_id FROM tokens_lastuse WHERE token_id = %s FOR UPDATE SKIP LOCKED) "
    "AND set_config('synchronous_commit', 'off', true) = 'off'"
)


class LastUse(models.Model):
    """When a token was last exchanged, to the minute. Kept apart, so that a use never rewrites the token's row."""

    token = models.OneToOneField("tokens.AccessToken", models.PROTECT, primary_key=True, related_name="last_use")
    at = models.DateTimeField(null=True, db_index=True)
    ip = models.GenericIPAddressField("address", null=True)
    agent = models.CharField(max_length=200, blank=True)

    class Meta:
        indexes = [models.Index(fields=["token"], condition=models.Q(at=None), name="last_use_never")]

    def __str__(self) -> str:
        return f"last use of token {self.token_id}"


def is_due(previous: datetime | None, now: datetime) -> bool:
    return previous is None or abs(now - previous) >= INTERVAL  # ahead of now it is where a clock was


def misses_none() -> bool:
    """Whether of every use one within INTERVAL before it, or itself, is recorded. A busy SQLite leaves some out."""
    return connection.vendor == "postgresql"


def note(token_id: int, *, at: datetime, ip: str | None, agent: str) -> None:
    """Records a use in one statement that waits for no lock. Where the row or SQLite is busy, it is left out."""
    values = [at, ip, agent[:200], token_id]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(_UPDATE_UNLOCKED, values)
    else:
        _note_on_sqlite(values)


def _note_on_sqlite(values: list[Any]) -> None:
    connection.ensure_connection()
    raw = connection.connection
    (patience,) = raw.execute("PRAGMA busy_timeout").fetchone()
    raw.execute("PRAGMA busy_timeout = 0")
    try:
        with connection.cursor() as cursor:
            cursor.execute(_UPDATE, [connection.ops.adapt_datetimefield_value(values[0]), *values[1:]])
    except OperationalError:
        pass  # busy: the next use will be recorded
    finally:
        raw.execute(f"PRAGMA busy_timeout = {patience:d}")
