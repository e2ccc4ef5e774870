"""manage.py rotate_tokens: whom it gives new secrets, where those go, and that none is lost."""

import errno
import io
import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from osmo_portal.events import chain
from osmo_portal.events.models import Event
from profiles.management import door
from profiles.models import User
from tests import dump
from tests.bulk import many_tokens
from tests.cast import PLAIN_ROLE, Cast
from tests.test_secret_hunt import found
from tokens import exchange
from tokens.management.commands import rotate_tokens as command
from tokens.management.secret_file import SecretFile
from tokens.models import AccessToken, Secret
from tokens.secrets import digest, generate

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.django_db


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "secrets.jsonl"


@pytest.fixture
def tokens(cast: Cast) -> dict[str, AccessToken]:
    return {
        "laptop": cast.user_token("ada", "laptop"),
        "ci-strong": cast.service_token("ci-strong"),
        "ci-weak": cast.service_token("ci-weak", [PLAIN_ROLE]),
    }


def run(*args: str, actor: str = "grace", reason: str = "spring") -> tuple[str, str]:
    """What it printed on stdout and on stderr."""
    out, err = io.StringIO(), io.StringIO()
    call_command("rotate_tokens", *args, f"--actor={actor}", f"--reason={reason}", stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def refuses(text: str, *args: str, code: int = 1, **options: Any) -> None:
    """It is refused, and nothing at all is changed."""
    before = dump.tables()
    with pytest.raises(CommandError, match=text) as error:
        run(*args, **options)
    assert error.value.returncode == code
    assert dump.tables() == before


def entries(*files: Path) -> list[dict[str, Any]]:
    """The entries of the files; of a file that broke off, the whole ones."""
    lines = [line for file in files for line in file.read_text().splitlines(keepends=True)]
    return [json.loads(line) for line in lines if line.endswith("\n")]


def works(secret: str) -> bool:
    try:
        exchange.exchange(secret)
    except exchange.Refused:
        return False
    return True


def rotated() -> set[str]:
    return set(AccessToken.objects.filter(rotations__gt=0).values_list("name", flat=True))


# What it does.


def test_the_tokens_that_match_get_secrets_that_work(tokens: dict[str, AccessToken], file: Path):
    out, err = run("--owner=robot", f"--out={file}")

    assert out == "2\n"
    assert "2 tokens rotated. The old secrets work until" in err
    assert rotated() == {"ci-strong", "ci-weak"}
    assert {(entry["owner"], entry["name"]) for entry in entries(file)} == {
        ("robot", "ci-strong"),
        ("robot", "ci-weak"),
    }
    assert all(works(entry["secret"]) for entry in entries(file))


def test_an_entry_says_whose_secret_it_is_and_until_when_the_old_one_works(tokens: dict[str, AccessToken], file: Path):
    run("--name-glob=ci-weak", f"--out={file}", "--grace=2")

    (entry,) = entries(file)
    assert set(entry) == {"id", "name", "owner", "secret", "old_secret_ends"}
    assert entry["id"] == tokens["ci-weak"].pk
    old = Secret.objects.get(retires_at__isnull=False)
    assert datetime.fromisoformat(entry["old_secret_ends"]) == old.retires_at
    assert timedelta(0) <= timezone.now() + timedelta(hours=2) - old.retires_at < timedelta(minutes=1)
    assert works(str(tokens["ci-weak"].plaintext))


def test_without_grace_the_old_secrets_work_no_longer(tokens: dict[str, AccessToken], file: Path):
    _, err = run("--name-glob=ci-weak", f"--out={file}", "--grace=0")

    assert "The old secrets work no longer" in err
    assert not works(str(tokens["ci-weak"].plaintext))
    assert works(entries(file)[0]["secret"])


def test_each_event_tells_who_and_why_and_all_are_of_one_operation(tokens: dict[str, AccessToken], file: Path):
    run("--owner=robot", f"--out={file}", reason="yearly")

    events = Event.objects.filter(action="token.rotated")
    assert events.count() == 2
    assert set(events.values_list("actor", "via", "reason")) == {("grace", "command", "yearly")}
    assert len({event.changes["operation"] for event in events}) == 1


def test_a_dry_run_changes_and_writes_nothing(tokens: dict[str, AccessToken], file: Path):
    before = dump.tables()

    out, err = run("--all", f"--out={file}", "--dry-run")

    assert out == "3\n"
    assert "3 tokens would be rotated" in err
    assert dump.tables() == before
    assert not file.exists()


def test_json_counts_and_holds_no_secret(tokens: dict[str, AccessToken], file: Path):
    out, _ = run("--owner=robot", f"--out={file}", "--json")

    facts = json.loads(out)
    assert (facts["rotated"], facts["dry_run"], facts["refused"], facts["refusals"]) == (2, False, 0, [])
    assert not any(found(entry["secret"], out) for entry in entries(file))


@pytest.mark.parametrize("form", ["--out", "--kubernetes"])
def test_nothing_but_the_file_keeps_a_secret(
    tokens: dict[str, AccessToken], file: Path, form: str, capfd: Any, caplog: Any
):
    caplog.set_level("DEBUG")
    out, err = run("--all", f"{form}={file}", "--json")
    written = file.read_text()
    secrets = {word.strip('",') for word in written.split() if word.strip('",').startswith("osmo_")}

    kept = dump.text()

    assert len(secrets) == 3
    for secret in secrets:
        assert found(secret, written)
        assert not found(secret, out, err, kept, caplog.text, *capfd.readouterr())


# The file.


@pytest.mark.parametrize("umask", [0, 0o022])
def test_the_owner_alone_reads_the_file(tokens: dict[str, AccessToken], file: Path, umask: int):
    before = os.umask(umask)
    try:
        run("--all", f"--out={file}")
    finally:
        os.umask(before)

    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def _a_file(path: Path) -> None:
    path.write_text("mine\n")


def _a_link(path: Path) -> None:
    path.with_name("other").write_text("mine\n")
    path.symlink_to(path.with_name("other"))


def _a_link_to_nothing(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


@pytest.mark.parametrize("there", [_a_file, _a_link, _a_link_to_nothing, Path.mkdir])
@pytest.mark.parametrize("form", ["--out", "--kubernetes"])
def test_what_is_there_already_is_left_alone(
    tokens: dict[str, AccessToken], file: Path, there: Callable[[Path], None], form: str
):
    there(file)
    names = set(file.parent.iterdir())

    refuses("is there already", "--all", f"{form}={file}")

    assert set(file.parent.iterdir()) == names
    assert not file.is_file() or file.read_text() == "mine\n"


def test_a_folder_that_is_not_there_is_an_error(tokens: dict[str, AccessToken], tmp_path: Path):
    refuses("No such file or directory. Nothing was changed", "--all", f"--out={tmp_path}/none/secrets")


def test_a_secret_is_on_the_disk_before_its_rotation_commits(
    tokens: dict[str, AccessToken], file: Path, monkeypatch: pytest.MonkeyPatch
):
    """As another connection would see it: the events of a block are written at its end, just before the commit."""
    happened: list[str] = []

    def noted(what: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def do(*args: Any) -> Any:
            happened.append(what)
            return act(*args)

        return do

    monkeypatch.setattr(os, "write", noted("write", os.write))
    monkeypatch.setattr(os, "fsync", noted("sync", os.fsync))
    monkeypatch.setattr(chain, "append", noted("event", chain.append))

    run("--owner=robot", f"--out={file}")

    # The first is of the folder.
    assert happened == ["sync", "write", "sync", "event", "write", "sync", "event"]


def test_a_full_disk_stops_the_run_and_undoes_the_rotation_at_hand(
    tokens: dict[str, AccessToken], file: Path, monkeypatch: pytest.MonkeyPatch
):
    keep = SecretFile.keep

    def full(self: SecretFile, token: AccessToken) -> None:
        if self.kept:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        keep(self, token)

    monkeypatch.setattr(SecretFile, "keep", full)

    with pytest.raises(CommandError, match=r"No space left on device.* 1 token rotated before") as error:
        run("--all", f"--out={file}")

    assert error.value.returncode == 1
    assert rotated() == {entry["name"] for entry in entries(file)} == {"laptop"}


def test_a_secret_is_written_whole_however_little_a_write_takes(
    tokens: dict[str, AccessToken], file: Path, monkeypatch: pytest.MonkeyPatch
):
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))

    run("--all", f"--out={file}")

    assert len(entries(file)) == 3


# For Kubernetes.


def test_a_manifest_has_a_secret_for_each_token(tokens: dict[str, AccessToken], file: Path):
    run("--all", f"--kubernetes={file}")

    documents = list(yaml.safe_load_all(file.read_text()))
    assert {document["kind"] for document in documents} == {"Secret"}
    names = [document["metadata"]["name"] for document in documents]
    assert names == ["osmo-ada-laptop", "osmo-robot-ci-strong", "osmo-robot-ci-weak"]
    assert all(works(document["stringData"]["OSMO_TOKEN"]) for document in documents)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_secrets_that_would_have_one_name_are_not_put_into_one_file(
    tokens: dict[str, AccessToken], cast: Cast, file: Path
):
    cast.service_token("CI_weak")

    refuses("robot/ci-weak and robot/CI_weak would have one name", "--owner=robot", f"--kubernetes={file}")

    assert not file.exists()
    assert run("--name-glob=ci-weak", f"--kubernetes={file}")[0] == "1\n"


# Who may, and what cannot be rotated.


def _two_secrets(cast: Cast, token: AccessToken, time_machine: Any) -> None:
    token.rotate(by=cast.by("grace"))


def _inactive_owner(cast: Cast, token: AccessToken, time_machine: Any) -> None:
    User._base_manager.filter(pk=token.owner_id).update(is_active=False)


def _deleted_owner(cast: Cast, token: AccessToken, time_machine: Any) -> None:
    User._base_manager.filter(pk=token.owner_id).update(deleted_at=timezone.now())


def _maximum_reached(cast: Cast, token: AccessToken, time_machine: Any) -> None:
    days = timedelta(days=365)
    AccessToken._base_manager.filter(pk=token.pk).update(issued_at=timezone.now() - days, created_at=None)


def _role_maximum_reached(cast: Cast, token: AccessToken, time_machine: Any) -> None:
    role = token.roles.get().assignment.role
    type(role)._base_manager.filter(pk=role.pk).update(max_token_days=3)
    issued = timezone.now() - timedelta(days=3)
    AccessToken._base_manager.filter(pk=token.pk).update(issued_at=issued, created_at=issued)


REFUSED: dict[str, tuple[Callable[[Cast, AccessToken, Any], None], str, str]] = {
    "two secrets": (_two_secrets, "grace", "Two secrets live already"),
    "an inactive owner": (_inactive_owner, "grace", "is not active"),
    "a deleted owner": (_deleted_owner, "grace", "is not active"),
    "the portal's maximum": (_maximum_reached, "grace", "reached the maximum lifetime"),
    "a role's maximum": (_role_maximum_reached, "grace", "reached the maximum lifetime"),
    "beyond an operator": (lambda *_: None, "olive", "it is not yours, or it carries more"),
    "of somebody else": (lambda *_: None, "mallory", "it is not yours, or it carries more"),
    "an auditor": (lambda *_: None, "audrey", "it is not yours, or it carries more"),
    "a service account": (lambda *_: None, "robot", "it is not yours, or it carries more"),
}
refused = pytest.mark.parametrize(("arrange", "actor", "why"), REFUSED.values(), ids=REFUSED)


@refused
def test_what_cannot_be_rotated_is_told_and_nothing_is(
    cast: Cast, file: Path, arrange: Callable, actor: str, why: str, time_machine: Any
):
    arrange(cast, cast.service_token(), time_machine)

    refuses("Nothing was rotated", "--all", f"--out={file}", actor=actor)
    refuses("Nothing was rotated", "--all", f"--out={file}", "--dry-run", actor=actor)
    refuses("Nothing was rotated", "--all", f"--out={file}", "--skip-refused", actor=actor)

    assert not file.exists()


@refused
def test_the_set_of_those_that_can_be_rotated_is_what_each_alone_is_asked(
    cast: Cast, arrange: Callable, actor: str, why: str, time_machine: Any
):
    token, by = cast.service_token(), cast.by(actor)
    arrange(cast, token, time_machine)
    token = AccessToken.objects.get(pk=token.pk)

    assert not AccessToken.objects.rotatable(by)
    assert list(AccessToken.objects.not_rotatable(by)) == [token]
    for attempt in (lambda: token.check_rotation(by), lambda: token.rotate(by=by)):
        with pytest.raises((PermissionDenied, ValidationError), match=why):
            attempt()


def test_those_that_cannot_be_rotated_are_left_out_on_demand(tokens: dict[str, AccessToken], cast: Cast, file: Path):
    out, err = run("--owner=robot", f"--out={file}", "--skip-refused", "--json", actor="olive")

    assert rotated() == {entry["name"] for entry in entries(file)} == {"ci-weak"}
    assert "1 of 2 tokens cannot be rotated.\nrobot/ci-strong: You may not rotate this token" in err
    (row,) = json.loads(out)["refusals"]
    assert (row["id"], row["name"]) == (tokens["ci-strong"].pk, "ci-strong")


def test_a_second_secret_is_no_obstacle_without_grace(cast: Cast, file: Path):
    first = cast.service_token()
    second = first.rotate(by=cast.by("grace"))

    run("--all", f"--out={file}", "--grace=0")

    assert [works(str(token.plaintext)) for token in (first, second)] == [False, False]
    assert works(entries(file)[0]["secret"])


def test_a_person_rotates_the_own_tokens_and_no_others(tokens: dict[str, AccessToken], file: Path):
    refuses("Nothing was rotated", "--all", f"--out={file}", actor="ada")

    run("--owner=ada", f"--out={file}", actor="ada")

    assert rotated() == {"laptop"}


def test_many_refusals_are_counted_and_the_first_told(cast: Cast, file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(command, "TOLD", 2)
    monkeypatch.setattr(command, "EXPLAINED", 3)
    many_tokens(cast.robot, 5)
    plain = cast.service_token("plain", [PLAIN_ROLE])

    out, err = run("--all", f"--out={file}", "--skip-refused", "--json", actor="olive")

    assert "5 of 6 tokens cannot be rotated." in err
    assert err.count("You may not rotate this token") == 2
    assert "and 3 more." in err
    assert json.loads(out)["refused"] == 5
    assert len(json.loads(out)["refusals"]) == 3
    assert rotated() == {plain.name}


def test_what_has_ended_or_stands_still_is_left_alone(cast: Cast, file: Path, time_machine: Any):
    by = cast.by("grace")
    ended = [cast.service_token(name, days=2) for name in ("revoked", "suspended", "expired")]
    ended[0].revoke(by=by, reason="x")
    ended[1].suspend(by=by, reason="x")
    cast.service_token("live")
    time_machine.move_to(ended[2].expires_at)

    run("--all", f"--out={file}", "--grace=0")

    assert rotated() == {"live"}
    assert not any(works(str(token.plaintext)) for token in ended)


def test_a_caller_by_token_gets_no_secret_of_a_longer_lived_one(cast: Cast, file: Path):
    by = cast.with_token(cast.user_token("ada", "short", days=5))
    longer = cast.user_token("ada", "longer", days=50)
    told: list[Exception] = []
    secrets: list[AccessToken] = []

    count = AccessToken.objects.filter(pk=longer.pk).rotate(
        by=by, keep=secrets.append, refused=lambda token, error: told.append(error), reason="x"
    )

    assert (count, secrets) == (0, [])
    assert "cannot outlast the one you are signed in with" in str(told[0])


def test_the_shell_alone_rotates_nothing(tokens: dict[str, AccessToken], file: Path, capsys: Any):
    with pytest.raises(CommandError, match="--actor"):
        call_command("rotate_tokens", "--all", f"--out={file}", "--reason=x")

    assert not rotated()
    assert not file.exists()


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ([], "at least one filter, or --all"),
        (["--all", "--owner=ada"], "at least one filter, or --all"),
        (["--owner=nobody"], "no user 'nobody'"),
        (["--all", "--grace=soon"], "no number of hours"),
        (["--all", "--grace=nan"], "no number of hours"),
        (["--all", "--grace=inf"], "no number of hours"),
        (["--all", "--grace=-1"], "between 0 and 720 hours"),
        (["--all", "--grace=721"], "between 0 and 720 hours"),
        (["--all", "--skip-rotated-since=soon"], "no instant"),
        (["--all", "--expect=two"], "invalid int"),
        (["--all", "--kubernetes=also"], "not allowed with"),
    ],
)
def test_a_wrong_call_is_exit_code_1(tokens: dict[str, AccessToken], file: Path, args: list[str], text: str):
    refuses(text, *args, f"--out={file}")

    assert not file.exists()


