"""The drill of docs/operators.md: back up while it serves, restore elsewhere, end what came back to life."""

import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from cryptography.fernet import Fernet
from django.db import connection

from tests import databases
from tests.cast import in_days
from tests.faults.site import Site

TOKENS = ("kept", "revoked", "suspended", "ended", "rotated")


class Place:
    """A database, and how its kind is backed up and restored, by the commands that the documentation gives."""

    def __init__(self, home: Path) -> None:
        self.home, self.dump = home, home / "portal.dump"
        if connection.vendor == "sqlite":
            self.url, self.elsewhere = f"sqlite:///{home}/portal.sqlite3", f"sqlite:///{home}/restored.sqlite3"
            return
        server = databases.postgresql_server()
        self.url, self.elsewhere = (urlsplit(server)._replace(path=f"/{name}").geturl() for name in ("drill", "drill2"))
        self._run("createdb", f"--maintenance-db={server}", "drill")
        self._run("createdb", f"--maintenance-db={server}", "drill2")

    def _run(self, program: str, *words: str) -> None:
        subprocess.run([databases._server().binaries / program, *words], check=True)

    def back_up(self) -> None:
        if connection.vendor == "postgresql":
            self._run("pg_dump", "--format=custom", f"--file={self.dump}", self.url)
        else:
            with sqlite3.connect(self.home / "portal.sqlite3") as here, sqlite3.connect(self.dump) as copy:
                here.backup(copy)  # what `.backup` of the program sqlite3 does

    def restore(self) -> None:
        if connection.vendor == "postgresql":
            self._run("pg_restore", "--exit-on-error", "--no-owner", f"--dbname={self.elsewhere}", str(self.dump))
        else:
            shutil.copy(self.dump, self.home / "restored.sqlite3")

    def close(self) -> None:
        if connection.vendor == "postgresql":
            for name in ("drill", "drill2"):
                self._run("dropdb", "--if-exists", "--force", f"--maintenance-db={databases.postgresql_server()}", name)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.close()


def issue(client: httpx.Client, name: str) -> dict[str, Any]:
    body = {"owner": "bootstrap", "name": name, "expires_at": f"{in_days(60)}", "roles": ["osmo-admin"]}
    answer = client.post("/api/v1/tokens", json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def status(client: httpx.Client, secret: str) -> int:
    return client.post("/api/auth/jwt/access_token", json={"token": secret}).status_code


@contextmanager
def signed_in(site: Site, secret: str) -> Iterator[httpx.Client]:
    with site.client() as client:
        jwt = client.post("/api/auth/jwt/access_token", json={"token": secret}).json()["token"]
        client.headers["authorization"] = f"Bearer {jwt}"
        yield client


def change(client: httpx.Client, tokens: dict[str, dict[str, Any]]) -> str:
    """What happens after the back-up; the new secret of the rotated token."""
    for what, name in (("revoke", "revoked"), ("suspend", "suspended")):
        done = client.post(f"/api/v1/tokens/{tokens[name]['id']}/{what}", json={"reason": "leaked"})
        assert done.status_code == 200, done.text
    return str(client.post(f"/api/v1/tokens/{tokens['rotated']['id']}/rotate", json={}).json()["secret"])


@pytest.mark.usefixtures("db")
def test_what_came_back_to_life_is_found_and_ended(place: Place, tmp_path: Path) -> None:
    keys = {
        "SECRET_KEY": "drill-" + "x" * 50,
        "KEY_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "WEB_WORKERS": "1",
    }
    site, copy = Site(place.url, **keys), tmp_path / "events.jsonl"
    administrator = site.prepare()
    with site.serve(), signed_in(site, administrator) as client:
        tokens = {name: issue(client, name) for name in TOKENS}
        site.manage("copy_events", str(copy))
        checkpoint = site.manage("verify_events").strip()
        place.back_up()
        renewed = change(client, tokens)
        issued = issue(client, "issued")
        site.manage("expire_tokens", "--name-glob=ended", "--reason=leaked")
        site.manage("copy_events", str(copy))
        jwt = client.headers["authorization"]
    place.restore()
    restored = Site(place.elsewhere, **{**keys, "PORTAL_URL": site.environment["PORTAL_URL"]})

    restored.manage("migrate", "--verbosity=0")
    assert restored.manage("verify_events", f"--checkpoint={checkpoint}").strip() == checkpoint
    restored.manage("doctor")
    alive = restored.manage("forgotten", str(copy)).split()
    stopped = [str(tokens[name]["id"]) for name in ("revoked", "suspended", "ended")]
    assert alive == stopped
    (tmp_path / "alive").write_text("\n".join(alive))
    restored.manage("revoke_tokens", f"--ids-from={tmp_path / 'alive'}", "--reason=restored from a back-up")

    with restored.serve(), restored.client() as client:
        client.headers["host"] = site.environment["PORTAL_URL"].removeprefix("http://")
        assert {name: status(client, tokens[name]["secret"]) for name in TOKENS} == {
            "kept": 200,
            "revoked": 400,
            "suspended": 400,
            "ended": 400,
            "rotated": 200,
        }
        assert status(client, renewed) == status(client, issued["secret"]) == 400
        assert client.get("/api/profile/settings", headers={"authorization": jwt}).status_code == 200
    restored.manage("verify_events", f"--checkpoint={checkpoint}")
    without = Site(place.elsewhere, **{**keys, "KEY_ENCRYPTION_KEYS": Fernet.generate_key().decode()})
    with pytest.raises(AssertionError, match="KEY_ENCRYPTION_KEYS does not open the signing keys"):
        without.manage("doctor")
