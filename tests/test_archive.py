"""The beginning of the audit trail goes into a file: both verify together, and nothing else may go."""

import io
import json
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.utils import timezone

from osmo_portal.console.timeline import timeline
from osmo_portal.events import archive as archiving
from osmo_portal.events import chain, triggers
from osmo_portal.events.actor import Actor
from osmo_portal.events.archive import ArchiveFile, archive
from osmo_portal.events.models import Archive, Event, EventLine
from tests.bulk import many_tokens
from tests.cast import Cast
from tokens.models import AccessToken


@pytest.fixture
def aged(cast: Cast, time_machine_days: Any) -> int:
    """A trail with a batch in it, 60 days ago, and one event of now; the number of the last old one."""
    many_tokens(cast.robot, 3)
    AccessToken.objects.all().revoke(by=cast.by("grace"), reason="old")
    last = chain.head()[0]
    time_machine_days(60)
    cast.pool.change(by=cast.by("grace"), maintenance=True)
    assert EventLine.objects.exists()
    return last


def a_month_ago() -> Any:
    return timezone.now() - timedelta(days=30)


def faults_of(path: Path) -> list[str]:
    return [*ArchiveFile(path).faults()]


def tamper(sql: str, *values: Any) -> None:
    """What somebody does who owns the database."""
    triggers.drop(connection)
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
    triggers.create(connection)