@pytest.mark.parametrize("reason", ["", "  ", "\0"])
def test_a_reason_is_required(tokens: dict[str, AccessToken], file: Path, reason: str):
    refuses(".", "--all", f"--out={file}", reason=reason)

    assert not file.exists()


def test_the_secrets_must_go_somewhere(tokens: dict[str, AccessToken]):
    refuses("Say where the secrets go", "--all")


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--owner=grace"], "No active token matches"),
        (["--all", "--expect=2"], "would be 3, not 2"),
        (["--all", "--expect=4", "--dry-run"], "would be 3, not 4"),
        (["--all", "--expect=0"], "would be 3, not 0"),
    ],
)
def test_nothing_matched_or_another_number_is_exit_code_2(
    tokens: dict[str, AccessToken], file: Path, args: list[str], text: str
):
    refuses(text, *args, f"--out={file}", code=2)

    assert not file.exists()


def test_the_number_expected_is_rotated(tokens: dict[str, AccessToken], file: Path):
    assert run("--all", f"--out={file}", "--expect=3")[0] == "3\n"


def test_a_large_set_shows_its_progress_on_a_terminal(
    tokens: dict[str, AccessToken], file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    monkeypatch.setattr(door, "LARGE", 3)
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]

    call_command(
        "rotate_tokens", "--all", f"--out={file}", "--actor=grace", "--reason=x", stdout=io.StringIO(), stderr=terminal
    )

    assert "Rotating tokens" in capsys.readouterr().err


