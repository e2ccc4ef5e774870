"""R13: to a stranger every denial of the exchange looks the same; only who has the secret is told the reason."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from osmo_portal.events.models import Event
from tests import dump
from tests.cast import POOL_ROLE, Cast
from tokens import exchange, secrets
from tokens.models import AccessToken

STRANGERS = {
    "empty": "",
    "short": "osmo_",
    "unknown": secrets.generate(),
    "wrong checksum": secrets.generate()[:-1] + "!",
    "unknown, imported format of 64 hex digits": "0" * 64,
    "unknown, imported format of 43 characters": "A" * 43,
    "long": "osmo_" + "a" * 1_000_000,
    "NUL": "osmo_\0",
    "lone surrogate": "\ud800" * 54,
    "other script": "osmo_" + "０" * 49,
    "line feed at the end": secrets.generate() + "\n",
    "space around": f" {secrets.generate()} ",
    "SQL": "' OR 1=1 --",
}

REASONS: dict[str, tuple[Callable, str]] = {
    "revoked": (lambda cast, token: token.revoke(by=cast.by("grace"), reason="x"), "Access Token has been revoked"),
    "suspended": (lambda cast, token: token.suspend(by=cast.by("grace"), reason="x"), "Access Token is suspended"),
    "owner inactive": (
        lambda cast, token: cast.robot.deactivate(by=cast.by("grace"), reason="x"),
        "The owner of this Access Token is not active",
    ),
    "no role left": (
        lambda cast, token: cast.robot.remove_role(POOL_ROLE, by=cast.by("grace")),
        "Access Token has no role left: its owner lost all that it carried",
    ),
    "expired": (lambda cast, token: _expire(cast), "Access Token has expired"),
    "retired": (
        lambda cast, token: token.rotate(by=cast.by("grace"), grace=timedelta(0)),
        "Access Token was rotated and its old secret has ended",
    ),
}


def _expire(cast: Cast) -> None:
    AccessToken.objects.all().expire(by=cast.by("grace"), reason="x")


@pytest.mark.parametrize("secret", STRANGERS.values(), ids=STRANGERS.keys())
def test_every_denial_of_a_stranger_is_the_same_and_leaves_no_trace(cast: Cast, secret: str) -> None:
    cast.service_token()
    before = dump.tables()

    with pytest.raises(exchange.Refused) as refusal:
        exchange.exchange(secret, address="192.0.2.1")

    assert str(refusal.value) == "Access Token is invalid"
    after = dump.tables()
    # That something failed is counted, for the limits; what failed is not told by it.
    assert {**after, "portal_failures": []} == {**before, "portal_failures": []}


@pytest.mark.parametrize(("end", "message"), REASONS.values(), ids=REASONS.keys())
def test_who_has_the_secret_is_told_the_reason(cast: Cast, end: Callable, message: str) -> None:
    token = cast.service_token()
    end(cast, token)

    with pytest.raises(exchange.Refused) as refusal:
        exchange.exchange(token.plaintext)

    assert str(refusal.value) == message


@pytest.mark.parametrize(("end", "message"), REASONS.values(), ids=REASONS.keys())
def test_one_wrong_character_makes_a_stranger_in_every_state(cast: Cast, end: Callable, message: str) -> None:
    token = cast.service_token()
    end(cast, token)
    events = Event.objects.count()

    for position in (5, 20, -7, -1):
        wrong = list(token.plaintext)
        wrong[position] = "0" if wrong[position] != "0" else "1"
        with pytest.raises(exchange.Refused) as refusal:
            exchange.exchange("".join(wrong))
        assert str(refusal.value) == "Access Token is invalid"
    assert Event.objects.count() == events


def test_the_digest_is_no_secret(cast: Cast) -> None:
    """Who stole the database cannot exchange what is in it."""
    token = cast.service_token()

    with pytest.raises(exchange.Refused, match="invalid"):
        exchange.exchange(secrets.digest(token.plaintext).hex())


def test_an_unknown_secret_costs_a_query_whatever_tokens_there_are(cast: Cast) -> None:
    token = cast.service_token()
    token.revoke(by=cast.by("grace"), reason="x")
    counts = []

    for secret in (secrets.generate(), "0" * 64, "A" * 43):
        with CaptureQueriesContext(connection) as queries, pytest.raises(exchange.Refused):
            exchange.exchange(secret)
        counts.append(len(queries))

    assert counts == [
        3,
        3,
        3,
    ]  # the standing of the secret, which is not there; a count of the source, one of the secret
