"""manage.py doctor: what is wrong with an installation, and what to do."""

import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.contrib.staticfiles import finders
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.utils import timezone

from osmo_portal.events import triggers, verification
from osmo_portal.events.actor import Actor
from osmo_portal.events.models import Event
from profiles.models import User
from tests.cast import Cast
from tokens import doctor
from tokens.management.commands import doctor as command
from tokens.models import SigningKey

PARTS = ["configuration", "pages", "database", "migrations", "clock", "keys", "audit trail", "administrators", "mail"]


def examined(part: str) -> doctor.Finding:
    (found,) = [finding for finding in doctor.examine() if finding.part == part]
    return found


def run(*args: str) -> str:
    out = io.StringIO()
    call_command("doctor", *args, stdout=out)
    return out.getvalue()


def test_a_sound_installation_gets_a_line_for_each_part(cast: Cast):
    SigningKey.current_or_first()

    text = run()

    assert [line.split(":")[0].split(maxsplit=1)[1] for line in text.splitlines() if line[0] != " "] == PARTS
    assert "bad" not in text


def test_json_gives_the_same(cast: Cast):
    findings = json.loads(run("--json"))

    assert [finding["part"] for finding in findings] == PARTS
    assert {*findings[0]} == {"part", "grade", "says", "advice"}


def test_examining_changes_nothing(cast: Cast):
    before = (Event.objects.count(), SigningKey.objects.count())

    run()

    assert (Event.objects.count(), SigningKey.objects.count()) == before


def test_what_is_bad_ends_with_an_error(cast: Cast, settings: Any):
    settings.MAX_TOKEN_DAYS = 0

    with pytest.raises(CommandError, match="1 finding to mend"):
        run()

    found = examined("configuration")
    assert found.grade == "bad"
    assert "osmo.E005" in found.says
    assert found.advice


def test_files_that_are_not_collected_show(settings: Any, tmp_path: Path):
    collecting = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": collecting}}
    assert doctor._pages().grade == "warning"
    assert "collectstatic" in doctor._pages().advice

    files = {path: path for finder in finders.get_finders() for path, _ in finder.list([])}
    (tmp_path / "staticfiles.json").write_text(json.dumps({"version": "1.1", "paths": files, "hash": ""}))
    settings.STATIC_ROOT = str(tmp_path)  # so that it is read anew

    assert doctor._pages().says == "Their files are collected."


def test_a_database_that_does_not_answer_ends_the_examination(cast: Cast, monkeypatch: pytest.MonkeyPatch):
    def refuse() -> None:
        raise OperationalError("connection refused\nIs the server running?")

    with monkeypatch.context() as patch:
        patch.setattr(connection, "ensure_connection", refuse)
        *_, last = doctor.examine()

    assert (last.part, last.grade, last.says) == ("database", "bad", "It does not answer: connection refused")


def test_a_migration_that_is_not_applied_shows(cast: Cast, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "_pending_migrations", lambda: 2)

    *_, last = doctor.examine()

    assert (last.part, last.grade) == ("migrations", "bad")
    assert "migrate" in last.advice


def test_a_clock_that_went_back_shows(cast: Cast, time_machine: Any):
    cast.user_token()
    time_machine.move_to(timezone.now() - timedelta(hours=1))

    assert examined("clock").grade == "bad"


def test_a_lost_encryption_key_shows(cast: Cast, settings: Any):
    key = SigningKey.current_or_first()
    settings.KEY_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

    found = examined("keys")

    assert found.grade == "bad"
    assert key.kid in found.says


def test_a_dropped_trigger_shows(cast: Cast):
    assert triggers.missing(connection) == []
    triggers.drop(connection)
    try:
        found = examined("audit trail")
    finally:
        triggers.create(connection)

    assert found.grade == "bad"
    assert "events_event_no_update" in found.says


def verified(faults: int = 0) -> None:
    verification.keep_whole(1, faults, by=Actor.shell())


def test_a_trail_that_nobody_verifies_is_a_warning(cast: Cast, time_machine: Any):
    assert (examined("audit trail").grade, "never" in examined("audit trail").says) == ("warning", True)
    verified()
    assert examined("audit trail").grade == "good"

    time_machine.move_to(timezone.now() + timedelta(days=9))

    found = examined("audit trail")
    assert found.grade == "warning"
    assert "verify_events --record" in found.advice


def test_faults_that_the_last_verification_found_are_bad(cast: Cast):
    verified(faults=3)
    assert "3 faults" in examined("audit trail").says
    assert examined("audit trail").grade == "bad"

    verified()

    assert examined("audit trail").grade == "good"


def test_a_wrong_call_is_exit_code_1(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        command.Command().run_from_argv(["manage.py", "doctor", "--nonsense"])

    assert end.value.code == 1


def test_one_administrator_is_few_and_none_is_bad(cast: Cast):
    assert examined("administrators").grade == "warning"
    cast.ada.assign_role("osmo-admin", by=Actor.bootstrap())
    assert examined("administrators").grade == "good"


def test_no_administrator_is_bad(cast: Cast, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(type(User.objects.all()), "administrators", lambda self: self.none())

    assert "recover_admin" in examined("administrators").advice


def test_a_mail_server_that_does_not_answer_shows(cast: Cast, settings: Any):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1

    found = examined("mail")

    assert found.grade == "bad"
    assert "EMAIL_URL" in found.advice


def test_no_mail_is_a_warning(cast: Cast, settings: Any):
    settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"

    assert examined("mail").grade == "warning"
