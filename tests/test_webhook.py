"""The webhook of notify_expiring: what it is sent, signed how, how often and for how long."""

import hashlib
import hmac
import io
import json
import logging
import threading
import time
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from tests.cast import Cast, in_days
from tests.post_office import Request, webhook_server
from tokens import webhook
from tokens.models import Notice
from tokens.notifying import Digest, Line

pytestmark = pytest.mark.django_db

SECRET = "shared with the chat"


@pytest.fixture(autouse=True)
def no_pauses(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.NOTIFY_WEBHOOK_SECRET = SECRET
    monkeypatch.setattr(webhook, "PAUSES", (0, 0, 0))


def run() -> str:
    """What it told, ended well or not."""
    err = io.StringIO()
    try:
        call_command("notify_expiring", stdout=io.StringIO(), stderr=err)
    except CommandError as error:
        return err.getvalue() + str(error)
    return err.getvalue()


def is_signed(request: Request) -> bool:
    signed = request.headers["x-osmo-timestamp"].encode() + b"." + request.body
    return request.headers["x-osmo-signature"] == "v1=" + hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()


def test_a_chat_is_told_once_and_signed(cast: Cast, settings: Any) -> None:
    cast.service_token("ci", days=5)
    with webhook_server(lambda number: 200) as (settings.NOTIFY_WEBHOOK_URL, received):
        assert run() == "1 notice went out in 1 message.\n"
        assert run() == "0 notices went out in 0 messages.\n"

    (request,) = received
    assert is_signed(request)
    assert abs(time.time() - int(request.headers["x-osmo-timestamp"])) < 60
    text = json.loads(request.body)["text"]
    assert text.splitlines()[:2] == [
        f"*1 access token ends soon, the first on {in_days(5)}*",
        f"• {in_days(5)} 00:00 UTC  robot/ci  (ada answers for it)",
    ]
    assert "osmo_" not in text


@pytest.mark.parametrize(
    ("statuses", "sent"), [([500, 200], True), ([503, 429, 204], True), ([500, 500, 500, 200], False)]
)
def test_what_may_pass_is_tried_three_times(cast: Cast, settings: Any, statuses: list[int], sent: bool) -> None:
    cast.user_token(days=5)
    with webhook_server(lambda number: statuses[number - 1]) as (settings.NOTIFY_WEBHOOK_URL, received):
        story = run()

    assert len(received) == min(len(statuses), 3)
    assert ("To the webhook: it answered 500." in story) != sent
    assert Notice.objects.exclude(sent_at=None).exists() == sent


@pytest.mark.parametrize("status", [302, 307, 400, 403, 404, 410])
def test_what_will_not_pass_is_not_tried_again_and_no_redirect_is_followed(
    cast: Cast, settings: Any, status: int
) -> None:
    cast.user_token(days=5)
    with webhook_server(lambda number: status) as (settings.NOTIFY_WEBHOOK_URL, received):
        assert f"To the webhook: it answered {status}." in run()

    assert len(received) == 1


def test_one_that_hangs_is_given_up(cast: Cast, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "LIMIT", 1)
    cast.user_token(days=5)
    over = threading.Event()

    def hang(number: int) -> int:
        over.wait(60)
        return 200

    begin = time.monotonic()
    with webhook_server(hang) as (settings.NOTIFY_WEBHOOK_URL, received):
        story = run()
        over.set()

    assert "it did not answer within 1 seconds" in story
    assert 3 <= time.monotonic() - begin < 30
    assert 0 < len(received) <= 3


def test_its_address_and_secret_are_told_nowhere(cast: Cast, settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    cast.user_token(days=5)
    with webhook_server(lambda number: 500) as (settings.NOTIFY_WEBHOOK_URL, _):
        stories = run()
    stories += run()  # nobody is there

    assert "it cannot be reached (ConnectError)" in stories
    assert "SECRETPATH" not in stories + caplog.text
    assert SECRET not in stories + caplog.text


@pytest.mark.parametrize("url", ["http://hooks.example.com/x", "ftp://127.0.0.1/x", "hooks.example.com", "https://"])
def test_an_address_that_is_not_safe_is_sent_nothing(cast: Cast, settings: Any, url: str) -> None:
    settings.NOTIFY_WEBHOOK_URL = url
    cast.user_token(days=5)

    assert "its settings are not complete" in run()


def test_names_cannot_mention_anybody_or_make_links() -> None:
    line = Line(timezone.now(), "robot/<!channel>&<https://x|y>", 1, "<@U1>")

    text = Digest(1, [line]).markdown()

    assert "robot/&lt;!channel&gt;&amp;&lt;https://x|y&gt;" in text
    assert "&lt;@U1&gt;" in text
