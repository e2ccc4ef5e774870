"""Security lines that no page, rule or route has to itself: closed settings, the log, rights in the database."""

import logging
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.db import DatabaseError, connection, transaction
from gunicorn.config import Config  # type: ignore[import-untyped]
from gunicorn.http import errors  # type: ignore[import-untyped]

from osmo_portal.access_log import AccessLog
from osmo_portal.events.models import Event, EventLine
from osmo_portal.logging import LineFormatter
from tests import output
from tests.cast import Cast
from tokens import exchange, secrets

ROOT = Path(__file__).resolve().parent.parent
TAGGED = "osmo_NotForTheLog"

ASK = """
import django; django.setup()
from django.conf import settings
from django.test import Client
client = Client(headers={"host": "portal.example"})
print("DEBUG", settings.DEBUG)
print("plain", client.get("/api/version").status_code)
answer = client.get("/api/version", secure=True)
for name in ("strict-transport-security", "content-security-policy", "x-content-type-options", "x-frame-options"):
    print(name, answer[name])
for kind in ("SESSION", "CSRF"):
    print(kind, *(getattr(settings, f"{kind}_COOKIE_{part}") for part in ("SECURE", "HTTPONLY", "SAMESITE")))
"""


def test_in_production_cookies_and_answers_are_closed() -> None:
    """A process with what a deployment must set, and nothing else."""
    environment = {
        "PATH": os.environ["PATH"],
        "ENV_FILE": os.devnull,
        "DJANGO_SETTINGS_MODULE": "osmo_portal.settings",
        "PORTAL_URL": "https://portal.example",
        "DATABASE_URL": "sqlite://:memory:",
        "SECRET_KEY": "x" * 60,
        "KEY_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    }

    command = [sys.executable, "-c", ASK]
    said = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout

    lines = dict(line.split(" ", 1) for line in said.splitlines())
    assert lines["DEBUG"] == "False"
    assert lines["plain"] == "301"
    assert lines["strict-transport-security"] == "max-age=31536000; includeSubDomains; preload"
    assert "unsafe" not in lines["content-security-policy"]
    assert "default-src 'self'" in lines["content-security-policy"]
    assert lines["x-content-type-options"] == "nosniff"
    assert lines["x-frame-options"] == "DENY"
    assert lines["SESSION"] == lines["CSRF"] == "True True Lax"


def test_the_servers_own_log_line_has_no_query_and_no_referrer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The released 6.0 clients send their secret in the query."""
    secret = str(secrets.generate())
    environ = {
        "REMOTE_ADDR": "192.0.2.1",
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/api/auth/jwt/access_token\r\nforged",
        "QUERY_STRING": f"access_token={secret}",
        "RAW_URI": f"/api/auth/jwt/access_token?access_token={secret}",
        **dict.fromkeys(("HTTP_REFERER", "HTTP_AUTHORIZATION", "HTTP_COOKIE", "HTTP_X_OSMO_AUTH"), secret),
    }
    answer = SimpleNamespace(status="200 OK", headers=[("X-Request-Id", "abc")], sent=5)
    log, lines = AccessLog(Config()), []
    log.cfg.set("accesslog", "-")
    monkeypatch.setattr(log.access_log, "info", lambda form, facts: lines.append(form % facts))

    log.access(answer, None, environ, timedelta(milliseconds=3))

    assert lines == ['abc 192.0.2.1 "GET /api/auth/jwt/access_token\\r\\nforged" 200 5 3ms']
    configured = runpy.run_path(str(ROOT / "osmo_portal" / "gunicorn.conf.py"))
    assert configured["logger_class"] == f"{AccessLog.__module__}.{AccessLog.__qualname__}"


@pytest.fixture
def server_log(caplog: pytest.LogCaptureFixture) -> Iterator[AccessLog]:
    log = AccessLog(Config())
    log.error_log.addHandler(caplog.handler)
    yield log
    log.error_log.removeHandler(caplog.handler)


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (errors.InvalidRequestLine(f"GET /x?access_token={TAGGED} a HTTP/1.1"), "Invalid HTTP request line"),
        (errors.InvalidRequestMethod(TAGGED), "Invalid HTTP method"),
        (errors.InvalidHeader(f"Authorization Bearer: {TAGGED}"), "Invalid HTTP Header"),
        (errors.InvalidHeaderName(TAGGED), "Invalid HTTP header name"),
        (errors.LimitRequestLine(5_000, 4_094), "Request Line is too large (5000 > 4094)"),
    ],
)
def test_what_the_server_cannot_read_is_not_in_its_log(
    server_log: AccessLog, caplog: pytest.LogCaptureFixture, error: Exception, told: str, address: str
) -> None:
    server_log.warning(f"Invalid request from ip={address}: {error}")

    assert caplog.messages == [f"Invalid request from ip={address}: {told}"]


def test_an_error_of_the_server_is_told_without_the_query(
    server_log: AccessLog, caplog: pytest.LogCaptureFixture
) -> None:
    server_log.exception("Error handling request %s %s", "GET", f"/x?access_token={TAGGED}")

    assert caplog.messages == ["Error handling request GET /x"]


@pytest.mark.parametrize(
    "text",
    ["a\r\nERROR forged", "\x1b[31mred", "\x1b]0;title\x07", "a\u2028b", "\u202eevil", "a\0b", "a\x85b", "\x9b31m"],
    ids=ascii,
)
def test_a_log_line_is_one_line_whatever_is_in_it(text: str) -> None:
    record = logging.LogRecord("tokens", logging.INFO, "", 0, "refused for %s", (text,), None)

    line = LineFormatter().format(record)

    assert line.isprintable()
    assert "refused for " in line


@pytest.fixture
def narrow_role(cast: Cast) -> Iterator[None]:
    """The rights that the operators' page gives to the portal: everything on its tables, but events are only added."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite knows no roles")
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE portal_narrow")
        cursor.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO portal_narrow")
        cursor.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO portal_narrow")
        for model in (Event, EventLine):
            cursor.execute(f"REVOKE UPDATE, DELETE, TRUNCATE ON {model._meta.db_table} FROM portal_narrow")
        cursor.execute("SET ROLE portal_narrow")
        yield
        cursor.execute("RESET ROLE")


def test_the_portal_needs_no_right_to_change_or_delete_events(narrow_role: None, cast: Cast) -> None:
    token = cast.service_token()
    exchange.exchange(token.rotate(by=cast.by("grace")).plaintext)
    cast.robot.deactivate(by=cast.by("grace"), reason="off")
    type(token).objects.filter(owner=cast.robot).revoke(by=cast.by("grace"), reason="all of them")

    assert Event.objects.filter(action="tokens.revoked").exists()
    for statement in ("UPDATE {} SET reason = 'x'", "DELETE FROM {}", "TRUNCATE {} CASCADE"):
        with (
            pytest.raises(DatabaseError, match="permission denied"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement.format(Event._meta.db_table))


def report(**fields: Any) -> pytest.TestReport:
    return pytest.TestReport("tests/x.py::x", ("x", 1, "x"), {}, "passed", None, "call", **fields)


@pytest.mark.parametrize("prefix", output.PREFIXES)
@pytest.mark.parametrize("where", ["Captured log call", "Captured stderr call", "Captured log setup"])
def test_a_secret_in_the_output_of_a_test_fails_it(where: str, prefix: str) -> None:
    leaking = report(sections=[(where, f"2026 INFO for {secrets.generate(prefix)} in vain")])
    alike = report(sections=[(where, "osmo_" + "x" * 49)])

    for one in (leaking, alike):
        output.search(one)

    assert leaking.failed
    assert "holds a secret" in str(leaking.longrepr)
    assert alike.passed
