"""What the console says of the JWTs of a token that programs check without asking the portal."""

from django.utils import timezone

from osmo_portal.console.words import distance
from tokens import copies, jwt
from tokens.models import AccessToken


def beforehand(token: AccessToken) -> str:
    """To somebody who is about to stop the token."""
    end = copies.dead_from(token)
    if end is None:
        return "It was never used, so no offline copy of a JWT can be alive."
    if end <= timezone.now():
        return f"{_last_used(token)}, so no offline copy of a JWT can be alive."
    return (
        "If you do this now, programs that check a JWT by its signature alone may accept a copy until "
        f"{end:%Y-%m-%d %H:%M:%S} UTC, {jwt.LIFETIME} seconds after its last possible use at most."
    )


def afterwards(token: AccessToken) -> str:
    """To somebody who has just stopped the token, or ended its old secret."""
    end = copies.dead_from(AccessToken.objects.select_related("last_use").get(pk=token.pk))  # as it is by now
    if end is None or end <= timezone.now():
        return "No offline copy of its JWT can be alive."
    return f"Offline copies of its JWT are dead from {end:%Y-%m-%d %H:%M:%S} UTC on."


def in_words(token: AccessToken) -> str:
    """On the page of a token that was stopped."""
    end = copies.dead_from(token)
    if end is None:
        return "none: it was never used"
    since = "dead since" if end <= timezone.now() else "dead from"
    return f"{since} {end:%Y-%m-%d %H:%M:%S} UTC"


def _last_used(token: AccessToken) -> str:
    return f"It was last used {distance(token.last_use.at)}" if token.last_use.at else "It ended before"
