"""A portal of its own under load, by a client that checks every answer, and what must hold when a fault is over."""

import itertools
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import httpx
import psycopg
from cryptography.fernet import Fernet

HERE = Path(__file__).resolve().parents[2]
READY_WITHIN = 90  # seconds
REFUSED = {400, 429}  # what is refused time and again is limited
PATIENCE = 30  # seconds that the client waits for one answer
LOG = HERE / "var" / "faults" / "portal.log"  # what the last portal said, where no other file is named


class Broken(AssertionError):
    """A promise that did not hold."""


class Site:
    """`prefix` is put before the server's command: another network, another clock."""

    log = LOG
    code, python = HERE, Path(sys.executable)  # which may be those of another version

    def __init__(self, url: str, *, host: str = "127.0.0.1", prefix: Sequence[str] = (), **environment: str) -> None:
        self.database, self.prefix, self.port = url, list(prefix), free_port()
        self.url = f"http://{host}:{self.port}"
        self.environment = os.environ | {
            "ENV_FILE": os.devnull,
            "SECRET_KEY": "faults-" + os.urandom(32).hex(),
            "KEY_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
            "PORTAL_URL": f"http://127.0.0.1:{self.port}",
            "BIND": f"{host}:{self.port}",
            "TRUSTED_PROXIES": "127.0.0.1/32,10.231.0.1/32",
            "DATABASE_URL": url,
            "LOG_LEVEL": "ERROR",
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def manage(self, *words: str) -> str:
        """The checks take a third of a command's time: they are made by those two, and by the server that starts."""
        checks = [] if words[0] in {"migrate", "doctor"} else ["--skip-checks"]
        command = [str(self.python), "manage.py", *words, *checks]
        done = subprocess.run(command, cwd=self.code, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Broken(f"{' '.join(words)} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def prepare(self) -> str:
        """The secret of an administrator's token, once the database is made."""
        self.manage("migrate", "--verbosity", "0")
        return str(json.loads(self.manage("bootstrap", "--json"))["token"])

    def issue(self, name: str, ends: timedelta) -> tuple[int, str]:
        """A token that ends so long from now, a time that no door but a shortening gives: its number and secret."""
        next_month = (datetime.now(UTC) + timedelta(days=30)).date().isoformat()
        whose = ["--actor", "admin", "--owner", "bootstrap", "--role", "osmo-admin"]
        secret = self.manage("issue_token", *whose, "--name", name, "--expires-at", next_month).strip()
        instant = f"{datetime.now(UTC) + ends:%Y-%m-%dT%H:%M:%SZ}"
        at = ["--at", instant] if ends else []
        self.manage("expire_tokens", "--name-glob", name, *at, "--reason", "fault", "--expect", "1")
        return self.number_of(name), secret

    @contextmanager
    def serve(self) -> Iterator[None]:
        gunicorn = str(self.python.with_name("gunicorn"))
        command = [*self.prefix, gunicorn, "-c", "osmo_portal/gunicorn.conf.py", "osmo_portal.wsgi"]
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            place: dict[str, Any] = {
                "cwd": self.code,
                "env": self.environment,
                "stdout": subprocess.DEVNULL,
                "stderr": log,
            }
            self.process = subprocess.Popen(command, start_new_session=True, **place)
        try:
            until(self.answers, READY_WITHIN, "the portal does not answer")
            yield
        finally:
            self._stop(self.process)

    @staticmethod
    def _stop(process: "subprocess.Popen[bytes]") -> None:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def client(self) -> httpx.Client:
        """As a proxy in front of it would ask: by the name of the portal, wherever it listens."""
        return httpx.Client(
            base_url=self.url, timeout=PATIENCE, headers={"host": f"127.0.0.1:{self.port}"}, trust_env=False
        )

    def answers(self) -> bool:
        try:
            with self.client() as client:
                return client.get("/health").status_code == 200
        except httpx.HTTPError:
            return False

    def workers(self) -> list[int]:
        assert self.process
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def events(self) -> set[tuple[str, int]]:
        """Which action befell which token."""
        return set(self._rows("SELECT action, object_id FROM events_event WHERE object_type = 'accesstoken'"))

    def number_of(self, name: str) -> int:
        return int(dict(self._rows("SELECT name, id FROM tokens_accesstoken"))[name])

    def _rows(self, statement: str) -> list[Any]:
        if self.database.startswith("sqlite"):
            with sqlite3.connect(self.database.removeprefix("sqlite:///")) as database:
                return list(database.execute(statement))
        with psycopg.connect(self.database) as connection:
            return list(connection.execute(statement))


class Load:
    """Some clients that exchange, issue and revoke without end. Each answer is held to what was acknowledged before.

    `also` are statuses that say no and are nothing to complain of in this fault.
    """

    def __init__(self, site: Site, administrator: str, also: Iterable[int] = ()) -> None:
        self.site, self.administrator, self.refusals = site, administrator, {503, *also}
        self.live: dict[int, str] = {}  # acknowledged, and nobody asked to revoke them
        self.revoked: dict[int, str] = {}  # acknowledged
        self.over: dict[int, str] = {}  # expired before it began
        self.soon: dict[int, str] = {}  # expire a while after it ends, and may be refused only meanwhile
        self.doubtful: set[int] = set()  # a revocation was asked for and not acknowledged
        self.wrong: list[str] = []
        self.counts: dict[str, int] = {}
        self.exchanges: list[float] = []  # when one succeeded
        self.changes: list[float] = []
        self.longest = 0.0
        self.numbers, self.lock, self.stop = itertools.count(), threading.Lock(), threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        with self.site.client() as client:
            self.issue(client)
        threads = [threading.Thread(target=self._run, args=[what]) for what in self._parts()]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.stop.set()
            for thread in threads:
                thread.join()

    def _parts(self) -> list[Callable[[httpx.Client], None]]:
        return [self.exchange_live, self.exchange_live, self.exchange_revoked, self.issue, self.revoke]

    def _run(self, what: Callable[[httpx.Client], None]) -> None:
        with self.site.client() as client:
            while not self.stop.is_set():
                try:
                    what(client)
                except httpx.HTTPError:
                    self._count("no answer")
                time.sleep(0.01)

    def _count(self, kind: str) -> None:
        with self.lock:
            self.counts[kind] = self.counts.get(kind, 0) + 1

    def _sent(self, what: Callable[[], httpx.Response], expected: set[int]) -> httpx.Response | None:
        """The answer, or None where the portal said that it cannot for now."""
        began = time.monotonic()
        try:
            answer = what()
        finally:
            self.longest = max(self.longest, time.monotonic() - began)
        self._count(str(answer.status_code))
        if answer.status_code in self.refusals:
            return None
        if answer.status_code not in expected:
            self.wrong.append(
                f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text[:300]}"
            )
            return None
        return answer

    def exchange(self, client: httpx.Client, secret: str, expected: set[int]) -> httpx.Response | None:
        # Each call comes from somewhere else, so that what is refused time and again is not limited.
        caller = {"x-forwarded-for": str(IPv4Address(random.randrange(0x0B000000, 0x0C000000)))}
        path = "/api/auth/jwt/access_token"
        return self._sent(lambda: client.post(path, json={"token": secret}, headers=caller), expected)

    def exchange_live(self, client: httpx.Client) -> None:
        with self.lock:
            number = random.choice([*self.live] or [0])
            secret = self.live.get(number, self.administrator)
        answer = self.exchange(client, secret, {200, 400})
        if answer is not None and answer.status_code == 400 and number in self.live:
            self.wrong.append(f"token {number} was acknowledged and is refused: {answer.text[:200]}")
        if answer is not None and answer.status_code == 200:
            self.exchanges.append(time.monotonic())

    def exchange_revoked(self, client: httpx.Client) -> None:
        with self.lock:
            number, secret = random.choice([*self.revoked.items(), *self.over.items()] or [(0, "")])
        if not secret:
            return
        answer = self.exchange(client, secret, {200, *REFUSED})
        if answer is not None and answer.status_code == 200:
            self.wrong.append(f"WRONG YES: token {number} was exchanged after its end was acknowledged")

    def _signed_in(self, client: httpx.Client) -> dict[str, str] | None:
        answer = self.exchange(client, self.administrator, {200})
        return {"authorization": f"Bearer {answer.json()['token']}"} if answer is not None else None

    def issue(self, client: httpx.Client) -> None:
        headers = self._signed_in(client)
        if headers is None:
            return
        next_month = (datetime.now(UTC) + timedelta(days=30)).date().isoformat()
        body = {
            "owner": "bootstrap",
            "name": f"load-{next(self.numbers)}",
            "expires_at": next_month,
            "roles": ["osmo-admin"],
        }
        answer = self._sent(lambda: client.post("/api/v1/tokens", json=body, headers=headers), {201})
        if answer is not None:
            with self.lock:
                self.live[answer.json()["id"]] = answer.json()["secret"]
            self.changes.append(time.monotonic())

    def revoke(self, client: httpx.Client) -> None:
        headers = self._signed_in(client)
        with self.lock:
            number = random.choice([*self.live]) if len(self.live) > 5 else 0
            secret = self.live.pop(number, "")
            if number:
                self.doubtful.add(number)
        if headers is None or not secret:
            return
        path = f"/api/v1/tokens/{number}/revoke"
        answer = self._sent(lambda: client.post(path, json={"reason": "load"}, headers=headers), {200})
        if answer is not None:
            with self.lock:
                self.doubtful.discard(number)
                self.revoked[number] = secret
            self.changes.append(time.monotonic())

    # What must hold afterwards.

    def hold(self) -> None:
        """Raises Broken where a promise was not kept. The portal must serve."""
        with self.site.client() as client:
            for number, secret in {**self.live, **self.soon}.items():
                self._must(client, number, secret, {200})
            for number, secret in {**self.revoked, **self.over}.items():
                self._must(client, number, secret, REFUSED)
        events = self.site.events()
        self.wrong += [
            f"token {n} has no event" for n in {*self.live, *self.revoked} if ("token.issued", n) not in events
        ]
        self.wrong += [f"revocation of {n} has no event" for n in self.revoked if ("token.revoked", n) not in events]
        self.site.manage("verify_events")
        if self.wrong:
            raise Broken("\n".join(self.wrong[:20]))

    def _must(self, client: httpx.Client, number: int, secret: str, statuses: set[int]) -> None:
        answer = self.exchange(client, secret, {200, *REFUSED})
        if answer is None or answer.status_code not in statuses:
            said = answer.status_code if answer is not None else "no answer"
            self.wrong.append(f"token {number}: {said} afterwards")


def longest_gap(moments: list[float]) -> float:
    return max((later - earlier for earlier, later in itertools.pairwise(sorted(moments))), default=0.0)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def until(true: Callable[[], Any], seconds: float, complaint: str) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise Broken(complaint)
        time.sleep(0.1)
