"""The first run: keys of its own, and no start without them."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def written(settings, tmp_path: Path) -> Path:
    settings.BASE_DIR = tmp_path
    call_command("write_env")
    return tmp_path / ".env"


def values(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


def test_the_first_run_writes_fresh_keys_that_only_the_owner_reads(written: Path):
    keys = values(written)

    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert len(keys["SECRET_KEY"]) >= 50
    assert Fernet(keys["KEY_ENCRYPTION_KEYS"])


def test_it_prints_no_key(written: Path, capfd):
    out, err = capfd.readouterr()

    assert not any(value in out + err for value in values(written).values())


def test_the_next_run_leaves_the_keys_as_they_are(written: Path, capfd):
    before = written.read_text()

    call_command("write_env")

    assert written.read_text() == before
    assert "nothing was written" in capfd.readouterr().err


def test_two_portals_have_different_keys(settings, tmp_path: Path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        settings.BASE_DIR = tmp_path / name
        call_command("write_env")

    assert values(tmp_path / "one/.env") != values(tmp_path / "two/.env")


def start(**environment: str) -> "subprocess.CompletedProcess[str]":
    """Loads the application as any WSGI server does."""
    command = [sys.executable, "-c", "import gc, osmo_portal.wsgi; print(len(gc.get_objects()))"]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"SECRET_KEY": "", "KEY_ENCRYPTION_KEYS": ""}, ["osmo.E001", "osmo.E002", "make run"]),
        ({"KEY_ENCRYPTION_KEYS": "short"}, ["osmo.E003"]),
        ({"PORTAL_URL": "http://osmo.example.org"}, ["osmo.E004", "https://"]),
        ({"MAX_TOKEN_DAYS": "0"}, ["osmo.E005"]),
    ],
)
def test_a_wrong_deployment_does_not_start_and_says_what_to_do(environment, said):
    done = start(**environment)

    assert done.returncode != 0
    for words in said:
        assert words in done.stderr


def test_a_right_one_starts_with_little_to_look_for_garbage_among():
    done = start()

    assert done.returncode == 0
    assert int(done.stdout) < 20_000  # of some 400,000: what stays is looked at no more
