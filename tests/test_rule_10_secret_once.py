"""R10: the secret appears once, in what the request that made it returns, and nowhere else."""

import base64
import copy
import logging
import pickle
import sys
from typing import Any

import pytest
from django.core import serializers
from django.db import connection
from django.forms.models import model_to_dict
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.views.debug import ExceptionReporter

from tests import dump
from tests.cast import Cast
from tokens import exchange, secrets
from tokens.models import AccessToken, Secret


def traces(secret: str) -> list[str]:
    """The secret as it could be found again: whole, without its prefix, in halves, in base64."""
    half = len(secret) // 2
    encoded = [base64.b64encode(secret[skip:].encode()).decode()[:-4] for skip in range(3)]
    return [str.__str__(secret), secret[5:], secret[5:half], secret[half:], *encoded]


def assert_absent(secret: str, text: str) -> None:
    assert not [trace for trace in traces(secret) if trace in text]


def test_the_hunt_finds_what_is_there() -> None:
    secret = secrets.generate()

    for text in (f"x{secret}x", f"x{secret[5:30]}", base64.b64encode(f"Bearer {secret}".encode()).decode()):
        with pytest.raises(AssertionError):
            assert_absent(secret, text)


def test_neither_the_database_nor_the_log_knows_a_secret(cast: Cast, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    token = cast.service_token()
    rotated = token.rotate(by=cast.by("grace"))
    exchange.exchange(rotated.plaintext, agent="osmo-cli")
    rotated.revoke(by=cast.by("grace"), reason="leaked")
    for secret in (rotated.plaintext, token.plaintext, secrets.generate()):
        with pytest.raises(exchange.Refused):
            exchange.exchange(secret, agent="osmo-cli")

    for secret in (token.plaintext, rotated.plaintext):
        assert_absent(secret, dump.text())
        assert_absent(secret, caplog.text)


def test_no_query_carries_a_secret(cast: Cast) -> None:
    with CaptureQueriesContext(connection) as queries:
        token = cast.service_token()
        exchange.exchange(token.plaintext)

    assert_absent(token.plaintext, repr(queries.captured_queries))
    assert queries.captured_queries


def test_the_database_holds_the_digest_and_the_last_four_characters(cast: Cast) -> None:
    token = cast.service_token()

    stored = Secret.objects.get(token=token)

    assert bytes(stored.digest) == secrets.digest(token.plaintext)
    assert (len(stored.digest), stored.hint) == (32, token.plaintext[-4:])


def test_a_token_that_was_loaded_again_knows_no_secret(cast: Cast) -> None:
    token = cast.service_token()

    assert not hasattr(AccessToken.objects.get(pk=token.pk), "plaintext")


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        lambda token: repr(vars(token)),
        lambda token: repr([token.plaintext]),
        lambda token: repr({"secret": token.plaintext}),
        lambda token: f"{token.plaintext!r}",
        lambda token: "%r" % token.plaintext,  # noqa: UP031
        lambda token: repr(token.plaintext.__reduce__),
        lambda token: repr(model_to_dict(token)),
        lambda token: serializers.serialize("json", [token]),
        lambda token: repr(list(token.secrets.all())) + str(token.secrets.get()),
        lambda token: ascii(token.plaintext),
    ],
)
def test_no_way_of_showing_a_token_shows_its_secret(cast: Cast, show: Any) -> None:
    token = cast.service_token()

    assert_absent(token.plaintext, show(token))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_secret_goes_into_no_pickle(cast: Cast, protocol: int) -> None:
    token = cast.service_token()

    for thing in (token.plaintext, token, {"message": token.plaintext}):
        with pytest.raises(TypeError, match="a secret is not stored"):
            pickle.dumps(thing, protocol)


def test_a_secret_is_not_copied_with_its_token(cast: Cast) -> None:
    with pytest.raises(TypeError, match="a secret is not stored"):
        copy.deepcopy(cast.service_token())


@pytest.mark.parametrize("debug", [True, False])
def test_the_error_page_of_a_failed_issue_shows_no_secret(
    cast: Cast, settings: Any, monkeypatch: pytest.MonkeyPatch, debug: bool
) -> None:
    settings.DEBUG = debug
    made: list[str] = []

    def remember() -> secrets.Plaintext:
        made.append(_generate())
        return made[-1]  # type: ignore[return-value]

    _generate = secrets.generate
    monkeypatch.setattr(secrets, "generate", remember)
    monkeypatch.setattr(secrets, "hint", lambda secret: 1 / 0)

    page, text = _error_page(cast)

    assert len(made) == 1
    assert "ZeroDivisionError" in page
    for secret in made:
        assert_absent(secret, page)
        assert_absent(secret, text)


def _error_page(cast: Cast) -> tuple[str, str]:
    try:
        cast.service_token()
    except ZeroDivisionError:
        reporter = ExceptionReporter(RequestFactory().post("/admin/"), *sys.exc_info())
        return reporter.get_traceback_html(), reporter.get_traceback_text()
    raise AssertionError("The issue did not fail.")
