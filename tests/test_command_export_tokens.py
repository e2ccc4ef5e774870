"""manage.py export_tokens: what leaves, into which file, and what the trail tells of it."""

import csv
import gc
import io
import json
import os
import weakref
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from osmo_portal.console import export as lists
from osmo_portal.events.models import Event
from tests.bulk import many_tokens
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast
from tokens.export import COLUMNS
from tokens.models import AccessToken

pytestmark = pytest.mark.django_db


def run(*args: str, form: str = "jsonl") -> tuple[str, str]:
    """What it printed on stdout and on stderr."""
    out, err = io.StringIO(newline=""), io.StringIO()
    call_command("export_tokens", *args, f"--format={form}", stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def names(text: str) -> list[str]:
    return [json.loads(line)["name"] for line in text.splitlines()]


def exports() -> list[Event]:
    return [*Event.objects.filter(action="tokens.exported")]


def describe(token: AccessToken, description: str) -> None:
    """Past the ways in, which refuse control characters."""
    AccessToken._base_manager.filter(pk=token.pk).update(description=description)


@pytest.fixture
def tokens(cast: Cast) -> dict[str, AccessToken]:
    return {
        "laptop": cast.user_token("ada", "laptop"),
        "deploy": cast.service_token("deploy", [PLAIN_ROLE, POOL_ROLE]),
        "nightly": cast.service_token("nightly", [PLAIN_ROLE]),
    }


# What leaves.


@pytest.mark.parametrize(
    ("args", "hit"),
    [
        (["--all"], ["nightly", "deploy", "laptop"]),
        (["--owner=ada"], ["laptop"]),
        (["--kind=service"], ["nightly", "deploy"]),
        (["--pool=my_pool"], ["deploy"]),
        (["--name-glob=*l*y", f"--role={PLAIN_ROLE}"], ["nightly", "deploy"]),
    ],
)
def test_the_tokens_of_the_filters_leave_the_newest_first(
    tokens: dict[str, AccessToken], args: list[str], hit: list[str]
) -> None:
    out, err = run(*args)

    assert names(out) == hit
    assert err == f"{len(hit)} token{'s' * (len(hit) > 1)} exported.\n"


def test_the_columns_are_those_of_the_console(tokens: dict[str, AccessToken]) -> None:
    (row,) = csv.DictReader(io.StringIO(run("--owner=ada", form="csv")[0], newline=""))

    assert [*row] == [*COLUMNS]
    assert (row["name"], row["owner"], row["state"]) == ("laptop", "ada", "active")


def test_revoked_tokens_are_among_all_of_them(tokens: dict[str, AccessToken], cast: Cast) -> None:
    tokens["deploy"].revoke(by=cast.by("grace"), reason="leaked")

    states = {line["name"]: line["state"] for line in map(json.loads, run("--all")[0].splitlines())}

    assert states == {"laptop": "active", "deploy": "revoked", "nightly": "active"}


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_neither_secrets_nor_digests_leave(tokens: dict[str, AccessToken], form: str) -> None:
    out, err = run("--all", form=form)

    for token in tokens.values():
        assert str(token.plaintext)[5:20] not in out + err
        assert bytes(token.secrets.get().digest).hex() not in out + err


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1"])
def test_no_cell_is_a_formula(tokens: dict[str, AccessToken], formula: str) -> None:
    describe(tokens["laptop"], formula)

    (row,) = csv.DictReader(io.StringIO(run("--owner=ada", form="csv")[0], newline=""))

    assert row["description"] == f"'{formula}"


# Into a file.


def test_a_file_is_for_its_owner_alone_and_holds_the_same(tokens: dict[str, AccessToken], tmp_path: Path) -> None:
    path = tmp_path / "tokens.csv"

    out, err = run("--all", f"--out={path}", form="csv")

    assert (out, err) == ("3\n", "3 tokens exported.\n")
    assert path.stat().st_mode & 0o777 == 0o600
    with path.open(newline="") as file:
        assert file.read() == run("--all", form="csv")[0]
    assert [*tmp_path.iterdir()] == [path]


def test_json_tells_of_the_file(tokens: dict[str, AccessToken], tmp_path: Path) -> None:
    path = tmp_path / "tokens.jsonl"

    told = json.loads(run("--owner=ada", f"--out={path}", "--json")[0])

    assert told == {"count": 1, "file": str(path)}
    assert names(path.read_text()) == ["laptop"]


def test_a_file_of_before_is_replaced_only_by_a_whole_one(
    tokens: dict[str, AccessToken], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tokens.jsonl"
    path.write_text("yesterday's")
    path.chmod(0o644)

    def broken(columns: Any, records: Any) -> Any:
        yield "the beginning\n"
        raise RuntimeError("the database went away")

    with monkeypatch.context() as patch:
        patch.setitem(lists.FORMATS, "jsonl", ("", broken))
        with pytest.raises(RuntimeError):
            run("--all", f"--out={path}")
    assert path.read_text() == "yesterday's"
    assert [*tmp_path.iterdir()] == [path]

    run("--all", f"--out={path}")

    assert len(path.read_text().splitlines()) == 3
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("name", "why"), [("missing/tokens.csv", "No such file or directory"), (".", "Is a directory")]
)
def test_a_file_that_cannot_be_written_is_an_error_and_nothing_leaves(
    tokens: dict[str, AccessToken], tmp_path: Path, name: str, why: str
) -> None:
    with pytest.raises(CommandError, match=why) as error:
        run("--all", f"--out={tmp_path / name}")

    assert error.value.returncode == 1
    assert not exports()
    assert not [*tmp_path.iterdir()]


def test_a_reader_who_has_seen_enough_is_an_error_without_a_traceback(tokens: dict[str, AccessToken]) -> None:
    reading, writing = os.pipe()
    os.close(reading)

    with os.fdopen(writing, "w") as pipe, pytest.raises(CommandError, match="stdout cannot be written: Broken pipe"):
        call_command("export_tokens", "--all", "--format=csv", stdout=pipe, stderr=io.StringIO())


# Many.


def test_each_batch_costs_the_same_queries(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "BATCH", 20)

    def cost(owner: str) -> int:
        with CaptureQueriesContext(connection) as seen:
            run(f"--owner={owner}")
        assert not [query for query in seen.captured_queries if "OFFSET" in query["sql"]]
        return len(seen)

    many_tokens(cast.robot, 50)
    many_tokens(cast.ada, 10)

    assert cost("robot") - cost("ada") == 2 * 3  # two more batches: tokens, their last uses, their roles


def test_memory_does_not_grow_with_the_tokens(cast: Cast, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(lists, "BATCH", 20)
    many_tokens(cast.robot, 200)
    alive: weakref.WeakSet[AccessToken] = weakref.WeakSet()
    most = 0

    def watch(token: AccessToken) -> int:
        nonlocal most
        if len(alive) > 2 * 20:
            gc.collect()  # a token and its roles know each other
        alive.add(token)
        most = max(most, len(alive))
        return token.pk

    monkeypatch.setitem(COLUMNS, "id", watch)

    run("--all", f"--out={tmp_path / 'tokens.jsonl'}")

    assert 20 <= most <= 2 * 20 + 1


# The trail.


def test_one_event_tells_who_took_how_many_by_which_filters(tokens: dict[str, AccessToken]) -> None:
    run("--kind=service", "--name-glob=*", "--actor=olive")

    (event,) = exports()
    assert (event.actor, event.via, event.object_label) == ("olive", "command", "2 tokens")
    assert event.changes == {"filters": {"kind": "service", "name-glob": "*"}, "rows": 2, "format": "jsonl"}


def test_without_an_actor_it_is_the_shell(tokens: dict[str, AccessToken]) -> None:
    run("--all")

    (event,) = exports()
    assert event.actor.startswith("system:")
    assert event.changes["filters"] == {}


def test_a_secret_in_the_wrong_filter_is_not_kept(tokens: dict[str, AccessToken]) -> None:
    secret = "k" * 43  # as other systems issue them
    AccessToken._base_manager.filter(name="laptop").update(name=secret)

    run(f"--name-glob={secret}")

    assert exports()[0].changes["filters"] == {"name-glob": "…"}


@pytest.mark.parametrize("actor", ["ada", "audrey", "robot"])
def test_who_gets_no_file_in_the_console_gets_none_here(
    tokens: dict[str, AccessToken], tmp_path: Path, actor: str
) -> None:
    for more in ([], [f"--out={tmp_path / 'tokens.csv'}"]):
        with pytest.raises(CommandError, match="Only administrators and operators"):
            run("--all", f"--actor={actor}", *more)

    assert not exports()
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("args", [["--owner=mallory"], ["--name-glob=none-*"]])
def test_nothing_matched_is_exit_code_2_and_no_file(
    tokens: dict[str, AccessToken], args: list[str], tmp_path: Path
) -> None:
    with pytest.raises(CommandError, match="Nothing was exported") as error:
        run(*args, f"--out={tmp_path / 'tokens.csv'}")

    assert error.value.returncode == 2
    assert not exports()
    assert not [*tmp_path.iterdir()]


def test_a_dry_run_says_how_many_and_neither_writes_nor_records(tokens: dict[str, AccessToken], tmp_path: Path) -> None:
    file = tmp_path / "tokens.csv"

    assert run("--kind=service", "--dry-run") == ("2\n", "2 tokens would be exported.\n")
    assert json.loads(run("--owner=ada", "--dry-run", "--json", f"--out={file}")[0]) == {"dry_run": True, "count": 1}
    with pytest.raises(CommandError, match="Only administrators and operators"):
        run("--all", "--dry-run", "--actor=ada")

    assert not exports()
    assert not file.exists()


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ([], "at least one filter, or --all"),
        (["--all", "--owner=ada"], "at least one filter, or --all"),
        (["--owner=nobody"], "no user 'nobody'"),
        (["--all", "--json"], "--out"),
        (["--all", "--format=xlsx"], "invalid choice"),
        (["--all", "--actor=nobody"], "no user 'nobody'"),
    ],
)
def test_a_wrong_call_is_exit_code_1(tokens: dict[str, AccessToken], args: list[str], text: str) -> None:
    with pytest.raises(CommandError, match=text) as error:
        call_command("export_tokens", "--format=csv", *args, stdout=io.StringIO(), stderr=io.StringIO())

    assert error.value.returncode == 1
    assert not exports()
