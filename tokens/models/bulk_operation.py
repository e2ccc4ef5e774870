"""One action on a whole set of tokens: looked at first, then done to exactly that set, batch after batch.

Nothing runs by itself: whoever has the page open, or the command, calls `run` again and again. Each batch commits with
its events and with how far the operation is, so one that was interrupted goes on where it stood.
"""

import hashlib
import struct
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connection, models
from django.db.models import Count
from django.db.models.functions import Cast
from django.utils import timezone

from osmo_portal.events.actor import Actor
from osmo_portal.events.trail import audited, record
from profiles.models import User
from profiles.rules import require_administrator, require_reason
from tokens.models.access_token import (
    BATCH_SIZES,
    AccessToken,
    AccessTokenQuerySet,
    Progress,
    State,
    TokenRole,
    require_power_over_sets,
    require_power_to_resume,
)
from tokens.models.keys import Keys

MAX_TOKENS = 5_000_000  # what one operation may be about
SHOWN = 10  # owners, roles and tokens that a preview names
STEP = 10_000  # rows that are read at once
TIMES = ("expires_at", "suspended_at", "ended_at")
# What the digest of a set covers. Times as the database writes them: to make objects of them takes thrice as long.
FACTS: tuple[Any, ...] = ("pk", "owner_id", *(Cast(name, models.TextField()) for name in TIMES))


class Action(models.TextChoices):
    EXPIRE = "expire", "End at an instant"
    REVOKE = "revoke", "Revoke"
    SUSPEND = "suspend", "Suspend"
    RESUME = "resume", "Resume"
    HAND_OVER = "hand-over", "Change accountable person"


class Stage(models.TextChoices):
    PREVIEWED = "previewed"
    RUNNING = "running", "unfinished"
    FINISHED = "finished"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Look:
    """How many tokens a set has, its digest, and how many of them each owner has."""

    count: int
    digest: str
    owners: Counter[int]


def look_at(tokens: AccessTokenQuerySet) -> Look:
    """Reads the set in the order of its keys, a step at a time: memory does not grow with it."""
    count, digest, owners = 0, hashlib.sha256(), Counter[int]()
    for rows in _walk(tokens):
        count += len(rows)
        digest.update("".join(map(repr, rows)).encode())
        owners.update(map(itemgetter(1), rows))
    return Look(count, digest.hexdigest(), owners)


def _walk(tokens: AccessTokenQuerySet) -> Iterator[list[tuple[Any, ...]]]:
    ordered, last = tokens.prefetch_related(None).order_by("pk").values_list(*FACTS), 0
    while rows := list(ordered.filter(pk__gt=last)[:STEP]):
        yield rows
        last = rows[-1][0]


