"""The filtered list as a file: CSV for spreadsheets, or a JSON object a line."""

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.admin.views.main import ORDER_VAR
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, QueryDict
from django.views import View

from osmo_portal.console import recent
from osmo_portal.console.export import FORMATS, stream
from osmo_portal.events.actor import Actor, Door
from tokens.export import COLUMNS, exported, record_export

if TYPE_CHECKING:
    from osmo_portal.console.section import Section

MAX_ROWS = 1_000_000
NOT_FROM = {"csrfmiddlewaretoken", "format", ORDER_VAR}


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
        form = request.POST.get("format", "")
        if form not in FORMATS:
            return self._refused(request, back, "Choose CSV or JSON Lines.")
        try:
            found, rows = self._promised(request, params)
        except ValidationError as error:
            return self._refused(request, back, " ".join(error.messages))
        by = Actor.signed_in(request, Door.ADMIN)
        record_export(by=by, rows=rows, form=form, filters=params.dict())
        return stream(form, "access-tokens", COLUMNS, exported(found), MAX_ROWS)

    def _promised(self, request: HttpRequest, params: QueryDict) -> tuple[Any, int]:
        found = self.section.filtered(request, params)
        rows = found.order_by().values("pk")[: MAX_ROWS + 1].count()
        if rows > MAX_ROWS:
            raise ValidationError(f"More than {MAX_ROWS:,} tokens fit. Filter for fewer.")
        return found, rows

    def _refused(self, request: HttpRequest, back: str, why: str) -> HttpResponse:
        messages.error(request, f"{why} Nothing was exported.")
        return HttpResponseRedirect(back)
