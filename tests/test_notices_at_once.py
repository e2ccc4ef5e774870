"""notify_expiring as real processes: two at once, and one that is killed. A real mail server counts."""

import io
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from osmo_portal.events.models import Event
from profiles.models import User
from tests.cast import Cast
from tests.post_office import Sink, mail_server
from tokens.models import AccessToken, Notice
from tokens.models.notice import LEASE, THRESHOLDS

pytestmark = pytest.mark.django_db(transaction=True)

TEAM = "team@example.com"
DAYS = (0.5, 2, 5, 10, 20)  # one for each threshold
MANAGE = Path(settings.BASE_DIR) / "manage.py"


@pytest.fixture
def sink(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sink]:
    """For processes of their own, and for this one."""
    sink = Sink()
    with mail_server(sink) as port:
        monkeypatch.setenv("EMAIL_URL", f"smtp://127.0.0.1:{port}")
        settings.SENDS_MAIL, settings.EMAIL_BACKEND = True, "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT, settings.NOTIFY_TEAM_EMAIL = "127.0.0.1", port, TEAM
        yield sink


def database_url() -> str:
    """Of the test database: processes of their own do not know that this is a test."""
    known = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{known['NAME']}"
    return f"postgres://{known['USER']}:{quote(known['PASSWORD'])}@{known['HOST']}:{known['PORT']}/{known['NAME']}"


def start() -> subprocess.Popen[str]:
    environment = {**os.environ, "DATABASE_URL": database_url(), "NOTIFY_TEAM_EMAIL": TEAM}
    command = [sys.executable, str(MANAGE), "notify_expiring", "--json"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    return json.loads(out)


def run_here() -> dict[str, Any]:
    out = io.StringIO()
    call_command("notify_expiring", "--json", stdout=out)
    return json.loads(out.getvalue())


def tokens_of_many(people: int, each: int) -> int:
    """Past the ways in. How many there are; each end of `DAYS` has as many."""
    now = timezone.now()
    owners = User._base_manager.bulk_create(
        User(username=f"p{n}", email=f"p{n}@example.com", password="!") for n in range(people)
    )
    AccessToken._base_manager.bulk_create(
        AccessToken(
            owner=owner, name=f"t{n}", created_at=now, issued_at=now, expires_at=now + timedelta(days=DAYS[n % 5])
        )
        for owner in owners
        for n in range(each)
    )
    return people * each


def team_was_told_of(sink: Sink) -> int:
    return sum(int(message["Subject"].split()[0]) for message in sink.to(TEAM))


def test_two_runs_at_once_tell_everybody_of_everything_once(cast: Cast, sink: Sink) -> None:
    count = tokens_of_many(people=200, each=50 if connection.vendor == "postgresql" else 10)

    runs = [start(), start()]
    outcomes = [finish(run) for run in runs]

    told = Counter({key: times for key, times in sink.named().items() if key[0] != TEAM})
    assert (len(told), set(told.values())) == (count, {1})
    assert team_was_told_of(sink) == count
    assert sum(outcome["notices"] for outcome in outcomes) == 2 * count
    by_threshold = Counter(Notice.objects.exclude(sent_at=None).values_list("threshold", "recipient"))
    assert {by_threshold[days, "team"] for days in THRESHOLDS} == {count // 5}
    assert Notice.objects.count() == 2 * count
    assert Event.objects.filter(action="tokens.notified").count() == sum(o["messages"] > 0 for o in outcomes)


@pytest.mark.parametrize("kills_at", [1, 7, 19])
def test_after_a_kill_the_next_run_tells_the_rest(cast: Cast, sink: Sink, kills_at: int) -> None:
    tokens_of_many(people=20, each=10)
    first = start()
    sink.kills, sink.kills_at = first.pid, kills_at
    first.communicate(timeout=240)
    assert first.returncode == -9
    assert len(sink.taken) == kills_at

    assert run_here()["notices"] == 0  # what the dead one had claimed is its own until the lease ends
    Notice.objects.filter(sent_at=None).update(claimed_at=timezone.now() - LEASE - timedelta(seconds=1))
    run_here()

    # The message on the way when it died had arrived without being noted: that one comes again, and no other.
    twice = [message["To"] for message in sink.taken]
    assert len(twice) == 21 + 1
    assert [address for address, times in Counter(twice).items() if times == 2] == [twice[kills_at - 1]]
    told = Counter({key: times for key, times in sink.named().items() if key[0] != TEAM})
    assert len(told) == 200
    assert team_was_told_of(sink) in {200, 400}
    assert not Notice.objects.filter(sent_at=None).exists()
