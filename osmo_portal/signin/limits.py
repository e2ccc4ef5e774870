"""Failures to prove who one is, counted over all processes: of an address, and of what was sent.

Only failures are counted, and only a failure is told that there were too many: whoever sends what is right never meets
a count, so a flood of wrong secrets locks nobody out. Passwords, which can be guessed, have the stricter limits of the
sign-in. Where nothing can be counted the failure stays a failure.
"""

import time
from datetime import timedelta
from ipaddress import ip_address, ip_network
from secrets import randbelow
from typing import Any, NamedTuple

from django.conf import settings
from django.core.cache import caches
from django.db import DatabaseError, connection
from django.http import HttpResponse
from django.utils import timezone
from django.utils.crypto import salted_hmac

from osmo_portal.postgresql import unconfirmed
from osmo_portal.signin.models import FailureCount

WINDOW = 15 * 60  # seconds
CLEARED = 100  # one failure in so many takes away what was counted in earlier windows

_COUNT = """
INSERT INTO portal_failures (key, count, ends) VALUES (%s, 1, %s)
ON CONFLICT (key) DO UPDATE SET count = portal_failures.count + 1 RETURNING count
"""


class Limit(NamedTuple):
    name: str
    most: int  # in a window


OF_SOURCE = Limit("source", 60)
OF_SECRET = Limit("secret", 20)


def failed(address: str | None, sent: str) -> int:
    """Counts a failure. Seconds to wait if there were too many from there, or with that, else 0.

    From where there were too many already nothing more is counted: made-up secrets without end would fill the table.
    """
    now = time.time()
    left = WINDOW - int(now) % WINDOW
    over = (_count(limit, what, int(now), left) > limit.most for limit, what in _counted(address, sent))
    return left if any(over) else 0


def told_to_wait(response: HttpResponse) -> HttpResponse:
    """The answer to whoever tried too often, with the seconds after which none of those tries counts any more."""
    response.status_code = 429
    response["Retry-After"] = str(WINDOW)
    return response


class LimitedMixin:
    """For a view of a form by which somebody could guess: who tried too often is told to wait."""

    def form_invalid(self, form: Any) -> HttpResponse:
        response: HttpResponse = super().form_invalid(form)  # type: ignore[misc]
        codes = {error.code for errors in form.errors.as_data().values() for error in errors}
        often = not codes.isdisjoint({"too_many_login_attempts", "rate_limited"})
        return told_to_wait(response) if often else response


def _counted(address: str | None, sent: str) -> list[tuple[Limit, str]]:
    return [(OF_SOURCE, _network(address)), (OF_SECRET, sent)]


def _network(address: str | None) -> str:
    """An address, of IPv6 the network that one subscriber has: its addresses are without number."""
    if address is None or ip_address(address).version == 4:
        return address or "unknown"
    return str(ip_network(f"{address}/64", strict=False))


def _count(limit: Limit, what: str, now: int, left: int) -> int:
    """How many it are in this window. What is over is remembered by the process: from then on it costs no query."""
    key = f"{limit.name}:{now // WINDOW}:{salted_hmac('osmo_portal.limits', what, algorithm='sha256').hexdigest()}"
    known: int = caches["local"].get(key, 0)
    if known > limit.most:
        return known
    try:
        count = _counted_in_cache(key, left) if settings.CACHE_URL else _counted_in_database(key, left)
    except DatabaseError:
        return 0
    if count > limit.most:
        caches["local"].set(key, count, left)
    return count


def _counted_in_cache(key: str, left: int) -> int:
    shared = caches["default"]
    shared.add(key, 0, left)
    try:
        return shared.incr(key)
    except ValueError:
        return 1  # the window ended meanwhile


def _counted_in_database(key: str, left: int) -> int:
    now = timezone.now()
    with unconfirmed():
        with connection.cursor() as cursor:
            cursor.execute(_COUNT, [key, connection.ops.adapt_datetimefield_value(now + timedelta(seconds=left))])
            count: int = cursor.fetchone()[0]
        if randbelow(CLEARED) == 0:
            FailureCount.objects.filter(ends__lt=now).delete()
    return count
