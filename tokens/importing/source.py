"""What a released OSMO database holds, read in one snapshot and never written.

The rows are as they stand there: any text may be long, empty or strange, any value None. Texts are cut where nothing
that the portal takes is that long; ends of tokens are the 00:00 UTC from which the released servers refuse them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import class_row

TABLES = {"access_token", "roles", "profile", "pools", "backends"}
ROWS_AT_ONCE = 2_000
PATIENCE = 10  # seconds to connect


class NoSource(Exception):
    """The database cannot be read, or is none of OSMO. `str()` says why, without the DSN."""


class Release(StrEnum):
    OLD = "6.0 or 6.1"
    NEW = "6.2 or 6.3"


class RoleRow(NamedTuple):
    name: str | None
    description: str | None
    policies: Any
    sync_mode: str | None = None
    external: list[str] | None = None


class PoolRow(NamedTuple):
    name: str | None
    description: str | None
    backend: str | None
    maintenance: bool | None
    online: bool | None
    resources: Any = None
    settings: Any = None  # all columns


class PersonRow(NamedTuple):
    """A user of 6.2, or whoever has a profile or a user token in 6.0. `alone`: nobody else is called that in another
    case. `is_account`: a 6.0 service token has this name. `has_tokens`: there are user tokens of this name."""

    name: str
    email_notification: bool | None = None
    slack_notification: bool | None = None
    bucket: str | None = None
    pool: str | None = None
    roles: list[str] | None = None
    alone: bool = True
    is_account: bool = False
    has_tokens: bool = False


class TokenRow(NamedTuple):
    """`kind` is USER or SERVICE; always USER in 6.2."""

    owner: str | None
    name: str | None
    digest: bytes | None
    expires_at: datetime | None
    description: str | None
    roles: list[str | None] | None
    kind: str | None = "USER"


class Source:
    """An OSMO database, open in one read-only snapshot."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        tables = self._tables()
        if missing := TABLES - tables:
            raise NoSource(f"That is no OSMO database: its schema public has no table {', '.join(sorted(missing))}.")
        self.release = Release.NEW if "users" in tables else Release.OLD

    def __str__(self) -> str:
        info = self._connection.info
        return f"OSMO {self.release}, database {info.dbname} on {info.host or 'this machine'}"

    def roles(self) -> Iterator[RoleRow]:
        return self._rows(RoleRow, _ROLES[self.release])

    def pools(self) -> Iterator[PoolRow]:
        return self._rows(PoolRow, _POOLS)

    def people(self) -> Iterator[PersonRow]:
        return self._rows(PersonRow, _PEOPLE[self.release])

    def tokens(self) -> Iterator[TokenRow]:
        return self._rows(TokenRow, _TOKENS[self.release])

    def count_tokens(self) -> int:
        found = self._connection.execute("SELECT count(*) FROM public.access_token").fetchone()
        return int(found[0]) if found else 0

    def _tables(self) -> set[str]:
        found = self._connection.execute("SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = 'public'")
        return {name for (name,) in found}

    def _rows(self, kind: type[Any], query: str) -> Iterator[Any]:
        """By a cursor of the server, so that a large table costs no memory here."""
        with self._connection.cursor(f"import_{kind.__name__}", row_factory=class_row(kind)) as cursor:
            cursor.itersize = ROWS_AT_ONCE
            cursor.execute(query.encode())
            yield from cursor


@contextmanager
def opened(dsn: str) -> Iterator[Source]:
    """The database behind a DSN. Raises NoSource where it cannot be opened or, later, read."""
    try:
        with _connected(dsn) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            # Between two reads the portal writes; the server must not take that for idleness.
            connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            yield Source(connection)
            connection.rollback()
    except psycopg.Error as error:  # what the portal's own database says comes as an error of Django
        raise NoSource(f"The OSMO database could not be read: {_without_password(str(error), dsn)}") from None


def _connected(dsn: str) -> psycopg.Connection[Any]:
    try:
        conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:  # its text may quote the password
        raise NoSource("The DSN is not understood. Write postgresql://user:password@host:5432/database.") from None
    return psycopg.connect(dsn, connect_timeout=PATIENCE, client_encoding="utf8", application_name="osmo-portal import")


def _without_password(text: str, dsn: str) -> str:
    password = str(conninfo_to_dict(dsn).get("password") or "")
    return (text.replace(password, "…") if password else text).strip()


