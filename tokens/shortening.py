"""What a maximum lifetime would do to tokens, counted before it happens, as `cap_lifetime` would do it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db.models import Count, F, Q
from django.db.models.functions import Greatest, TruncDate
from django.utils import timezone

from tokens.models import AccessToken
from tokens.models.token_set import AccessTokenQuerySet

NAMED = 10
OWNERS = 100
UNUSED_DAYS = 90


@dataclass(frozen=True, slots=True)
class Shortening:
    """`tokens` are shortened; `at_once` of them end now. `owners` are those of the most tokens, `ends` the days (UTC)
    on which they end then, `first` some of those that end first."""

    days: int
    tokens: int
    at_once: int
    suspended: int
    never_used: int
    unused: int
    owner_count: int
    owners: list[tuple[str, int]]
    ends: list[tuple[date, int]]
    first: list[AccessToken]

    @classmethod
    def of(cls, tokens: AccessTokenQuerySet, days: int, at: datetime | None = None) -> "Shortening":
        now = at or timezone.now()
        hit = tokens.exceeding(days, now).order_by()
        owners = hit.values_list("owner__username").annotate(tokens=Count("pk"))
        end = TruncDate(Greatest(F("issued_at") + timedelta(days=days), now))
        return cls(
            days=days,
            **hit.aggregate(
                tokens=Count("pk"),
                at_once=Count("pk", filter=Q(issued_at__lte=now - timedelta(days=days))),
                suspended=Count("pk", filter=Q(suspended_at__isnull=False)),
                owner_count=Count("owner", distinct=True),
            ),
            never_used=hit.never_used().count(),
            unused=hit.unused_since(now - timedelta(days=UNUSED_DAYS)).count(),
            owners=list(owners.order_by("-tokens", "owner__username")[:OWNERS]),
            ends=list(hit.values_list(end).annotate(tokens=Count("pk")).order_by(end)),
            first=list(hit.select_related("owner").order_by("issued_at", "pk")[:NAMED]),
        )

    def __str__(self) -> str:
        if not self.tokens:
            return "No token is shortened."
        unused = f"Not used for {UNUSED_DAYS} days: {self.unused:,}."
        lines = [
            f"Tokens that are shortened, for good: {self.tokens:,}. {self.at_once:,} of them end at once.",
            f"Never used: {self.never_used:,}. {unused} Suspended: {self.suspended:,}.",
            f"Owners: {_some(self.owners, self.owner_count)}.",
            f"They end then: {_some(self.ends, len(self.ends))}.",
            "First:",
        ]
        return "\n".join([*lines, *(f"  {shortened(token, self.days)}" for token in self.first)])


def shortened(token: AccessToken, days: int) -> str:
    """The token, its end, and its end if it may live so many days."""
    return f"{token} ({token.expires_at:%Y-%m-%d} → {token.end_within(days):%Y-%m-%d})"


def _some(numbered: Iterable[tuple[object, int]], count: int) -> str:
    some = [f"{what} ({number:,})" for what, number in list(numbered)[:NAMED]]
    left = count - len(some)
    return ", ".join(some) + (f" and {left:,} more" if left else "")
