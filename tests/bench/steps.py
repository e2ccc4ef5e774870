"""What a benchmark does in a process of its own: `python -m tests.bench.steps WHAT …` prints its result as JSON."""

import gc
import json
import os
import resource
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "osmo_portal.settings")

import django

django.setup()

import psycopg
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import Count, DateTimeField
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from osmo_portal.compiled import Given
from osmo_portal.events import chain
from osmo_portal.events.actor import Actor, Door
from osmo_portal.events.models import Event
from profiles.models import Role, User
from tests.bench import console, seed
from tests.bench.places import EXCHANGE, LIST, PROFILE
from tests.bench.work import busy
from tokens import secrets, standing
from tokens.models import AccessToken, BulkOperation, Secret
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
    return _past_the_portal([_UPDATE])


def _floor() -> dict[str, Any]:
    """What the timeline costs at the least: the same, and one INSERT of as many lines, of which nothing is digested."""
    return _past_the_portal([_UPDATE, _LINES])


_UPDATE = "UPDATE tokens_accesstoken SET expires_at = %s WHERE id IN ({found})"
_LINES = """
    INSERT INTO events_eventline (event_id, object_id, object_label, before, after)
    SELECT 1, token.id, username || '/' || name, '2027-01-01T00:00:00+00:00', '2026-11-01T00:00:00+00:00'
    FROM tokens_accesstoken token JOIN profiles_user owner ON owner.id = token.owner_id WHERE expires_at = %s
"""


def _past_the_portal(statements: list[str]) -> dict[str, Any]:
    now = timezone.now()
    end = connection.ops.adapt_datetimefield_value(now)
    found, values = _half().outliving(now).values("pk").query.sql_with_params()
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET statement_timeout = 0")

        def change() -> int:
            with transaction.atomic():
                cursor.execute(statements[0].format(found=found), [end, *values])
                rows = int(cursor.rowcount)
                for statement in statements[1:]:
                    cursor.execute(statement, [end])
            return rows

        return _cost(change)


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
    # Django's test client keeps some objects of each request for good, and Python looks through them ever longer.
    handler, factory, address = WSGIHandler(), RequestFactory(SERVER_NAME=console.HOST), reverse("exchange")
    tokens = [_issued(number) for number in range(20)]
    ended = threading.Event()

    def listen() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    gc.collect()
    gc.freeze()  # as osmo_portal.wsgi does
    waits: list[float] = []
    refused, number = 0, 0
    while not ended.is_set():
        body = {"token": str(tokens[number % len(tokens)].plaintext)}
        begin = time.perf_counter()
        with closing(handler.get_response(factory.post(address, body, content_type="application/json"))) as answer:
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


