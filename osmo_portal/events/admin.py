from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.apps import apps
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html

from osmo_portal.console import words
from osmo_portal.console.filters import TypedFilter
from osmo_portal.console.section import Panel, Section
from osmo_portal.events.actor import Actor, Door
from osmo_portal.events.models import Event, kind_of

LINES_SHOWN = 200


class ActionFilter(TypedFilter):
    title = "action"
    parameter_name = "action"

    def narrow(self, queryset: Any, typed: str) -> Any:
        return queryset.told(typed)


class AgeFilter(admin.SimpleListFilter):
    title = "age"
    parameter_name = "days"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [("1", "the last day"), ("7", "the last 7 days"), ("30", "the last 30 days")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        days = {"1": 1, "7": 7, "30": 30}.get(self.value() or "")
        return queryset.since(timezone.now() - timedelta(days=days)) if days else queryset


class ViaFilter(admin.SimpleListFilter):
    title = "door"
    parameter_name = "via"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [(door.value, door.value) for door in Door]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(via=self.value()) if self.value() else queryset


class ActorFilter(TypedFilter):
    title = "who"
    parameter_name = "actor"
    suggest = "admin:profiles_person_suggest"

    def narrow(self, queryset: Any, typed: str) -> Any:
        return queryset.filter(actor=typed)


def changes_panel(event: Event, by: Actor) -> Panel:
    lines = list(event.lines.all()[: LINES_SHOWN + 1])
    context = {"changes": words.changes(event), "lines": lines[:LINES_SHOWN], "more": len(lines) > LINES_SHOWN}
    return Panel("What changed", "portal/panels/changes.html", context)


@admin.register(Event)
class EventSection(Section):
    """The trail itself has no timeline and no history: an event never changes."""

    list_display = ("number", "when", "who", "via", "what", "about", "reason")
    list_filter = (ActionFilter, AgeFilter, ViaFilter, ActorFilter)
    fields = ("when", "who", "via", "what", "about", "reason", "ip", "request_id", "token_id", "hash", "previous_hash")
    readonly_fields = fields
    panels = (changes_panel,)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        context["is_event"] = True
        return super().render_change_form(request, context, *args, **kwargs)

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
