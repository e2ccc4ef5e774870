"""A clock that can be put back, so that a story is played from its beginning. For demonstrations alone.

Everything here asks `django.utils.timezone.now`, the events too. So what is played in order makes a chain whose times
rise as they must. The clock belongs to the whole process: a command may do this, a server never.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo

from django.utils import timezone


class Clock:
    """Runs from `start` on, and can be moved forward, up to the present."""

    def __init__(self, start: datetime) -> None:
        self._behind = datetime.now(UTC) - start

    def now(self) -> datetime:
        return datetime.now(UTC) - self._behind

    def move_to(self, instant: datetime) -> None:
        present = datetime.now(UTC)
        self._behind = present - min(max(instant, present - self._behind), present)


@contextmanager
def put_back(start: datetime) -> Iterator[Clock]:
    clock = Clock(start)

    class Then(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return clock.now().astimezone(tz)

    present = timezone.datetime  # type: ignore[attr-defined]
    timezone.datetime = Then  # type: ignore[attr-defined]
    try:
        yield clock
    finally:
        timezone.datetime = present  # type: ignore[attr-defined]
