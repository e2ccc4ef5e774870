"""Databases as the released OSMO servers leave them, on the PostgreSQL server of the tests."""

import atexit
import hashlib
import json
import os
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import psycopg
from django.utils import timezone
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from tests import databases

READER_PASSWORD = "reader-password-7"
EMPTY = """
DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO PUBLIC;
"""
SHARED = """
CREATE TABLE backends (name text PRIMARY KEY, description text, last_heartbeat timestamp);
CREATE TABLE pools (
    name text PRIMARY KEY, description text, backend text, download_type text, default_platform text, platforms jsonb,
    default_exec_timeout text, default_queue_timeout text, max_exec_timeout text, max_queue_timeout text,
    default_exit_actions jsonb, common_default_variables jsonb, common_resource_validations text[],
    parsed_resource_validations jsonb, common_pod_template text[], parsed_pod_template jsonb,
    enable_maintenance boolean, resources jsonb
);
"""
OLD = """
CREATE TABLE access_token (
    user_name text, token_name text, access_token bytea UNIQUE, expires_at timestamp, description text,
    access_type text, roles text[], PRIMARY KEY (user_name, token_name, access_type)
);
CREATE TABLE roles (name text PRIMARY KEY, description text, policies jsonb[], immutable boolean);
CREATE TABLE profile (
    user_name text PRIMARY KEY, slack_notification boolean, email_notification boolean, bucket text, pool text
);
ALTER TABLE pools ADD action_permissions jsonb;
"""
NEW = """
CREATE TABLE users (id text PRIMARY KEY, created_at timestamptz, created_by text);
CREATE TABLE roles (
    name text PRIMARY KEY, description text, policies jsonb[], immutable boolean, sync_mode text
);
CREATE TABLE role_external_mappings (
    role_name text REFERENCES roles ON DELETE CASCADE, external_role text, PRIMARY KEY (role_name, external_role)
);
CREATE TABLE user_roles (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id text REFERENCES users ON DELETE CASCADE,
    role_name text REFERENCES roles ON DELETE CASCADE, assigned_by text, assigned_at timestamptz,
    UNIQUE (user_id, role_name)
);
CREATE TABLE access_token (
    user_name text REFERENCES users ON DELETE CASCADE, token_name text, access_token bytea UNIQUE,
    expires_at timestamp, description text, last_seen_at timestamptz, PRIMARY KEY (user_name, token_name)
);
CREATE TABLE access_token_roles (
    user_name text, token_name text, user_role_id uuid REFERENCES user_roles ON DELETE CASCADE, assigned_by text,
    assigned_at timestamptz, PRIMARY KEY (user_name, token_name, user_role_id),
    FOREIGN KEY (user_name, token_name) REFERENCES access_token ON DELETE CASCADE
);
CREATE TABLE profile (
    user_name text PRIMARY KEY REFERENCES users ON DELETE CASCADE, slack_notification boolean,
    email_notification boolean, bucket text, pool text
);
ALTER TABLE pools ADD common_group_templates text[], ADD parsed_group_templates jsonb, ADD topology_keys jsonb;
"""


def allow(*actions: str, on: str = "*") -> dict[str, Any]:
    return {"effect": "Allow", "actions": list(actions), "resources": [on]}


def http(path: str, method: str = "*") -> dict[str, Any]:
    return {"actions": [{"base": "http", "path": path, "method": method}]}


def hexadecimal(text: str) -> str:
    """A secret as 6.0 made them."""
    return hashlib.sha256(text.encode()).hexdigest()


def urlsafe(text: str) -> str:
    """A secret as 6.2 makes them: 43 characters."""
    return (hexadecimal(text).upper() + "-_")[-43:]


