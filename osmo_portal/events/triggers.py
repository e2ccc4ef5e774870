"""Triggers that let the database itself refuse to change or delete events. Used by the migrations."""

from collections.abc import Sequence
from typing import Any

TABLES = ("events_event", "events_eventline", "events_archive")
# What was archived may go: the column that numbers the event of a row.
_ARCHIVED = {"events_event": "id", "events_eventline": "event_id"}
FIRST = tuple(_ARCHIVED)
_REFUSED = "events can be neither changed nor deleted"
_KEPT = "OLD.{number} > COALESCE((SELECT max(last) FROM {schema}events_archive), 0)"

_POSTGRESQL_FUNCTION = f"""
CREATE OR REPLACE FUNCTION events_are_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '{_REFUSED}'; END $$
"""
# It names its schema and searches no other: else a temporary table of that name would decide what may go.
_POSTGRESQL_ARCHIVED = """
CREATE OR REPLACE FUNCTION {table}_may_go() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN IF {kept} THEN RAISE EXCEPTION '{refused}'; END IF; RETURN OLD; END $$
"""


def create(connection: Any) -> None:
    for statement in _create_statements(connection.vendor, _schema(connection)):
        with connection.cursor() as cursor:
            cursor.execute(statement)


def create_first(connection: Any) -> None:
    """Those of the time when nothing could be archived."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(_POSTGRESQL_FUNCTION)
    for table in _ARCHIVED:
        for verb in _verbs(connection.vendor):
            with connection.cursor() as cursor:
                cursor.execute(_never(connection.vendor, table, verb))


def drop(connection: Any, tables: Sequence[str] = TABLES) -> None:
    with connection.cursor() as cursor:
        for table in tables:
            for verb in _verbs(connection.vendor):
                on = f" ON {table}" if connection.vendor == "postgresql" else ""
                cursor.execute(f"DROP TRIGGER IF EXISTS {table}_no_{verb.lower()}{on}")


def _verbs(vendor: str) -> list[str]:
    return ["UPDATE", "DELETE", *(["TRUNCATE"] if vendor == "postgresql" else [])]


def _schema(connection: Any) -> str:
    """What stands before the name of a table."""
    if connection.vendor != "postgresql":
        return ""
    with connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(current_schema())")
        return f"{cursor.fetchone()[0]}."


def _create_statements(vendor: str, schema: str) -> list[str]:
    statements = [_POSTGRESQL_FUNCTION] if vendor == "postgresql" else []
    for table in TABLES:
        for verb in _verbs(vendor):
            if verb == "DELETE" and table in _ARCHIVED:
                statements += _until_archived(vendor, schema, table)
            else:
                statements.append(_never(vendor, table, verb))
    return statements


def _never(vendor: str, table: str, verb: str) -> str:
    if vendor == "postgresql":
        body = "FOR EACH STATEMENT EXECUTE FUNCTION events_are_final()"
    else:
        body = f"BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"
    return f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} {body}"


def _until_archived(vendor: str, schema: str, table: str) -> list[str]:
    kept = _KEPT.format(number=_ARCHIVED[table], schema=schema)
    head = f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table}"
    if vendor == "postgresql":
        function = _POSTGRESQL_ARCHIVED.format(table=table, kept=kept, refused=_REFUSED)
        return [function, f"{head} FOR EACH ROW EXECUTE FUNCTION {table}_may_go()"]
    return [f"{head} WHEN {kept} BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"]


def missing(connection: Any) -> list[str]:
    """Names of the triggers that should be there and are not, or do not fire."""
    query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    if connection.vendor == "postgresql":
        query = "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'D'"
    with connection.cursor() as cursor:
        cursor.execute(query)
        there = {name for (name,) in cursor.fetchall()}
    wanted = [f"{table}_no_{verb.lower()}" for table in TABLES for verb in _verbs(connection.vendor)]
    return [name for name in wanted if name not in there]