# While others are at work.


def _in_between(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], Any]) -> None:
    """Lets something happen after the look at the set, beside the first rotation."""
    keep = SecretFile.keep

    def and_more(self: SecretFile, token: AccessToken) -> None:
        keep(self, token)
        if self.kept == 1:
            happens()

    monkeypatch.setattr(SecretFile, "keep", and_more)


def test_what_changed_since_the_look_stops_the_run(
    tokens: dict[str, AccessToken], cast: Cast, file: Path, monkeypatch: pytest.MonkeyPatch
):
    _in_between(monkeypatch, lambda: _inactive_owner(cast, tokens["ci-weak"], None))

    with pytest.raises(CommandError, match=r"Stopped there\. 1 token rotated before") as error:
        run("--all", f"--out={file}")

    assert error.value.returncode == 1
    assert rotated() == {entry["name"] for entry in entries(file)} == {"laptop"}


def test_what_changed_since_the_look_is_left_out_on_demand(
    tokens: dict[str, AccessToken], cast: Cast, file: Path, monkeypatch: pytest.MonkeyPatch
):
    _in_between(monkeypatch, lambda: _inactive_owner(cast, tokens["ci-weak"], None))

    out, err = run("--all", f"--out={file}", "--skip-refused", "--json")

    assert rotated() == {"laptop"}
    assert "robot/ci-weak was not rotated: The owner robot is not active." in err
    assert (json.loads(out)["rotated"], json.loads(out)["refused"]) == (1, 2)


