"""PostgreSQL as processes that may be killed: alone or with a replica, run by a user that is not root."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psycopg

from tests import databases
from tests.faults.site import Broken, free_port, until

STARTS_WITHIN = 120


def kill_all_in(folder: Path) -> None:
    """kill -9 of every process that works there, as the processes of PostgreSQL do in their data."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").readlink() == folder:
                os.kill(int(process.name), signal.SIGKILL)


class Postgres:
    """One server, in a folder of its own, that keeps what it wrote."""

    def __init__(self, home: Path | None = None, listen: str = "127.0.0.1", **settings: str) -> None:
        self.home = home or Path(tempfile.mkdtemp(prefix="osmo-portal-fault-"))
        self.settings = settings
        self.account = databases._account()
        self.binaries = databases._within_reach(databases._server().binaries, self.home, self.account)
        self.port, self.listen = free_port(), listen
        if self.account:
            os.chown(self.home, self.account["user"], self.account["group"])
        self.place: dict[str, Any] = {
            **self.account,
            "cwd": self.home,
            "env": {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        }
        self.process: subprocess.Popen[bytes] | None = None
        self._make()

    def _make(self) -> None:
        options = ["-D", "data", "-U", "portal", "-E", "UTF8", "--auth=trust", "--no-sync"]
        self._run("initdb", *options)
        with (self.home / "data" / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 10.231.0.0/16 trust\nhost replication all 127.0.0.1/32 trust\n")

    @property
    def url(self) -> str:
        return f"postgres://portal@{self.listen.split(',')[-1]}:{self.port}/postgres"

    def _run(self, program: str, *words: str) -> None:
        command = [str(self.binaries / program), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, **self.place)
        if done.returncode:
            raise Broken(f"{program}: {done.stderr}")

    def start(self) -> None:
        told = {"unix_socket_directories": self.home, "listen_addresses": self.listen, "port": self.port}
        words = [word for name, value in (told | self.settings).items() for word in ("-c", f"{name}={value}")]
        command = [str(self.binaries / "postgres"), "-D", "data", *words]
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, start_new_session=True, **quiet, **self.place)
        until(self.answers, STARTS_WITHIN, "PostgreSQL does not start")

    def answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url, connect_timeout=2):
            return True
        return False

    def kill(self) -> None:
        """As when the machine loses its power: all processes at once."""
        assert self.process
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        kill_all_in(self.home / "data")
        self.process.wait()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)


class Standby(Postgres):
    """A streaming replica of a server that runs."""

    def __init__(self, primary: Postgres) -> None:
        self.primary = primary
        super().__init__()

    def _make(self) -> None:
        source = f"host=127.0.0.1 port={self.primary.port} user=portal"
        self._run("pg_basebackup", "-d", source, "-D", "data", "-R", "-X", "stream", "-c", "fast", "--no-sync")
