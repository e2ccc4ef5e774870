"""Whether PostgreSQL reads a table of tokens whole to answer a query, as it plans it with the rows that there are."""

import json
import re
from collections.abc import Iterator
from itertools import count
from typing import Any

from django.db import connection

# Indexes of what is rare: to read one of them whole is to read what is asked for.
OF_FEW = {"token_revoked", "token_suspended", "last_use_never"}
TABLES = {"tokens_accesstoken", "tokens_tokenrole", "tokens_lastuse", "tokens_secret"}


def read_whole(sql: str) -> set[str]:
    """Those tables that the query reads from end to end, in the order of an index too. A scan that a LIMIT ends long
    before is none. Of a compiled query the plan is for values of any kind, as PostgreSQL keeps it."""
    if not sql.startswith("SELECT") or not any(table in sql for table in TABLES):
        return set()
    with connection.cursor() as cursor:
        plan = _kept_plan(cursor, sql) if "%s" in sql else _plan(cursor, sql)
    return {*_whole((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"], None)}


def _plan(cursor: Any, sql: str) -> Any:
    cursor.execute("EXPLAIN (FORMAT JSON) " + sql)
    return cursor.fetchone()[0]


def _kept_plan(cursor: Any, sql: str) -> Any:
    numbers = count(1)
    cursor.execute("PREPARE explained AS " + re.sub("%s", lambda _: f"${next(numbers)}", sql))
    cursor.execute("SET plan_cache_mode = force_generic_plan")
    try:
        return _plan(cursor, f"EXECUTE explained ({', '.join(['NULL'] * (next(numbers) - 1))})")
    finally:
        cursor.execute("RESET plan_cache_mode")
        cursor.execute("DEALLOCATE explained")


def _whole(node: dict[str, Any], limit: float | None) -> Iterator[str]:
    """`limit` is what the nearest LIMIT above expects to spend."""
    limit = node["Total Cost"] if node["Node Type"] == "Limit" else limit
    ends_early = limit is not None and limit < node["Total Cost"] / 2
    if node.get("Relation Name") in TABLES and _from_end_to_end(node) and not ends_early:
        yield node["Relation Name"]
    for below in node.get("Plans", ()):
        yield from _whole(below, limit)


def _from_end_to_end(node: dict[str, Any]) -> bool:
    found = node["Plans"][0] if node["Node Type"] == "Bitmap Heap Scan" else node
    if "Index Name" in found:
        return found["Index Name"] not in OF_FEW and "Index Cond" not in found
    return node["Node Type"] == "Seq Scan"
