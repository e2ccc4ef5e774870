"""Triggers that let the database itself refuse to change or delete events. Used by the migrations."""

from typing import Any

TABLES = ("events_event", "events_eventline")

_POSTGRESQL_FUNCTION = """
CREATE OR REPLACE FUNCTION events_are_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'events can be neither changed nor deleted'; END $$
"""


def create(connection: Any) -> None:
    for statement in _create_statements(connection.vendor):
        with connection.cursor() as cursor:
            cursor.execute(statement)


def drop(connection: Any) -> None:
    with connection.cursor() as cursor:
        for table in TABLES:
            for verb in _verbs(connection.vendor):
                on = f" ON {table}" if connection.vendor == "postgresql" else ""
                cursor.execute(f"DROP TRIGGER IF EXISTS {table}_no_{verb.lower()}{on}")


def _verbs(vendor: str) -> list[str]:
    return ["UPDATE", "DELETE", *(["TRUNCATE"] if vendor == "postgresql" else [])]


def _create_statements(vendor: str) -> list[str]:
    if vendor == "postgresql":
        body = "FOR EACH STATEMENT EXECUTE FUNCTION events_are_final()"
        head = [_POSTGRESQL_FUNCTION]
    else:
        body = "BEGIN SELECT RAISE(ABORT, 'events can be neither changed nor deleted'); END"
        head = []
    return head + [
        f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} {body}"
        for table in TABLES
        for verb in _verbs(vendor)
    ]


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
