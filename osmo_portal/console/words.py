"""How the console writes times, states and what changed."""

import json
from collections.abc import Iterable
from datetime import datetime
from functools import cache
from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

NOTHING = "–"


def stamp(when: datetime | None) -> str:
    """The instant in UTC, to the minute; machine-readable too."""
    if when is None:
        return NOTHING
    moment = when.astimezone(timezone.get_default_timezone())
    return SafeString(f'<time datetime="{moment.isoformat()}">{moment:%Y-%m-%d %H:%M} UTC</time>')


def distance(when: datetime | None, now: datetime | None = None) -> str:
    """How far away the instant is: "in 3 days", "2 hours ago". Its largest unit only."""
    if when is None:
        return ""
    now = now or timezone.now()
    if abs(when - now).total_seconds() < 60:
        return "now"
    far = timesince(min(when, now), max(when, now), depth=1).replace("\xa0", " ")
    return f"in {far}" if when > now else f"{far} ago"


def stamp_and_distance(when: datetime | None) -> str:
    if when is None:
        return NOTHING
    return SafeString(f'{stamp(when)} <span class="quiet distance">{distance(when)}</span>')


def link(section: str, pk: int, text: Any) -> SafeString:
    """A link to the record of that number. `section` is as in the names of Django's routes: tokens_accesstoken."""
    before, after = _around_number(section)
    return format_html('<a href="{}{}{}">{}</a>', before, pk, after, text)


@cache
def _around_number(section: str) -> list[str]:
    """A list links to 150 records: to find each address in the routes takes a tenth of the page."""
    return reverse(f"admin:{section}_change", args=[0]).rsplit("0", 1)


def counted(number: int) -> str:
    """A large number that can be read: 20,000."""
    return f"{number:,}"


def badge(word: str) -> SafeString:
    """A state as a small coloured label; the colour comes from the stylesheet."""
    return format_html('<span class="badge badge-{}">{}</span>', word.replace(" ", "-"), word)


def lines(texts: Iterable[str]) -> SafeString:
    """One below the other."""
    return format_html_join("", '<div class="line">{}</div>', ((text,) for text in texts))


def spoken(action: str) -> str:
    """An event's action in words: "token issued"."""
    return action.replace(".", " ").replace("_", " ").replace("signin", "sign-in")


def changes(event: Any) -> list[tuple[str, str]]:
    """What an event tells, as (field, "before → after") or (field, value). What stayed the same is left out."""
    makes = event.action.endswith((".issued", ".created"))
    return [
        _lasting(name, value) or (name.replace("_", " "), plain(value) if makes else _before_and_after(value))
        for name, value in event.changes.items()
        if value not in (None, "", []) and not (_is_pair(value) and value[0] == value[1])
    ]


def _lasting(name: str, value: Any) -> tuple[str, str] | None:
    """`grace_seconds` 86400 as ("grace", "1 day"). None for what is no such field."""
    what = name.removesuffix("_seconds")
    return (what.replace("_", " "), duration(value)) if what != name and type(value) is int else None


def duration(seconds: int) -> str:
    """Exactly, in the largest unit in which it is a whole number."""
    units = {"day": 86_400, "hour": 3_600, "minute": 60, "second": 1}
    unit = next(unit for unit, size in units.items() if seconds % size == 0)
    number = seconds // units[unit]
    return f"{number:,} {unit}{'' if number == 1 else 's'}" if seconds else "none"


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2


def _before_and_after(value: Any) -> str:
    return f"{plain(value[0])} → {plain(value[1])}" if _is_pair(value) else plain(value)


def plain(value: Any) -> str:
    """A value of an event in words: an instant to the minute, yes and no, lists with commas."""
    if value in (None, "", []):
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return json.dumps(value) if any(isinstance(one, dict) for one in value) else ", ".join(map(plain, value))
    moment = parse_datetime(value) if isinstance(value, str) and value[10:11] == "T" else None
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else str(value)
