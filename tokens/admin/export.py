"""The filtered list as a file: CSV for spreadsheets, or a JSON object a line. No secrets, no digests."""

import csv
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.admin.views.main import ORDER_VAR
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    QueryDict,
    StreamingHttpResponse,
)
from django.utils import timezone
from django.views import View

from osmo_portal.console import recent
from osmo_portal.events.actor import Actor, Door
from osmo_portal.events.trail import audited, record
from tokens.models import AccessToken

if TYPE_CHECKING:
    from osmo_portal.console.section import Section

MAX_ROWS = 1_000_000
BATCH = 2_000
NOT_FROM = {"csrfmiddlewaretoken", "format", ORDER_VAR}
DANGEROUS = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for a formula at the beginning of a cell

Row = dict[str, Any]


class Export(View):
    section: "Section" = None  # type: ignore[assignment]  # set by as_view
    http_method_names = ["get", "head", "post", "options"]

    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(self.section.address("changelist"))

    def post(self, request: HttpRequest) -> HttpResponseBase:
        params = request.POST.copy()
        for name in NOT_FROM:
            params.pop(name, None)
        back = f"{self.section.address('changelist')}?{params.urlencode()}".rstrip("?")
        if (confirm := recent.ask(request, back)) is not None:
            return confirm
        try:
            kind = FORMATS[request.POST.get("format", "")]
            found, rows = self._promised(request, params)
        except KeyError:
            return self._refused(request, back, "Choose CSV or JSON Lines.")
        except ValidationError as error:
            return self._refused(request, back, " ".join(error.messages))
        self._record(request, params, rows)
        return self._file(kind, found)

    def _promised(self, request: HttpRequest, params: QueryDict) -> tuple[QuerySet, int]:
        found = self.section.filtered(request, params)
        rows = found.order_by().values("pk")[: MAX_ROWS + 1].count()
        if rows > MAX_ROWS:
            raise ValidationError(f"More than {MAX_ROWS:,} tokens fit. Filter for fewer.")
        return found, rows

    def _refused(self, request: HttpRequest, back: str, why: str) -> HttpResponse:
        messages.error(request, f"{why} Nothing was exported.")
        return HttpResponseRedirect(back)

    def _record(self, request: HttpRequest, params: QueryDict, rows: int) -> None:
        """Before the first byte leaves: what is cut off half-way has left all the same."""
        by = Actor.signed_in(request, Door.ADMIN)
        label = f"{rows:,} token{'s' if rows != 1 else ''}"
        asked: dict[str, Any] = {"filters": params.dict(), "rows": rows, "format": request.POST["format"]}
        with audited():
            record("tokens.exported", by, AccessToken(), label=label, **asked)

    def _file(self, kind: "tuple[str, str, Callable[..., Iterator[str]]]", found: QuerySet) -> StreamingHttpResponse:
        ending, content_type, written = kind
        response = StreamingHttpResponse(written(rows(found)), content_type=content_type)
        name = f"access-tokens-{timezone.now():%Y-%m-%d}.{ending}"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        return response


def rows(found: QuerySet) -> Iterator[Row]:
    """The newest first, in batches by key: little memory, and no query that grows with the depth."""
    tokens = found.select_related("owner__accountable", "last_use", "created_by", "ended_by")
    last, left = None, MAX_ROWS
    while left > 0:
        batch = list((tokens.filter(pk__lt=last) if last else tokens).order_by("-pk")[: min(BATCH, left)])
        yield from map(row, batch)
        left -= len(batch)
        if len(batch) < BATCH:
            return
        last = batch[-1].pk


def _name(user: Any) -> str:
    return user.username if user else ""


def _instant(when: datetime | None) -> str:
    return when.astimezone(timezone.get_default_timezone()).isoformat(timespec="seconds") if when else ""


COLUMNS: dict[str, Callable[[AccessToken], Any]] = {
    "id": lambda token: token.pk,
    "name": lambda token: token.name,
    "owner": lambda token: token.owner.username,
    "kind": lambda token: token.owner.kind,
    "accountable": lambda token: _name(token.owner.accountable),
    "description": lambda token: token.description,
    "state": lambda token: str(token.state()),
    "roles": lambda token: token.role_names,
    "lost_roles": lambda token: token.lost_role_names,
    "created_at": lambda token: _instant(token.created_at),
    "issued_by": lambda token: _name(token.created_by),
    "issued_at": lambda token: _instant(token.issued_at),
    "expires_at": lambda token: _instant(token.expires_at),
    "rotations": lambda token: token.rotations,
    "last_used_at": lambda token: _instant(token.last_use.at),
    "last_used_from": lambda token: token.last_use.ip or "",
    "suspended_at": lambda token: _instant(token.suspended_at),
    "ended_at": lambda token: _instant(token.ended_at),
    "ended_by": lambda token: _name(token.ended_by),
    "end_reason": lambda token: token.end_reason,
}


def row(token: AccessToken) -> Row:
    return {name: value(token) for name, value in COLUMNS.items()}


class _Echo:
    """What csv.writer writes into: it hands each line back."""

    def write(self, line: str) -> str:
        return line


def as_csv(records: Iterator[Row]) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow(COLUMNS)
    for one in records:
        yield writer.writerow([cell(one[name]) for name in COLUMNS])


def cell(value: Any) -> str:
    """As text, and no formula: an apostrophe before what a spreadsheet would compute."""
    text = " ".join(value) if isinstance(value, list) else str(value)
    return f"'{text}" if text.startswith(DANGEROUS) else text


def as_json_lines(records: Iterator[Row]) -> Iterator[str]:
    for one in records:
        yield json.dumps(one, ensure_ascii=False) + "\n"


FORMATS: dict[str, tuple[str, str, Callable[..., Iterator[str]]]] = {
    "csv": ("csv", "text/csv; charset=utf-8", as_csv),
    "jsonl": ("jsonl", "application/jsonl; charset=utf-8", as_json_lines),
}
