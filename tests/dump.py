"""The whole database as text: to show that nothing was changed, or that something is nowhere in it."""

from typing import Any

from django.db import connection


def tables() -> dict[str, list[tuple[str, ...]]]:
    """Every row of every table, each value as text; bytes in hexadecimal and, where they are text, as such too."""
    with connection.cursor() as cursor:
        return {name: _rows(cursor, name) for name in connection.introspection.table_names(cursor)}


def text() -> str:
    return "\n".join(value for rows in tables().values() for row in rows for value in row)


def _rows(cursor: Any, table: str) -> list[tuple[str, ...]]:
    cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")  # noqa: S608  (our own tables)
    return sorted(tuple(_readable(value) for value in row) for row in cursor.fetchall())


def _readable(value: Any) -> str:
    if isinstance(value, bytes | memoryview):
        return f"{bytes(value).hex()} {bytes(value).decode('latin-1')}"
    return str(value)
