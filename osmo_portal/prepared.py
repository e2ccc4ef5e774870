"""Statements that PostgreSQL keeps prepared, run by libpq at once: a cursor of psycopg, which is ready for whatever may
come, takes three times as long for the same. What psycopg makes of values and results stays its own."""

from typing import Any
from weakref import WeakKeyDictionary

from psycopg import Connection, OperationalError
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import InvalidSqlStatementName, error_from_result
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGresult

_names: WeakKeyDictionary[Connection[Any], dict[str, bytes]] = WeakKeyDictionary()


def rows(connection: Connection[Any], sql: str, values: list[Any]) -> list[tuple[Any, ...]]:
    """Of a statement with $1, $2 … for the values, outside of any transaction. Raises what psycopg would."""
    kept = _names.setdefault(connection, {})
    try:
        return _run(connection, kept, sql, values)
    except InvalidSqlStatementName:  # psycopg has the server forget all statements after some commands
        kept.clear()
        return _run(connection, kept, sql, values)


def _run(connection: Connection[Any], kept: dict[str, bytes], sql: str, values: list[Any]) -> list[tuple[Any, ...]]:
    server = connection.pgconn
    if sql not in kept:
        name = b"portal_%d" % len(kept)
        _checked(connection, server.prepare(name, sql.encode()))
        kept[sql] = name
    adapted = Transformer(connection)
    sent: Any = adapted.dump_sequence(values, [PyFormat.TEXT] * len(values))
    result = _checked(connection, server.exec_prepared(kept[sql], sent))
    adapted.set_pgresult(result)
    return adapted.load_rows(0, result.ntuples, tuple)


def _checked(connection: Connection[Any], result: PGresult) -> PGresult:
    if result.status in {ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK}:
        return result
    if connection.pgconn.status != ConnStatus.OK:
        raise OperationalError(result.get_error_message())
    raise error_from_result(result, connection.info.encoding)
