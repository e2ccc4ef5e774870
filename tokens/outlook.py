"""What is about to break, counted: figures about all tokens, the weeks ahead, and what the live ones can do.

The work is bounded however many tokens there are: nothing is counted past CAP, and all is kept for a minute. So it is
the same for everybody, and may be shown only to those who see all tokens: administrators, operators, auditors.
"""

import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.core.cache import caches
from django.db import connection
from django.db.models import QuerySet
from django.utils import timezone

from osmo_portal.events.models import Event
from profiles.models import User
from profiles.reach import reach_of_roles
from tokens.models import AccessToken
from tokens.models.keys import KeysOf
from tokens.models.token_role import TokenRole
from tokens.standing import Refusal

CAP = 10_000
KEPT = timedelta(minutes=1)
SHOWN = timedelta(minutes=10)  # while it is counted anew
AFTER_FAILURE = timedelta(seconds=30)  # until a thread tries again
WEEKS = 12
TOP = 10
ALARM_DAYS = 7
UNUSED_DAYS = 90
_KEY, AT_WORK, _FAILED = "tokens.outlook", "tokens.outlook.at_work", "tokens.outlook.failed"
_COUNTING = threading.Lock()
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Count:
    """A number, or with `more` the number that there are at least."""

    number: int
    more: bool = False

    @classmethod
    def capped(cls, number: int) -> "Count":
        """From a count that was given up at one more than CAP."""
        return cls(min(number, CAP), number > CAP)

    def __str__(self) -> str:
        return f"{self.number:,}{'+' if self.more else ''}"

    def __bool__(self) -> bool:
        return self.number > 0


@dataclass(frozen=True, slots=True)
class Week:
    """Seven days in UTC from `first` on, and how many live tokens end in them."""

    first: date
    count: Count

    @property
    def after(self) -> date:
        return self.first + timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Outlook:
    counted_at: datetime
    figures: Mapping[str, Count]
    weeks: tuple[Week, ...]
    by_role: tuple[tuple[str, Count], ...]
    by_pool: tuple[tuple[str, Count], ...]

    @property
    def is_empty(self) -> bool:
        """Whether there never was a token."""
        return not self.figures["tokens"]

    @property
    def is_fresh(self) -> bool:
        return abs(timezone.now() - self.counted_at) < KEPT


def outlook() -> Outlook:
    """As it was counted within the last minute, or just now.

    One that is some minutes older is given once more, and counted anew in a thread. A thread sees nothing of an open
    transaction, so inside one it is counted at once.
    """
    kept: Outlook | None = caches["local"].get(_KEY)
    if kept is None:
        with _COUNTING:  # of several who come first one counts
            return caches["local"].get(_KEY) or _count_and_keep()
    if connection.in_atomic_block and not kept.is_fresh:
        return _count_and_keep()
    if not kept.is_fresh:
        _begin_to_count()
    return kept


def outlook_within(seconds: float) -> Outlook | None:
    """As `outlook`, but whoever comes after a long time waits no longer than that.

    None: it is being counted, or `could_not_be_counted`.
    """
    if connection.in_atomic_block or caches["local"].get(_KEY):
        return outlook()
    if counting := _begin_to_count():
        counting.join(seconds)
    found: Outlook | None = caches["local"].get(_KEY)
    return found


def could_not_be_counted() -> bool:
    """Whether a thread failed lately: until it has been a while none tries again."""
    return bool(caches["local"].get(_FAILED))


def _begin_to_count() -> threading.Thread | None:
    """None where a thread is at it, or failed lately."""
    if could_not_be_counted() or not caches["local"].add(AT_WORK, True, KEPT.total_seconds()):
        return None
    counting = threading.Thread(target=_count_beside, name=AT_WORK, daemon=True)
    counting.start()
    return counting


def _count_and_keep() -> Outlook:
    counted = count()
    caches["local"].set(_KEY, counted, SHOWN.total_seconds())
    return counted


def _count_beside() -> None:
    try:
        _count_and_keep()
    except Exception:
        caches["local"].set(_FAILED, True, AFTER_FAILURE.total_seconds())
        logger.exception("The figures of the first page could not be counted.")
    finally:
        connection.close()
        caches["local"].delete(AT_WORK)


