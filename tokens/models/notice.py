"""Who was told that a token ends soon: once for each token, end, threshold and recipient."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from django.db import models, transaction
from django.db.models import Case, F, Q, When
from django.utils import timezone

from profiles.models import Kind
from tokens.models.access_token import AccessToken

THRESHOLDS = (1, 3, 7, 14, 30)  # days before the end; of those that have passed the nearest to the end counts
LEASE = timedelta(minutes=15)  # longer than it takes to hand over one message
STEP = 1_000  # tokens that are read at once
TEAM = "team"
WEBHOOK = "webhook"


@dataclass(frozen=True, slots=True)
class Due:
    """That a token ends within the days of the threshold. `person` is the key of who answers for it, or None."""

    token: int
    expires_at: datetime
    threshold: int
    person: int | None


def due(at: datetime) -> Iterator[list[Due]]:
    """Live tokens that end within the widest threshold, those that end first first, a step at a time.

    A suspended token is left out: nothing runs by it that could break. Resumed, it comes up again.
    """
    # A person answers for his own tokens, for those of an account whoever is accountable.
    person = Case(When(owner__kind=Kind.PERSON, then=F("owner")), default=F("owner__accountable"))
    tokens = AccessToken.objects.expiring_within(THRESHOLDS[-1], at).order_by("expires_at", "pk")
    rows = tokens.annotate(person=person).values_list("pk", "expires_at", "person")
    last, found = Q(), list(rows[:STEP])
    while found:
        yield [Due(pk, end, _threshold(end - at), person) for pk, end, person in found]
        key, end, _ = found[-1]
        last = Q(expires_at__gt=end) | Q(expires_at=end, pk__gt=key)
        found = list(rows.filter(last, expires_at__gte=end)[:STEP])


def _threshold(left: timedelta) -> int:
    return next(days for days in THRESHOLDS if left <= timedelta(days=days))


class NoticeQuerySet(models.QuerySet["Notice"]):
    def abandoned(self, at: datetime) -> Self:
        """Not sent, and nobody is about to: given back after a failure, or claimed by a run that died."""
        return self.filter(Q(claimed_at=None) | Q(claimed_at__lt=at - LEASE), sent_at=None)

    def missing(self, wanted: Iterable["Notice"], at: datetime) -> tuple[list["Notice"], list[int]]:
        """Of the wanted notices those that there are not yet, and the keys of those that were abandoned."""
        wanted = list(wanted)
        known = self.filter(token__in={notice.token_id for notice in wanted})
        free = set(known.abandoned(at).values_list("pk", flat=True))
        keys = {notice.identity: notice.pk for notice in known}
        fresh = [notice for notice in wanted if notice.identity not in keys]
        return fresh, sorted(free & {keys.get(notice.identity) for notice in wanted})

    def claim(self, fresh: list["Notice"], abandoned: list[int], *, run: str) -> None:
        """Makes these `run`'s, as far as no other run was faster."""
        now = timezone.now()
        for notice in fresh:
            notice.claim, notice.claimed_at = run, now
        # Waits for another run that inserts the same; what that has committed is skipped. The order is the same in
        # all runs, so they cannot wait for each other.
        self.bulk_create(fresh, ignore_conflicts=True)
        if abandoned:
            with transaction.atomic():
                free = self.filter(pk__in=abandoned).abandoned(now).select_for_update(skip_locked=True)
                held = list(free.values_list("pk", flat=True))
                self.filter(pk__in=held).update(claim=run, claimed_at=now)

    def held(self, run: str) -> Self:
        return self.filter(claim=run, sent_at=None)

    def renew(self) -> int:
        """Holds what is about to be sent for another lease. Returns how many are still held."""
        return self.update(claimed_at=timezone.now(), attempts=F("attempts") + 1)

    def give_back(self) -> int:
        return self.update(claim="", claimed_at=None)

    def mark_sent(self) -> int:
        return self.update(sent_at=timezone.now())


class Notice(models.Model):
    """`recipient` is `user:KEY`, `team` or `webhook`. `claim` names the run that sends it, or did.

    Handing over a message and noting that are two steps. A run that dies between them has sent a message that a later
    run sends again, after the lease: each notice goes out at least once, and only then more than once.
    """

    token = models.ForeignKey(AccessToken, models.CASCADE, related_name="notices", db_index=False)
    expires_at = models.DateTimeField(db_index=True)
    threshold = models.PositiveSmallIntegerField()
    recipient = models.CharField(max_length=32)
    claim = models.CharField(max_length=16, blank=True)
    claimed_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)

    objects = NoticeQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["token", "expires_at", "threshold", "recipient"], name="notice_once"),
        ]
        indexes = [
            models.Index(fields=["claim", "recipient", "expires_at"], condition=Q(sent_at=None), name="notice_held"),
        ]

    def __str__(self) -> str:
        return f"{self.token}, {self.threshold} days before its end, to {self.recipient}"

    @property
    def identity(self) -> tuple[Any, ...]:
        return self.token_id, self.expires_at, self.threshold, self.recipient
