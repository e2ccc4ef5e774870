"""Until when a JWT can be alive that was traded for a token's secret and is checked offline, by its signature alone.

The portal itself refuses it as soon as the token stops. An exchange leaves no record of its own but the last use.
"""

from datetime import datetime, timedelta

from django.utils import timezone

from osmo_portal.events.models import Event, EventLine
from tokens import jwt
from tokens.models import AccessToken, last_use

LIFETIME = timedelta(seconds=jwt.LIFETIME)


def dead_from(token: AccessToken, now: datetime | None = None) -> datetime | None:
    """The whole second (UTC) from which no copy is alive, if the token stopped when it did, or now at the latest.

    It may lie in the past. None where the token was never used, so that there is none. Two queries at most.
    """
    stop = min(filter(None, [now or timezone.now(), token.suspended_at, token.ended_at, token.expires_at]))
    last = _last_exchange(token, stop)
    if last is None:
        return None
    bound = min(last + LIFETIME, _latest_end(token, last))
    return bound.replace(microsecond=0) + timedelta(seconds=bool(bound.microsecond))


def _last_exchange(token: AccessToken, stop: datetime) -> datetime | None:
    """The latest instant at which there can have been one: those soon after the one recorded are not."""
    if not last_use.misses_none():
        return stop
    return min(token.last_use.at + last_use.INTERVAL, stop) if token.last_use.at else None


def _latest_end(token: AccessToken, last: datetime) -> datetime:
    """A JWT never outlives its token; but one that was signed before the token was shortened had the older end."""
    since = last - LIFETIME - last_use.INTERVAL
    lines = EventLine.objects.filter(
        object_id=token.pk, event__object_type="accesstoken", event__action="tokens.expired", event__at__gt=since
    )
    rotations = Event.objects.filter(
        object_type="accesstoken", object_id=token.pk, action="token.rotated", at__gt=since
    )
    before = [*lines.values_list("before", flat=True)]
    before += [changes["expires_at"][0] for changes in rotations.values_list("changes", flat=True)]
    return max([token.expires_at, *map(datetime.fromisoformat, before)])
