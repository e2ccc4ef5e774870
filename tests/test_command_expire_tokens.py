"""manage.py expire_tokens: which tokens it finds, that it only shortens, and what it says."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command, get_commands
from django.utils import timezone

from osmo_portal.events.models import Event
from profiles.management import door
from profiles.models import Role
from tests.bulk import many_tokens
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tests.snapshot import scene
from tokens.management.commands import expire_tokens as command
from tokens.models import AccessToken, BulkOperation, LastUse
from tokens.models.token_set import State

pytestmark = pytest.mark.django_db


def run(*args: str, reason: str = "end of project") -> tuple[str, str]:
    """What it printed on stdout and on stderr."""
    out, err = io.StringIO(), io.StringIO()
    call_command("expire_tokens", *args, reason=reason, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def living() -> set[str]:
    return set(AccessToken.objects.live().values_list("name", flat=True))


@pytest.fixture
def tokens(cast: Cast) -> dict[str, AccessToken]:
    return scene("expire_tokens", lambda: _tokens(cast))


def _tokens(cast: Cast) -> dict[str, AccessToken]:
    return {
        "laptop": cast.user_token("ada", "laptop"),
        "phone": cast.user_token("mallory", "phone"),
        "ci-strong": cast.service_token("ci-strong"),
        "ci-weak": cast.service_token("ci-weak", [PLAIN_ROLE]),
        "root": cast.administrator_token("root"),
    }


EVERYTHING = {"laptop", "phone", "ci-strong", "ci-weak", "root"}


@pytest.mark.parametrize(
    ("args", "hit"),
    [
        (["--owner=ada"], {"laptop"}),
        (["--owner=ROBOT"], {"ci-strong", "ci-weak"}),
        (["--kind=person"], {"laptop", "phone"}),
        (["--kind=service"], {"ci-strong", "ci-weak", "root"}),
        ([f"--role={PLAIN_ROLE}"], {"ci-weak"}),
        (["--role=osmo-user"], {"laptop", "phone"}),
        (["--pool=my_pool"], {"ci-strong", "root"}),
        (["--pool=default"], {"root"}),
        (["--name-glob=ci-*"], {"ci-strong", "ci-weak"}),
        (["--name-glob=ci-wea?"], {"ci-weak"}),
        (["--name-glob=laptop"], {"laptop"}),
        (["--owner=robot", "--name-glob=*strong", "--kind=service"], {"ci-strong"}),
        (["--all"], EVERYTHING),
    ],
)
def test_the_filters_find_what_they_say(tokens: dict[str, AccessToken], args: list[str], hit: set[str]):
    would = run(*args, "--dry-run")
    assert living() == EVERYTHING

    did = run(*args)

    assert living() == EVERYTHING - hit
    assert would[0] == did[0] == f"{len(hit)}\n"


def test_tokens_that_were_not_used_since_a_day_end(cast: Cast):
    now = timezone.now()
    for name, made, used in [("old-unused", 90, None), ("old-used", 90, 1), ("forgotten", 90, 60), ("new", 0, None)]:
        token = cast.user_token("ada", name)
        AccessToken._base_manager.filter(pk=token.pk).update(issued_at=now - timedelta(days=made))
        LastUse.objects.filter(token=token).update(at=used and now - timedelta(days=used))

    run(f"--unused-since={in_days(-30)}")

    assert living() == {"old-used", "new"}


def test_one_event_tells_who_why_and_which(tokens: dict[str, AccessToken]):
    run("--kind=service", reason="audit 2030")

    event = Event.objects.get(action="tokens.expired")
    assert event.actor.startswith("system:")
    assert (event.via, event.reason) == ("command", "audit 2030")
    assert set(event.lines.values_list("object_label", flat=True)) == {"robot/ci-strong", "robot/ci-weak", "root/root"}


def test_a_dry_run_writes_nothing_at_all(tokens: dict[str, AccessToken]):
    before = Event.objects.count(), list(AccessToken.objects.values_list("expires_at", flat=True))

    out, err = run("--all", "--dry-run")

    assert out == "5\n"
    assert "Would let 5 tokens end at once." in err
    assert (Event.objects.count(), list(AccessToken.objects.values_list("expires_at", flat=True))) == before


def test_the_sentence_counts(tokens: dict[str, AccessToken]):
    assert run("--owner=ada")[1].startswith("Let 1 token end at 2")
    assert run("--kind=service")[1].startswith("Let 3 tokens end at 2")


def test_tokens_can_end_later_and_are_only_ever_shortened(cast: Cast):
    short, long = cast.user_token("ada", "short", days=5), cast.user_token("ada", "long", days=50)

    out, _ = run("--all", f"--at={in_days(10)}T12:00+02:00")

    short.refresh_from_db()
    long.refresh_from_db()
    assert out == "1\n"
    assert short.expires_at.date() == in_days(5)
    assert long.expires_at == datetime.combine(in_days(10), datetime.min.time(), UTC) + timedelta(hours=10)


def test_an_instant_in_the_past_means_now(cast: Cast):
    token = cast.user_token()

    run("--all", "--at=2020-01-01")

    token.refresh_from_db()
    assert timezone.now() - token.expires_at < timedelta(minutes=1)
    assert token.state() == State.EXPIRED


def test_expired_and_revoked_tokens_are_left_alone(tokens: dict[str, AccessToken], cast: Cast):
    tokens["laptop"].revoke(by=cast.by("grace"), reason="lost")
    run("--owner=mallory")
    phone = AccessToken.objects.get(name="phone").expires_at

    assert run("--all")[0] == "3\n"
    assert AccessToken.objects.get(name="phone").expires_at == phone
    assert AccessToken.objects.get(name="laptop").state() == State.REVOKED


@pytest.mark.parametrize(
    "args",
    [["--owner=grace"], ["--name-glob=nothing-*"], ["--pool=my_pool", "--kind=person"], ["--unused-since=2020-01-01"]],
)
def test_nothing_matched_is_exit_code_2(tokens: dict[str, AccessToken], args: list[str]):
    for more in ([], ["--dry-run"]):
        with pytest.raises(CommandError, match="No token matches") as error:
            run(*args, *more)

        assert error.value.returncode == 2
    assert living() == EVERYTHING


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ([], "at least one filter, or --all"),
        (["--all", "--owner=ada"], "at least one filter, or --all"),
        (["--owner=nobody"], "no user 'nobody'"),
        (["--role=nothing"], "no role 'nothing'"),
        (["--pool=nothing"], "no pool 'nothing'"),
        (["--kind=robot"], "invalid choice"),
        (["--all", "--at=soon"], "no instant"),
        (["--unused-since=2020-13-01"], "no instant"),
        (["--name-glob=*a*a*a*a*"], "at most 3 stars"),
        (["--all", "--actor=nobody"], "no user 'nobody'"),
        (["--all", "--actor=ada"], "Only administrators and operators"),
        (["--all", "--actor=audrey"], "Only administrators and operators"),
    ],
)
def test_a_wrong_call_is_exit_code_1_and_ends_nothing(tokens: dict[str, AccessToken], args: list[str], text: str):
    with pytest.raises(CommandError, match=text) as error:
        run(*args)

    assert error.value.returncode == 1
    assert living() == EVERYTHING


@pytest.mark.parametrize("reason", ["", "  ", "\0"])
def test_a_reason_is_required(tokens: dict[str, AccessToken], reason: str):
    with pytest.raises(CommandError):
        run("--all", reason=reason)
    assert living() == EVERYTHING


def test_an_operator_may_be_the_actor(tokens: dict[str, AccessToken]):
    run("--owner=ada", "--actor=olive")

    assert Event.objects.get(action="tokens.expired").actor == "olive"


def test_a_role_that_is_gone_still_finds_its_tokens(tokens: dict[str, AccessToken], cast: Cast):
    Role.objects.get(name=POOL_ROLE).mark_deleted(by=cast.by("grace"), reason="over")

    run(f"--role={POOL_ROLE}")

    assert "ci-strong" not in living()


def test_the_pool_filter_finds_every_kind_of_pool_access(cast: Cast):
    for action in ("Create", "Exec", "Rsync", "PortForward", "List"):
        policy = {"effect": "Allow", "actions": [f"workflow:{action}"], "resources": ["pool/my_*"]}
        role = Role.create(by=cast.by("grace"), name=action, policies=[policy]).name
        cast.robot.assign_role(role, by=cast.by("grace"))
        cast.service_token(action, [role])

    run("--pool=my_pool")

    assert living() == {"List"}


def test_many_tokens_end_in_batches_of_one_operation(cast: Cast, monkeypatch):
    many_tokens(cast.robot, 2_500)

    assert run("--owner=robot")[0] == "2500\n"

    events = Event.objects.filter(action="tokens.expired")
    assert len({event.changes["operation"] for event in events}) == 1
    assert sum(event.lines.count() for event in events) == 2_500
    assert not living()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_large_set_shows_its_progress_on_a_terminal_only(cast: Cast, monkeypatch, capsys):
    monkeypatch.setattr(door, "LARGE", 3)
    many_tokens(cast.robot, 6)

    call_command("expire_tokens", "--name-glob=bulk-0", reason="x", stdout=io.StringIO(), stderr=Terminal())
    assert "Ending tokens" not in capsys.readouterr().err
    call_command("expire_tokens", "--name-glob=bulk-*", reason="x", stdout=io.StringIO(), stderr=Terminal())

    assert "Ending tokens" in capsys.readouterr().err


def test_a_wrong_call_from_the_shell_is_not_mistaken_for_nothing_matched(capsys):
    for argv, code in ((["--nonsense"], 1), (["--help"], 0)):
        with pytest.raises(SystemExit) as end:
            command.Command().run_from_argv(["manage.py", "expire_tokens", *argv])

        assert end.value.code == code


def test_the_shell_is_told_that_nothing_matched(cast: Cast, capsys, monkeypatch):
    monkeypatch.setattr("django.db.connections.close_all", lambda: None)  # the test goes on with its connection

    with pytest.raises(SystemExit) as end:
        command.Command().run_from_argv(["manage.py", "expire_tokens", "--all", "--reason=x"])

    assert end.value.code == 2
    assert capsys.readouterr().out == ""


def test_the_portals_commands_win_over_djangos():
    found = get_commands()

    assert found["createsuperuser"] == found["changepassword"] == "profiles"
    assert found["migrate"] == "osmo_portal"


# Held to what a dry run showed.


def told_digest(*args: str) -> str:
    """The digest that a dry run tells."""
    _, err = run(*args, "--dry-run")
    return err.split("--digest ")[1].split()[0]


def test_a_dry_run_tells_a_digest_that_ends_exactly_these(tokens: dict[str, AccessToken]):
    digest = told_digest("--kind=service")

    out, _ = run("--kind=service", f"--digest={digest}")

    assert out == "3\n"
    assert living() == {"laptop", "phone"}
    event = Event.objects.get(action="tokens.bulk_executed")
    assert (event.reason, event.changes["filters"]) == ("end of project", ["kind=service"])
    assert event.changes["set_digest"] == digest
    assert set(Event.objects.filter(action="tokens.expired").values_list("changes__operation", flat=True)) == {
        event.changes["operation"]
    }


def test_the_digest_is_that_of_the_console(tokens: dict[str, AccessToken], cast: Cast):
    operation = BulkOperation.preview(
        AccessToken.objects.listed().of_kind("service"), by=cast.by("grace"), action="revoke", filters={}
    )

    assert told_digest("--kind=service") == operation.digest


def test_a_set_that_has_changed_since_the_dry_run_is_refused(tokens: dict[str, AccessToken], cast: Cast):
    digest = told_digest("--kind=service")
    cast.service_token("new")

    with pytest.raises(CommandError, match="it has 4 tokens now") as error:
        run("--kind=service", f"--digest={digest}")

    assert error.value.returncode == 2
    assert living() == EVERYTHING | {"new"}
    assert not BulkOperation.objects.exists()


def test_a_dry_run_with_a_digest_stays_one(tokens: dict[str, AccessToken]):
    digest = told_digest("--all")

    run("--all", f"--digest={digest}", "--dry-run")

    assert living() == EVERYTHING


def test_somebody_without_the_power_ends_nothing_with_a_digest(tokens: dict[str, AccessToken]):
    digest = told_digest("--all")

    with pytest.raises(CommandError, match="Only administrators and operators"):
        run("--all", f"--digest={digest}", "--actor=ada")

    assert living() == EVERYTHING


def test_a_large_set_by_digest_shows_its_progress_too(cast: Cast, monkeypatch, capsys):
    monkeypatch.setattr(door, "LARGE", 3)
    many_tokens(cast.robot, 6)
    digest = told_digest("--all")
    capsys.readouterr()

    call_command("expire_tokens", "--all", f"--digest={digest}", reason="x", stdout=io.StringIO(), stderr=Terminal())

    assert "Ending tokens" in capsys.readouterr().err
    assert not living()