def run(command: str, *args: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command(command, *args, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


@pytest.fixture
def archived(cast: Cast, aged: int, tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    archive(a_month_ago(), path, by=cast.by("grace"))
    return path


def test_what_is_old_goes_and_the_trail_stays_whole(cast: Cast, aged: int, archived: Path) -> None:
    assert Event.objects.order_by("pk").values_list("pk", flat=True)[0] == aged + 1
    assert not EventLine.objects.exists()
    assert list(chain.faults()) == faults_of(archived) == list(chain.tail_faults(10_000)) == []
    assert chain.faults_of(Event.objects.get(pk=aged + 1)) == []
    event = Event.objects.get(action="events.archived")
    assert (event.actor, event.changes["first"], event.changes["last"]) == ("grace", 1, aged)
    assert stat.S_IMODE(archived.stat().st_mode) == 0o600
    assert len(archived.read_text().splitlines()) == aged + 1


def test_it_goes_on_from_an_archive_to_the_next(
    cast: Cast, aged: int, archived: Path, tmp_path: Path, time_machine_days: Any
) -> None:
    time_machine_days(60)
    second = tmp_path / "second.jsonl"

    made = archive(a_month_ago(), second, by=cast.by("grace"))

    assert made
    assert made.first == aged + 1
    assert list(chain.faults()) == faults_of(archived) == faults_of(second) == []
    assert chain.head()[0] == Event.objects.count() + made.last


def test_the_commands(cast: Cast, aged: int, tmp_path: Path) -> None:
    path, day = tmp_path / "events.jsonl", f"{a_month_ago():%Y-%m-%d}"
    before = run("verify_events")[0].strip()
    inside = f"{aged - 1}:{Event.objects.get(pk=aged - 1).hash}"

    out, err = run("archive_events", f"--before={day}", f"--to={path}", "--actor=grace")

    assert out.strip() == f"1:{aged}"
    assert f"{aged} events are in" in err
    assert f"{aged + 2} events, {aged} of them archived." in run("verify_events", f"--archive={path}")[1]
    assert "archived in files that were not read" in run("verify_events", f"--checkpoint={before}")[1]
    assert "is whole" in run("verify_events", f"--archive={path}", f"--checkpoint={inside}")[1]
    with pytest.raises(CommandError, match="No event is older") as nothing:
        run("archive_events", f"--before={day}", f"--to={tmp_path / 'x'}", "--actor=grace")
    assert nothing.value.returncode == 2
    path.write_text(path.read_text().replace("grace", "ghost"))
    with pytest.raises(CommandError, match="fault"):
        run("verify_events", f"--archive={path}")


def test_a_checkpoint_of_an_archived_event_is_looked_for(cast: Cast, aged: int, archived: Path) -> None:
    """What cannot be compared is not called whole."""
    last, wrong = Archive.objects.get(), "0" * 64
    inside = f"event {aged - 1} is not the one of the checkpoint"

    assert [*archiving.faults([ArchiveFile(archived)], (aged, last.hash))] == []
    assert len([*archiving.faults([], (aged, wrong))]) == 1
    assert "give that file" in next(archiving.faults([], (aged - 1, wrong)))
    assert inside in next(archiving.faults([ArchiveFile(archived)], (aged - 1, wrong)))


@pytest.mark.parametrize("day", ["yesterday", "2026-13-01", f"{timezone.now():%Y-%m-%d}"])
def test_a_day_that_is_none_or_too_near_is_refused(cast: Cast, tmp_path: Path, day: str) -> None:
    with pytest.raises(CommandError, match="give a day"):
        run("archive_events", f"--before={day}", f"--to={tmp_path / 'x'}", "--actor=grace")


def test_a_file_that_is_there_is_not_written_over(cast: Cast, aged: int, tmp_path: Path) -> None:
    path = tmp_path / "there"
    path.write_text("mine")

    with pytest.raises(CommandError, match="is there already"):
        run("archive_events", f"--before={a_month_ago():%Y-%m-%d}", f"--to={path}", "--actor=grace")

    assert path.read_text() == "mine"
    assert Event.objects.filter(pk=1).exists()


@pytest.mark.parametrize("who", ["olive", "audrey", "ada", "shell"])
def test_administrators_alone_archive(cast: Cast, aged: int, tmp_path: Path, who: str) -> None:
    by = Actor.shell() if who == "shell" else cast.by(who)

    with pytest.raises(PermissionDenied):
        archive(a_month_ago(), tmp_path / "x", by=by)

    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE events_event SET actor = 'ghost' WHERE id = 2",
        "UPDATE events_eventline SET after = 'active'",
        "UPDATE events_event SET lines_digest = '' WHERE lines_digest <> ''",
        "INSERT INTO events_eventline (event_id, object_id, object_label, before, after) VALUES (1, 1, 'x', '', '')",
    ],
)
def test_a_trail_that_is_not_whole_is_not_archived(cast: Cast, aged: int, tmp_path: Path, sql: str) -> None:
    tamper(sql)

    with pytest.raises(ValidationError, match="run verify_events"):
        archive(a_month_ago(), tmp_path / "x", by=cast.by("grace"))

    assert not (tmp_path / "x").exists()
    assert Event.objects.filter(pk=1).exists()


def test_a_file_that_does_not_read_as_it_was_written_removes_nothing(
    cast: Cast, aged: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    monkeypatch.setattr(archiving, "sync_folder", lambda folder: path.write_text(path.read_text()[1:]))

    with pytest.raises(ValueError):  # noqa: PT011  (json says it in its own words)
        archive(a_month_ago(), path, by=cast.by("grace"))

    assert not path.exists()
    assert not Archive.objects.exists()
    assert Event.objects.filter(pk=1).exists()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM events_event WHERE id = %(later)s",
        "DELETE FROM events_event",
        "UPDATE events_event SET actor = 'x'",
        "UPDATE events_archive SET last = 10000",
        "DELETE FROM events_archive",
    ],
)
def test_the_database_lets_nothing_else_go(cast: Cast, aged: int, archived: Path, statement: str) -> None:
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement.replace("%(later)s", str(aged + 1)))

    assert triggers.missing(connection) == []
    assert Event.objects.filter(pk=aged + 1).exists()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite's triggers know their own schema alone")