class BulkOperation(models.Model):
    """What is done is in the trail; this says what was looked at, who does it, and how far it is.

    `filters` are those of the token list, by name. `at` is for ending, `accountable` for handing over. `changed` counts
    tokens that were changed, `handled` also those that were as wanted already or that must be left alone.
    """

    action = models.CharField(max_length=16, choices=Action.choices)
    filters = models.JSONField(default=dict)
    at = models.DateTimeField(null=True)
    accountable = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    reason = models.TextField(blank=True)
    count = models.PositiveIntegerField()
    affected = models.PositiveIntegerField()
    beyond = models.PositiveIntegerField(default=0)
    digest = models.CharField(max_length=64)
    seen = models.JSONField(default=dict)
    stage = models.CharField(max_length=16, choices=Stage.choices, default=Stage.PREVIEWED, db_index=True)
    handled = models.PositiveIntegerField(default=0)
    changed = models.PositiveIntegerField(default=0)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    previewed_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.get_action_display()}: {self.count:,} token{'s' if self.count != 1 else ''}"

    # Ways in.

    @classmethod
    def preview(
        cls,
        tokens: AccessTokenQuerySet,
        *,
        by: Actor,
        action: str,
        filters: dict[str, Any],
        at: datetime | None = None,
        accountable: User | None = None,
    ) -> "BulkOperation":
        """Looks at the set and keeps what was seen, so that `start` can be held to it. Changes no token."""
        operation = cls(action=Action(action), filters=filters, at=at, accountable=accountable, created_by=by.user)
        operation._require_power(by)
        if action == Action.HAND_OVER and accountable is None:
            raise ValidationError({"accountable": "Say who is accountable from now on."})
        operation._look(tokens, by)
        with audited():
            operation.save()
            record("tokens.bulk_previewed", by, operation, **operation._told())
        return operation

    def start(self, tokens: AccessTokenQuerySet, *, by: Actor, digest: str, reason: str) -> None:
        """Freezes the set, if it still is the one of `digest`, for `run` to work through. Changes no token by itself.

        Raises ValidationError with the code "conflict" where the set has changed, or the operation has begun.
        """
        with audited():
            operation = self._locked()
            operation._require_power(by)
            if by.user != operation.created_by:
                raise PermissionDenied("Only who looked at the preview may go on from it. Make a preview of your own.")
            if operation.stage != Stage.PREVIEWED:
                raise ValidationError("This has been begun already. Nothing was begun twice.", code="conflict")
            operation.reason = require_reason(reason)
            operation._freeze(tokens, digest)
            operation.stage, operation.started_at = Stage.RUNNING, timezone.now()
            operation.at = operation.at or operation.started_at
            operation.save()
            record("tokens.bulk_started", by, operation, reason=operation.reason, operation=operation.name)
        self.refresh_from_db()

    def run(self, *, by: Actor, seconds: float | None = None, progress: Progress | None = None) -> None:
        """Works on until all is done, or until `seconds` are over. Whoever calls it has the power at each batch.

        Two at once take turns; each batch is done once. What was finished or stopped stays so.
        """
        end = time.monotonic() + seconds if seconds is not None else None
        while self._run_batch(by) and (end is None or time.monotonic() < end):
            if progress:
                progress(self.handled)
        if progress:
            progress(self.handled)

    def stop(self, *, by: Actor, reason: str) -> None:
        """Gives up what is left. What was done stays done."""
        with audited():
            operation = self._locked()
            operation._require_may_run(by)
            if operation.stage != Stage.RUNNING:
                raise ValidationError(f"This is {operation.get_stage_display()} already.", code="conflict")
            operation.chunks.all().delete()
            operation._close(Stage.STOPPED, "tokens.bulk_stopped", by, require_reason(reason))
        self.refresh_from_db()

    # Who may.

    def may_run(self, actor: Actor) -> bool:
        """Whether the actor may go on with it, or stop it: who began it and still has the power, and administrators."""
        try:
            self._require_may_run(actor)
        except PermissionDenied:
            return False
        return True

    def _require_may_run(self, by: Actor) -> None:
        self._require_power(by)
        if by.user != self.created_by and not by.is_administrator:
            raise PermissionDenied("Only who began this, or an administrator, may go on with it.")

    def _require_power(self, by: Actor) -> None:
        if self.action == Action.HAND_OVER:
            require_administrator(by, "choose who is accountable")
        elif self.action == Action.RESUME:
            require_power_to_resume(by)
        else:
            require_power_over_sets(by)

    # Looking.

    def _look(self, tokens: AccessTokenQuerySet, by: Actor) -> None:
        self.previewed_at = timezone.now()
        look = look_at(tokens)
        self.count, self.digest = look.count, look.digest
        if not 0 < self.count <= MAX_TOKENS:
            message = (
                f"These are more than {MAX_TOKENS:,} tokens. Narrow the filters." if self.count else "No token matches."
            )
            raise ValidationError(message, code="size")
        affected = self._affected(tokens, by)
        self.affected = affected.count()
        if not self.affected:
            raise ValidationError(f"None of these {self.count:,} tokens would change.", code="nothing")
        if self.action == Action.RESUME:
            self.beyond = tokens.in_state(State.SUSPENDED).count() - self.affected
        self.seen = {"owners": _named(look.owners), "owner_count": len(look.owners), **_seen(tokens)}
        if self.action == Action.HAND_OVER:
            self.seen["account_count"] = affected.order_by().values("owner").distinct().count()

    def _affected(self, tokens: AccessTokenQuerySet, by: Actor) -> AccessTokenQuerySet:
        """Those of the set that would change, were it done now."""
        now = timezone.now()
        match self.action:
            case Action.EXPIRE:
                return tokens.outliving(max(self.at or now, now))
            case Action.REVOKE:
                return tokens.listed()
            case Action.SUSPEND:
                return tokens.live()
            case Action.RESUME:
                return tokens.resumable(by)
        others = models.Q(owner__accountable=None) | ~models.Q(owner__accountable=self.accountable)
        return tokens.of_accounts().filter(others)

    # Running.

    def _freeze(self, tokens: AccessTokenQuerySet, digest: str) -> None:
        """Keeps the keys of the set. The one transaction around it undoes that where the set is another one by now."""
        size, count, now = BATCH_SIZES[connection.vendor], 0, hashlib.sha256()
        for rows in _walk(tokens):
            now.update("".join(map(repr, rows)).encode())
            count += len(rows)
            keys = [row[0] for row in rows]
            BulkChunk.objects.bulk_create(
                BulkChunk(operation=self, packed=_pack(keys[start : start + size]))
                for start in range(0, len(keys), size)
            )
        if not now.hexdigest() == digest == self.digest:
            raise ValidationError(f"The set has changed since the preview: {self._difference(count)}", code="conflict")

    def _difference(self, count: int) -> str:
        if count == self.count:
            return f"there still are {count:,} tokens, but other ones, or some have changed. Look again."
        return f"it was {self.count:,} token{'s' if self.count != 1 else ''}, now {count:,}. Look again."

    def _run_batch(self, by: Actor) -> bool:
        """Does the next batch; whether there is more to do after it."""
        with audited():
            operation = self._locked()
            operation._require_may_run(by)
            chunk = operation.chunks.first() if operation.stage == Stage.RUNNING else None
            if chunk:
                operation._do(chunk, by)
        self.refresh_from_db()
        return self.stage == Stage.RUNNING

    def _do(self, chunk: "BulkChunk", by: Actor) -> None:
        keys = _unpack(chunk.packed)
        self.changed += self._change(AccessToken.objects.filter(pk__in=Keys(keys)), by)
        self.handled += len(keys)
        chunk.delete()
        if self.chunks.exists():
            self.save(update_fields=["changed", "handled"])
        else:
            self._close(Stage.FINISHED, "tokens.bulk_executed", by, self.reason)

    def _change(self, tokens: AccessTokenQuerySet, by: Actor) -> int:
        """By the ways in of sets: they check the power and, with the rows locked, what still is to be changed."""
        words: dict[str, Any] = {"by": by, "reason": self.reason, "operation": self.name}
        match self.action:
            case Action.EXPIRE:
                return tokens.expire(at=self.at, **words)
            case Action.REVOKE:
                return tokens.revoke(**words)
            case Action.SUSPEND:
                return tokens.suspend(**words)
            case Action.RESUME:
                return tokens.resume(**words)
        return tokens.hand_over(**words | {"to": self.accountable})

    def _close(self, stage: Stage, event: str, by: Actor, reason: str) -> None:
        self.stage, self.finished_at = stage, timezone.now()
        self.save()
        figures: dict[str, Any] = {"changed": self.changed, "left_alone": self.left_alone, "seconds": self.seconds}
        if self.remaining:
            figures["not_reached"] = self.remaining
        record(event, by, self, reason=reason, operation=self.name, **self._told(), **figures)

    def _told(self) -> dict[str, Any]:
        """What events tell of the operation."""
        return {
            "bulk_action": self.action,
            "filters": [f"{name}={value}" for name, value in self.filters.items()],
            "count": self.count,
            "set_digest": self.digest,
            **({"at": self.at.isoformat()} if self.action == Action.EXPIRE and self.at else {}),
            **({"accountable": self.accountable.username} if self.accountable else {}),
        }

    def _locked(self) -> "BulkOperation":
        return BulkOperation.objects.select_for_update(of=("self",), no_key=True).get(pk=self.pk)

    @property
    def name(self) -> str:
        """What ties its events together."""
        return f"bulk-{self.pk}"

    # How far it is.

    @property
    def left_alone(self) -> int:
        """Tokens that were come to and not changed: as wanted already, ended meanwhile, or beyond the actor's power."""
        return self.handled - self.changed

    @property
    def remaining(self) -> int:
        return self.count - self.handled

    @property
    def seconds(self) -> int | None:
        """From its start to its end."""
        if self.started_at is None or self.finished_at is None:
            return None
        return round((self.finished_at - self.started_at).total_seconds())


