import re
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.apps import apps
from django.contrib import admin
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.html import format_html

from osmo_portal.console import words
from osmo_portal.console.change import Change
from osmo_portal.console.section import SUGGESTIONS, Panel, Section
from osmo_portal.events import chain, verification
from osmo_portal.events.actor import Actor
from osmo_portal.events.export import ExportEvents
from osmo_portal.events.filters import (
    AboutFilter,
    ActionFilter,
    ActorFilter,
    AgeFilter,
    FirstDayFilter,
    KindFilter,
    LastDayFilter,
    OperationFilter,
    ViaFilter,
)
from osmo_portal.events.models import Archive, Event, kind_of

LINES_SHOWN = 200
NUMBER = re.compile("[0-9]{1,18}")

# Goes from one action to the next along the index: a DISTINCT would read a million entries to find forty.
_ACTIONS = """
WITH RECURSIVE known(action) AS (
    SELECT min(action) FROM events_event WHERE action >= %s
    UNION ALL
    SELECT (SELECT min(action) FROM events_event WHERE action > known.action) FROM known WHERE known.action IS NOT NULL
)
SELECT action FROM known WHERE action IS NOT NULL LIMIT %s
"""


def actions_from(beginning: str, limit: int) -> list[str]:
    """The actions that events have, from `beginning` on in the order of the alphabet."""
    with connection.cursor() as cursor:
        cursor.execute(_ACTIONS, [beginning, limit])
        return [action for (action,) in cursor.fetchall()]


class VerifyTail(Change):
    slug, label = "verify", "Verify the last events"
    heading = f"Verify the last {verification.TAIL_LENGTH:,} events"
    submit = "Verify now"
    form_class = forms.Form
    template_name = "portal/verify.html"
    explanation = (
        "Reads them again and compares each with its hash and with the one before it. That may take some seconds.",
        "The lines of batches are left out; manage.py verify_events reads everything. The outcome becomes an event.",
    )

    def perform(self) -> verification.Verdict:
        return verification.verify_tail(by=self.by)

    def answer(self, outcome: verification.Verdict) -> HttpResponse:
        if outcome.faults:
            return self.render_to_response(self.get_context_data(verdict=outcome))
        return super().answer(f"Events {outcome.first:,} to {outcome.last:,} are whole.")


def changes_panel(event: Event, by: Actor) -> Panel:
    told = [(name, value) for name, value in words.changes(event) if name != "operation"]  # stands above, as a link
    return Panel("What changed", "portal/panels/event_changes.html", {"changes": told, "event": event})


def chain_panel(event: Event, by: Actor) -> Panel:
    next_number = Event.objects.filter(pk__gt=event.pk).order_by("pk").values_list("pk", flat=True).first()
    previous = Event.objects.filter(pk__lt=event.pk).order_by("-pk").values_list("pk", flat=True).first()
    context = {"event": event, "previous": previous, "next": next_number, "faults": chain.faults_of(event)}
    return Panel("In the chain", "portal/panels/chain.html", context)


def lines_panel(event: Event, after: int) -> Panel:
    """What a batch did to each record, from the line numbered above `after` on."""
    lines = list(event.lines.filter(pk__gt=after)[: LINES_SHOWN + 1])
    shown = lines[:LINES_SHOWN]
    further = shown[-1].pk if len(lines) > LINES_SHOWN else None
    return Panel("Records", "portal/panels/lines.html", {"lines": shown, "further": further, "after": after})


@admin.register(Event)
class EventSection(Section):
    """The trail itself has no timeline and no history: an event never changes."""

    list_display = ("number", "when", "who", "door_used", "what", "about", "reason")
    list_filter = (
        ActionFilter,
        AgeFilter,
        ActorFilter,
        AboutFilter,
        FirstDayFilter,
        LastDayFilter,
        OperationFilter,
        KindFilter,
        ViaFilter,
    )
    search_fields = ("request_id",)
    search_help_text = "A request id, or an event's number."
    suggest_field = "action"
    fields = ("when", "who", "door_used", "what", "about", "reason", "ip", "request", "operation", "token_link")
    readonly_fields = fields
    panels = (changes_panel, chain_panel)
    list_changes = (ExportEvents, VerifyTail)
    change_list_template = "portal/events.html"

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        number, last_hash = chain.head()
        context = {
            "head": (number, last_hash),
            "archive": Archive.objects.order_by("-last").first(),
            "whole": verification.latest(verification.WHOLE),
            "tail": verification.latest(verification.TAIL),
        }
        answer = super().changelist_view(request, {**context, **(extra_context or {})})
        for button in getattr(answer, "context_data", {}).get("buttons", []):
            if request.GET and button["url"] == self.address(ExportEvents.slug):
                button["url"] += f"?{request.GET.urlencode()}"
        return answer

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[QuerySet, bool]:
        typed = search_term.strip()
        if not typed:
            return queryset, False
        return queryset.filter(**{"pk" if NUMBER.fullmatch(typed) else "request_id": typed}), False

    def suggest(self, request: HttpRequest) -> JsonResponse:
        begun = request.GET.get("q", "")
        return JsonResponse({"names": [a for a in actions_from(begun, SUGGESTIONS) if a.startswith(begun)]})

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        context["is_event"] = True
        answer: Any = super().render_change_form(request, context, *args, **kwargs)
        event = answer.context_data["original"]
        if event.lines_digest or event.lines.exists():
            after = request.GET.get("after", "")
            lines = lines_panel(event, int(after) if NUMBER.fullmatch(after) else 0)
            answer.context_data["panels"].insert(1, lines)
        return answer

    @admin.display(description="via")
    def door_used(self, event: Event) -> str:
        """As the filter and the timelines write it."""
        return event.via

    @admin.display(description="number")
    def number(self, event: Event) -> int:
        return event.pk

    @admin.display(description="when")
    def when(self, event: Event) -> str:
        return words.stamp(event.at)

    @admin.display(description="who")
    def who(self, event: Event) -> str:
        return self._filter_link("actor", event.actor)

    @admin.display(description="what")
    def what(self, event: Event) -> str:
        return self._filter_link("action", event.action)

    @admin.display(description="request id")
    def request(self, event: Event) -> str:
        return self._filter_link("q", event.request_id) if event.request_id else words.NOTHING

    @admin.display(description="operation")
    def operation(self, event: Event) -> str:
        operation = event.changes.get("operation")
        return self._filter_link("operation", operation) if operation else words.NOTHING

    @admin.display(description="signed in by token")
    def token_link(self, event: Event) -> str:
        if event.token_id is None:
            return words.NOTHING
        return words.link("tokens_accesstoken", event.token_id, f"token {event.token_id}")

    def _filter_link(self, name: str, value: str) -> str:
        url = f"{self.address('changelist')}?{urlencode({name: value})}"
        return format_html('<a href="{}">{}</a>', url, value)

    @admin.display(description="about")
    def about(self, event: Event) -> str:
        address = self._address_of(event)
        return format_html('<a href="{}">{}</a>', address, event.object_label) if address else event.object_label

    def _address_of(self, event: Event) -> str | None:
        """The page of what the event is about, if it is one record that has a page."""
        if event.object_id is None:
            return None
        for model in filter(self.admin_site.is_registered, apps.get_models()):
            section = self.admin_site.get_model_admin(model)
            if kind_of(model) == event.object_type and isinstance(section, Section):
                return section.record_address(event.object_id)
        return None
