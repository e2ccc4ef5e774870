"""Two PostgreSQL servers that Patroni looks after, by an etcd: as processes that may be killed."""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psycopg

from tests import databases
from tests.faults.servers import STARTS_WITHIN, kill_all_in
from tests.faults.site import free_port, until


class Patroni:
    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="osmo-portal-fault-"))
        self.account = databases._account()
        self.binaries = databases._within_reach(databases._server().binaries, self.home, self.account)
        if self.account:
            os.chown(self.home, self.account["user"], self.account["group"])
        self.etcd, self.processes = free_port(), list[subprocess.Popen[bytes]]()
        self.nodes = [Node(self, name) for name in ("one", "two")]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"postgres://portal:portal@{hosts}/postgres?target_session_attrs=read-write"

    def start(self) -> None:
        client, peer = f"http://127.0.0.1:{self.etcd}", f"http://127.0.0.1:{free_port()}"
        told = {
            "data-dir": "etcd",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
        }
        self.run("etcd", *(f"--{name}={value}" for name, value in told.items()))
        for node in self.nodes:
            node.start()
            until(lambda: self.primary() is not None, STARTS_WITHIN, "Patroni makes no primary")
        until(self.has_standby, STARTS_WITHIN, "Patroni makes no synchronous standby")

    def run(self, *command: str) -> "subprocess.Popen[bytes]":
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        place: dict[str, Any] = {**self.account, "cwd": self.home, "env": environment}
        with (self.home / "log").open("ab") as log:
            process = subprocess.Popen(command, start_new_session=True, stdout=log, stderr=log, **place)
        self.processes.append(process)
        return process

    def primary(self) -> "Node | None":
        return next((node for node in self.nodes if node.says("SELECT NOT pg_is_in_recovery()")), None)

    def has_standby(self) -> bool:
        primary = self.primary()
        asked = "SELECT count(*) > 0 FROM pg_stat_replication WHERE sync_state = 'sync'"
        return primary is not None and primary.says(asked)

    def close(self) -> None:
        for node in self.nodes:
            node.kill()
        for process in self.processes:
            process.kill()
            process.wait()
        shutil.rmtree(self.home, ignore_errors=True)


class Node:
    """A machine of such a cluster: Patroni and its server."""

    def __init__(self, cluster: Patroni, name: str) -> None:
        self.cluster, self.name, self.port = cluster, name, free_port()
        self.data = cluster.home / name
        self.process: subprocess.Popen[bytes] | None = None
        self.settings = cluster.home / f"{name}.json"
        self.settings.write_text(json.dumps(self._settings()))

    def _settings(self) -> dict[str, Any]:
        api = f"127.0.0.1:{free_port()}"
        who = {"username": "portal", "password": "portal"}
        return {
            "scope": "portal",
            "name": self.name,
            "restapi": {"listen": api, "connect_address": api},
            "etcd3": {"host": f"127.0.0.1:{self.cluster.etcd}"},
            "bootstrap": {
                # Without `synchronous_mode` a failover forgets what the standby had not got yet.
                "dcs": {"ttl": 20, "loop_wait": 2, "retry_timeout": 4, "synchronous_mode": True},
                "initdb": [{"encoding": "UTF8"}],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{self.port}",
                "connect_address": f"127.0.0.1:{self.port}",
                "data_dir": str(self.data),
                "bin_dir": str(self.cluster.binaries),
                "pgpass": str(self.cluster.home / f"{self.name}.pgpass"),
                "authentication": {"superuser": who, "replication": who},
                "pg_hba": ["host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust"],
                "parameters": {"unix_socket_directories": str(self.cluster.home)},
            },
        }

    def start(self) -> None:
        self.process = self.cluster.run("patroni", str(self.settings))

    def says(self, statement: str) -> bool:
        address = f"postgres://portal:portal@127.0.0.1:{self.port}/postgres"
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(address, connect_timeout=2) as connection:
            return bool((connection.execute(statement).fetchone() or [False])[0])
        return False

    def kill(self) -> None:
        """As when the machine loses its power."""
        if self.process:
            self.process.kill()
            self.process.wait()
        kill_all_in(self.data)
