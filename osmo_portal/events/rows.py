"""Many rows at once, where the ORM's own way would cost more than all the rest."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from operator import attrgetter
from typing import Any

from django.db import connection, models

# The sequence is looked for once, and not for each number: that takes longer than the number.
_NEXT_KEYS = """
    WITH of AS MATERIALIZED (SELECT pg_get_serial_sequence(%s, %s)::regclass AS keys)
    SELECT nextval(of.keys) FROM of, generate_series(1, %s)
"""


def insert(model: type[models.Model], objects: Sequence[models.Model]) -> None:
    """Writes new objects, which get their keys. As bulk_create, without its checks and signals."""
    fields = model._meta.concrete_fields
    key = model._meta.pk
    if isinstance(key, models.AutoField) and objects:
        for each, number in zip(objects, next_keys(model, len(objects)), strict=True):
            setattr(each, key.attname, number)
    _write(model, fields, map(attrgetter(*(field.attname for field in fields)), objects))
    for each in objects:
        each._state.adding, each._state.db = False, connection.alias


def insert_values(model: type[models.Model], columns: Sequence[str], values: Iterable[Sequence[Any]]) -> None:
    """Writes new rows without objects. The columns left out are keys or may be null."""
    _write(model, [model._meta.get_field(name) for name in columns], values)


def next_keys(model: type[models.Model], count: int) -> list[int]:
    """Numbers that no row has and none will get. On SQLite whoever writes is alone."""
    table, column = model._meta.db_table, model._meta.pk.column
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(_NEXT_KEYS, [table, column, count])
            return [number for (number,) in cursor.fetchall()]
        cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [table])
        (last,) = cursor.fetchone() or (0,)
    return list(range(last + 1, last + 1 + count))


def _write(model: type[models.Model], fields: Sequence[Any], rows: Iterable[Sequence[Any]]) -> None:
    """Values go to the database as they are: texts, numbers, bytes, instants and None."""
    table = connection.ops.quote_name(model._meta.db_table)
    columns = ", ".join(connection.ops.quote_name(field.column) for field in fields)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Django's cursor would let the driver's own errors pass.
            with connection.wrap_database_errors, cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        else:
            instants = [n for n, field in enumerate(fields) if isinstance(field, models.DateTimeField)]
            statement = f"INSERT INTO {table} ({columns}) VALUES ({', '.join(['%s'] * len(fields))})"  # noqa: S608
            cursor.executemany(statement, [*_for_sqlite(rows, instants)])


def _for_sqlite(rows: Iterable[Sequence[Any]], instants: list[int]) -> Iterator[Sequence[Any]]:
    adapted = cache(connection.ops.adapt_datetimefield_value)  # most are the same few
    for row in rows:
        values = list(row)
        for number in instants:
            values[number] = adapted(row[number])
        yield values