class Osmo:
    """A database of one release, with the roles and the pool that every installation has.

    The process has one database for them all, because to make one takes longer than most tests. Each begins with an
    empty one, whatever the last left behind.
    """

    def __init__(self, release: str) -> None:
        self.is_new = release in {"6.2", "6.3"}
        self.dsn, self.connection, self.reader_name = _database()
        self.reader = make_conninfo(self.dsn, user=self.reader_name, password=READER_PASSWORD)
        self.run(EMPTY + SHARED + (NEW if self.is_new else OLD))
        self.run(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {self.reader_name}")
        pool_access = allow("workflow:*", on="pool/default") if self.is_new else http("/api/pool/default/*")
        self.role("osmo-user", [pool_access])
        self.role("osmo-admin", [allow("*:*")] if self.is_new else [http("*")])
        self.role("osmo-default", [allow("system:Health")] if self.is_new else [http("/health")])
        self.pool("default", description="Default pool")

    def run(self, statement: str, *values: Any) -> None:
        self.connection.execute(statement.encode(), values or None)

    def role(
        self, name: str, policies: Any, description: str = "", external: tuple[str, ...] = (), mode: str = "import"
    ) -> None:
        items = None if policies is None else [Jsonb(policy) for policy in policies]
        self.run("INSERT INTO roles VALUES (%s, %s, %s::jsonb[], false)", name, description, items)
        if self.is_new:
            self.run("UPDATE roles SET sync_mode = %s WHERE name = %s", mode, name)
        for other in external:
            self.run("INSERT INTO role_external_mappings VALUES (%s, %s)", name, other)

    def pool(self, name: str, description: str | None = "", backend: str | None = "default", **more: Any) -> None:
        values = {"name": name, "description": description, "backend": backend, **more}
        values = {key: Jsonb(value) if isinstance(value, dict) else value for key, value in values.items()}
        places = ", ".join(["%s"] * len(values))
        self.run(f"INSERT INTO pools ({', '.join(values)}) VALUES ({places})", *values.values())  # noqa: S608

    def person(self, name: str, *roles: str, profile: bool = True, **settings: Any) -> None:
        if self.is_new:
            self.run("INSERT INTO users VALUES (%s, now(), 'system') ON CONFLICT DO NOTHING", name)
        for role in ["osmo-user", *roles] if self.is_new else []:
            self.run("INSERT INTO user_roles (user_id, role_name) VALUES (%s, %s) ON CONFLICT DO NOTHING", name, role)
        if profile:
            columns = ["slack_notification", "email_notification", "bucket", "pool"]
            values = [settings.get(column, False if "not" in column else None) for column in columns]
            self.run("INSERT INTO profile VALUES (%s, %s, %s, %s, %s)", name, *values)

    def token(
        self,
        owner: str | None,
        name: str | None,
        secret: str,
        *roles: str | None,
        days: int | None = 30,
        kind: str = "USER",
        description: str | None = "",
        digest: bytes | None = None,
    ) -> str:
        """A token whose secret is given back. In 6.2 its owner holds its roles."""
        end = None if days is None else ends(days)
        digest = hashlib.sha256(secret.encode()).digest() if digest is None else digest
        if self.is_new:
            self.run(
                "INSERT INTO access_token VALUES (%s, %s, %s, %s, %s)", owner, name, digest or None, end, description
            )
            for role in roles:
                self._carry(owner, name, role)
        else:
            values = [owner, name, digest or None, end, description, kind, list(roles)]
            self.run("INSERT INTO access_token VALUES (%s, %s, %s, %s, %s, %s, %s)", *values)
        return secret

    def service_token(self, name: str, secret: str, *roles: str, **more: Any) -> str:
        """As 6.0 has it: with a profile of its name."""
        self.run("INSERT INTO profile VALUES (%s, false, false) ON CONFLICT DO NOTHING", name)
        return self.token(name, name, secret, *roles, kind="SERVICE", **more)

    def _carry(self, owner: str | None, name: str | None, role: str | None) -> None:
        self.run("INSERT INTO user_roles (user_id, role_name) VALUES (%s, %s) ON CONFLICT DO NOTHING", owner, role)
        self.run(
            "INSERT INTO access_token_roles SELECT %s, %s, id FROM user_roles WHERE user_id = %s AND role_name = %s",
            *(owner, name, owner, role),
        )

    def contents(self) -> str:
        """Every row of every table."""
        tables = self.connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        found = {}
        for (table,) in tables.fetchall():
            rows = self.connection.execute(sql.SQL("SELECT t::text FROM {} t ORDER BY 1").format(sql.Identifier(table)))
            found[table] = rows.fetchall()
        return json.dumps(found)


def ends(days: int) -> datetime:
    """00:00 UTC of the day, without a zone, as OSMO writes it."""
    day = timezone.now().date() + timedelta(days=days)
    return datetime(day.year, day.month, day.day)  # noqa: DTZ001


@cache
def _database() -> tuple[str, "psycopg.Connection[Any]", str]:
    """Where it is, a connection of its owner, and the name of somebody who may read, and nothing else. Both are gone
    when the process ends."""
    server, name = databases.postgresql_server(), f"osmo_{os.getpid()}"
    _on_server(server, f"CREATE DATABASE {name}", f"CREATE ROLE {name}_reader LOGIN PASSWORD '{READER_PASSWORD}'")
    atexit.register(_on_server, server, f"DROP DATABASE {name} WITH (FORCE)", f"DROP ROLE {name}_reader")
    dsn = make_conninfo(server, dbname=name)
    connection = psycopg.connect(dsn, autocommit=True)
    atexit.register(connection.close)
    return dsn, connection, f"{name}_reader"


def _on_server(server: str, *statements: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())
