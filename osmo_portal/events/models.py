import hashlib
import hmac
import json
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from ipaddress import ip_address
from typing import Any, Self

from django.conf import settings
from django.db import models

from osmo_portal.events.actor import Actor, Door

SPARE = timedelta(hours=1)  # between what happened and its event; also for clocks that were put back
BEYOND = 2**63 - 1  # no event has this number


def kind_of(record: type[models.Model] | models.Model) -> str:
    """What events call this kind of record. People and service accounts are users to them."""
    model = record._meta.concrete_model
    return model._meta.model_name or "" if model else ""


class Operation(models.Func):
    """The operation to which the event of a batch belongs. Without parameters, so that an index of it is found."""

    output_field = models.TextField()
    template = "(%(expressions)s ->> 'operation')"

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="JSON_EXTRACT(%(expressions)s, '$.operation')", **context)


class EventQuerySet(models.QuerySet["Event"]):
    def told(self, action: str) -> Self:
        return self.filter(action=action)

    def since(self, instant: datetime) -> Self:
        return self.filter(at__gte=instant)

    def of_operation(self, operation: str) -> Self:
        """The events of one change to many records that was made in batches."""
        return self.alias(operation=Operation("changes")).filter(operation=operation)

    def between(self, first: date | None, last: date | None) -> Self:
        """Of the days (UTC) from `first` to `last`, both included.

        Numbers grow with time, so the days become bounds of the number, by which lists sort; the spare hour is for
        clocks that were put back.
        """
        found = self
        if first:
            start = datetime.combine(first, time.min, UTC)
            earlier = Event.objects.filter(at__lt=start - SPARE).order_by("-at")
            found = found.filter(at__gte=start, pk__gt=earlier.values_list("pk", flat=True).first() or 0)
        if last:
            end = datetime.combine(last, time.min, UTC) + timedelta(days=1)
            later = Event.objects.filter(at__gte=end + SPARE).order_by("at")
            found = found.filter(at__lt=end, pk__lt=later.values_list("pk", flat=True).first() or BEYOND)
        return found


class Event(models.Model):
    """One change, or one batch of changes. Appended by `trail.audited` alone, never changed, never deleted.

    `hash` is the SHA-256 of the fields and of `previous_hash`; numbers have no gaps. There are no foreign keys out, so
    an event outlives what it speaks of.
    """

    id = models.PositiveBigIntegerField("number", primary_key=True)
    at = models.DateTimeField()
    actor = models.CharField(max_length=254)
    actor_id = models.BigIntegerField(null=True)
    token_id = models.BigIntegerField("signed in by token", null=True)
    via = models.CharField(max_length=16, choices=Door.choices)
    request_id = models.CharField(max_length=64, blank=True)
    ip = models.GenericIPAddressField("address", null=True)
    action = models.CharField(max_length=64)
    object_type = models.CharField(max_length=32)
    object_id = models.BigIntegerField(null=True)
    object_label = models.CharField(max_length=600)
    reason = models.TextField(blank=True)
    changes = models.JSONField(default=dict)
    lines_digest = models.CharField(max_length=64, blank=True)
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64, unique=True)

    objects = EventQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["object_type", "object_id", "-id"], name="event_object"),
            models.Index(fields=["action", "-id"], name="event_action"),
            models.Index(fields=["actor_id", "-id"], name="event_actor"),
            # What the console filters by; each ends with the number, by which it sorts and pages.
            models.Index(fields=["actor", "-id"], name="event_who"),
            models.Index(fields=["via", "-id"], name="event_via"),
            models.Index(fields=["object_type", "-id"], name="event_kind"),
            models.Index(fields=["object_label", "-id"], name="event_label"),
            models.Index(fields=["request_id", "-id"], name="event_request"),
            models.Index(fields=["at"], name="event_at"),
            models.Index(Operation("changes"), models.F("id").desc(), name="event_operation"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.object_label}"

    def computed_hash(self) -> str:
        """What `hash` must be, from all other fields."""
        values = {f.attname: getattr(self, f.attname) for f in self._meta.concrete_fields if f.name != "hash"}
        values["at"] = self.at.isoformat(timespec="microseconds")
        values["ip"] = _one_spelling(self.ip)
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @classmethod
    def draft(
        cls, action: str, by: Actor, subject: models.Model, *, label: str = "", reason: str = "", **changes: Any
    ) -> "Event":
        """An event that has no number yet. `changes` are the allow-listed fields that the ways in name themselves.

        What is done at a terminal names its sign-in too. For a batch, `subject` is an unsaved instance of what it is
        about, and `label` says how many.
        """
        if by.terminal:
            changes["terminal"] = by.terminal.pk
        return cls(
            action=action,
            actor=by.name,
            actor_id=by.user.pk if by.user else None,
            token_id=by.token.pk if by.token else None,
            via=by.door,
            request_id=by.request_id,
            ip=by.address,
            object_type=kind_of(subject),
            object_id=subject.pk,
            object_label=(label or str(subject))[:600],
            reason=reason,
            changes=changes,
        )


# A line that is to be written: the object's number and label, before and after. Instances cost too much for very many.
Line = tuple[int, str, str, str]


class EventLine(models.Model):
    """What a batch did to one object; it stands in that object's timeline. The event's hash covers its lines."""

    id = models.BigAutoField(primary_key=True)
    event = models.ForeignKey(Event, models.PROTECT, related_name="lines")
    object_id = models.BigIntegerField()
    object_label = models.CharField(max_length=600)
    before = models.CharField(max_length=64, blank=True)
    after = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["object_id", "-id"], name="eventline_object")]

    def __str__(self) -> str:
        return f"{self.object_label}: {self.before} → {self.after}"

    @property
    def told(self) -> Line:
        return (self.object_id, self.object_label, self.before, self.after)

    @staticmethod
    def text(lines: "Iterable[EventLine | Line]") -> str:
        """What is written and digested of the lines of one event: a JSON list of a list for each."""
        return json.dumps([line if isinstance(line, tuple) else line.told for line in lines])

    @staticmethod
    def digest(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()


class Archive(models.Model):
    """Up to which event the trail was taken out of the database, into a file of that digest: see `archive.archive`."""

    last = models.PositiveBigIntegerField("number of the last event", primary_key=True)
    first = models.PositiveBigIntegerField()
    until = models.DateTimeField("when the last event was")
    hash = models.CharField("hash of the last event", max_length=64)
    digest = models.CharField("SHA-256 of the lines with events in the file", max_length=64)
    signature = models.CharField(max_length=64)

    class Meta:
        ordering = ["last"]

    def __str__(self) -> str:
        return f"events {self.first} to {self.last}"

    def facts(self) -> dict[str, Any]:
        """What is signed."""
        at = self.until.astimezone(UTC).isoformat(timespec="microseconds")
        return {"first": self.first, "last": self.last, "until": at, "hash": self.hash, "digest": self.digest}

    def signatures(self) -> list[str]:
        """What `signature` may be, the one by the newest key first."""
        text = f"events.archive {json.dumps(self.facts(), sort_keys=True)}".encode()
        return [hmac.new(key.encode(), text, "sha256").hexdigest() for key in settings.KEY_ENCRYPTION_KEYS]

    @property
    def is_signed(self) -> bool:
        return any(hmac.compare_digest(self.signature, one) for one in self.signatures())


def _one_spelling(address: str | None) -> str | None:
    """PostgreSQL writes some addresses in its own way. What is none can only have come past the portal."""
    try:
        return str(ip_address(address)) if address else None
    except ValueError:
        return address
