"""Whose secret is this? What is pasted is looked up by its digest, and kept nowhere."""

import re
from datetime import timedelta
from typing import Any

from django.db.models import Prefetch, QuerySet
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from osmo_portal.events import chain
from osmo_portal.events.actor import Actor
from osmo_portal.events.models import Event
from osmo_portal.events.trail import audited, record
from profiles.rules import reads_everything
from tokens import rules, secrets
from tokens.models import AccessToken, PurgedSecret, Secret

# In a pasted line there may be a command around it. The shapes are those of tokens.secrets.
OURS = re.compile(r"osmo_[0-9A-Za-z]{49}")
DIGEST = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{64}(?![0-9A-Za-z])")  # or an imported secret
IMPORTED = re.compile(r"(?<![0-9A-Za-z_-])[0-9A-Za-z_-]{43}(?![0-9A-Za-z_-])")
MAX_CANDIDATES = 20
UNKNOWN_INTERVAL = timedelta(minutes=1)


@sensitive_variables()
def look_up(text: str, *, by: Actor) -> tuple[Secret | None, PurgedSecret | None]:
    """The secret that the text holds, or whose SHA-256 it holds, if `by` may know of its token; or what is left of it.

    That somebody looked is kept in the events.
    """
    digests = _digests(text)
    secret = _lookup(digests, by).first()
    purged = None if secret else _lookup_purged(digests, by)
    with audited():
        if secret:
            record("secret.looked_up", by, secret.token, secret=secret.pk)
        elif purged:
            record("secret.looked_up", by, AccessToken(pk=purged.token_id), label=purged.label, purged=True)
        else:
            _record_unknown(by)
    return secret, purged


@sensitive_variables()
def _digests(text: str) -> list[bytes]:
    """Of all in the text that may be a secret or a digest."""
    hexadecimal = DIGEST.findall(text)[:MAX_CANDIDATES]
    plain = [*OURS.findall(text)[:MAX_CANDIDATES], *hexadecimal, *IMPORTED.findall(text)[:MAX_CANDIDATES]]
    return [*map(secrets.digest, plain), *map(bytes.fromhex, hexadecimal)]


@sensitive_variables()
def _lookup(digests: list[bytes], by: Actor) -> QuerySet[Secret]:
    """Those of visible tokens."""
    visible = rules.visible_tokens(by).with_state()
    mine = Secret.objects.filter(digest__in=digests, token__in=rules.visible_tokens(by))
    return mine.defer("digest").prefetch_related(_token(visible))


@sensitive_variables()
def _lookup_purged(digests: list[bytes], by: Actor) -> PurgedSecret | None:
    """Whose tokens they were is not known any more, so they are for those who see every token."""
    return PurgedSecret.objects.of(digests).defer("digest").first() if reads_everything(by) else None


def _token(visible: QuerySet[AccessToken]) -> Any:
    return Prefetch("token", visible.select_related("owner__accountable"))


def _record_unknown(by: Actor) -> None:
    """One a minute is enough to tell that somebody is trying."""
    chain.lock()
    since = timezone.now() - UNKNOWN_INTERVAL
    if not Event.objects.filter(action="secret.not_found", actor_id=by.user.pk, at__gt=since).exists():
        record("secret.not_found", by, AccessToken(), label="a secret that nobody has")
