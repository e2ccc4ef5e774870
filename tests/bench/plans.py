"""Whether PostgreSQL reads a table of tokens whole to answer a query, as it plans it with the rows that there are."""

import json
from collections.abc import Iterator
from typing import Any

from django.db import connection

# Indexes of what is rare: to read one of them whole is to read what is asked for.
OF_FEW = {"token_revoked", "token_suspended", "last_use_never"}
TABLES = {"tokens_accesstoken", "tokens_tokenrole", "tokens_lastuse", "tokens_secret"}


def read_whole(sql: str) -> set[str]:
    """Those tables that the query reads from end to end, in the order of an index too. A scan that a LIMIT ends long
    before is none."""
    if not sql.startswith("SELECT") or not any(table in sql for table in TABLES):
        return set()
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (FORMAT JSON) " + sql)
        (plan,) = cursor.fetchone()
    return {*_whole((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"], None)}


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
