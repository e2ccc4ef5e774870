"""What has ended is judged by two clocks, the portal's and PostgreSQL's: the later one counts.

So neither, put back, revives what had ended. SQLite has no clock but the portal's.
"""

from typing import Any

from django.db import connection
from django.db.models import DateTimeField, Expression, Value
from django.db.models.functions import Greatest, Now


def theirs() -> Any:
    """The time of the database as a part of a query; null where it is the portal's."""
    return Now() if connection.vendor == "postgresql" else Value(None, DateTimeField())


def latest(here: Any) -> Any:
    """For a query, the later one of `here`, the portal's time, and the database's."""
    if connection.vendor != "postgresql":
        return here
    return Greatest(here if isinstance(here, Expression) else Value(here, DateTimeField()), Now())
