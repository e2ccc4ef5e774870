"""Too many failures are told at every door of a secret; whoever sends a right one never hears of it (S12)."""

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.db import DatabaseError, connection
from django.test import Client

from osmo_portal.shared_cache import RedisOrDatabase
from osmo_portal.signin import limits
from osmo_portal.signin.models import CacheEntry, FailureCount
from tests.cast import Cast
from tests.rest import Rest
from tests.test_authz import SUBMIT, ask
from tests.wire import Wire
from tokens import exchange, secrets
from tokens.models import AccessToken

EXCHANGE = "/api/auth/jwt/access_token"
SOURCE, SECRET = limits.OF_SOURCE.most, limits.OF_SECRET.most


def attempt(secret: str, address: str = "192.0.2.1") -> Any:
    return Client().post(EXCHANGE, {"token": secret}, content_type="application/json", REMOTE_ADDR=address)


def other_process() -> None:
    """What this one remembers by itself, another does not know."""
    caches["local"].clear()


def flood(times: int, address: str = "192.0.2.1") -> None:
    for number in range(times):
        limits.failed(address, f"guess {number}")


def test_too_many_failures_from_an_address_are_told(cast: Cast) -> None:
    flood(SOURCE - 1)
    assert attempt(secrets.generate()).status_code == 400
    other_process()

    answer = attempt(secrets.generate())

    assert answer.status_code == 429
    assert answer.json()["message"] == exchange.TOO_MANY
    assert 0 < int(answer["retry-after"]) <= limits.WINDOW
    assert attempt(secrets.generate(), "192.0.2.2").status_code == 400


def test_a_flood_does_not_lock_the_holder_out(cast: Cast, django_assert_num_queries: Any) -> None:
    """D25: a right secret never reads a counter, whatever fails from its address."""
    token = cast.service_token()
    flood(SOURCE + 1)

    assert attempt(token.plaintext).status_code == 200
    assert ask("POST", SUBMIT, token.plaintext, form="envoy").status_code == 200


def test_one_dead_secret_in_many_places_is_told(cast: Cast) -> None:
    token = cast.service_token()
    token.revoke(by=cast.by("grace"), reason="leaked")
    for number in range(SECRET):
        assert attempt(token.plaintext, f"198.51.100.{number}").status_code == 400

    assert attempt(token.plaintext, "198.51.100.250").status_code == 429
    assert attempt(secrets.generate(), "198.51.100.250").status_code == 400


@pytest.mark.parametrize(("ways", "status"), [("authz", 403), ("token of a secret", 429)])
def test_the_other_doors_of_a_secret_count_too(cast: Cast, ways: str, status: int) -> None:
    secret = secrets.generate()
    flood(SOURCE, "127.0.0.1")

    if ways == "authz":
        answer = ask("GET", "/api/pool", secret)
    else:
        answer = Wire(cast.user_token().plaintext).get(f"/api/auth/access_token?access_token={secret}")

    assert answer.status_code == status
    assert answer.json()["message"].startswith(exchange.TOO_MANY)


def test_an_ipv6_subscriber_is_one_source(db: None) -> None:
    for number in range(SOURCE):
        assert limits.failed(f"2001:db8:1:2::{number:x}", f"guess {number}") == 0

    assert limits.failed("2001:db8:1:2:ffff::1", "guess") > 0
    assert limits.failed("2001:db8:1:3::1", "guess") == 0


