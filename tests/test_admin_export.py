"""The filtered list as a file: what is in it, what a spreadsheet makes of it, who gets it, and what the trail says."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from osmo_portal.events.models import Event
from profiles.models import User
from tests.bulk import many_tokens
from tests.cast import PASSWORD, PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tests.console import Answer, last_event, text, visitor
from tokens.admin import export as the_export
from tokens.export import COLUMNS
from tokens.models import AccessToken

EXPORT = reverse("admin:tokens_accesstoken_export")
LIST = reverse("admin:tokens_accesstoken_changelist")
FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0", '=HYPERLINK("http://x")', " =1"]


def export(name: str = "grace", client: Client | None = None, **fields: Any) -> Answer:
    return (client or visitor(name)).post(EXPORT, {"format": "csv", **fields})


def content(answer: Answer) -> str:
    assert answer.status_code == 200, answer.status_code
    return b"".join(answer.streaming_content).decode()


def as_rows(answer: Answer) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content(answer), newline="")))


def names(answer: Answer) -> list[str]:
    return [row["name"] for row in as_rows(answer)]


def describe(token: AccessToken, description: str) -> None:
    """Past the ways in, which refuse control characters."""
    AccessToken._base_manager.filter(pk=token.pk).update(description=description)


# What is in it.


def test_a_row_of_the_table_tells_of_one_token(cast: Cast) -> None:
    token = cast.service_token("deploy", [PLAIN_ROLE, POOL_ROLE], days=9)
    cast.robot.remove_role(PLAIN_ROLE, by=cast.by("grace"), reason="x")
    token.revoke(by=cast.by("olive"), reason="found, in a repository")

    (row,) = as_rows(export(state="revoked"))

    assert list(row) == list(COLUMNS)
    told = {name: row[name] for name in row if not name.endswith("_at")}
    assert told == {
        "id": str(token.pk),
        "name": "deploy",
        "owner": "robot",
        "kind": "service",
        "accountable": "ada",
        "description": "",
        "state": "revoked",
        "roles": POOL_ROLE,
        "lost_roles": PLAIN_ROLE,
        "issued_by": "grace",
        "rotations": "0",
        "last_used_from": "",
        "ended_by": "olive",
        "end_reason": "found, in a repository",
    }
    assert row["expires_at"] == f"{in_days(9)}T00:00:00+00:00"
    assert row["last_used_at"] == ""


def test_a_line_of_json_tells_the_same(cast: Cast) -> None:
    cast.service_token("deploy", [PLAIN_ROLE, POOL_ROLE])
    cast.user_token("ada", "hers")

    answer = export(format="jsonl")

    lines = [json.loads(line) for line in content(answer).splitlines()]
    assert [line["name"] for line in lines] == ["hers", "deploy"]
    assert list(lines[0]) == list(COLUMNS)
    assert lines[1]["roles"] == sorted([PLAIN_ROLE, POOL_ROLE])


@pytest.mark.parametrize(("kind", "content_type"), [("csv", "text/csv"), ("jsonl", "application/jsonl")])
def test_it_is_a_file_that_no_cache_keeps(cast: Cast, kind: str, content_type: str) -> None:
    cast.service_token()

    answer = export(format=kind)

    assert answer["Content-Type"] == f"{content_type}; charset=utf-8"
    assert answer["Content-Disposition"] == f'attachment; filename="access-tokens-{in_days(0)}.{kind}"'
    assert "no-store" in answer["Cache-Control"]
    assert answer["X-Content-Type-Options"] == "nosniff"


def test_several_roles_stand_in_one_cell(cast: Cast) -> None:
    cast.service_token("deploy", [PLAIN_ROLE, POOL_ROLE])

    (row,) = as_rows(export())

    assert row["roles"] == f"{POOL_ROLE} {PLAIN_ROLE}"


def test_neither_secrets_nor_digests_are_in_it(cast: Cast) -> None:
    token = cast.service_token()
    digest = bytes(token.secrets.get().digest).hex()

    for kind in ("csv", "jsonl"):
        shown = content(export(format=kind, state="any"))
        assert "robot" in shown
        assert digest not in shown
        assert str(token.plaintext)[5:20] not in shown


def test_it_holds_what_the_list_holds(cast: Cast) -> None:
    cast.service_token("deploy", [POOL_ROLE], days=5)
    cast.service_token("nightly", [PLAIN_ROLE], days=50)
    cast.user_token("ada", "hers")

    assert names(export()) == ["hers", "nightly", "deploy"]
    assert names(export(kind="service", expiring="7")) == ["deploy"]
    assert names(export(q="night", o="-0")) == ["nightly"]
    assert names(export(state="revoked")) == []


def test_the_list_offers_it_with_its_own_filters(cast: Cast) -> None:
    cast.service_token("deploy")

    page = text(visitor("grace").get(LIST, {"state": "active", "q": "deploy"}))

    form = page[page.index(f'action="{EXPORT}"') :].partition("</form>")[0]
    assert 'name="state" value="active"' in form
    assert 'name="q" value="deploy"' in form
    assert "csrfmiddlewaretoken" in form


# Formulas.


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_cell_is_no_formula(cast: Cast, formula: str) -> None:
    describe(cast.service_token(), formula)

    (row,) = as_rows(export())

    assert row["description"] == f"'{formula}"


@pytest.mark.parametrize("harmless", ["plain", "a=b", "1-2", 'quoted "so", and a comma', "two\nlines", "ünïcode", ""])
def test_other_cells_are_left_as_they_are(cast: Cast, harmless: str) -> None:
    describe(cast.service_token(), harmless)

    (row,) = as_rows(export())

    assert row["description"] == harmless


def test_json_needs_no_apostrophe(cast: Cast) -> None:
    describe(cast.service_token(), "=1+1")

    assert json.loads(content(export(format="jsonl")))["description"] == "=1+1"


# Many.


def test_it_comes_in_batches_by_key(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osmo_portal.console.export.BATCH", 20)
    many_tokens(cast.robot, 50)
    answer = export()

    with CaptureQueriesContext(connection) as seen:
        rows = as_rows(answer)

    assert len({row["id"] for row in rows}) == len(rows) == 50
    batches = [one["sql"] for one in seen.captured_queries if "LIMIT 20" in one["sql"]]
    assert len(batches) == 3
    assert len(seen) == 9, "each batch, its last uses and its roles"
    assert not [sql for sql in batches if "OFFSET" in sql]


def test_a_batch_that_is_just_full_is_not_the_end(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osmo_portal.console.export.BATCH", 20)
    many_tokens(cast.robot, 40)

    assert len(as_rows(export())) == 40


def test_more_than_it_promises_is_refused(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(the_export, "MAX_ROWS", 4)
    many_tokens(cast.robot, 5)

    answer = export(kind="service")

    assert answer["Location"] == f"{LIST}?kind=service"
    assert not Event.objects.filter(action="tokens.exported").exists()


def test_tokens_that_come_meanwhile_do_not_lengthen_it_beyond_its_bound(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(the_export, "MAX_ROWS", 25)
    monkeypatch.setattr("osmo_portal.console.export.BATCH", 20)
    many_tokens(cast.robot, 25)
    answer = export()
    many_tokens(cast.robot, 10, "new")

    assert len(as_rows(answer)) == 25


# The trail.


def test_it_is_told_before_the_first_byte(cast: Cast) -> None:
    many_tokens(cast.robot, 3)

    answer = export(kind="service", q="bulk", format="jsonl")
    event = last_event()
    assert answer.status_code == 200  # and nobody reads it

    assert (event.action, event.actor, event.object_label) == ("tokens.exported", "grace", "3 tokens")
    assert event.changes == {"filters": {"kind": "service", "q": "bulk"}, "rows": 3, "format": "jsonl"}


def test_the_event_has_a_page(cast: Cast) -> None:
    export(kind="service")
    event = last_event()

    page = visitor("audrey").get(reverse("admin:events_event_change", args=[event.pk]))

    assert page.status_code == 200
    assert "tokens.exported" in text(page)


# Who may, and how.


def test_who_signed_in_long_ago_confirms_and_comes_back_to_the_list(
    cast: Cast, time_machine_days: Callable[[float], None]
) -> None:
    cast.service_token("deploy")
    client = visitor("grace")
    time_machine_days(0.02)

    refused = export(client=client, kind="service", q="dep")
    confirmed = client.post(refused["Location"], {"password": PASSWORD})

    assert urlsplit(refused["Location"]).path == reverse("admin:confirm")
    assert parse_qs(urlsplit(refused["Location"]).query)["next"] == [f"{LIST}?kind=service&q=dep"]
    assert confirmed["Location"] == f"{LIST}?kind=service&q=dep"
    assert not Event.objects.filter(action="tokens.exported").exists()
    assert names(export(client=client, kind="service", q="dep")) == ["deploy"]


def test_an_auditor_gets_no_file_and_no_button(cast: Cast) -> None:
    cast.service_token()

    assert export("audrey").status_code == 403
    assert EXPORT not in text(visitor("audrey").get(LIST))
    assert not Event.objects.filter(action="tokens.exported").exists()


def test_an_operator_gets_the_tokens_that_operators_see(cast: Cast) -> None:
    cast.service_token("deploy")

    assert names(export("olive")) == ["deploy"]


@pytest.mark.parametrize("name", ["ada", ""])
def test_a_stranger_gets_no_file(cast: Cast, name: str) -> None:
    answer = export(client=visitor(name) if name else Client())

    assert answer.status_code == 302
    assert answer["Location"].startswith(reverse("admin:login"))


def test_only_visible_tokens_leave(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    cast.service_token("hidden")
    cast.user_token("ada", "hers")
    hers = AccessToken.objects.filter(owner=User.objects.get(username="ada"))
    monkeypatch.setattr("tokens.rules.visible_tokens", lambda by: hers)

    assert names(export()) == ["hers"]


def test_the_csrf_token_is_asked_for(cast: Cast) -> None:
    assert export(client=visitor("grace", enforce_csrf_checks=True)).status_code == 403


def test_nothing_leaves_by_get(cast: Cast) -> None:
    answer = visitor("grace").get(EXPORT, {"format": "csv"})

    assert (answer.status_code, answer["Location"]) == (302, LIST)
    assert not Event.objects.filter(action="tokens.exported").exists()


@pytest.mark.parametrize(
    "fields",
    [{"state": "alive"}, {"role": "nul\0"}, {"digest": "x"}, {"format": "xls"}, {"format": ""}, {"q": "nul\0"}],
)
def test_what_is_not_understood_is_not_exported(cast: Cast, fields: dict[str, str]) -> None:
    cast.service_token()
    client = visitor("grace")

    answer = export(client=client, **fields)

    assert answer.status_code == 302
    assert answer["Location"].startswith(LIST)
    assert "Nothing was exported." in "".join(str(m) for m in client.get(LIST).context["messages"])
    assert not Event.objects.filter(action="tokens.exported").exists()


def test_the_section_refuses_for_the_export_what_the_list_refuses(cast: Cast) -> None:
    """The file is never wider than what the page showed."""
    from django.http import QueryDict

    from tests.console import sections

    section = next(section for section in sections() if section.model is AccessToken)
    request = visitor("grace").get(LIST).wsgi_request

    with pytest.raises(ValidationError):
        section.filtered(request, QueryDict("owner=nobody"))
