"""Exchanges and profiles over 64 connections, while tokens are issued, rotated and revoked every 50 ms: `make soak`.

Whoever asks knows what the answer must be. What a change concerns may answer either way only while that change is under
way: before it was sent the old answer is right, and after it was answered the new one.
"""

import base64
import http.client
import json
import os
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from tests.bench.places import EXCHANGE, PROFILE, Place
from tests.portals import Portal, serving

CONNECTIONS, INTERVAL = 64, 0.05
AT_ONCE = 8  # changes of a kind that may be under way: one that waits its turn keeps none of the next ones back
STABLE = 100  # tokens that are rotated; those that are issued meanwhile are revoked, the oldest first
KEPT = 10
DEAD_SHARE = 0.1  # of the requests, by what no longer works


@dataclass
class Known:
    """A secret, or a JWT that came for it. None: nothing was done that would end it."""

    token: int
    secret: str
    jwt: str = ""
    dies_from: float | None = None
    dead_by: float | None = None

    def expected(self, begin: float, end: float) -> set[bool]:
        """Whether what was asked between the two instants had to work."""
        if self.dead_by is not None and begin > self.dead_by:
            return {False}
        if self.dies_from is None or end < self.dies_from:
            return {True}
        return {True, False}


@dataclass
class Soak:
    portal: Portal
    administrator: str
    day: str
    stable: dict[int, Known] = field(default_factory=dict)
    issued: list[Known] = field(default_factory=list)
    dead: list[Known] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    changing: set[int] = field(default_factory=set)  # tokens, each for one change at a time
    names: Iterator[int] = field(default_factory=count)
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, line: http.client.HTTPConnection, method: str, path: str, body: Any = None, jwt: str = "") -> Any:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {jwt}"} if jwt else {})
        line.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = line.getresponse()
        said = answer.read()
        if answer.status >= 500:
            self.note(f"{method} {path}: {answer.status} {said[:200]!r}")
        return answer.status, said

    def note(self, fault: str) -> None:
        with self.lock:
            self.wrong.append(fault)

    def line(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.portal.port, timeout=60)

    # Who asks.

    def caller(self, number: int) -> None:
        dice, line = random.Random(number), self.line()
        while not self.over.is_set():
            with self.lock:
                alive = dice.random() >= DEAD_SHARE or not self.dead
                known = dice.choice([*self.stable.values(), *self.issued] if alive else self.dead)
            if known.jwt and dice.random() < 0.5:
                self._profile(line, known)
            else:
                self._exchange(line, known)

    def _exchange(self, line: http.client.HTTPConnection, known: Known) -> None:
        begin = time.monotonic()
        status, said = self.ask(line, "POST", EXCHANGE, {"token": known.secret})
        self._check("exchange", known, begin, status, 400, 429)  # after so many of the dead, that too
        if status == 200:
            jwt = json.loads(said)["token"]
            claims = json.loads(base64.urlsafe_b64decode(jwt.split(".")[1] + "=="))
            if claims["osmo_token_id"] != known.token:
                self.note(f"the JWT of {claims['osmo_token_id']} for a secret of {known.token}")
            known.jwt = jwt

    def _profile(self, line: http.client.HTTPConnection, known: Known) -> None:
        begin, jwt = time.monotonic(), known.jwt
        status, said = self.ask(line, "GET", PROFILE, jwt=jwt)
        if status == 401 and b"Jwt is expired" in said:
            known.jwt = ""
            return
        self._check("profile", known, begin, status, 401)

    def _check(self, what: str, known: Known, begin: float, status: int, *refused: int) -> None:
        right = known.expected(begin, time.monotonic())
        if (status == 200) not in right or status not in (200, *refused):
            self.note(f"{what} of token {known.token}: {status}, expected {right}")
        with self.lock:
            self.counts[what if status == 200 else f"{what} refused"] += 1

    # Who changes.

    def every(self, dues: Iterator[float], act: Callable[[http.client.HTTPConnection, str], None]) -> None:
        """One of those who share the instants at which such a change is due."""
        line, jwt, until = self.line(), "", 0.0
        while not self.over.is_set():
            if time.monotonic() > until:
                jwt = json.loads(self.ask(line, "POST", EXCHANGE, {"token": self.administrator})[1])["token"]
                until = time.monotonic() + 200
            with self.lock:
                due = next(dues)
            time.sleep(max(0.0, due - time.monotonic()))
            act(line, jwt)

    def issue(self, line: http.client.HTTPConnection, jwt: str) -> None:
        with self.lock:
            name = f"soak-{next(self.names)}"
        made = self._change(line, "issue", "/api/v1/tokens", self.asked(name), jwt, 201)
        if made:
            with self.lock:
                self.issued.append(Known(made["id"], made["secret"]))

    def asked(self, name: str) -> dict[str, Any]:
        return {"owner": "soak", "name": name, "expires_at": self.day, "roles": ["soak"]}

    def rotate(self, line: http.client.HTTPConnection, jwt: str) -> None:
        old = self._claim(lambda: random.sample([*self.stable.values()], STABLE))
        if old is None:
            return
        old.dies_from = time.monotonic()
        made = self._change(line, "rotate", f"/api/v1/tokens/{old.token}/rotate", {"grace_seconds": 0}, jwt, 200)
        if made:
            self._end(old)
            with self.lock:
                self.stable[old.token] = Known(old.token, made["secret"])
                self.changing.remove(old.token)

    def revoke(self, line: http.client.HTTPConnection, jwt: str) -> None:
        old = self._claim(lambda: self.issued[: max(0, len(self.issued) - KEPT)])
        if old:
            old.dies_from = time.monotonic()
            if self._change(line, "revoke", f"/api/v1/tokens/{old.token}/revoke", {"reason": "soak"}, jwt, 200):
                with self.lock:
                    self.issued.remove(old)
                self._end(old)

    def _claim(self, those: Callable[[], list[Known]]) -> Known | None:
        """The first of those that nobody changes."""
        with self.lock:
            free = next((known for known in those() if known.token not in self.changing), None)
            if free:
                self.changing.add(free.token)
            return free

    def _end(self, old: Known) -> None:
        old.dead_by = time.monotonic()
        with self.lock:
            self.dead = [*self.dead[-500:], old]

    def _change(
        self, line: http.client.HTTPConnection, what: str, path: str, body: dict[str, Any], jwt: str, right: int
    ) -> dict[str, Any] | None:
        status, said = self.ask(line, "POST", path, body, jwt)
        if status != right:
            self.note(f"{what}: {status} {said[:200]!r}")
            return None
        with self.lock:
            self.counts[what] += 1
        return dict(json.loads(said))

    def run(self, seconds: float) -> None:
        line = self.line()
        jwt = json.loads(self.ask(line, "POST", EXCHANGE, {"token": self.administrator})[1])["token"]
        for number in range(STABLE):
            made = self._change(line, "prepare", "/api/v1/tokens", self.asked(f"stable-{number}"), jwt, 201)
            assert made, self.wrong
            self.stable[made["id"]] = Known(made["id"], made["secret"])
        threads = [threading.Thread(target=self._guarded, args=(self.caller, one)) for one in range(CONNECTIONS)]
        for act in (self.issue, self.rotate, self.revoke):
            dues = count(time.monotonic(), INTERVAL)
            threads += [threading.Thread(target=self._guarded, args=(self.every, dues, act)) for _ in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        self.over.set()
        for thread in threads:
            thread.join()

    def _guarded(self, work: Callable[..., None], *what: Any) -> None:
        try:
            work(*what)
        except Exception as error:
            self.note(f"{type(error).__name__}: {error}")


def soak() -> None:
    """Fails where an answer was wrong, or an event is not there."""
    seconds = float(os.environ.get("SOAK_SECONDS") or 600)
    place = Place("postgresql")
    place.run("migrate")
    known = json.loads(place.run("soak_world"))
    with tempfile.TemporaryDirectory() as folder, serving(1, place.url, Path(folder), LOG_LEVEL="ERROR") as (portal,):
        ran = Soak(portal, known["administrator"], known["day"])
        ran.run(seconds)
    told = dict(json.loads(place.run("soak_events")))
    print(f"\n{seconds:.0f} s on {place.label}: {dict(ran.counts)}; events: {told}.")
    done = ran.counts
    missing = {
        action: (done[what], told["events"].get(action, 0))
        for action, what in {"token.issued": "issue", "token.rotated": "rotate", "token.revoked": "revoke"}.items()
        if told["events"].get(action, 0) - (STABLE + 1 if what == "issue" else 0) != done[what]
    }
    if ran.wrong or missing or told["faults"]:
        raise SystemExit(f"Wrong: {len(ran.wrong)} {ran.wrong[:5]}; events: {missing}; chain: {told['faults']}")
    print("No wrong answer, no 5xx, no lost event; the chain is whole.")
