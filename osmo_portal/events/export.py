"""The events of a filtered list as a file. That somebody took it is an event too, written before the first line."""

import re
from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from osmo_portal.console import recent
from osmo_portal.console.change import Change
from osmo_portal.console.export import Columns, stream
from osmo_portal.events.models import Event
from osmo_portal.events.trail import audited, record

COLUMNS: Columns = {
    "number": lambda event: event.pk,
    "at": lambda event: event.at,
    "actor": lambda event: event.actor,
    "actor_id": lambda event: event.actor_id,
    "token_id": lambda event: event.token_id,
    "via": lambda event: event.via,
    "address": lambda event: event.ip,
    "request_id": lambda event: event.request_id,
    "action": lambda event: event.action,
    "object_type": lambda event: event.object_type,
    "object_id": lambda event: event.object_id,
    "object_label": lambda event: event.object_label,
    "reason": lambda event: event.reason,
    "changes": lambda event: event.changes,
    "lines_digest": lambda event: event.lines_digest,
    "previous_hash": lambda event: event.previous_hash,
    "hash": lambda event: event.hash,
}
FORM_CHOICES = [
    ("csv", "CSV, for spreadsheets: a text that looks like a formula gets an apostrophe before it"),
    ("jsonl", "JSON lines, for programs: every text as it is"),
]


SECRET = re.compile("osmo_[0-9A-Za-z]{4,}")


class ExportForm(forms.Form):
    form = forms.ChoiceField(label="Format", choices=FORM_CHOICES, widget=forms.RadioSelect, initial="csv")


class ExportEvents(Change):
    """The address carries the filters of the list that the page was opened from."""

    slug, label, heading = "export", "Export", "Export events"
    form_class = ExportForm

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return recent.ask(request) or super().get(request, *args, **kwargs)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return recent.ask(request) or super().post(request, *args, **kwargs)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(repeatable=True, **kwargs)  # a download leaves the page where it is

    def explained(self) -> list[str]:
        narrowed = ", ".join(f"{name} {value}" for name, value in self.filters().items())
        what = f"Events with {narrowed}" if narrowed else "All events"
        return [
            f"{what}, the newest first, without the lines of batches.",
            "The file says who did what and from where: keep it as you would keep the portal's database.",
            "The export is itself an event.",
        ]

    def filters(self) -> dict[str, str]:
        """What the list was narrowed by, as the address has it."""
        known: Sequence[str] = [*(offered.parameter_name for offered in self.section.list_filter), "q"]
        return {name: self.request.GET[name] for name in known if self.request.GET.get(name)}

    def perform(self, form: str) -> Any:
        """The set ends with the newest event of now: the export's own is not in it."""
        found = self._found()
        newest = found.order_by("-pk").values_list("pk", flat=True).first() or 0
        with audited():
            record("events.exported", self.by, Event(), label="events", format=form, filters=self._kept())
        return stream(form, "events", COLUMNS, found.filter(pk__lte=newest))

    def _kept(self) -> str:
        """The filters as the event keeps them: bounded, and without what somebody pasted into the wrong field."""
        return SECRET.sub("osmo_…", ", ".join(f"{name}={value[:200]}" for name, value in self.filters().items()))

    def _found(self) -> QuerySet:
        try:
            found: QuerySet = self.section.get_changelist_instance(self.request).get_queryset(self.request)
        except IncorrectLookupParameters:
            raise ValidationError(
                "One of the filters is not understood. Go back to the list and put it right."
            ) from None
        return found

    def answer(self, outcome: Any) -> HttpResponse:
        return outcome  # type: ignore[no-any-return]
