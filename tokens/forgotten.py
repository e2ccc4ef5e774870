"""What a database that was restored from a back-up has forgotten, told from a copy of the events that came after it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils import timezone

from osmo_portal.events import chain, files
from osmo_portal.events.models import Archive, Event, Line
from tokens.models import AccessToken
from tokens.models.token_set import AccessTokenQuerySet

STOPPED = {"token.revoked", "tokens.revoked", "token.suspended", "tokens.suspended"}
SHORTENED = "tokens.expired"  # at an instant, which may be yet to come
RESUMED = {"token.resumed", "tokens.resumed"}
ISSUED = {"token.issued", "tokens.imported"}
ROTATED = {"token.rotated", "tokens.rotated"}
EPOCH = datetime.fromtimestamp(0, UTC)
STEP = 1_000  # events that are compared at once
# What else changed who may do what.
ELSE = ("user.", "users.", "role.", "pool.", "settings.", "signing_key.", "factors.", "revision.", "tokens.handed_over")


@dataclass
class Forgotten:
    """`since` is the last event that both know. The others are the numbers and labels of tokens, and events."""

    since: int
    events: int = 0
    stopped: dict[int, str] = field(default_factory=dict)  # ended, or suspended and not resumed
    shortened: dict[int, str] = field(default_factory=dict)
    issued: dict[int, str] = field(default_factory=dict)
    rotated: dict[int, str] = field(default_factory=dict)
    changes: list[Event] = field(default_factory=list)

    def alive(self) -> AccessTokenQuerySet:
        """Tokens that were stopped and work here. One that was issued since the restore is another of that number."""
        at = Event.objects.filter(pk=self.since).values_list("at", flat=True).first()
        at = at or Archive.objects.filter(last=self.since).values_list("until", flat=True).first()
        known = Q(created_at=None) | Q(created_at__lte=at or EPOCH)
        return AccessToken.objects.live().numbered([*self.stopped]).filter(known)

    def take(self, event: Event, lines: list[Line]) -> None:
        self.events += 1
        tokens = {number: label for number, label, _, _ in lines}
        if event.action == SHORTENED:
            now = timezone.now()
            self.shortened |= {number: label for number, label, _, end in lines if datetime.fromisoformat(end) > now}
            self.stopped |= {number: label for number, label in tokens.items() if number not in self.shortened}
            return
        if event.object_type == "accesstoken" and event.object_id is not None:
            tokens = {event.object_id: event.object_label}
        if event.action in STOPPED:
            self.stopped |= tokens
        elif event.action in RESUMED:
            self.stopped = {number: label for number, label in self.stopped.items() if number not in tokens}
        elif event.action in ISSUED:
            self.issued |= tokens
        elif event.action in ROTATED:
            self.rotated |= tokens
        elif event.action.startswith(ELSE):
            self.changes.append(event)


def forgotten(path: Path) -> Forgotten:
    """From a file of `copy_events`, or an archive. Raises ValidationError, OSError."""
    found = Forgotten(_last_in_common(path))
    for event, lines in files.told(path):
        if event.pk > found.since:
            found.take(event, lines)
    return found


def _last_in_common(path: Path) -> int:
    """The number of the last event that the file and this database both have."""
    common, all_of_it = None, (event for event, _ in files.told(path))
    while events := list(islice(all_of_it, STEP)):
        first = events[0]
        if common is None and (first.pk - 1, first.previous_hash) in _here([first.pk - 1]):
            common = first.pk - 1
        here = _here([event.pk for event in events])
        same = [event.pk for event in events if (event.pk, event.hash) in here]
        common = same[-1] if same else common
        if len(same) < len(events):
            break
    if common is None:
        raise ValidationError(f"{path.name} and this database have no event in common, so it tells nothing about it.")
    return common


def _here(numbers: list[int]) -> set[tuple[int, str]]:
    return {*Event.objects.filter(pk__in=numbers).values_list("pk", "hash"), chain.start()}
