"""One action on a whole set of tokens: looked at first, then done to exactly that set, batch after batch.

Nothing runs by itself: whoever has the page open, or the command, calls `run` again and again. Each batch commits with
its events and with how far the operation is, so one that was interrupted goes on where it stood.
"""

import hashlib
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connection, models, transaction
from django.db.models import Count
from django.db.models.functions import Cast
from django.utils import timezone

from osmo_portal.again import again
from osmo_portal.events.actor import Actor
from osmo_portal.events.trail import audited, record
from profiles.models import User
from profiles.rules import require_administrator, require_reason
from tokens.models.access_token import AccessToken
from tokens.models.batches import BATCH_SIZES, Progress
from tokens.models.keys import Keys
from tokens.models.token_role import TokenRole
from tokens.models.token_set import AccessTokenQuerySet, State, require_power_over_sets, require_power_to_resume

MAX_TOKENS = 5_000_000  # what one operation may be about
MAX_BATCH = 10_000  # tokens in one commit, for which others may have to wait
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


# Why tokens of the set are not changed: they …
LEFT_ALONE = {
    Action.EXPIRE: "end earlier, or have ended",
    Action.REVOKE: "are revoked already",
    Action.SUSPEND: "are not live",
    Action.RESUME: "are not suspended, or are beyond what you may resume",
    Action.HAND_OVER: "belong to people, or to accounts that are this person's already",
}


@dataclass(frozen=True, slots=True)
class Look:
    """How many tokens a set has, and its digest."""

    count: int
    digest: str


def look_at(tokens: AccessTokenQuerySet, keep: Callable[[list[int]], None] | None = None) -> Look:
    """Reads the set in the order of its keys, a step at a time: memory does not grow with it.

    `keep` is given the keys of each step.
    """
    count, digest = 0, hashlib.sha256()
    with _reading():
        for rows in _walk(tokens):
            count += len(rows)
            digest.update("".join(map(repr, rows)).encode())
            if keep:
                keep([row[0] for row in rows])
    return Look(count, digest.hexdigest())


def _reading() -> AbstractContextManager[Any]:
    """PostgreSQL hands rows out as they are asked for inside a transaction only. SQLite would keep writers waiting."""
    return transaction.atomic() if connection.vendor == "postgresql" else nullcontext()


