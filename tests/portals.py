"""The portal as it runs: gunicorn with the portal's own configuration, in processes of its own, on a given database."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

HERE = Path(__file__).resolve().parent.parent
STARTS_WITHIN = 240  # seconds; a busy machine needs them


class Portal:
    """Serves until `stop`. What it prints, the access log included, is in the file `log`."""

    def __init__(self, database: str, log: Path, **environment: Any) -> None:
        self.port, self.log = free_port(), log
        self.url = f"http://127.0.0.1:{self.port}"
        here = {"DATABASE_URL": database, "PORT": self.port, "PORTAL_URL": self.url, "ENV_FILE": os.devnull}
        told = os.environ | {name: str(value) for name, value in (here | environment).items()}
        command = [sys.executable, "-m", "gunicorn", "-c", "osmo_portal/gunicorn.conf.py", "osmo_portal.wsgi"]
        self._begun = time.monotonic()
        with log.open("ab") as written:
            self.process = subprocess.Popen(command, cwd=HERE, env=told, stdout=written, stderr=written)

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)

    def wait(self) -> None:
        """Until it answers."""
        deadline = time.monotonic() + STARTS_WITHIN
        while True:
            try:
                if httpx.get(f"{self.url}/health", timeout=5).status_code == 200:
                    self.started_in = time.monotonic() - self._begun
                    return
            except httpx.TransportError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise RuntimeError(f"The portal did not start:\n{self.log.read_text()[-4_000:]}")
            time.sleep(0.05)


@contextmanager
def serving(count: int, database: str, home: Path, **environment: Any) -> Iterator[list[Portal]]:
    """So many portals on one database."""
    portals = [Portal(database, home / f"portal-{number}.log", **environment) for number in range(count)]
    try:
        for portal in portals:
            portal.wait()
        yield portals
    finally:
        for portal in portals:
            portal.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
