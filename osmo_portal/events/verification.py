"""Verifying the chain, and keeping what was found as an event of the chain itself."""

from dataclasses import dataclass
from itertools import islice

from django.core.exceptions import PermissionDenied

from osmo_portal.events import chain
from osmo_portal.events.actor import Actor
from osmo_portal.events.models import Event
from osmo_portal.events.trail import audited, record

WHOLE, TAIL = "events.verified", "events.tail_verified"
TAIL_LENGTH = 10_000  # what a page can verify while somebody waits
FAULTS_NAMED = 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found in the events numbered `first` to `last`; of many faults the first ones are named."""

    first: int
    last: int
    faults: tuple[str, ...] = ()


def verify_tail(*, by: Actor) -> Verdict:
    """Verifies the last events, without the lines of batches, and records that and what was found."""
    if not by.is_administrator:
        raise PermissionDenied("Only an administrator may verify the audit trail.")
    last, _ = chain.head()
    faults = tuple(islice(chain.tail_faults(TAIL_LENGTH), FAULTS_NAMED))
    verdict = Verdict(max(last - TAIL_LENGTH, chain.start()[0]) + 1, last, faults)
    _keep(TAIL, by, verdict.first, last, len(faults))
    return verdict


def keep_whole(last: int, faults: int, *, by: Actor) -> None:
    """Records that all events here up to `last` were verified."""
    if not (by.is_shell or by.is_administrator):
        raise PermissionDenied("Only an administrator may verify the audit trail.")
    _keep(WHOLE, by, chain.start()[0] + 1, last, faults)


def _keep(action: str, by: Actor, first: int, last: int, faults: int) -> None:
    with audited():
        record(action, by, Event(), label="the audit trail", first=first, last=last, faults=faults)


def latest(action: str) -> Event | None:
    """The event of the last verification of that kind."""
    return Event.objects.filter(action=action).first()