def _callers(count: str) -> dict[str, Any]:
    """Puts secrets that are known on tokens from everywhere in the table, and gives them to who measures."""
    grace = User.objects.get(username="grace")
    by = Actor.acting_as(grace, Door.ADMIN)
    day = timezone.now().date() + timedelta(days=20)
    chosen = list(AccessToken.objects.order_by("pk").values_list("pk", flat=True))
    chosen = chosen[:: max(1, len(chosen) // int(count))]
    known = [str(secrets.generate()) for _ in chosen]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET statement_timeout = 0")
        cursor.execute("UPDATE profiles_user SET is_active = (1 = 1) WHERE NOT is_active")
        cursor.execute("UPDATE profiles_roleassignment SET removed_at = NULL WHERE removed_at IS NOT NULL")
        cursor.executemany(
            "UPDATE tokens_accesstoken SET issued_at = %s, expires_at = %s, suspended_at = NULL WHERE id = %s",
            [(timezone.now(), timezone.now() + timedelta(days=30), pk) for pk in chosen],
        )
        cursor.executemany(
            "UPDATE tokens_secret SET digest = %s WHERE token_id = %s",
            [(secrets.digest(secret), pk) for secret, pk in zip(known, chosen, strict=True)],
        )
    seed.tidy()
    wide = User.create_service_account(by=by, username="bench-wide", accountable=grace, roles=["osmo-admin"])
    wide_token = AccessToken.issue(by=by, owner=wide, roles=["osmo-admin"], name="wide", expires=day)
    own = [AccessToken.issue(by=by, owner=grace, name=f"bench-{number}", expires=day) for number in range(10)]
    client = Client(SERVER_NAME=console.HOST)
    client.force_login(grace)
    return {
        "secrets": known,
        "wide": str(wide_token.plaintext),
        "grace": str(own[0].plaintext),
        "session": client.cookies["sessionid"].value,
        "day": str(day - timedelta(days=5)),
        "deep": console.deep_page(),
    }


QUERIED = {"exchange": EXCHANGE, "profile": PROFILE, "list": LIST, "v1": console.API_TOKENS}


def _queries() -> dict[str, int]:
    """What each costs once keys are known, and the use is noted."""
    token = _issued(1_001)
    client = Client(SERVER_NAME=console.HOST)
    counts = {}
    for name, path in QUERIED.items():
        for _ in range(2):
            with CaptureQueriesContext(connection) as queries:
                if name == "exchange":
                    answer = client.post(path, {"token": str(token.plaintext)}, content_type="application/json")
                    jwt = answer.json()["token"]
                else:
                    answer = client.get(path, headers={"authorization": f"Bearer {jwt}"})
            if answer.status_code != 200:
                raise AssertionError(f"{path}: {answer.status_code}")
        counts[name] = len(queries)
    return counts


def _bare_exchange() -> dict[str, float]:
    """Microseconds of processors that the query of the exchange takes by the driver alone, the server's work included,
    and a signature."""
    statement = standing._OF_SECRET._statement
    digests = [bytes(digest) for digest in Secret.objects.order_by("?").values_list("digest", flat=True)[:2_000]]
    connection.ensure_connection()
    raw = connection.connection
    cursor = psycopg.Cursor(raw) if connection.vendor == "postgresql" else sqlite3.Connection.cursor(raw)
    now = DateTimeField().get_db_prep_value(timezone.now(), connection)

    def look_up(digest: bytes) -> None:
        cursor.execute(
            statement.driver_sql,
            [digest if isinstance(one, Given) and one.name == "digest" else now for one in statement.values],
        )
        cursor.fetchall()

    private, message, method = ec.generate_private_key(ec.SECP256R1()), b"x" * 500, ec.ECDSA(hashes.SHA256())
    return {
        "lookup": round(_each(look_up, digests)),
        "signature": round(_each(lambda _: private.sign(message, method), digests)),
    }


def _each(work: Callable[[bytes], Any], digests: list[bytes]) -> float:
    """Microseconds, of five rounds the best."""
    best = float("inf")
    for _ in range(5):
        before = busy()
        for digest in digests:
            work(digest)
        best = min(best, (busy() - before) / len(digests) * 1e6)
    return best


def _soak_world() -> dict[str, str]:
    """An account of the role `soak`, and an administrator's secret."""
    first, day = Actor.bootstrap(), timezone.now().date() + timedelta(days=20)
    policy = {"effect": "Allow", "actions": ["dataset:Read"], "resources": ["*"]}
    Role.create(by=first, name="soak", policies=[policy])
    grace = User.create_person(by=first, username="grace", roles=["osmo-admin"])
    by = Actor.acting_as(grace, Door.ADMIN)
    User.create_service_account(by=by, username="soak", accountable=grace, roles=["soak"])
    wide = User.create_service_account(by=by, username="wide", accountable=grace, roles=["osmo-admin"])
    token = AccessToken.issue(by=by, owner=wide, roles=["osmo-admin"], name="wide", expires=day)
    return {"administrator": str(token.plaintext), "day": str(day - timedelta(days=5))}


def _soak_events() -> dict[str, Any]:
    counted = Event.objects.order_by().values_list("action").annotate(number=Count("pk"))
    return {"events": dict(counted), "faults": [str(fault) for fault in chain.faults()]}


STEPS: dict[str, Callable[..., Any]] = {
    "migrate": lambda: call_command("migrate", verbosity=0),
    "seed": _seed,
    "bare": _bare,
    "floor": _floor,
    "expire": _expire,
    "operation": _operation,
    "exchange": _exchange,
    "console": _console,
    "callers": _callers,
    "queries": _queries,
    "bare_exchange": _bare_exchange,
    "soak_world": _soak_world,
    "soak_events": _soak_events,
}


MEASURED = {"bare", "floor", "expire", "operation", "exchange"}


def main(what: str, *words: str) -> None:
    result = STEPS[what](*words)
    if isinstance(result, dict) and what in MEASURED:
        result["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