class BulkChunk(models.Model):
    """Tokens that an operation has still to come to: the keys of one batch. Gone when the batch is done."""

    operation = models.ForeignKey(BulkOperation, models.CASCADE, related_name="chunks")
    packed = models.BinaryField()

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"a batch of {self.operation}"


def _pack(keys: list[int]) -> bytes:
    return zlib.compress(struct.pack(f"<{len(keys)}q", *keys))


def _unpack(packed: Any) -> list[int]:
    return [key for (key,) in struct.iter_unpack("<q", zlib.decompress(packed))]


def _named(owners: Counter[int]) -> list[tuple[str, int]]:
    most = owners.most_common(SHOWN)
    names = dict(User.objects.filter(pk__in=[pk for pk, _ in most]).values_list("pk", "username"))
    return [(names[pk], count) for pk, count in most]


def _seen(tokens: AccessTokenQuerySet) -> dict[str, Any]:
    put = TokenRole.objects.filter(token__in=tokens.order_by().values("pk")).order_by()
    roles = put.values_list("assignment__role__name").annotate(tokens=Count("pk")).order_by("-tokens")[:SHOWN]
    newest = AccessToken.objects.filter(pk__in=list(tokens.order_by("-pk").values_list("pk", flat=True)[:SHOWN]))
    return {
        "roles": list(roles),
        "sample": [
            {"pk": token.pk, "label": str(token), "state": token.state(), "expires_at": token.expires_at.isoformat()}
            for token in newest.select_related("owner")
        ],
    }
