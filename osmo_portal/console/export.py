"""A list as a file, CSV or JSON lines: read in batches by number, so that a million rows need no more memory than ten.

Whoever sends one records `events.exported` or the like first; a page also asks for a recent sign-in.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.utils import timezone

from osmo_portal import replica

BATCH = 1_000
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # with what a cell begins that a spreadsheet would compute

Columns = Mapping[str, Callable[[Any], Any]]
"""The heading of each column, and what of a record stands in it: text, a number, an instant, a list or an object."""


def in_batches(records: QuerySet, size: int | None = None) -> Iterator[Any]:
    """The records, the highest number first, each batch by one query of its own (and its prefetches)."""
    size, ordered = size or BATCH, records.order_by("-pk")
    batch = replica.read(ordered[:size], list)
    while batch:
        yield from batch
        # A short batch is the last one: nothing was below it.
        batch = replica.read(ordered.filter(pk__lt=batch[-1].pk)[:size], list) if len(batch) == size else []


def neutral(cell: Any) -> str:
    """The text of a CSV cell. What a spreadsheet could take for a formula gets an apostrophe before it."""
    if isinstance(cell, int | float):
        return str(cell)
    text = _text(cell)
    return f"'{text}" if text.startswith(FORMULA) or text.lstrip().startswith(FORMULA) else text


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        return cell.isoformat()
    if isinstance(cell, list | tuple):
        return " ".join(map(_text, cell))
    return json.dumps(cell, ensure_ascii=False) if isinstance(cell, dict) else str(cell)


class _Line:
    """A file to write to that gives back what was written."""

    def write(self, text: str) -> str:
        return text


def csv_rows(columns: Columns, records: Iterable[Any]) -> Iterator[str]:
    """As RFC 4180 has it, the headings first."""
    write = csv.writer(_Line()).writerow
    yield write(columns)
    for record in records:
        yield write([neutral(value(record)) for value in columns.values()])


def jsonl_rows(columns: Columns, records: Iterable[Any]) -> Iterator[str]:
    """One object a line. No spreadsheet computes it, so texts stay as they are."""
    for record in records:
        row = {name: value(record) for name, value in columns.items()}
        yield json.dumps(row, default=_text, ensure_ascii=False) + "\n"


FORMATS: dict[str, tuple[str, Callable[[Columns, Iterable[Any]], Iterator[str]]]] = {
    "csv": ("text/csv; charset=utf-8", csv_rows),
    "jsonl": ("application/jsonl; charset=utf-8", jsonl_rows),
}


def stream(
    form: str, name: str, columns: Columns, records: QuerySet, limit: int | None = None
) -> StreamingHttpResponse:
    """The answer that carries `records` as a file called `name` and the day, in one of FORMATS, `limit` at most."""
    content_type, rows = FORMATS[form]
    lumps = _lumps(rows(columns, islice(in_batches(records), limit)))
    answer = StreamingHttpResponse(lumps, content_type=content_type)
    answer["Content-Disposition"] = f'attachment; filename="{name}-{timezone.now():%Y-%m-%d}.{form}"'
    answer["Cache-Control"] = "no-store"
    return answer


def _lumps(rows: Iterator[str], size: int = 200) -> Iterator[str]:
    """Some rows at a time: each piece of an answer costs a write to the network."""
    lump: list[str] = []
    for row in rows:
        lump.append(row)
        if len(lump) >= size:
            yield "".join(lump)
            lump = []
    yield "".join(lump)
