"""manage.py rotate_signing_key, verify_events, and migrate without a time limit."""

import io
import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from osmo_portal.events import chain, triggers, verification
from osmo_portal.events.models import Event, EventLine
from profiles.management import door
from profiles.management.commands import verify_events
from tests.cast import Cast
from tests.rest import Rest, refused
from tokens import jwt
from tokens.models import AccessToken, SigningKey

pytestmark = pytest.mark.django_db


def run(*args: str) -> tuple[str, str]:
    """What it printed on stdout and on stderr."""
    out, err = io.StringIO(), io.StringIO()
    call_command(*args, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


# The signing key.


def test_a_rotation_publishes_the_new_key_and_interrupts_nothing(cast: Cast):
    rest = Rest(cast.administrator_token().plaintext)

    out, err = run("rotate_signing_key", "--actor=grace")

    key = SigningKey.objects.get(kid=out.strip())
    assert key.signs_from > timezone.now()
    assert "signs from" in err
    assert SigningKey.objects.published().count() == 2
    assert rest.get("pools").status_code == 200
    assert Event.objects.get(action="signing_key.rotated").actor == "grace"


def test_void_refuses_every_jwt_of_before(cast: Cast):
    token = cast.administrator_token()
    rest = Rest(token.plaintext)

    out, err = run("rotate_signing_key", "--actor=grace", "--void")

    assert "signs now" in err
    assert SigningKey.objects.current() == SigningKey.objects.get(kid=out.strip())
    refused(rest.get("pools"), 401)
    jwt.forget_keys()  # another process, or this one ten seconds later
    assert Rest(token.plaintext).get("pools").status_code == 200


@pytest.mark.parametrize("actor", ["ada", "olive", "audrey", "robot"])
def test_nobody_but_an_administrator_rotates_the_key(cast: Cast, actor: str):
    for more in ([], ["--void"]):
        with pytest.raises(CommandError, match="Only an administrator"):
            run("rotate_signing_key", f"--actor={actor}", *more)
    assert not SigningKey.objects.exists()


def test_the_shell_itself_rotates_no_key(cast: Cast):
    with pytest.raises(CommandError, match="--actor"):
        run("rotate_signing_key")


# The audit trail.


def test_a_whole_trail_prints_its_checkpoint(cast: Cast):
    out, err = run("verify_events")

    number, last_hash = chain.head()
    assert out == f"{number}:{last_hash}\n"
    assert err == f"The audit trail is whole: {number} events.\n"
    assert run("verify_events", "--checkpoint", out.strip())[0] == out


def test_a_checkpoint_stays_good_while_the_trail_grows(cast: Cast):
    checkpoint = run("verify_events")[0].strip()
    cast.user_token()

    out, _ = run("verify_events", f"--checkpoint={checkpoint}")

    assert out.strip() != checkpoint


def tamper_with(change: str) -> None:
    """Does what the triggers forbid, as somebody with the database in hands would."""
    triggers.drop(connection)
    try:
        last, middle = Event.objects.order_by("-pk")[0], Event.objects.order_by("-pk")[5]
        if change == "change":
            Event.objects.filter(pk=middle.pk).update(actor="nobody")
        elif change == "remove":
            Event.objects.filter(pk=middle.pk).delete()
        elif change == "lines":
            EventLine.objects.update(after="later")
        else:
            EventLine.objects.filter(event=last).delete()
            Event.objects.filter(pk=last.pk).delete()
    finally:
        triggers.create(connection)


@pytest.mark.parametrize(
    ("change", "text"),
    [("change", "was changed"), ("remove", "missing"), ("lines", "The lines of event"), ("cut", "The tail is cut")],
)
def test_tampering_shows_with_exit_code_1(cast: Cast, change: str, text: str):
    cast.service_token()
    AccessToken.objects.all().expire(by=cast.by("grace"), reason="over")
    checkpoint = run("verify_events")[0].strip()
    tamper_with(change)
    out, err = io.StringIO(), io.StringIO()

    with pytest.raises(CommandError, match="fault") as error:
        call_command("verify_events", f"--checkpoint={checkpoint}", stdout=out, stderr=err)

    assert error.value.returncode == 1
    assert text in err.getvalue()
    assert out.getvalue() == ""  # no checkpoint of a trail that is not whole


def test_json_tells_of_a_whole_trail(cast: Cast):
    number, last_hash = chain.head()

    out, err = run("verify_events", "--json")

    told = {"whole": True, "events": number, "archived": 0, "checkpoint": f"{number}:{last_hash}", "faults": 0}
    told["first_faults"] = []
    assert json.loads(out) == told
    assert "is whole" in err


def test_who_records_the_outcome_stands_in_the_event(cast: Cast):
    run("verify_events", "--record", "--actor=grace")

    event = Event.objects.get(action=verification.WHOLE)
    assert (event.actor, event.via) == ("grace", "command")
    with pytest.raises(CommandError, match="Only an administrator"):
        run("verify_events", "--record", "--actor=olive")
    assert Event.objects.filter(action=verification.WHOLE).count() == 1


def test_json_tells_of_faults_and_names_the_first_ones(cast: Cast, monkeypatch: pytest.MonkeyPatch):
    tamper_with("change")
    monkeypatch.setattr(verification, "FAULTS_NAMED", 1)
    out, err = io.StringIO(), io.StringIO()

    with pytest.raises(CommandError, match="2 faults"):
        call_command("verify_events", "--json", f"--checkpoint=9999:{'0' * 64}", stdout=out, stderr=err)

    told = json.loads(out.getvalue())
    assert (told["whole"], told["checkpoint"], told["faults"]) == (False, None, 2)
    assert len(told["first_faults"]) == 1
    assert "was changed" in told["first_faults"][0]
    assert len(err.getvalue().splitlines()) == 2


@pytest.mark.parametrize(("faulty", "code"), [(False, 0), (True, 1)])
def test_the_shell_is_told_by_the_exit_code(cast: Cast, monkeypatch: pytest.MonkeyPatch, faulty: bool, code: int):
    monkeypatch.setattr("django.db.connections.close_all", lambda: None)  # the test goes on with its connection
    if faulty:
        tamper_with("change")

    assert exit_code("--json") == code
    assert exit_code("--nonsense") == 1
    assert exit_code("--help") == 0


def exit_code(*argv: str) -> int:
    try:
        verify_events.Command().run_from_argv(["manage.py", "verify_events", *argv])
    except SystemExit as end:
        return int(str(end.code or 0))
    return 0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_long_trail_shows_its_progress_on_a_terminal_only(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(door, "LARGE", 3)
    monkeypatch.setattr(chain, "STEP", 3)
    run("verify_events")
    assert "Reading events" not in capsys.readouterr().err

    call_command("verify_events", stdout=io.StringIO(), stderr=Terminal())

    assert "Reading events" in capsys.readouterr().err


def test_a_checkpoint_of_another_trail_shows(cast: Cast):
    number, _ = chain.head()

    with pytest.raises(CommandError, match="one fault"):
        run("verify_events", f"--checkpoint={number}:{'0' * 64}")


@pytest.mark.parametrize(
    "checkpoint", ["", "5", "x:y", "5:abc", f"-1:{'0' * 64}", f"5:{'G' * 64}", f"{'9' * 30}:{'0' * 64}"]
)
def test_what_is_no_checkpoint_is_refused(checkpoint: str):
    with pytest.raises(CommandError, match="what an earlier run printed"):
        run("verify_events", f"--checkpoint={checkpoint}")


# Migrations.


def time_limit() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        return str(cursor.fetchone()[0])


def test_migrations_run_without_the_time_limit_and_leave_it_as_it_was():
    with CaptureQueriesContext(
        connection,
    ) as queries:
        run("migrate", "--check")

    statements = [query["sql"] for query in queries if "statement_timeout" in query["sql"]]
    if connection.vendor == "postgresql":
        assert statements == ["SET statement_timeout = 0", "RESET statement_timeout"]
        assert time_limit() == "15s"
    else:
        assert statements == []


def test_an_error_leaves_the_time_limit_as_it_was():
    with pytest.raises(CommandError):
        run("migrate", "no_such_app")

    if connection.vendor == "postgresql":
        assert time_limit() == "15s"


def test_a_key_is_published_before_it_signs(cast: Cast, time_machine):
    run("rotate_signing_key", "--actor=grace")
    key = SigningKey.objects.latest("pk")
    assert SigningKey.objects.current() != key

    time_machine.move_to(timezone.now() + timedelta(hours=1, seconds=11), tick=True)

    assert SigningKey.objects.current() == key