def _walk(tokens: AccessTokenQuerySet) -> Iterator[list[tuple[Any, ...]]]:
    rows = tokens.prefetch_related(None).order_by("pk").values_list(*FACTS).iterator(chunk_size=STEP)
    while step := list(islice(rows, STEP)):
        yield step


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
    def look(
        cls,
        tokens: AccessTokenQuerySet,
        *,
        actor: Actor,
        action: str,
        filters: dict[str, Any],
        at: datetime | None = None,
        accountable: User | None = None,
    ) -> "BulkOperation":
        """Looks at the set. Writes nothing: what it returns is not saved.

        Raises ValidationError with the code "nothing" where no token would change.
        """
        operation = cls(action=Action(action), filters=filters, at=at, accountable=accountable, created_by=actor.user)
        operation._require_power(actor)
        if action == Action.HAND_OVER and accountable is None:
            raise ValidationError({"accountable": "Say who is accountable from now on."})
        operation._look(tokens, actor)
        return operation

    @classmethod
    def preview(cls, tokens: AccessTokenQuerySet, *, by: Actor, **words: Any) -> "BulkOperation":
        """Looks at the set and keeps what was seen, so that `start` can be held to it. Changes no token."""
        operation = cls.look(tokens, actor=by, **words)
        with audited():
            operation.save()
            record("tokens.bulk_previewed", by, operation, **operation._told())
        return operation

    def start(
        self, tokens: AccessTokenQuerySet, *, by: Actor, digest: str, reason: str, expect: int | None = None
    ) -> None:
        """Freezes the set, if it still is the one of `digest`, for `run` to work through. Changes no token by itself.

        With `expect`, so many tokens of it must have been to change. Raises ValidationError with the code "conflict"
        where the set has changed, or the operation has begun.
        """
        with audited():
            operation = self._locked()
            operation._require_power(by)
            if by.user != operation.created_by:
                raise PermissionDenied("Only who looked at the preview may go on from it. Make a preview of your own.")
            if operation.stage != Stage.PREVIEWED:
                raise ValidationError("This has been begun already. Nothing was begun twice.", code="conflict")
            operation._require_expected(None, expect)
            operation._require_same(operation._freeze(tokens), digest)
            operation._begin(by, require_reason(reason))
        self.refresh_from_db()

    def begin(
        self,
        tokens: AccessTokenQuerySet,
        *,
        by: Actor,
        reason: str,
        digest: str | None = None,
        expect: int | None = None,
        batch_size: int | None = None,
    ) -> None:
        """As `start`, right after `look`: the set is what it is now, unless it is held to something.

        With `digest` it must be the set of an earlier look, with `expect` so many tokens of it must be to change.
        Raises ValidationError with the code "conflict" where that is not so, and "nothing" where all went meanwhile.
        """
        reason = require_reason(reason)
        self._require_may_run(by)
        if self.pk:
            raise ValidationError("This has been begun already. Nothing was begun twice.", code="conflict")
        self._require_expected(digest, expect)
        with audited():
            self.save()
            frozen = self._freeze(tokens, batch_size)
            if digest or expect is not None:
                self._require_same(frozen, self.digest)
            if not frozen.count:
                raise ValidationError("No token matches.", code="nothing")
            self.count, self.digest = frozen.count, frozen.digest
            self._begin(by, reason)

    @classmethod
    def unfinished(
        cls, *, actor: Actor, action: str, filters: dict[str, Any], at: datetime | None
    ) -> "BulkOperation | None":
        """One that the actor began with the same words, and that was broken off or is at work still."""
        running = cls.objects.filter(stage=Stage.RUNNING, action=action, created_by=actor.user)
        return next((one for one in running if (one.filters, one._asked_at) == (filters, at)), None)

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
        if not self.count:
            raise ValidationError("No token matches.", code="nothing")
        if self.count > MAX_TOKENS:
            raise ValidationError(f"These are more than {MAX_TOKENS:,} tokens. Narrow the filters.", code="size")
        affected = self._affected(tokens, by)
        self.affected = affected.count()
        if not self.affected:
            raise ValidationError(f"None of these {self.count:,} tokens would change.", code="nothing")
        if self.action == Action.RESUME:
            self.beyond = tokens.in_state(State.SUSPENDED).count() - self.affected
        self.seen = _seen(tokens)
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

    def _freeze(self, tokens: AccessTokenQuerySet, batch_size: int | None = None) -> Look:
        """Keeps the keys of the set, cut into batches."""
        size = batch_size or BATCH_SIZES[connection.vendor]

        def keep(keys: list[int]) -> None:
            batches = (keys[start : start + size] for start in range(0, len(keys), size))
            BulkChunk.objects.bulk_create(BulkChunk(operation=self, packed=_pack(batch)) for batch in batches)

        return look_at(tokens, keep)

    def _begin(self, by: Actor, reason: str) -> None:
        self.reason, self.stage, self.started_at = reason, Stage.RUNNING, timezone.now()
        self.at = self.at or self.started_at
        self.save()
        record("tokens.bulk_started", by, self, reason=reason, operation=self.name, **self._told())

    def _require_expected(self, digest: str | None, expect: int | None) -> None:
        if digest and digest != self.digest:
            message = f"This is not the set of that digest: it has {self.count:,} tokens now. Look again."
            raise ValidationError(message, code="conflict")
        if expect is not None and expect != self.affected:
            message = f"{self.affected:,} would change, and not {expect:,}. Look again."
            raise ValidationError(message, code="conflict")

    def _require_same(self, frozen: Look, digest: str) -> None:
        """Raised in the transaction that froze it, which so comes to nothing."""
        if not frozen.digest == digest == self.digest:
            difference = self._difference(frozen.count)
            raise ValidationError(f"The set has changed since the preview: {difference}", code="conflict")

    def _difference(self, count: int) -> str:
        if count == self.count:
            return f"there still are {count:,} tokens, but other ones, or some have changed. Look again."
        return f"it was {self.count:,} token{'s' if self.count != 1 else ''}, now {count:,}. Look again."

    def _run_batch(self, by: Actor) -> bool:
        """Does the next batch; whether there is more to do after it."""
        again(lambda: self._do_next(by))
        self.refresh_from_db()
        return self.stage == Stage.RUNNING

    @audited()
    def _do_next(self, by: Actor) -> None:
        operation = self._locked()
        operation._require_may_run(by)
        chunk = operation.chunks.first() if operation.stage == Stage.RUNNING else None
        if chunk:
            operation._do(chunk, by)

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
        if self.action == Action.HAND_OVER:
            return tokens.hand_over(**words | {"to": self.accountable})
        words["batch_size"] = MAX_BATCH + 1  # the keys of a chunk are one batch
        match self.action:
            case Action.EXPIRE:
                return tokens.expire(at=self.at, **words)
            case Action.REVOKE:
                return tokens.revoke(**words)
            case Action.SUSPEND:
                return tokens.suspend(**words)
        return tokens.resume(**words)

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
    def _asked_at(self) -> datetime | None:
        """The instant that was asked for, where it was not "now"."""
        return None if self.at == self.started_at else self.at

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


def _seen(tokens: AccessTokenQuerySet) -> dict[str, Any]:
    """Counted by the database: there may be as many owners as tokens."""
    chosen = tokens.prefetch_related(None).order_by()
    own = AccessToken.objects.filter(pk__in=chosen.values("pk")).order_by()
    owners = own.values_list("owner__username").annotate(tokens=Count("pk")).order_by("-tokens", "owner__username")
    put = TokenRole.objects.filter(token__in=chosen.values("pk")).order_by()
    roles = put.values_list("assignment__role__name").annotate(tokens=Count("pk")).order_by("-tokens")
    newest = AccessToken.objects.filter(pk__in=list(chosen.order_by("-pk").values_list("pk", flat=True)[:SHOWN]))
    return {
        "owners": list(owners[:SHOWN]),
        "owner_count": own.aggregate(owners=Count("owner", distinct=True))["owners"],
        "roles": list(roles[:SHOWN]),
        "sample": [
            {"pk": token.pk, "label": str(token), "state": token.state(), "expires_at": token.expires_at.isoformat()}
            for token in newest.select_related("owner")
        ],
    }