def test_what_cannot_be_a_secret_costs_nothing(db: None, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        for _ in range(SOURCE + 1):
            assert attempt("osmo_wrong").status_code == 400


def test_what_is_over_costs_no_further_count(db: None, django_assert_num_queries: Any) -> None:
    """Nor a row: a flood of made-up secrets does not fill the table."""
    flood(SOURCE + 1)
    counts = FailureCount.objects.count()

    for _ in range(3):
        secret = secrets.generate()
        with django_assert_num_queries(1):  # the secret
            assert attempt(secret).status_code == 429
    assert FailureCount.objects.count() == counts


def test_it_ends_with_the_window(db: None, time_machine_days: Any) -> None:
    flood(SOURCE + 1)
    time_machine_days(0.011)
    other_process()

    assert attempt(secrets.generate()).status_code == 400


def test_counts_of_earlier_windows_go(db: None, time_machine_days: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    flood(1)
    monkeypatch.setattr(limits, "CLEARED", 1)
    time_machine_days(1)

    flood(1)

    assert FailureCount.objects.count() == 2


def test_nothing_kept_tells_the_secret_or_the_address(db: None) -> None:
    secret = secrets.generate()
    attempt(secret)

    kept = " ".join(FailureCount.objects.values_list("key", flat=True))
    assert secret not in kept
    assert secrets.digest(secret).hex() not in kept
    assert "192.0.2.1" not in kept


def test_a_count_that_fails_leaves_the_failure_a_failure(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*arguments: Any) -> int:
        raise DatabaseError("locked")

    monkeypatch.setattr(limits, "_counted_in_database", away)

    assert attempt(secrets.generate()).status_code == 400


@pytest.mark.django_db(transaction=True)
def test_processes_count_together() -> None:
    """As threads, each with a connection of its own: none of their counts is lost."""

    def some() -> None:
        for number in range(10):
            limits._counted_in_database("source:1:x", number + 100)
        connection.close()

    threads = [threading.Thread(target=some) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert FailureCount.objects.get().count == 40


# A real server.


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator["subprocess.Popen[bytes]"]:
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    if not program:
        pytest.skip("neither Valkey nor Redis is installed (apt-get install redis-server)")
    place = tmp_path_factory.mktemp("redis")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(place)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        process.args = [f"redis://127.0.0.1:{port}/0"]
        yield process
        process.terminate()


@pytest.fixture
def shared(server: "subprocess.Popen[bytes]", settings: Any) -> Iterator[RedisOrDatabase]:
    (url,) = server.args  # type: ignore[misc]
    options = {"TABLE": "portal_cache", "MAX_ENTRIES": 1_000, "socket_connect_timeout": 0.5, "socket_timeout": 0.5}
    backend = "osmo_portal.shared_cache.RedisOrDatabase"
    settings.CACHES = {**settings.CACHES, "default": {"BACKEND": backend, "LOCATION": url, "OPTIONS": options}}
    settings.CACHE_URL = url
    cache = caches["default"]
    assert isinstance(cache, RedisOrDatabase)
    cache.clear()
    yield cache
    cache._redis.close()


def test_with_a_cache_server_the_database_counts_nothing(cast: Cast, shared: RedisOrDatabase) -> None:
    flood(SOURCE)
    other_process()

    assert attempt(secrets.generate()).status_code == 429
    assert not FailureCount.objects.exists()
    assert shared.get("x") is None
    assert not CacheEntry.objects.exists()


def test_while_the_cache_server_is_away_the_database_counts(
    cast: Cast, shared: RedisOrDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S51: slower, and not open."""
    from redis.exceptions import ConnectionError as Away

    def away(*arguments: Any, **options: Any) -> Any:
        raise Away("refused")

    for method in ("add", "get", "set", "incr", "delete"):
        monkeypatch.setattr(shared._redis, method, away)
    flood(SOURCE)
    other_process()

    assert attempt(secrets.generate()).status_code == 429
    assert CacheEntry.objects.exists()
    assert Rest(person="grace").get("tokens").status_code == 200
    assert AccessToken.objects.count() == 0


def test_a_server_that_is_back_is_asked_again(db: None, shared: RedisOrDatabase) -> None:
    shared._away_until = time.monotonic() + 1_000
    shared.set("x", 1)
    assert CacheEntry.objects.exists()

    shared._away_until = 0
    shared.set("y", 2)
    assert (shared.get("x"), shared.get("y")) == (None, 2)
    assert shared.touch("y", 10)
    assert shared.delete("y")