def test_a_table_of_the_same_name_lets_nothing_go(cast: Cast, aged: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE events_archive AS SELECT 1000000 AS last")

    with pytest.raises(DatabaseError, match="neither changed nor deleted"), transaction.atomic():
        Event.objects.filter(pk=aged)._raw_delete(connection.alias)


def test_a_forged_archive_shows(cast: Cast, aged: int) -> None:
    """Who can write to the database alone can let events go, but not unseen."""
    event = Event.objects.get(pk=aged)
    forged = {"hash": event.hash, "until": event.at, "digest": "0" * 64, "signature": "0" * 64}
    Archive.objects.create(first=1, last=aged, **forged)

    told = [
        f"The archive up to event {aged} was not signed by this portal.",
        f"No event tells of the archive up to event {aged}: events after it are missing.",
    ]
    assert [*chain.faults()] == [*chain.tail_faults(5)] == chain.faults_of(event) == told


@pytest.mark.parametrize("column", ["first", "hash", "digest", "until"])
def test_a_changed_row_of_an_archive_shows(cast: Cast, aged: int, archived: Path, column: str) -> None:
    value = {"first": "2", "until": "'2020-01-01 00:00:00+00:00'"}.get(column, f"'{'0' * 64}'")

    tamper(f"UPDATE events_archive SET {column} = {value}")  # noqa: S608  (words of this test)

    assert [*chain.faults()]
    assert faults_of(archived)


def test_a_tail_that_was_cut_down_to_an_archive_shows(cast: Cast, aged: int, archived: Path) -> None:
    tamper("DELETE FROM events_event")

    assert [*chain.faults()] == [f"No event tells of the archive up to event {aged}: events after it are missing."]
    assert chain.head() == (aged, Archive.objects.get().hash)


def test_a_row_that_was_taken_away_shows(cast: Cast, aged: int, archived: Path) -> None:
    tamper("DELETE FROM events_archive")

    assert [*chain.faults()] == [f"Events 1 to {aged} are missing."]
    assert faults_of(archived) == ["events.jsonl: this database knows no such archive."]


def test_an_older_key_still_counts(cast: Cast, archived: Path, settings: Any) -> None:
    new = Fernet.generate_key().decode()
    settings.KEY_ENCRYPTION_KEYS = [new, *settings.KEY_ENCRYPTION_KEYS]
    assert list(chain.faults()) == []

    settings.KEY_ENCRYPTION_KEYS = [new]
    assert len(list(chain.faults())) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[1:],
        lambda lines: lines[:-1],
        lambda lines: [*lines[:2], *lines[3:]],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [lines[0].replace('"id": 1', '"id": 9'), *lines[1:]],
        lambda lines: [*lines[:-1], lines[-1].replace('"first": 1', '"first": 2')],
        lambda lines: [*lines, lines[-1]],
        lambda lines: [*lines, lines[0]],
        lambda lines: [lines[0] + " ", *lines[1:]],
        lambda lines: [line.replace('"lines": [[', '"lines": [[9') for line in lines],
        lambda lines: [*lines[:-1], lines[-1].replace("}", ', "pk": 1}', 1)],
        lambda lines: ["nonsense"],
        lambda lines: ["[]"],
        lambda lines: [json.dumps({"event": 5})],
        lambda lines: [],
    ],
)
def test_a_file_that_was_changed_shows(archived: Path, change: Any) -> None:
    archived.write_text("".join(f"{line}\n" for line in change(archived.read_text().splitlines())))

    assert faults_of(archived)


class Killed(BaseException):
    """Nothing of the program runs after it."""


POINTS = {"writing": "_write", "reading again": "_require_as_written", "committing": "_commit", "deleting": "_delete"}


