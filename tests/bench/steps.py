"""What a benchmark does in a process of its own: `python -m tests.bench.steps WHAT …` prints its result as JSON."""

import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "osmo_portal.settings")

import django

django.setup()

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from osmo_portal.events.actor import Actor, Door
from profiles.models import User
from tests.bench import console, seed
from tests.bench.work import busy
from tokens.models import AccessToken, BulkOperation
from tokens.models.bulk_operation import Action

settings.STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
settings.WHITENOISE_AUTOREFRESH = True  # finds the files where they are, without collectstatic

REASON = "benchmark"
PAUSE = 0.002  # seconds between two exchanges


def _half() -> Any:
    """Every other token: those that the administrator issued."""
    return AccessToken.objects.issued_by("grace")


def _seed(tokens: str, living: str = "") -> None:
    seed.seed(int(tokens), living=bool(living), events=0 if living else None)


def _cost(change: Callable[[], int]) -> dict[str, Any]:
    connection.ensure_connection()
    work, begin = busy(), time.perf_counter()
    rows = change()
    return {"rows": rows, "seconds": time.perf_counter() - begin, "work": busy() - work}


def _bare() -> dict[str, Any]:
    """What the database itself needs: one UPDATE of the same rows, past the portal and its trail."""
    now = timezone.now()
    found = _half().outliving(now).values("pk").query
    with connection.cursor() as cursor:
        sql, values = found.sql_with_params()
        if connection.vendor == "postgresql":
            cursor.execute("SET statement_timeout = 0")
        end = connection.ops.adapt_datetimefield_value(now)
        statement = f"UPDATE tokens_accesstoken SET expires_at = %s WHERE id IN ({sql})"

        def update() -> int:
            cursor.execute(statement, [end, *values])
            return int(cursor.rowcount)

        return _cost(update)


def _expire() -> dict[str, Any]:
    """The way in for a set."""
    return _cost(lambda: _half().expire(by=Actor.shell(), reason=REASON))


def _operation() -> dict[str, Any]:
    """An operation as the console and the commands have it: looked at, frozen, run."""
    by = Actor.acting_as(User.objects.get(username="grace"), Door.COMMAND)
    operation = BulkOperation.preview(_half(), by=by, action=Action.EXPIRE, filters={"issuer": "grace"})
    operation.start(_half(), by=by, digest=operation.digest, reason=REASON)

    def run() -> int:
        operation.run(by=by)
        return operation.changed

    return _cost(run)


def _exchange() -> dict[str, Any]:
    """Exchanges one token after the other, until standard input is closed. Half of them end meanwhile."""
    client, address = Client(SERVER_NAME=console.HOST), reverse("exchange")
    tokens = [_issued(number) for number in range(20)]
    ended = threading.Event()

    def listen() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    waits: list[float] = []
    refused, number = 0, 0
    while not ended.is_set():
        body = {"token": str(tokens[number % len(tokens)].plaintext)}
        begin = time.perf_counter()
        answer = client.post(address, body, content_type="application/json")
        waits.append(time.perf_counter() - begin)
        refused += answer.status_code != 200
        number += 1
        time.sleep(PAUSE)
    waits = sorted(waits[len(tokens) :])  # the first of each is slower
    return {"count": len(waits), "p99": waits[len(waits) * 99 // 100], "longest": waits[-1], "refused": refused}


def _issued(number: int) -> AccessToken:
    name = "grace" if number % 2 else "p-arm-0"
    issuer = Actor.acting_as(User.objects.get(username=name), Door.ADMIN)
    day = timezone.now().date() + timedelta(days=20)
    return AccessToken.issue(by=issuer, owner=issuer.user, name=f"bench-{number}", expires=day)


def _console() -> list[Any]:
    return [[*timing.page[:3], *timing[1:]] for timing in console.measure()]


STEPS: dict[str, Callable[..., Any]] = {
    "migrate": lambda: call_command("migrate", verbosity=0),
    "seed": _seed,
    "bare": _bare,
    "expire": _expire,
    "operation": _operation,
    "exchange": _exchange,
    "console": _console,
}


def main(what: str, *words: str) -> None:
    result = STEPS[what](*words)
    if isinstance(result, dict):
        result["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
