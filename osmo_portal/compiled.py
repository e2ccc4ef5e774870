"""Queries of the hot paths: written by the ORM, compiled once a process, and run as SQL from then on.

Building a query costs the ORM several times what the database needs to answer it. PostgreSQL gets the values apart
from the text, so that it keeps a plan of the statement for each connection.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, connections
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


class _Statement(NamedTuple):
    sql: str  # with %s for each value, as Django writes it
    driver_sql: str  # as the driver wants it
    values: Sequence[Any]
    converters: dict[int, tuple[Sequence[Callable[..., Any]], Any]]


class Compiled:
    """`rows` are those of the queryset of values that `build` makes, with a `Given` for each of its keywords."""

    def __init__(self, build: Callable[[], "QuerySet[Any, Any]"]) -> None:
        self._build = build

    def rows(self, using: str = DEFAULT_DB_ALIAS, **given: Any) -> list[tuple[Any, ...]]:
        """Each value is of its field's type: nothing is made of another."""
        connection, statement = connections[using], self._statement
        values = [
            one.output_field.get_db_prep_value(given[one.name], connection, prepared=True)
            if isinstance(one, Given)
            else one
            for one in statement.values
        ]
        rows = _fetched(connection, statement, values)
        return [self._converted(row, connection) for row in rows] if statement.converters else rows

    def _converted(self, row: tuple[Any, ...], connection: Any) -> tuple[Any, ...]:
        """As the ORM reads it: SQLite knows neither instants nor booleans."""
        read = list(row)
        for position, (converters, expression) in self._statement.converters.items():
            for convert in converters:
                read[position] = convert(read[position], expression, connection)
        return tuple(read)

    @cached_property
    def _statement(self) -> _Statement:
        connection = connections[DEFAULT_DB_ALIAS]
        compiler = self._build().query.get_compiler(connection=connection)
        sql, values = compiler.as_sql()
        driver_sql = sql if connection.vendor == "postgresql" else sql % (*["?"] * len(values),)
        converters = compiler.get_converters(column for column, *_ in compiler.select)
        return _Statement(sql, driver_sql, values, converters)


def _fetched(connection: Any, statement: _Statement, values: list[Any]) -> list[tuple[Any, ...]]:
    """Asks once more where the connection was lost: that is cheaper than to try it before each query."""
    connection.health_check_done = True
    try:
        return _executed(connection, statement, values)
    except (OperationalError, InterfaceError):
        if connection.in_atomic_block or connection.connection is None or connection.is_usable():
            raise
        connection.close()
        return _executed(connection, statement, values)


def _executed(connection: Any, statement: _Statement, values: list[Any]) -> list[tuple[Any, ...]]:
    """By the driver itself, unless somebody looks on: a cursor of Django's costs as much as the query."""
    connection.ensure_connection()
    raw = connection.connection
    if connection.queries_logged or connection.execute_wrappers:
        own = Cursor(raw) if connection.vendor == "postgresql" else connection.create_cursor()
        with _Logged(own, connection) as cursor:
            cursor.execute(statement.sql, values)
            return list(cursor.fetchall())
    with connection.wrap_database_errors:
        driver = Cursor(raw) if connection.vendor == "postgresql" else raw
        return list(driver.execute(statement.driver_sql, values).fetchall())


class _Logged(CursorDebugWrapper):
    """Django's own asks the driver for the query with its values put in, which there never is."""

    def execute(self, sql: Any, params: Any = None) -> Any:
        with self.debug_sql(sql, params):
            return CursorWrapper.execute(self, sql, params)