@pytest.mark.parametrize("point", POINTS)
def test_nothing_is_lost_wherever_it_breaks_off_and_the_same_call_goes_on(
    cast: Cast, aged: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    path = tmp_path / "events.jsonl"
    function = getattr(archiving, POINTS[point])

    def killed(*args: Any) -> None:
        if point != "deleting" or "eventline" not in args[0]:
            raise Killed
        function(*args)

    with monkeypatch.context() as patch:
        patch.setattr(archiving, POINTS[point], killed)
        patch.setattr(Path, "unlink", lambda path: None)
        with pytest.raises(Killed):
            archive(a_month_ago(), path, by=cast.by("grace"))

    assert [*chain.faults()] == [*chain.tail_faults(10_000)] == []
    assert Event.objects.filter(pk=1).exists()
    if point == "deleting":
        assert chain.faults_of(Event.objects.get(pk=aged)) == []
        with pytest.raises(ValidationError, match="broke off"):
            archive(a_month_ago(), tmp_path / "other", by=cast.by("grace"))
    else:
        with pytest.raises(FileExistsError):
            archive(a_month_ago(), path, by=cast.by("grace"))
        path.unlink()

    made = archive(a_month_ago(), path, by=cast.by("grace"))

    assert made == Archive.objects.get()
    assert Event.objects.order_by("pk")[0].pk == aged + 1
    assert [*archiving.faults([ArchiveFile(path)])] == []


@pytest.mark.parametrize("change", [lambda text: text[1:], lambda text: text.replace("grace", "ghost"), lambda _: ""])
def test_the_rest_stays_while_its_archive_is_not_whole(
    cast: Cast, aged: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    path = tmp_path / "events.jsonl"
    with monkeypatch.context() as patch:
        patch.setattr(archiving, "_delete_archived", lambda: None)
        archive(a_month_ago(), path, by=cast.by("grace"))
    path.write_text(change(path.read_text()))

    with pytest.raises(ValidationError):
        archive(a_month_ago(), path, by=cast.by("grace"))

    assert Event.objects.filter(pk__lte=aged).count() == aged


def test_another_archive_lets_the_rest_go_no_more_than_none(
    cast: Cast, aged: int, archived: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, time_machine_days: Any
) -> None:
    time_machine_days(60)
    monkeypatch.setattr(archiving, "_delete_archived", lambda: None)
    made = archive(a_month_ago(), tmp_path / "second", by=cast.by("grace"))
    assert made

    with pytest.raises(ValidationError, match=f"is not the archive up to event {made.last}"):
        archive(a_month_ago(), archived, by=cast.by("grace"))


def test_two_at_once_make_one_archive(cast: Cast, aged: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = archiving._commit

    def late(*args: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(archiving, "_commit", commit)
            archive(a_month_ago(), tmp_path / "other", by=cast.by("grace"))
        commit(*args)

    monkeypatch.setattr(archiving, "_commit", late)
    with pytest.raises(ValidationError, match="Somebody else"):
        archive(a_month_ago(), tmp_path / "events.jsonl", by=cast.by("grace"))

    assert [path.name for path in tmp_path.iterdir()] == ["other"]
    assert [*archiving.faults([ArchiveFile(tmp_path / "other")])] == []


def test_who_verifies_meanwhile_finds_no_fault(
    cast: Cast, aged: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines are read after their events."""
    lines_fault = chain.lines_fault

    def late(event: Event, *args: Any) -> list[str]:
        monkeypatch.setattr(chain, "lines_fault", lines_fault)
        archive(a_month_ago(), tmp_path / "events.jsonl", by=cast.by("grace"))
        return lines_fault(event, *args)

    monkeypatch.setattr(chain, "lines_fault", late)

    assert [*chain.faults()] == []
    assert Archive.objects.exists()


def test_what_happened_to_a_token_is_in_the_archive(cast: Cast, aged: int, archived: Path) -> None:
    token = AccessToken.objects.order_by("pk")[0]
    told = [json.loads(text) for text in archived.read_text().splitlines()[:-1]]

    lines = [line for one in told for line in one["lines"] if line[0] == token.pk]

    assert [line[1] for line in lines] == [str(token)]
    assert timeline(token) == []


def test_the_console_says_what_is_in_archives(cast: Cast, aged: int, archived: Path, client: Client) -> None:
    client.force_login(cast.grace)

    assert f"The first {aged}, up to" in client.get("/admin/events/event/").content.decode()
    assert "whole" in client.get(f"/admin/events/event/{aged + 1}/change/").content.decode()


def test_the_next_verification_tells_from_where_on(cast: Cast, aged: int, archived: Path) -> None:
    run("verify_events", "--record")

    event = Event.objects.first()
    assert event
    assert (event.changes["first"], event.changes["faults"]) == (aged + 1, 0)
