"""A wrong deployment is refused at start, with a hint."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography.fernet import Fernet
from django.core.checks import run_checks

ROOT = Path(__file__).resolve().parent.parent


def found() -> dict[str, str]:
    return {message.id or "": message.hint or "" for message in run_checks() if message.id}


def set_url(settings: Any, url: str) -> None:
    """As settings.py derives it."""
    parts = urlsplit(url)
    settings.PORTAL_URL = url
    settings.PORTAL_IS_HTTPS = parts.scheme == "https"
    settings.PORTAL_IS_LOOPBACK = parts.hostname in {"localhost", "127.0.0.1", "::1"}


def test_the_settings_of_the_tests_are_sound() -> None:
    assert not [name for name in found() if name.startswith("osmo.")]


def test_no_secret_key_is_e001(settings: Any) -> None:
    settings.SECRET_KEY = ""

    assert "write_env" in found()["osmo.E001"]


def test_no_encryption_key_is_e002(settings: Any) -> None:
    settings.KEY_ENCRYPTION_KEYS = []

    assert "write_env" in found()["osmo.E002"]


@pytest.mark.parametrize("wrong", ["", "x", "é", "A" * 43, "A" * 40])
@pytest.mark.parametrize("position", [0, 1])
def test_an_encryption_key_that_is_none_is_e003(settings: Any, wrong: str, position: int) -> None:
    keys = [Fernet.generate_key().decode()]
    keys.insert(position, wrong)
    settings.KEY_ENCRYPTION_KEYS = keys

    assert "32 random bytes" in found()["osmo.E003"]


@pytest.mark.parametrize(
    "url",
    [
        "http://osmo.example.com",
        "http://192.168.0.1:8000",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://example.com@localhost.example.com",
        "ftp://localhost",
        "//localhost",
        "localhost:8000",
        "",
    ],
)
def test_an_address_that_would_send_secrets_in_the_clear_is_e004(settings: Any, url: str) -> None:
    set_url(settings, url)

    assert "https://" in found()["osmo.E004"]


@pytest.mark.parametrize(
    "url", ["https://osmo.example.com", "http://localhost:8000", "http://127.0.0.1", "http://[::1]:8000"]
)
def test_an_address_that_is_safe_is_no_error(settings: Any, url: str) -> None:
    set_url(settings, url)

    assert "osmo.E004" not in found()


@pytest.mark.parametrize("days", [0, -1, 3651])
def test_a_maximum_lifetime_out_of_bounds_is_e005(settings: Any, days: int) -> None:
    settings.MAX_TOKEN_DAYS = days

    assert "365" in found()["osmo.E005"]


@pytest.mark.parametrize("days", [1, 365, 3650])
def test_a_maximum_lifetime_within_bounds_is_no_error(settings: Any, days: int) -> None:
    settings.MAX_TOKEN_DAYS = days

    assert "osmo.E005" not in found()


@pytest.mark.parametrize(
    ("days", "idle", "wrong"), [(0, 1, False), (365, 365, False), (-1, 1, True), (366, 1, True), (30, 0, True)]
)
def test_how_long_terminals_are_signed_in_is_bounded(settings: Any, days: int, idle: int, wrong: bool) -> None:
    settings.TERMINAL_DAYS, settings.TERMINAL_IDLE_DAYS = days, idle

    assert ("osmo.E014" in found()) == wrong


@pytest.mark.parametrize("name", ["CLI_VERSION", "CLI_LATEST_VERSION", "CLI_MIN_VERSION"])
@pytest.mark.parametrize("wrong", ["6", "6.0", "v6.0.0", "6.0.0.abc", "6.0.0\n", "latest"])
def test_a_version_that_is_none_is_e008(settings: Any, name: str, wrong: str) -> None:
    setattr(settings, name, wrong)

    assert "6.3.1" in found()["osmo.E008"]


def test_a_pattern_that_is_none_is_e009(settings: Any) -> None:
    settings.PERSON_ID_PATTERN = "(@"

    assert "The default is @" in found()["osmo.E009"]


def manage(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_unset_environment_is_refused_with_all_that_is_wrong_and_no_key_is_echoed() -> None:
    result = manage(
        "check",
        SECRET_KEY="",
        KEY_ENCRYPTION_KEYS="this-is-no-key-but-secret",
        PORTAL_URL="http://osmo.example.com",
        MAX_TOKEN_DAYS="100000",
    )

    assert result.returncode == 1
    for name in ("osmo.E001", "osmo.E003", "osmo.E004", "osmo.E005"):
        assert name in result.stderr
    assert "this-is-no-key-but-secret" not in result.stdout + result.stderr


def test_a_production_deployment_has_no_complaint() -> None:
    safe = {"PORTAL_URL": "https://osmo.example.com", "REQUIRE_MFA": "administrators", "EMAIL_URL": "smtp://127.0.0.1"}
    result = manage("check", "--deploy", "--fail-level", "WARNING", **safe)

    assert (result.returncode, result.stderr) == (0, "")


def test_no_server_starts_on_a_wrong_configuration() -> None:
    result = subprocess.run(
        [sys.executable, "-c", "import osmo_portal.wsgi"],
        cwd=ROOT,
        env={**os.environ, "SECRET_KEY": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert result.returncode != 0
    assert "SECRET_KEY is not set" in result.stderr


def test_an_unknown_kind_of_required_factor_is_e006(settings: Any) -> None:
    settings.REQUIRE_MFA = "adminstrators"

    assert "administrators, staff or none" in found()["osmo.E006"]


def deployed() -> set[str]:
    return {message.id or "" for message in run_checks(include_deployment_checks=True)}


@pytest.mark.parametrize(
    ("url", "asked", "warned"),
    [
        ("https://osmo.example.com", "none", True),
        ("https://osmo.example.com", "administrators", False),
        ("http://127.0.0.1:8000", "none", False),
    ],
)
def test_passwords_alone_are_warned_of_where_others_reach_the_portal(
    settings: Any, url: str, asked: str, warned: bool
) -> None:
    set_url(settings, url)
    settings.REQUIRE_MFA = asked

    assert ("osmo.W001" in deployed()) == warned


@pytest.mark.parametrize("sends", [True, False])
def test_a_portal_that_sends_no_mail_says_so(settings: Any, sends: bool) -> None:
    settings.SENDS_MAIL = sends

    assert ("osmo.I001" in deployed()) != sends


@pytest.mark.parametrize(
    ("issuer", "refused"),
    [
        ("", False),
        ("https://id.example.com/realms/x", False),
        ("http://127.0.0.1:9000", False),
        ("http://id.example.com", True),
        ("id.example.com", True),
    ],
)
def test_a_provider_over_plain_http_is_e007(settings: Any, issuer: str, refused: bool) -> None:
    settings.OIDC_ISSUER = issuer

    assert ("osmo.E007" in found()) == refused


@pytest.mark.parametrize(
    ("url", "secret", "wrong"),
    [
        ("", "", set()),
        ("https://hooks.example.com/T/B", "s", set()),
        ("http://127.0.0.1:9000/T", "s", set()),
        ("http://hooks.example.com/T/B", "s", {"osmo.E010"}),
        ("https://", "s", {"osmo.E010"}),
        ("https://hooks.example.com/T/B", "", {"osmo.E011"}),
        ("", "s", {"osmo.E011"}),
    ],
)
def test_a_webhook_is_safe_and_signed(settings: Any, url: str, secret: str, wrong: set[str]) -> None:
    settings.NOTIFY_WEBHOOK_URL, settings.NOTIFY_WEBHOOK_SECRET = url, secret

    assert {"osmo.E010", "osmo.E011"} & {*found()} == wrong


@pytest.mark.parametrize(
    ("address", "sends", "wrong"),
    [
        ("", False, set()),
        ("team@example.com", True, set()),
        ("team@example.com", False, {"osmo.W010"}),
        ("Team <team@example.com>", True, {"osmo.E012"}),
    ],
)
def test_a_team_address_can_be_written_to(settings: Any, address: str, sends: bool, wrong: set[str]) -> None:
    settings.NOTIFY_TEAM_EMAIL, settings.SENDS_MAIL = address, sends

    assert {"osmo.E012", "osmo.W010"} & {*found()} == wrong


@pytest.mark.parametrize(
    ("setting", "wrong", "right", "error"),
    [
        ("CACHE_URL", ["memcached://x", "127.0.0.1:6379", "redis://"], ["", "redis://c:6379/0", "rediss://c"], "E020"),
        ("TRUSTED_PROXIES", [["10.0.0.1/8"], ["proxy"]], [[], ["10.0.0.0/8", "2001:db8::/32"]], "E021"),
        ("TRUSTED_PROXIES", [["0.0.0.0/0"], ["10.0.0.0/8", "::/0"]], [["10.0.0.0/8"]], "E022"),
        ("METRICS_TOKEN", ["short", "with a space in the middle", "é" * 20], ["", "x" * 20], "E023"),
        ("LOG_FORMAT", ["", "JSON", "xml"], ["line", "json"], "E024"),
    ],
)
def test_a_wrong_value_is_told(settings: Any, setting: str, wrong: list[Any], right: list[Any], error: str) -> None:
    for value in wrong:
        setattr(settings, setting, value)
        assert f"osmo.{error}" in found(), value
    for value in right:
        setattr(settings, setting, value)
        assert f"osmo.{error}" not in found(), value
