"""The trail as a file: who may take it, what it holds, and that the trail says who took it."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from osmo_portal.events.models import Event
from osmo_portal.events.trail import audited, record
from tests.cast import Cast
from tests.console import Answer, last_event, text, visitor

LIST = reverse("admin:events_event_changelist")
EXPORT = reverse("admin:events_event_export")


def export(client: Client, form: str = "csv", **query: str) -> Answer:
    return client.post(EXPORT, {"form": form}, query_params=query)


def rows(answer: Answer) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(answer.getvalue().decode(), newline="")))


def test_the_filtered_events_come_as_csv(cast: Cast) -> None:
    cast.service_token("one")
    cast.service_token("two")

    found = rows(export(visitor("grace"), action="token.issued"))

    assert [row["object_label"] for row in found] == ["robot/two", "robot/one"]
    event = Event.objects.get(object_label="robot/one")
    one = found[1]
    assert (one["number"], one["at"], one["actor"], one["via"]) == (
        str(event.pk),
        event.at.isoformat(),
        "grace",
        "admin",
    )
    assert (one["hash"], json.loads(one["changes"])) == (event.hash, event.changes)


def test_the_filtered_events_come_as_json_lines(cast: Cast) -> None:
    answer = export(visitor("grace"), "jsonl", via="command")

    found = [json.loads(line) for line in answer.getvalue().decode().splitlines()]
    assert [event["number"] for event in found] == [*Event.objects.filter(via="command").values_list("pk", flat=True)]
    assert all(isinstance(event["changes"], dict) for event in found)


def test_every_filter_of_the_list_narrows_the_file(cast: Cast) -> None:
    cast.service_token("one")
    client = visitor("grace")
    queries: list[dict[str, str]] = [
        {"action": "token.issued"},
        {"actor": "grace"},
        {"about": "robot/one"},
        {"kind": "pool"},
        {"via": "command"},
        {"from": "2099-01-01"},
        {"to": "2001-01-01"},
        {"to": "nonsense"},
        {"operation": "none"},
        {"q": "3"},
    ]

    for query in queries:
        listed = [event.pk for event in client.get(LIST, query).context["cl"].result_list]
        # Signing in and the exports before are events, too: the list is asked first.
        assert [int(row["number"]) for row in rows(export(client, **query))] == listed, query


def test_the_export_is_an_event_written_before_the_first_line(cast: Cast) -> None:
    client = visitor("grace")
    newest = Event.objects.order_by("pk").last()
    assert newest

    answer = export(client, actor="grace", via="admin")

    assert last_event().action == "events.exported"
    assert last_event().changes == {"format": "csv", "filters": "actor=grace, via=admin"}
    assert last_event().actor == "grace"
    assert str(last_event().pk) not in {row["number"] for row in rows(answer)}


def test_a_secret_in_the_wrong_field_is_not_kept(cast: Cast) -> None:
    secret = str(cast.service_token().plaintext)

    export(visitor("grace"), about=secret, q=secret)

    assert secret[:20] not in str(last_event().changes)


def test_no_cell_is_a_formula(cast: Cast) -> None:
    formulas = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"]
    with audited():
        for formula in formulas:
            record("role.changed", cast.by("grace"), cast.robot, label=formula, reason=formula)

    found = rows(export(visitor("grace"), action="role.changed"))

    assert [row["reason"] for row in found] == [f"'{formula}" for formula in reversed(formulas)]
    assert [row["object_label"] for row in found] == [f"'{formula}" for formula in reversed(formulas)]
    for row in found:
        assert not [cell for cell in row.values() if cell[:1] in "=+-@\t\r" and cell]


@pytest.mark.parametrize("name", ["olive", "audrey"])
def test_operators_and_auditors_export_nothing(cast: Cast, name: str) -> None:
    client = visitor(name)
    events = Event.objects.count()

    assert export(client).status_code == 403
    assert EXPORT not in text(client.get(LIST))
    assert Event.objects.count() == events


@pytest.mark.parametrize("name", ["ada", ""])
def test_a_stranger_is_sent_to_the_sign_in(cast: Cast, name: str) -> None:
    answer = export(visitor(name) if name else Client())

    assert answer.status_code == 302
    assert answer["Location"].startswith(reverse("admin:login"))


def test_an_old_sign_in_is_asked_again(cast: Cast, time_machine_days: Callable[[float], None]) -> None:
    client = visitor("grace")
    time_machine_days(0.02)

    for answer in (client.get(EXPORT, {"via": "admin"}), export(client, via="admin")):
        assert answer["Location"].startswith(reverse("admin:confirm"))
        assert "via%3Dadmin" in answer["Location"]
    assert not Event.objects.filter(action="events.exported").exists()


def test_an_export_without_the_csrf_token_is_refused(cast: Cast) -> None:
    client = visitor("grace", enforce_csrf_checks=True)

    assert export(client).status_code == 403
    assert not Event.objects.filter(action="events.exported").exists()


def test_asking_by_address_alone_exports_nothing(cast: Cast) -> None:
    answer = visitor("grace").get(EXPORT, {"form": "csv", "via": "admin"})

    assert "Events with via admin" in text(answer)
    assert not answer.streaming
    assert not Event.objects.filter(action="events.exported").exists()


@pytest.mark.parametrize("form", ["", "xlsx", "../csv"])
def test_an_unknown_format_is_an_error_of_the_form(cast: Cast, form: str) -> None:
    answer = export(visitor("grace"), form)

    assert set(answer.context["form"].errors) == {"form"}
    assert not Event.objects.filter(action="events.exported").exists()


def test_the_button_carries_the_filters_of_the_list(cast: Cast) -> None:
    page = visitor("grace").get(LIST, {"actor": "grace", "via": "admin"})

    urls = [button["url"] for button in page.context["buttons"]]
    assert f"{EXPORT}?actor=grace&via=admin" in urls


def test_the_queries_of_an_export_do_not_grow_with_the_events(cast: Cast) -> None:
    client = visitor("grace")

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            answer: Any = export(client)
            answer.getvalue()
        assert not [query for query in queries if "OFFSET" in query["sql"]]
        return len(queries)

    before = cost()
    for number in range(30):
        cast.robot.describe(by=cast.by("grace"), purpose=f"CI {number}")

    assert cost() == before
