"""The portal on PostgreSQL as it is run: a primary and its streaming replica, TLS, and a pgbouncer before both."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from django.db import connection
from django.utils import timezone

from osmo_portal import replica
from tests.bench.places import EXCHANGE
from tests.faults.servers import Postgres, Standby
from tests.faults.site import Load, Site, free_port, until

pytestmark = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite is one file, without servers.")

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
METRICS = "m" * 32
KEYS = {"SECRET_KEY": "servers-" + "x" * 50, "METRICS_TOKEN": METRICS, "WEB_WORKERS": "1"}
BOUNCER = """
[databases]
portal = host=127.0.0.1 port={primary} dbname=portal
copy = host=127.0.0.1 port={standby} dbname=portal
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {home}/users
pool_mode = transaction
default_pool_size = 2
"""


WALK = """
from django.conf import settings
from django.contrib import admin
from django.test import Client
from django.urls import reverse
from osmo_portal import metrics
from profiles.models import User
settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
client = Client(headers={"host": "127.0.0.1"})
client.force_login(User.objects.get(username="admin"))
for model in admin.site._registry:
    address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    print(model._meta.model_name, client.get(address).status_code)
for place in ("replica", "primary"):
    print(place, metrics.LISTS.labels(place)._value.get())
"""


class Servers:
    """A primary that shows a certificate, its replica, and a database that its owner is no superuser in."""

    def __init__(self, home: Path) -> None:
        self.authority, self.stranger = certified(home / "authority"), certified(home / "stranger")
        self.primary = Postgres(ssl="on", ssl_cert_file="server.crt", ssl_key_file="server.key", fsync="off")
        for name in ("server.crt", "server.key"):
            place = self.primary.home / "data" / name
            shutil.copy(home / "authority" / name, place)
            place.chmod(0o600)
            if self.primary.account:
                os.chown(place, self.primary.account["user"], self.primary.account["group"])
        self.primary.start()
        with psycopg.connect(self.primary.url, autocommit=True) as server:
            server.execute("CREATE ROLE osmo LOGIN")
            server.execute("CREATE DATABASE portal OWNER osmo")
        self.standby = Standby(self.primary)
        self.standby.start()

    def url(self, *servers: Postgres) -> str:
        return f"postgres://osmo@{','.join(f'127.0.0.1:{server.port}' for server in servers)}/portal"

    def on_standby(self, statement: str, *values: Any) -> Any:
        with psycopg.connect(self.standby.url, autocommit=True) as server:
            return (server.execute(statement, values).fetchone() or [None])[0]

    def close(self) -> None:
        self.standby.close()
        self.primary.close()


def certified(home: Path) -> Path:
    """A certificate of 127.0.0.1 that vouches for itself."""
    home.mkdir()
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    files = ["-keyout", str(home / "server.key"), "-out", str(home / "server.crt")]
    subprocess.run(["openssl", "req", *kind, *subject, *files], check=True, capture_output=True)
    return home / "server.crt"


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    servers = Servers(tmp_path)
    yield servers
    servers.close()


class Lists:
    """An administrator who asks for lists, and where the portal says that it read them."""

    def __init__(self, client: httpx.Client, secret: str) -> None:
        self.client = client
        jwt = client.post(EXCHANGE, json={"token": secret}).json()["token"]
        self.signed_in = {"authorization": f"Bearer {jwt}"}

    def names(self) -> set[str]:
        """Of the tokens that have not ended."""
        answer = self.client.get("/api/v1/tokens", headers=self.signed_in)
        assert answer.status_code == 200
        return {token["name"] for token in answer.json()["results"]}

    def place(self) -> str:
        """Where the next list comes from."""
        before = self._read()
        self.names()
        (place,) = (name for name, count in self._read().items() if count > before.get(name, 0))
        return place

    def _read(self) -> dict[str, float]:
        text = self.client.get("/metrics", headers={"authorization": f"Bearer {METRICS}"}).text
        return {name: float(count) for name, count in re.findall(r'osmo_lists_total{place="(\w+)"} (\S+)', text)}

    def issue(self, name: str) -> tuple[int, str]:
        next_month = (timezone.now() + timedelta(days=30)).date().isoformat()
        body = {"owner": "bootstrap", "name": name, "expires_at": next_month, "roles": ["osmo-admin"]}
        made = self.client.post("/api/v1/tokens", json=body, headers=self.signed_in)
        assert made.status_code == 201, made.text
        return made.json()["id"], made.json()["secret"]

    def revoke(self, number: int) -> None:
        path = f"/api/v1/tokens/{number}/revoke"
        assert self.client.post(path, json={"reason": "x"}, headers=self.signed_in).status_code == 200


def test_the_portal_stands_on_several_servers(servers: Servers, tmp_path: Path) -> None:
    """One test, because starting them is what takes the time."""
    keys = {**KEYS, "KEY_ENCRYPTION_KEYS": Site("").environment["KEY_ENCRYPTION_KEYS"]}
    verified = f"?sslmode=verify-full&sslrootcert={servers.authority}"
    # The replica stands first: the portal has to find the one that takes writes.
    site = Site(
        servers.url(servers.standby, servers.primary) + verified, REPLICA_URL=servers.url(servers.standby), **keys
    )
    secret = site.prepare()
    with site.serve(), site.client() as client:
        lists = Lists(client, secret)
        it_speaks_tls(servers)
        a_list_is_never_older_than_its_request(servers, lists)
        every_list_of_the_console_comes_from_the_replica(site)
        without_the_replica_lists_come_from_the_primary(servers, lists, site)
    a_server_that_cannot_prove_itself_is_not_talked_to(servers, keys)
    if PGBOUNCER:
        behind_pgbouncer_all_holds(servers, tmp_path, secret, keys)
    a_replica_that_went_its_own_way_is_none(servers)
    if not PGBOUNCER:
        pytest.skip("All but pgbouncer was tried: there is none.")


def it_speaks_tls(servers: Servers) -> None:
    asked = "SELECT bool_and(ssl), count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'osmo'"
    with psycopg.connect(servers.primary.url) as server:
        encrypted, count = server.execute(asked).fetchone() or (False, 0)
    assert encrypted
    assert count > 0


def a_list_is_never_older_than_its_request(servers: Servers, lists: Lists) -> None:
    until(lambda: lists.place() == "replica", 30, "the replica is never read")
    number, secret = lists.issue("short")
    assert "short" in lists.names()

    servers.on_standby("SELECT pg_wal_replay_pause()")
    lists.revoke(number)

    assert "short" not in lists.names()
    assert lists.place() == "primary"
    assert servers.on_standby("SELECT pg_is_wal_replay_paused()"), "the replica still shows it as it was"
    assert lists.client.post(EXCHANGE, json={"token": secret}).status_code == 400

    servers.on_standby("SELECT pg_wal_replay_resume()")
    until(lambda: lists.place() == "replica", 30, "the replica is not read again")
    assert "short" not in lists.names()


def every_list_of_the_console_comes_from_the_replica(site: Site) -> None:
    said = dict(line.split() for line in site.manage("shell", "--verbosity", "0", "-c", WALK).splitlines())

    assert float(said.pop("primary")) == 0
    assert float(said.pop("replica")) >= len(said)
    assert {*said.values()} == {"200"}
    assert "accesstoken" in said


def without_the_replica_lists_come_from_the_primary(servers: Servers, lists: Lists, site: Site) -> None:
    servers.standby.kill()
    lists.issue("meanwhile")

    assert "meanwhile" in lists.names()
    assert lists.place() == "primary"
    assert "warning  replica: It cannot be read" in site.manage("doctor")

    servers.standby.start()
    until(lambda: lists.place() == "replica", 30, "the replica is not read again")
    assert "meanwhile" in lists.names()


def a_server_that_cannot_prove_itself_is_not_talked_to(servers: Servers, keys: dict[str, str]) -> None:
    another = f"?sslmode=verify-full&sslrootcert={servers.stranger}"

    with pytest.raises(AssertionError, match="certificate verify failed"):
        Site(servers.url(servers.primary) + another, **keys).manage("doctor")


def behind_pgbouncer_all_holds(servers: Servers, home: Path, secret: str, keys: dict[str, str]) -> None:
    with pgbouncer(servers) as url:
        site = Site(url, PGBOUNCER="true", REPLICA_URL=url.replace("/portal", "/copy"), **keys | {"WEB_WORKERS": "2"})
        load = Load(site, secret)
        with site.serve(), site.client() as client:
            with load.running():
                until(lambda: len(load.changes) > 40 and len(load.exchanges) > 100, 60, "changes are not made")
            load.hold()
            assert set(load.counts) <= {"200", "201", "400", "429"}
            lists = Lists(client, secret)
            until(lambda: lists.place() == "replica", 30, "the replica is never read")


@contextmanager
def pgbouncer(servers: Servers) -> Iterator[str]:
    port, place = free_port(), servers.primary.place
    home = servers.primary.home
    ports = {"primary": servers.primary.port, "standby": servers.standby.port}
    (home / "users").write_text('"osmo" ""\n')
    (home / "pgbouncer.ini").write_text(BOUNCER.format(home=home, port=port, **ports))
    process = subprocess.Popen([str(PGBOUNCER), "-q", str(home / "pgbouncer.ini")], **place)
    try:
        yield f"postgres://osmo@127.0.0.1:{port}/portal"
    finally:
        process.terminate()
        process.wait()


def a_replica_that_went_its_own_way_is_none(servers: Servers) -> None:
    """The same position of another timeline is another one; and what is promoted follows nobody."""
    with psycopg.connect(servers.primary.url) as server:
        lsn, timeline = server.execute(replica.POSITION).fetchone() or ("", "")
    there = lsn, int(timeline, 16)
    until(lambda: servers.on_standby(replica.IS_AS_NEW, *there), 10, "the replica does not come as far")

    assert not servers.on_standby(replica.IS_AS_NEW, lsn, there[1] + 1)
    assert servers.on_standby("SELECT pg_promote()")
    assert not servers.on_standby(replica.IS_AS_NEW, *there)
