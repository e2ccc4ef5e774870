"""The outlook on the console's first page: each number with the address of the list behind it."""

from dataclasses import dataclass
from typing import Any

from django.urls import reverse
from django.utils.http import urlencode

from osmo_portal.console import bars
from osmo_portal.events.actor import Actor
from tokens import rules
from tokens.outlook import ALARM_DAYS, Count, Outlook, Week, could_not_be_counted, outlook_within
from tokens.standing import Refusal

PATIENCE = 0.1  # seconds: what takes longer is shown once it is there
TOKENS, ACCOUNTS, EVENTS = "tokens_accesstoken", "profiles_serviceaccount", "events_event"


@dataclass(frozen=True, slots=True)
class Figure:
    """`tone` is how it looks while it is not 0."""

    label: str
    count: Count
    url: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a breakdown; `share` of the highest, in percent."""

    name: str
    count: Count
    url: str
    share: int


def first_page(by: Actor) -> dict[str, Any]:
    """`outlook` is None while it is pending, and where to count it failed."""
    seen = outlook_within(PATIENCE)
    pending = seen is None and not could_not_be_counted()
    shown = {"outlook": seen, "pending": pending, "may_issue": rules.may_issue_service_tokens(by)}
    return shown | _drawn(seen) if seen else shown


def _drawn(seen: Outlook) -> dict[str, Any]:
    weeks = bars.draw([_bar(week) for week in seen.weeks])
    return {
        "figures": _figures(seen),
        "weeks": weeks,
        "cliff": any(week.stands_out for week in weeks),
        "drawing": {"height": bars.HEIGHT, "base": bars.BASE, "label_y": bars.BASE + 20},
        "by_role": _rows(seen.by_role, "role"),
        "by_pool": _rows(seen.by_pool, "pool"),
    }


def _figures(seen: Outlook) -> list[Figure]:
    return [
        _figure(seen, "expired", "expired in the last 24 hours", TOKENS, "bad", expiring="yesterday"),
        _figure(seen, "week", "expire within 7 days", TOKENS, "warn", expiring=7),
        _figure(seen, "month", "expire within 30 days", TOKENS, expiring=30),
        _figure(seen, "over_lifetime", "live longer than the policy allows", TOKENS, "warn", over_lifetime=1),
        _figure(seen, "live", "live tokens", TOKENS, state="active"),
        _figure(seen, "never_used", "never used", TOKENS, state="active", used="never"),
        _figure(seen, "unused", "unused for 90 days", TOKENS, "warn", state="active", used="unused-90"),
        _figure(
            seen, "left_behind", "service accounts whose accountable person left", ACCOUNTS, "warn", state="left-behind"
        ),
        _alarm(seen, "a retired secret was used", Refusal.RETIRED),
        _alarm(seen, "a revoked token was used", Refusal.REVOKED),
    ]


def _alarm(seen: Outlook, label: str, refusal: Refusal) -> Figure:
    action = f"exchange.refused.{refusal}"
    return _figure(
        seen, refusal.value, f"times {label} in {ALARM_DAYS} days", EVENTS, "bad", action=action, days=ALARM_DAYS
    )


def _figure(seen: Outlook, name: str, label: str, section: str, tone: str = "", **query: Any) -> Figure:
    return Figure(label, seen.figures[name], _list(section, **query), tone)


def _bar(week: Week) -> bars.Bar:
    end = "token ends" if week.count.number == 1 else "tokens end"
    url = _list(TOKENS, state="active", expires_from=week.first, expires_to=week.after)
    return bars.Bar(
        number=week.count.number,
        label=f"{week.first:%-d %b}",
        short=bars.short(week.count.number) + ("+" if week.count.more else ""),
        words=f"{week.count} {end} in the 7 days from {week.first}",
        url=url,
    )


def _rows(counted: tuple[tuple[str, Count], ...], parameter: str) -> list[Row]:
    highest = max((count.number for _, count in counted), default=1)
    return [
        Row(name, count, _list(TOKENS, state="active", **{parameter: name}), round(100 * count.number / highest))
        for name, count in counted
    ]


def _list(section: str, **query: Any) -> str:
    return f"{reverse(f'admin:{section}_changelist')}?{urlencode(query)}"
