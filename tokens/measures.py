"""Figures of the tables, for Prometheus.

None costs more with more tokens: counts end at `outlook.CAP`, and all are kept for a minute.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from django.core.cache import caches
from django.db import DatabaseError, InterfaceError, connection
from django.utils import timezone
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from osmo_portal.events import chain, triggers, verification
from profiles.models import Kind
from tokens.models import AccessToken, LastUse
from tokens.outlook import CAP, Outlook, outlook

KEPT = 60  # seconds
_KEY = "tokens.measures"
# What the first page counts, under names that say it without the page.
FIGURES = {
    "live": "live",
    "ends_within_7_days": "week",
    "ends_within_30_days": "month",
    "expired_yesterday": "expired",
    "over_lifetime": "over_lifetime",
    "never_used": "never_used",
    "unused_90_days": "unused",
}


STOPPING = "in_use_ends_within_1_day"
IN_USE = timedelta(days=7)


class Seen(NamedTuple):
    outlook: Outlook
    stopping: int
    next_end: datetime | None
    last_use: datetime | None
    events: int
    verified_at: datetime | None
    faults: int
    triggers_missing: int


class Tables(Collector):
    def collect(self) -> Iterator[Metric]:
        try:
            seen = _seen()
        except (DatabaseError, InterfaceError):
            yield _gauge("osmo_database_up", "Whether the database answers.", 0)
            return
        yield _gauge("osmo_database_up", "Whether the database answers.", 1)
        yield from _of_tokens(seen)
        yield from _of_events(seen)


def _seen() -> Seen:
    kept: Seen | None = caches["local"].get(_KEY)
    if kept is None:
        kept = _look()
        caches["local"].set(_KEY, kept, KEPT)
    return kept


def _look() -> Seen:
    ends = AccessToken.objects.live().order_by("expires_at").values_list("expires_at", flat=True)
    uses = LastUse.objects.exclude(at=None).order_by("-at").values_list("at", flat=True)
    verified = verification.latest(verification.WHOLE)
    return Seen(
        outlook=outlook(),
        stopping=_stopping(timezone.now()),
        next_end=ends.first(),
        last_use=uses.first(),
        events=chain.head()[0],
        verified_at=verified.at if verified else None,
        faults=verified.changes["faults"] if verified else 0,
        triggers_missing=len(triggers.missing(connection)),
    )


def _stopping(now: datetime) -> int:
    """Service tokens that programs work with and that end tomorrow. Not those that were made for so short a time."""
    lately = now - IN_USE
    tokens = AccessToken.objects.of_kind(Kind.SERVICE).issued_before(lately).used_since(lately)
    return tokens.expiring_within(1, now).order_by()[:CAP].count()


def _of_tokens(seen: Seen) -> Iterator[Metric]:
    by_state = GaugeMetricFamily("osmo_tokens", "Tokens, at most 10000 of each kind are counted.", labels=["state"])
    for name, figure in FIGURES.items():
        by_state.add_metric([name], seen.outlook.figures[figure].number)
    by_state.add_metric([STOPPING], seen.stopping)
    yield by_state
    by_role = GaugeMetricFamily(
        "osmo_tokens_by_role", "Live tokens that carry a role, of the ten most.", labels=["role"]
    )
    for role, count in seen.outlook.by_role:
        by_role.add_metric([role], count.number)
    yield by_role
    refused = GaugeMetricFamily("osmo_refused_last_7_days", "Tokens whose dead secrets were sent.", labels=["reason"])
    for reason in ("retired", "revoked"):
        refused.add_metric([reason], seen.outlook.figures[reason].number)
    yield refused
    yield from _seconds("osmo_next_expiry_seconds", "Until the next live token ends.", seen.next_end, _until)
    yield from _seconds("osmo_last_use_age_seconds", "Since a token was last used.", seen.last_use, _since)


def _of_events(seen: Seen) -> Iterator[Metric]:
    yield _gauge("osmo_events", "Events in the audit trail.", seen.events)
    yield _gauge("osmo_trail_faults", "Faults that the last verification of the whole trail found.", seen.faults)
    yield _gauge(
        "osmo_trail_triggers_missing", "Triggers that guard the trail and are not there.", seen.triggers_missing
    )
    yield from _seconds(
        "osmo_trail_verified_age_seconds", "Since the whole trail was verified.", seen.verified_at, _since
    )


def _gauge(name: str, says: str, value: float) -> Metric:
    return GaugeMetricFamily(name, says, value=value)


def _seconds(name: str, says: str, at: datetime | None, seconds: Callable[[datetime], float]) -> Iterator[Metric]:
    """Nothing where there is no such instant: an absent value cannot be taken for a good one."""
    if at:
        yield _gauge(name, says, seconds(at))


def _until(at: datetime) -> float:
    return (at - timezone.now()).total_seconds()


def _since(at: datetime) -> float:
    return (timezone.now() - at).total_seconds()
