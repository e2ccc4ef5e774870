"""Queries of the hot paths: written by the ORM, compiled once a process, and run as SQL from then on.

Building a query costs the ORM several times what the database needs to answer it. PostgreSQL gets the values apart
from the text, so that it keeps a plan of the statement for each connection.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from django.db import InterfaceError, OperationalError, connection
from django.db.backends.utils import CursorDebugWrapper, CursorWrapper
from django.db.models import Expression, Field, QuerySet
from psycopg import Cursor


class Given(Expression):
    """A value that a compiled query is given each time it runs."""

    def __init__(self, name: str, output_field: "Field[Any, Any]") -> None:
        super().__init__(output_field=output_field)
        self.name = name

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        return "%s", [self]

    def prepared(self, value: Any) -> Any:
        return self.output_field.get_db_prep_value(value, connection, prepared=False)


class _Statement(NamedTuple):
    sql: str
    values: Sequence[Any]
    converters: dict[int, tuple[Sequence[Callable[..., Any]], Any]]


class Compiled:
    """`rows` are those of the queryset of values that `build` makes, with a `Given` for each of its keywords."""

    def __init__(self, build: Callable[[], "QuerySet[Any, Any]"]) -> None:
        self._build = build

    def rows(self, **given: Any) -> list[tuple[Any, ...]]:
        statement = self._statement
        values = [one.prepared(given[one.name]) if isinstance(one, Given) else one for one in statement.values]
        rows = _fetched(statement.sql, values)
        return [self._converted(row) for row in rows] if statement.converters else rows

    def _converted(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        """As the ORM reads it: SQLite knows neither instants nor booleans."""
        read = list(row)
        for position, (converters, expression) in self._statement.converters.items():
            for convert in converters:
                read[position] = convert(read[position], expression, connection)
        return tuple(read)

    @cached_property
    def _statement(self) -> _Statement:
        compiler = self._build().query.get_compiler(connection=connection)
        sql, values = compiler.as_sql()
        return _Statement(sql, values, compiler.get_converters(column for column, *_ in compiler.select))


def _fetched(sql: str, values: list[Any]) -> list[tuple[Any, ...]]:
    """Asks once more where the connection was lost: that is cheaper than to try it before each query."""
    connection.health_check_done = True  # type: ignore[attr-defined]
    try:
        return _executed(sql, values)
    except (OperationalError, InterfaceError):
        if connection.in_atomic_block or connection.connection is None or connection.is_usable():
            raise
        connection.close()
        return _executed(sql, values)


def _executed(sql: str, values: list[Any]) -> list[tuple[Any, ...]]:
    with _cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())


class _Logged(CursorDebugWrapper):
    """Django's own asks the driver for the query with its values put in, which there never is."""

    def execute(self, sql: Any, params: Any = None) -> Any:
        with self.debug_sql(sql, params):
            return CursorWrapper.execute(self, sql, params)


def _cursor() -> CursorWrapper:
    if connection.vendor != "postgresql":
        return connection.cursor()
    connection.ensure_connection()
    raw: Any = Cursor(connection.connection)
    return _Logged(raw, connection) if connection.queries_logged else connection.make_cursor(raw)