def utc(instant: datetime | None) -> datetime | None:
    """OSMO keeps UTC without saying so."""
    return instant.replace(tzinfo=UTC) if instant else None


_ROLES = {
    Release.OLD: """
        SELECT left(name, 300) AS name, left(description, 2001) AS description, to_jsonb(policies) AS policies
        FROM public.roles ORDER BY name COLLATE "C"
    """,
    Release.NEW: """
        SELECT left(name, 300) AS name, left(description, 2001) AS description, to_jsonb(policies) AS policies,
            sync_mode, ARRAY(
                SELECT left(external_role, 300) FROM public.role_external_mappings
                WHERE role_name = roles.name ORDER BY external_role COLLATE "C"
            ) AS external
        FROM public.roles ORDER BY name COLLATE "C"
    """,
}

# A backend reports itself twice a minute or more often.
_POOLS = """
    SELECT left(name, 300) AS name, left(description, 2001) AS description, left(backend, 300) AS backend,
        enable_maintenance AS maintenance, resources, to_jsonb(pools) AS settings,
        EXISTS (
            SELECT FROM public.backends
            WHERE backends.name = pools.backend
                AND backends.last_heartbeat > now() AT TIME ZONE 'UTC' - interval '2 minutes'
        ) AS online
    FROM public.pools ORDER BY name COLLATE "C"
"""

_PEOPLE = {
    Release.OLD: """
        SELECT left(known.name, 300) AS name, email_notification, slack_notification, left(bucket, 300) AS bucket,
            left(pool, 300) AS pool, count(*) OVER (PARTITION BY lower(known.name)) = 1 AS alone,
            service.name IS NOT NULL AS is_account, person.name IS NOT NULL AS has_tokens
        FROM (SELECT user_name AS name FROM public.profile UNION
              SELECT user_name FROM public.access_token WHERE access_type = 'USER') known
        LEFT JOIN public.profile ON profile.user_name = known.name
        LEFT JOIN (SELECT DISTINCT token_name AS name FROM public.access_token WHERE access_type = 'SERVICE') service
            ON service.name = known.name
        LEFT JOIN (SELECT DISTINCT user_name AS name FROM public.access_token WHERE access_type = 'USER') person
            ON person.name = known.name
        WHERE known.name <> '' ORDER BY known.name COLLATE "C"
    """,
    Release.NEW: """
        SELECT left(users.id, 300) AS name, email_notification, slack_notification, left(bucket, 300) AS bucket,
            left(pool, 300) AS pool, held.roles, count(*) OVER (PARTITION BY lower(users.id)) = 1 AS alone
        FROM public.users
        LEFT JOIN public.profile ON profile.user_name = users.id
        LEFT JOIN (SELECT user_id, array_agg(role_name ORDER BY role_name COLLATE "C") AS roles
                   FROM public.user_roles GROUP BY user_id) held ON held.user_id = users.id
        WHERE users.id <> '' ORDER BY users.id COLLATE "C"
    """,
}

# Of an infinite end psycopg could make nothing.
_END = """
    CASE WHEN expires_at < '1970-01-01' THEN '1970-01-01' WHEN expires_at > '9999-01-01' THEN '9999-01-01'
        ELSE date_trunc('day', expires_at) END AS expires_at
"""
_TOKENS = {
    Release.OLD: f"""
        SELECT left(user_name, 300) AS owner, left(token_name, 300) AS name, substring(access_token FOR 33) AS digest,
            {_END}, left(description, 2001) AS description, roles, access_type AS kind
        FROM public.access_token
        ORDER BY user_name COLLATE "C", token_name COLLATE "C", access_type COLLATE "C"
    """,  # noqa: S608  (nothing in it comes from outside)
    Release.NEW: f"""
        SELECT left(user_name, 300) AS owner, left(token_name, 300) AS name, substring(access_token FOR 33) AS digest,
            {_END}, left(description, 2001) AS description, carried.roles
        FROM public.access_token
        LEFT JOIN (SELECT given.user_name, given.token_name, array_agg(role_name) AS roles
                   FROM public.access_token_roles given
                   JOIN public.user_roles ON user_roles.id = user_role_id AND user_roles.user_id = given.user_name
                   GROUP BY given.user_name, given.token_name) carried USING (user_name, token_name)
        ORDER BY user_name COLLATE "C", token_name COLLATE "C"
    """,  # noqa: S608
}
