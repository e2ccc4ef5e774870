"""manage.py notify_expiring: whom it tells of which tokens, and when it is silent."""

import io
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from osmo_portal.events.models import Event
from profiles.management import door
from tests.bulk import many_tokens
from tests.cast import Cast, in_days
from tests.post_office import Sink, mail_server, tokens_in
from tokens.models import AccessToken, Notice
from tokens.models.notice import LEASE

pytestmark = pytest.mark.django_db

TEAM = "team@example.com"
SMTP = "django.core.mail.backends.smtp.EmailBackend"


@pytest.fixture
def sink(settings: Any) -> Iterator[Sink]:
    """A real mail server that keeps what it is sent."""
    sink = Sink()
    with mail_server(sink) as port:
        settings.SENDS_MAIL, settings.EMAIL_BACKEND = True, SMTP
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port
        yield sink


def run(*args: str) -> tuple[str, str]:
    """What it printed on stdout and on stderr."""
    out, err = io.StringIO(), io.StringIO()
    call_command("notify_expiring", *args, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def told(sink: Sink) -> list[tuple[str, str]]:
    """Who was told of which token, since the last time that this was asked."""
    found = sorted(sink.named().elements())
    sink.taken.clear()
    return found


def at_the_end_in(days: float, token: AccessToken) -> AccessToken:
    """Past the ways in: tokens end at midnight by them."""
    AccessToken._base_manager.filter(pk=token.pk).update(expires_at=timezone.now() + timedelta(days=days))
    return token


# Whom and when.


def test_a_person_is_told_of_own_tokens_and_of_those_of_service_accounts(cast: Cast, sink: Sink) -> None:
    cast.user_token("ada", "laptop", days=5)
    cast.user_token("mallory", "phone", days=5)
    cast.service_token("ci", days=5)

    out, err = run()

    assert told(sink) == [
        ("ada@example.com", "ada/laptop"),
        ("ada@example.com", "robot/ci"),
        ("mallory@example.com", "mallory/phone"),
    ]
    assert (out, err) == ("3\n", "3 notices went out in 2 messages.\n")


def test_the_team_is_told_of_everything(cast: Cast, sink: Sink, settings: Any) -> None:
    settings.NOTIFY_TEAM_EMAIL = TEAM
    cast.user_token("ada", "laptop", days=5)
    cast.service_token("ci", days=5)

    run()

    (message,) = sink.to(TEAM)
    assert message["Subject"] == f"2 access tokens end soon, the first on {in_days(5)}"
    assert "robot/ci  (ada answers for it)" in message.get_content()
    assert "/admin/tokens/accesstoken/?expiring=30" in message.get_content()


@pytest.mark.parametrize(
    ("left", "threshold"),
    [(0.2, 1), (1, 1), (1.01, 3), (3, 3), (3.01, 7), (7, 7), (7.01, 14), (14, 14), (14.01, 30), (29.99, 30)],
)
def test_only_the_most_urgent_notice_is_sent(cast: Cast, sink: Sink, left: float, threshold: int) -> None:
    at_the_end_in(left, cast.user_token())

    run()

    assert len(told(sink)) == 1
    assert list(Notice.objects.values_list("threshold", flat=True)) == [threshold]


@pytest.mark.parametrize("left", [30.01, 100])
def test_tokens_that_live_long_are_not_mentioned(cast: Cast, sink: Sink, left: float) -> None:
    at_the_end_in(left, cast.user_token())

    assert run()[0] == "0\n"
    assert told(sink) == []


def test_tokens_that_have_ended_are_not_mentioned(cast: Cast, sink: Sink) -> None:
    cast.user_token()
    AccessToken.objects.expire(by=cast.by("grace"), reason="over")

    assert run()[0] == "0\n"
    assert told(sink) == []


def test_each_threshold_is_told_once(cast: Cast, sink: Sink, time_machine: Any) -> None:
    now = timezone.now()
    at_the_end_in(40, cast.user_token())
    heard = []

    for hours in range(0, 41 * 24, 6):
        time_machine.move_to(now + timedelta(hours=hours, minutes=1))
        run()
        heard += [hours / 24] * len(told(sink))

    assert heard == [10, 26, 33, 37, 39]


def test_a_token_with_a_new_end_is_told_of_anew(cast: Cast, sink: Sink, time_machine_days: Callable[[float], None]):
    token = cast.user_token(days=5)
    run()
    told(sink)

    token.rotate(by=cast.by("grace"), expires=in_days(60))
    run()
    assert told(sink) == []
    time_machine_days(54)
    run()

    assert told(sink) == [("ada@example.com", "ada/my-token")]


def test_a_rotation_that_keeps_the_end_changes_nothing(cast: Cast, sink: Sink) -> None:
    cast.user_token(days=5).rotate(by=cast.by("grace"))

    run()

    assert len(told(sink)) == 1


def test_suspended_and_revoked_tokens_are_silent_until_resumed(cast: Cast, sink: Sink) -> None:
    by = cast.by("grace")
    cast.user_token("ada", "gone", days=5).revoke(by=by, reason="lost")
    asleep = cast.user_token("ada", "asleep", days=5)
    asleep.suspend(by=by, reason="leave")
    run()
    assert told(sink) == []

    asleep.resume(by=by, reason="back")
    run()

    assert told(sink) == [("ada@example.com", "ada/asleep")]


def test_who_becomes_accountable_is_told_too(cast: Cast, sink: Sink) -> None:
    cast.service_token("ci", days=5)
    run()
    told(sink)

    cast.robot.hand_over(to=cast.mallory, by=cast.by("grace"), reason="leave")
    run()

    assert told(sink) == [("mallory@example.com", "robot/ci")]


def test_tokens_of_which_nobody_can_be_told_are_counted(cast: Cast, sink: Sink, settings: Any) -> None:
    cast.service_token("ci", days=5)
    cast.ada.deactivate(by=cast.by("grace"), reason="left")

    out, err = run()

    assert out == "0\n"
    assert "Of 1 token nobody can be told: set NOTIFY_TEAM_EMAIL." in err
    settings.NOTIFY_TEAM_EMAIL = TEAM
    assert "nobody" not in run()[1]
    assert told(sink) == [(TEAM, "robot/ci")]


# What is said.


def test_a_person_is_led_to_my_tokens_and_staff_to_the_console_too(cast: Cast, sink: Sink) -> None:
    cast.user_token("ada", days=5)
    cast.user_token("olive", days=1)

    run()

    (ada,), (olive,) = sink.to("ada@example.com"), sink.to("olive@example.com")
    assert "http://127.0.0.1:8000/me/" in ada.get_content()
    assert "/admin/" not in ada.get_content()
    assert "/admin/tokens/accesstoken/?expiring=30" in olive.get_content()
    assert olive["Subject"] == f"1 access token ends soon, the first on {in_days(1)}"
    assert "in 1 day  olive/my-token" in olive.get_content()
    assert ada["Auto-Submitted"] == "auto-generated"


def test_a_message_names_the_first_of_many_and_counts_the_rest(cast: Cast, sink: Sink) -> None:
    tokens = many_tokens(cast.robot, 120)
    AccessToken._base_manager.update(expires_at=timezone.now() + timedelta(days=9))
    at_the_end_in(2, tokens[77])

    assert run()[0] == "120\n"

    (message,) = sink.taken
    names = tokens_in(message.get_content())
    assert (names[0], len(names)) == ("robot/bulk-77", 50)
    assert "… and 70 more." in message.get_content()
    assert message["Subject"].startswith("120 access tokens end soon")
    assert Notice.objects.exclude(sent_at=None).count() == 120


def test_no_secret_is_in_what_goes_out(cast: Cast, sink: Sink, settings: Any) -> None:
    settings.NOTIFY_TEAM_EMAIL = TEAM
    secret = cast.service_token("ci", days=5).plaintext

    run()

    assert len(sink.taken) == 2
    assert not any("osmo_" in message.as_string() or secret[-4:] in message.as_string() for message in sink.taken)


# What it leaves behind.


def test_one_event_counts(cast: Cast, sink: Sink, settings: Any) -> None:
    settings.NOTIFY_TEAM_EMAIL = TEAM
    cast.user_token("ada", "laptop", days=5)
    cast.service_token("ci", days=1)

    run()
    run()

    event = Event.objects.get(action="tokens.notified")
    assert event.actor.startswith("system:")
    assert (event.object_label, event.changes["messages"]) == ("4 notices", 2)
    assert event.changes["thresholds"] == {"1": 2, "3": 0, "7": 2, "14": 0, "30": 0}


def test_the_actor_is_recorded_and_must_be_somebody_who_may(cast: Cast, sink: Sink) -> None:
    cast.user_token(days=5)

    for name in ("ada", "audrey"):
        with pytest.raises(CommandError, match="Only administrators and operators may send notices"):
            run(f"--actor={name}")
    assert told(sink) == []
    run("--actor=olive")

    assert Event.objects.get(action="tokens.notified").actor == "olive"


def test_a_dry_run_says_what_would_go_out_and_leaves_no_trace(cast: Cast, sink: Sink, settings: Any) -> None:
    settings.NOTIFY_TEAM_EMAIL = TEAM
    cast.user_token(days=5)
    before = Event.objects.count()

    out, err = run("--dry-run", "--json")

    assert err == "2 notices would go out in 2 messages.\n"
    foreseen = json.loads(out)
    assert (Event.objects.count(), Notice.objects.count(), sink.taken) == (before, 0, [])
    assert json.loads(run("--json")[0]) == foreseen
    assert json.loads(run("--dry-run", "--json")[0])["notices"] == 0


def test_notices_of_tokens_that_have_ended_are_forgotten(cast: Cast, sink: Sink, time_machine_days: Any) -> None:
    cast.user_token(days=5)
    run()
    assert Notice.objects.count() == 1

    time_machine_days(6)
    run()

    assert not Notice.objects.exists()


def test_without_a_way_to_tell_anybody_it_says_what_to_set(cast: Cast, settings: Any) -> None:
    settings.SENDS_MAIL = False
    cast.user_token(days=5)

    for args in ([], ["--dry-run"]):
        with pytest.raises(CommandError, match="Set EMAIL_URL") as error:
            run(*args)
        assert error.value.returncode == 1


# When it does not work.


def test_a_refused_recipient_does_not_keep_others_from_being_told(cast: Cast, sink: Sink) -> None:
    for name in ("ada", "grace", "mallory", "olive"):
        cast.user_token(name, days=5)
    sink.refused = {"grace@example.com"}

    with pytest.raises(CommandError, match="1 message with 1 notice could not be sent") as error:
        run()

    assert error.value.returncode == 1
    assert [address for address, _ in told(sink)] == ["ada@example.com", "mallory@example.com", "olive@example.com"]
    sink.refused = set()
    assert run()[0] == "1\n"
    assert told(sink) == [("grace@example.com", "grace/my-token")]
    assert Notice.objects.get(token__owner=cast.grace).attempts == 2


def test_many_refused_recipients_do_not_look_like_a_server_that_is_down(cast: Cast, sink: Sink) -> None:
    people = ["ada", "audrey", "grace", "mallory", "olive"]
    for name in people:
        cast.user_token(name, days=5)
    sink.refused = {f"{name}@example.com" for name in people[:4]}

    with pytest.raises(CommandError, match="4 messages with 4 notices"):
        run()

    assert told(sink) == [("olive@example.com", "olive/my-token")]


def test_a_mail_server_that_is_down_is_asked_a_few_times_and_everything_waits(
    cast: Cast, sink: Sink, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = ["ada", "audrey", "grace", "mallory", "olive"]
    for name in people:
        cast.user_token(name, days=5)
    port, settings.EMAIL_PORT = settings.EMAIL_PORT, 1
    err = io.StringIO()

    with pytest.raises(CommandError, match="5 messages with 5 notices could not be sent"):
        call_command("notify_expiring", stdout=io.StringIO(), stderr=err)

    assert err.getvalue().count("Connection refused") == 5
    assert Event.objects.get(action="tokens.notified").changes["failed_notices"] == 5
    settings.EMAIL_PORT = port
    assert run()[0] == "5\n"
    assert len(told(sink)) == 5


def test_what_a_dead_run_had_claimed_is_sent_after_the_lease_and_not_before(cast: Cast, sink: Sink) -> None:
    cast.user_token(days=5)
    run()
    told(sink)
    Notice.objects.update(sent_at=None)

    assert run()[0] == "0\n"
    Notice.objects.update(claimed_at=timezone.now() - LEASE - timedelta(seconds=1))

    assert run()[0] == "1\n"
    assert len(told(sink)) == 1


def test_a_run_that_lost_its_claim_sends_nothing(cast: Cast, sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    cast.user_token(days=5)
    claim = type(Notice.objects.all()).claim

    def too_slow(notices: Any, *args: Any, **words: Any) -> None:
        claim(notices, *args, **words)
        Notice.objects.update(claim="another")

    monkeypatch.setattr(type(Notice.objects), "claim", too_slow)
    monkeypatch.setattr(type(Notice.objects.all()), "claim", too_slow)

    assert run()[0] == "0\n"
    assert told(sink) == []


# How much it asks.


def test_queries_do_not_grow_with_the_tokens(cast: Cast, sink: Sink) -> None:
    def cost(count: int, prefix: str) -> int:
        many_tokens(cast.robot, count, prefix)
        AccessToken._base_manager.update(expires_at=timezone.now() + timedelta(days=9))
        with CaptureQueriesContext(connection) as queries:
            run()
        return len(queries)

    few = cost(10, "few")

    # SQLite takes no more than so many values in one statement, so there are a few more of them.
    assert cost(400, "many") <= few + 4
    assert len(sink.taken) == 2


def test_an_hourly_run_with_nothing_new_writes_nothing(cast: Cast, sink: Sink) -> None:
    many_tokens(cast.robot, 20)
    run()

    with CaptureQueriesContext(connection) as queries:
        run()

    written = [query["sql"] for query in queries if query["sql"].startswith(("INSERT", "UPDATE"))]
    assert written == []


def test_many_notices_show_their_progress_on_a_terminal_only(
    cast: Cast, sink: Sink, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(door, "LARGE", 2)
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    for name in ("laptop", "phone"):
        cast.user_token("ada", name, days=5)

    call_command("notify_expiring", stdout=io.StringIO(), stderr=terminal)

    assert "Sending notices" in capsys.readouterr().err
    for name in ("desk", "watch"):
        cast.user_token("ada", name, days=5)
    assert run() == ("2\n", "2 notices went out in 1 message.\n")
    assert capsys.readouterr().err == ""
