"""A section of the console: the list of one kind of record, and a page about each of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.text import capfirst

from osmo_portal.console.change import Change
from osmo_portal.console.timeline import timeline
from osmo_portal.events.actor import Actor, Door

SUGGESTIONS = 20


@dataclass(frozen=True)
class Panel:
    """A part of a record's page, below its facts."""

    title: str
    template: str
    context: dict[str, Any] = field(default_factory=dict)


PanelMaker = Callable[[Any, Actor], Panel]


class SectionList(ChangeList):
    """Sorts by what `sortable_by` offers, also where an address asks for another column: few have an index."""

    def get_ordering_field(self, field_name: Any) -> Any:
        return super().get_ordering_field(field_name) if field_name in (self.sortable_by or ()) else None


class Section(admin.ModelAdmin):
    """Django's ModelAdmin for reading: who may open the console sees every section, and edits and deletes nothing.

    Whatever changes something is a `Change`: a page of its own around one way in, with a button where it may be used.
    """

    door = Door.ADMIN
    list_changes: Sequence[type[Change]] = ()
    record_changes: Sequence[type[Change]] = ()
    panels: Sequence[PanelMaker] = ()
    suggest_field = ""

    actions = None
    list_per_page = 50
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    sortable_by = ()
    list_filter: ClassVar[Any] = ()  # classes of SimpleListFilter
    change_form_template = "portal/record.html"
    object_history_template = "portal/history.html"

    # Who may what.

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_staff)

    def has_view_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return bool(request.user.is_staff)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """What is offered as a filter, and nothing else: not a password, not a digest, not by way of a relation."""
        return lookup in {offered.parameter_name for offered in self.list_filter}

    # Pages.

    @property
    def heading(self) -> str:
        return capfirst(str(self.opts.verbose_name_plural))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return SectionList

    @property
    def media(self) -> forms.Media:
        return forms.Media()  # nothing here needs the scripts of Django's editing pages

    def get_urls(self) -> list[URLPattern | URLResolver]:  # type: ignore[override]
        own: list[URLPattern | URLResolver] = [
            path(f"{change.slug}/", self._page(change), name=self.route(change.slug)) for change in self.list_changes
        ]
        own += [
            path(f"<int:pk>/{change.slug}/", self._page(change), name=self.route(change.slug))
            for change in self.record_changes
        ]
        if self.suggest_field:
            own.append(path("suggest/", self.admin_site.admin_view(self.suggest), name=self.route("suggest")))
        return [*own, *super().get_urls()]

    def _page(self, change: type[Change]) -> Callable[..., Any]:
        return self.admin_site.admin_view(change.as_view(section=self))

    def route(self, slug: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{slug}"

    def address(self, slug: str, *args: Any) -> str:
        return reverse(f"admin:{self.route(slug)}", args=args)

    def record_address(self, pk: int) -> str:
        """The page of one record, known by nothing but its number."""
        return self.address("change", pk)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        by = Actor.signed_in(request, Door.ADMIN)
        context = {"title": capfirst(self.opts.verbose_name_plural), "buttons": self._buttons(self.list_changes, by)}
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: models.Model | None = None,
    ) -> HttpResponse:
        by = Actor.signed_in(request, Door.ADMIN)
        context |= {
            "title": str(obj),
            "subtitle": None,
            "buttons": self._buttons(self.record_changes, by, obj),
            "panels": [make(obj, by) for make in self.panels],
            "timeline": timeline(obj) if obj else [],
        }
        return super().render_change_form(request, context, add, change, form_url, obj)

    def _buttons(
        self, changes: Sequence[type[Change]], by: Actor, record: models.Model | None = None
    ) -> list[dict[str, Any]]:
        args = [record.pk] if record else []
        return [
            {"label": change.label, "url": self.address(change.slug, *args), "danger": change.danger}
            for change in changes
            if change.on_record and change.fits(record) and change.permits(by, record)
        ]

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The record's events in place of Django's log of the admin, which is not written."""
        record = self.get_object(request, unquote(object_id))
        if not self.has_view_permission(request, record):
            raise PermissionDenied
        if record is None:
            raise Http404
        context = {
            **self.admin_site.each_context(request),
            "title": f"History of {record}",
            "opts": self.opts,
            "original": record,
            "timeline": timeline(record, limit=500),
        }
        return TemplateResponse(request, self.object_history_template, context)

    def suggest(self, request: HttpRequest) -> JsonResponse:
        """Names that begin with `q`, for the text fields that complete what is typed."""
        begun = {f"{self.suggest_field}__startswith": request.GET.get("q", "")}
        found = self.suggested().filter(**begun).order_by(self.suggest_field)
        return JsonResponse({"names": [*found.values_list(self.suggest_field, flat=True)[:SUGGESTIONS]]})

    def suggested(self) -> models.QuerySet:
        raise NotImplementedError
