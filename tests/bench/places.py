"""Where benchmarks run: a database that is seeded once, and fresh copies of it, each for one measurement."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from tests import databases

HERE = Path(__file__).resolve().parent.parent.parent
EXCHANGE, PROFILE, LIST = "/api/auth/jwt/access_token", "/api/profile/settings", "/api/auth/access_token"
WAITS = "PRAGMA wal_checkpoint(TRUNCATE)"


class Place:
    """`url` is that of the seeded database. Everything is gone when the process is."""

    def __init__(self, kind: str) -> None:
        os.environ["TEST_DATABASE"] = kind
        os.environ["LOG_LEVEL"] = "ERROR"  # that secrets are refused is what is measured
        self.label = databases.prepare(durable=True)
        self.kind, self.url = kind, os.environ["DATABASE_URL"]

    def seed(self, tokens: int, *, living: bool) -> None:
        if self.kind == "postgresql":
            self._maintain("CREATE DATABASE seeded")
            self.url = self._named("seeded")
        self.run("migrate")
        self.run("seed", tokens, *["living"] * living)

    @contextmanager
    def copy(self) -> Iterator[str]:
        """The URL of a database that is like the seeded one. Nobody may be connected to that."""
        if self.kind == "postgresql":
            self._maintain("CREATE DATABASE copied TEMPLATE seeded")
            yield self._named("copied")
            self._maintain("DROP DATABASE copied WITH (FORCE)")
        else:
            path = Path(self.url.removeprefix("sqlite:///"))
            copied = path.with_name("copied.sqlite3")
            with sqlite3.connect(path) as seeded:
                seeded.execute(WAITS)
            shutil.copy(path, copied)
            yield f"sqlite:///{copied}"
            for left in copied.parent.glob("copied.sqlite3*"):
                left.unlink()

    def run(self, *words: Any, url: str = "") -> str:
        """What `python -m tests.bench.steps` prints about the database."""
        with self.start(*words, url=url) as process:
            said, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"{words[0]} ended with {process.returncode}.")
        return str(said)

    def start(self, *words: Any, url: str = "") -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.bench.steps", *map(str, words)]
        environment = os.environ | {"DATABASE_URL": url or self.url}
        return subprocess.Popen(
            command, cwd=HERE, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def _named(self, name: str) -> str:
        return urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()

    def _maintain(self, statement: str) -> None:
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
            connection.execute(statement)