def count(at: datetime | None = None) -> Outlook:
    """Four queries."""
    now = at or timezone.now()
    days = [now.date() + timedelta(days=7 * week) for week in range(WEEKS)]
    ends = {f"week {day}": AccessToken.objects.live(now).expiring_between(*_instants(day)) for day in days}
    figures = _figures(now)
    numbers = _count_all({**figures, **ends})
    by_role, by_pool = _by_power(now, more=numbers["live"].more)
    return Outlook(
        counted_at=now,
        figures={name: numbers[name] for name in figures},
        weeks=tuple(Week(day, numbers[f"week {day}"]) for day in days),
        by_role=by_role,
        by_pool=by_pool,
    )


def _figures(now: datetime) -> dict[str, QuerySet[Any]]:
    tokens = AccessToken.objects
    return {
        "tokens": tokens.all(),
        "live": tokens.live(now),
        "expired": tokens.expired_yesterday(now),
        "week": tokens.expiring_within(7, now),
        "month": tokens.expiring_within(30, now),
        "over_lifetime": tokens.over_lifetime(now),
        "never_used": tokens.live(now).never_used(),
        "unused": tokens.live(now).unused_since(now - timedelta(days=UNUSED_DAYS)),
        "left_behind": User.objects.left_behind(),
        "retired": _refused(Refusal.RETIRED, now),
        "revoked": _refused(Refusal.REVOKED, now),
    }


def _refused(refusal: Refusal, now: datetime) -> QuerySet[Any]:
    return Event.objects.told(f"exchange.refused.{refusal}").since(now - timedelta(days=ALARM_DAYS))


def _instants(day: date) -> tuple[datetime, datetime]:
    start = datetime.combine(day, time.min, UTC)
    return start, start + timedelta(days=7)


def _count_all(querysets: Mapping[str, QuerySet[Any]]) -> dict[str, Count]:
    """Each queryset's count, up to CAP, all in one query."""
    parts: list[str] = []
    values: list[Any] = []
    for queryset in querysets.values():
        sql, params = queryset.order_by().values("pk")[: CAP + 1].query.sql_with_params()
        parts.append(f"(SELECT COUNT(*) FROM ({sql}) counted)")  # noqa: S608  (Django wrote it, values apart)
        values += params
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(parts)}", values)
        numbers = cursor.fetchone()
    return {name: Count.capped(number) for name, number in zip(querysets, numbers, strict=True)}


def _by_power(now: datetime, *, more: bool) -> tuple[tuple[tuple[str, Count], ...], tuple[tuple[str, Count], ...]]:
    """How many live tokens carry each role and reach each pool, the most first.

    Where there are `more` than CAP of them, those that end first are looked at, and the numbers are lower bounds.
    """
    first_to_end = AccessToken.objects.live(now).order_by("expires_at", "pk").values("pk")[:CAP]
    carried = TokenRole.objects.filter(token__in=KeysOf(first_to_end)).order_by()
    put = carried.values_list("token_id", "assignment__role__name")
    roles_of = defaultdict(set)
    for token, role in put:
        roles_of[token].add(role)
    sets = Counter(frozenset(roles) for roles in roles_of.values())
    pools_of = reach_of_roles()
    by_role = _top(((roles, number) for roles, number in sets.items()), more)
    by_pool = _top(((_union(pools_of.get(role, ()) for role in roles), number) for roles, number in sets.items()), more)
    return by_role, by_pool


def _union(sets: Iterable[Iterable[str]]) -> frozenset[str]:
    return frozenset(name for names in sets for name in names)


def _top(numbered: Iterable[tuple[frozenset[str], int]], more: bool) -> tuple[tuple[str, Count], ...]:
    sums: Counter[str] = Counter()
    for names, number in numbered:
        sums.update(dict.fromkeys(names, number))
    ranked = sorted(sums.items(), key=lambda item: (-item[1], item[0]))
    return tuple((name, Count(number, more)) for name, number in ranked[:TOP])