def test_a_token_made_meanwhile_keeps_its_secret(cast: Cast):
    cast.service_token("old")
    made: list[AccessToken] = []

    AccessToken.objects.live().rotate(
        by=cast.by("grace"),
        keep=lambda token: made.append(cast.service_token("new")),
        refused=lambda *_: None,
        reason="x",
        grace=timedelta(0),
    )

    assert rotated() == {"old"}
    assert works(str(made[0].plaintext))


# Killed, and run again.


def _environment() -> dict[str, str]:
    """For a process of its own on the database of this test."""
    place = connection.settings_dict
    url = f"sqlite:///{place['NAME']}"
    if connection.vendor == "postgresql":
        url = f"postgres://{place['USER']}:{place['PASSWORD']}@{place['HOST']}:{place['PORT']}/{place['NAME']}"
    return os.environ | {"DATABASE_URL": url}


def _begin(file: Path, *args: str, program: tuple[str, ...] = ("manage.py",)) -> "subprocess.Popen[str]":
    command = [sys.executable, *program, "rotate_tokens", "--owner=robot", "--actor=grace", "--reason=x"]
    return subprocess.Popen(
        [*command, f"--out={file}", "--skip-checks", *args],
        cwd=ROOT,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _kill_when(process: "subprocess.Popen[str]", file: Path, entries: int) -> None:
    deadline = time.monotonic() + 60
    while not file.exists() or file.read_bytes().count(b"\n") < entries:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
    process.kill()


def _has_been_killed(process: "subprocess.Popen[str]") -> bool:
    out, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, err
    return not out


def _nothing_is_lost(old: dict[int, str], *files: Path) -> None:
    """The newest entry of each rotated token works; of the others the old secret does; each was rotated once, and the
    trail is whole."""
    assert list(chain.faults()) == []
    newest = {entry["id"]: entry["secret"] for entry in entries(*files)}
    told = Counter(Event.objects.filter(action="token.rotated").values_list("object_id", flat=True))
    for token in AccessToken.objects.all():
        assert token.rotations == told[token.pk] <= 1
        assert works(newest[token.pk] if token.rotations else old[token.pk])


def _with_known_secrets(owner: User, count: int) -> dict[int, str]:
    old = {token.pk: str(generate()) for token in many_tokens(owner, count)}
    for token, secret in old.items():
        Secret._base_manager.filter(token=token).update(digest=digest(secret))
    return old


@pytest.mark.django_db(transaction=True)
def test_kills_lose_no_secret_and_the_next_run_does_nothing_twice(tmp_path: Path):
    old, start = _with_known_secrets(Cast().robot, 120), timezone.now()
    files = [tmp_path / str(number) for number in range(6)]
    dice = random.Random(4)

    for number, file in enumerate(files[:5], 1):
        process = _begin(file, f"--skip-rotated-since={start.isoformat()}")
        _kill_when(process, file, dice.randint(1, 12))
        assert _has_been_killed(process)
        _nothing_is_lost(old, *files[:number])
    assert 0 < AccessToken.objects.filter(rotations=1).count() < 120
    run("--owner=robot", f"--out={files[5]}", f"--skip-rotated-since={start.isoformat()}")

    assert AccessToken.objects.filter(rotations=1).count() == 120
    _nothing_is_lost(old, *files)


# Kills itself in the third rotation, when its secret is on the disk, or when a part of it is.
DIES_BEFORE_THE_COMMIT = """
import os, signal, sys
from django.core.management import execute_from_command_line
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "osmo_portal.settings")
called, write, sync = [], os.write, os.fsync
def die(kind, act, *args):
    called.append(kind)
    if called.count(kind) == {count} and kind == "{kind}":
        act(args[0], *(text[: len(text) // 2] for text in args[1:]))
        os.kill(os.getpid(), signal.SIGKILL)
    return act(*args)
os.write = lambda *args: die("write", write, *args) if args[1][:1] == b"{{" else write(*args)
os.fsync = lambda *args: die("fsync", sync, *args)
execute_from_command_line(["manage.py", *sys.argv[1:]])
"""


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("kind", "count", "whole"), [("write", 3, 2), ("fsync", 4, 3)], ids=["half an entry", "an entry too many"]
)
def test_a_kill_before_a_commit_leaves_the_old_secret_at_work(tmp_path: Path, kind: str, count: int, whole: int):
    old, start = _with_known_secrets(Cast().robot, 5), timezone.now()
    first, second = tmp_path / "first", tmp_path / "second"

    process = _begin(first, program=("-c", DIES_BEFORE_THE_COMMIT.format(kind=kind, count=count)))

    assert _has_been_killed(process)
    assert (len(entries(first)), len(rotated())) == (whole, 2)
    _nothing_is_lost(old, first)
    assert [works(entry["secret"]) for entry in entries(first)] == [True, True, False][:whole]
    assert run("--owner=robot", f"--out={second}", f"--skip-rotated-since={start.isoformat()}")[0] == "3\n"
    _nothing_is_lost(old, first, second)


@pytest.mark.django_db(transaction=True)
def test_of_two_runs_at_once_each_token_is_rotated_by_one(tmp_path: Path):
    old = _with_known_secrets(Cast().robot, 100)
    files = [tmp_path / "one", tmp_path / "other"]

    runs = [_begin(file, "--skip-refused") for file in files]
    ends = [process.communicate(timeout=120) for process in runs]

    assert 0 in {process.returncode for process in runs}, ends
    rotated_ids = [entry["id"] for entry in entries(*(file for file in files if file.exists()))]
    assert sorted(rotated_ids) == sorted(old)
    assert AccessToken.objects.filter(rotations=1).count() == 100
    _nothing_is_lost(old, *(file for file in files if file.exists()))
