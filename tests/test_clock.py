"""A clock that is put back revives nothing: the later one of the portal's and PostgreSQL's counts."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from osmo_portal.events.actor import Actor
from tests.cast import Cast
from tokens import exchange, jwt, outlook, standing
from tokens.models import AccessToken, Secret, SigningKey, TerminalSignIn, last_use

ONE_MACHINE = "SQLite has no clock but the portal's"
two_clocks = pytest.mark.skipif(connection.vendor != "postgresql", reason=ONE_MACHINE)
HOUR = timedelta(hours=1)


@pytest.fixture
def put_back(time_machine: Any) -> Callable[[], None]:
    return lambda: time_machine.move_to(timezone.now() - HOUR, tick=True)


@two_clocks
def test_an_expired_token_stays_expired(cast: Cast, put_back: Callable[[], None]) -> None:
    token, lives = cast.service_token("short"), cast.service_token("long")
    AccessToken.objects.filter(pk=token.pk).expire(by=cast.by("grace"), at=timezone.now(), reason="x")
    put_back()

    with pytest.raises(exchange.Refused, match="expired"):
        exchange.exchange(token.plaintext)
    secret = Secret.objects.get(token=token)
    of_jwt = standing.of_jwt(token_id=token.pk, secret_id=secret.pk, kid=SigningKey.current_or_first().kid)
    assert of_jwt
    assert of_jwt.refusal == standing.Refusal.EXPIRED
    assert exchange.exchange(lives.plaintext)


@two_clocks
def test_a_rotated_secret_stays_retired(cast: Cast, put_back: Callable[[], None]) -> None:
    token = cast.service_token()
    AccessToken.objects.get(pk=token.pk).rotate(by=cast.by("grace"), grace=timedelta(0))
    put_back()

    with pytest.raises(exchange.Refused, match="rotated"):
        exchange.exchange(token.plaintext)


@two_clocks
def test_a_voided_key_opens_nothing(cast: Cast, put_back: Callable[[], None]) -> None:
    token = cast.service_token()
    text, _ = exchange.exchange(token.plaintext)
    claims, kid = jwt.verify(text)
    SigningKey.rotate(by=Actor.shell(), void=True)
    put_back()

    asked = {"token_id": claims["osmo_token_id"], "secret_id": claims["osmo_secret_id"]}
    assert standing.of_jwt(**asked, kid=kid) is None
    assert kid not in {key.kid for key in SigningKey.objects.published()}


@two_clocks
def test_a_terminal_whose_days_are_over_is_not_signed_in(cast: Cast, settings: Any, time_machine: Any) -> None:
    settings.TERMINAL_IDLE_DAYS = 60
    real = timezone.now()
    for minutes, lives in ((30, True), (-30, False)):
        time_machine.move_to(real - timedelta(days=settings.TERMINAL_DAYS) + timedelta(minutes=minutes))
        sign_in, _ = TerminalSignIn.begin(cast.ada, client="osmo", agent="", by=cast.by("ada"))
        time_machine.move_to(real - HOUR)

        assert TerminalSignIn.objects.filter(pk=sign_in.pk).live().exists() is lives


def test_a_use_that_was_noted_ahead_of_now_is_noted_anew() -> None:
    now = timezone.now()

    assert last_use.is_due(now + HOUR, now)
    assert not last_use.is_due(now + timedelta(seconds=5), now), "clocks differ by some seconds"


def test_figures_that_were_counted_ahead_of_now_are_counted_anew(cast: Cast, put_back: Callable[[], None]) -> None:
    counted = outlook.count()
    assert counted.is_fresh

    put_back()

    assert not counted.is_fresh
