"""Secret in, JWT out: the hot path. One query; a second one when last use is due."""

from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from osmo_portal.events import chain
from osmo_portal.events.actor import Actor, Door
from osmo_portal.events.models import Event
from osmo_portal.events.trail import audited, record
from osmo_portal.metrics import EXCHANGES
from osmo_portal.signin import limits
from tokens import jwt, secrets
from tokens.models import AccessToken, Secret, last_use
from tokens.standing import Refusal, Standing, of_secret

INVALID = "Access Token is invalid"
TOO_MANY = "Too many failures. Wait, and send the right secret."
ALARM_INTERVAL = timedelta(hours=1)


class Refused(Exception):
    """`str()` is what the caller is told: to a stranger always the same, to a proven holder the reason."""

    wait = 0  # seconds, where there were too many failures


def exchange(secret: str, *, address: str | None = None, agent: str = "", request_id: str = "") -> tuple[str, int]:
    """A JWT and its expiry in seconds since 1970. Raises Refused.

    What cannot be a secret is refused without a query.
    """
    return jwt.issue(used(secret, address=address, agent=agent, request_id=request_id))


def used(secret: str, *, address: str | None, agent: str, request_id: str) -> Standing:
    """The standing of a secret that works now, whose use is recorded. Raises Refused."""
    standing = proven(secret, address=address, request_id=request_id)
    now = timezone.now()
    if standing.awaits_first_use:
        _note_first_use(standing, address, request_id)
    if last_use.is_due(standing.last_used_at, now):
        last_use.note(standing.token_id, at=now, ip=address, agent=agent)
    return standing


def proven(secret: str, *, address: str | None, request_id: str) -> Standing:
    """The standing of a secret that works now. Raises Refused; a proven secret's refusal is recorded."""
    if not secrets.is_well_formed(secret):
        EXCHANGES.labels("malformed").inc()
        raise Refused(INVALID)  # that cost nothing, so no limit counts it
    standing = of_secret(secrets.digest(secret))
    EXCHANGES.labels(_result(standing)).inc()
    if standing and not standing.refusal:
        return standing
    refused = Refused(standing.refusal.label if standing and standing.refusal else INVALID)
    if wait := limits.failed(address, secret):
        refused = Refused(TOO_MANY)
        refused.wait = wait
    elif standing and standing.refusal:
        _note_refusal(standing, standing.refusal, address, request_id)
    raise refused


def _result(standing: Standing | None) -> str:
    return (standing.refusal or "ok") if standing else "unknown"


def _holder(standing: Standing, address: str | None, request_id: str) -> Actor:
    return Actor(door=Door.CLI, user=standing.owner, address=address, request_id=request_id)


def _subject(standing: Standing) -> AccessToken:
    return AccessToken(pk=standing.token_id, owner=standing.owner, name=standing.token_name)


def _note_refusal(standing: Standing, refusal: Refusal, address: str | None, request_id: str) -> None:
    """The alarm: one event per token, reason and hour, in a transaction of its own."""
    action = f"exchange.refused.{refusal}"
    since = timezone.now() - ALARM_INTERVAL
    told = Event.objects.filter(object_type="accesstoken", object_id=standing.token_id, action=action, at__gt=since)
    if told.exists():
        return
    with audited():
        chain.lock()  # of several that are refused at the same time one tells
        if not told.exists():
            record(action, _holder(standing, address, request_id), _subject(standing), secret=standing.secret_id)


def _note_first_use(standing: Standing, address: str | None, request_id: str) -> None:
    """The new secret of a rotation works somewhere. Ends the old one where the rotation asked for that."""
    now = timezone.now()
    with audited():
        fresh = Secret.objects.select_for_update(no_key=True).filter(pk=standing.secret_id, first_used_at=None)
        if not fresh.exists():
            return  # another request was first
        fresh.update(first_used_at=now)
        running = Q(retires_at=None) | Q(retires_at__gt=now)
        Secret.objects.filter(running, token_id=standing.token_id, retires_with_next=True).update(retires_at=now)
        record("secret.first_used", _holder(standing, address, request_id), _subject(standing))
