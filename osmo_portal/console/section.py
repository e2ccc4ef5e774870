"""A section of the console: the list of one kind of record, and a page about each of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import IGNORED_PARAMS, SEARCH_VAR, ChangeList
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse, QueryDict
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.text import capfirst

from osmo_portal.console import filters, paging
from osmo_portal.console.change import Change
from osmo_portal.console.listing import SECRETS, SectionList
from osmo_portal.console.timeline import page, timeline
from osmo_portal.events.actor import Actor, Door

SUGGESTIONS = 20
NOT_SEARCHED = (
    "That looks like a secret, so it was not searched. It has been in an address, which browsers and servers keep: "
    "if it is one, have its token rotated. Administrators and operators look secrets up in the list of access tokens."
)


@dataclass(frozen=True)
class Panel:
    """A part of a record's page, below its facts."""

    title: str
    template: str
    context: dict[str, Any] = field(default_factory=dict)


PanelMaker = Callable[[Any, Actor], Panel | None]  # None where it has nothing to say about the record


class Section(admin.ModelAdmin):
    """Django's ModelAdmin for reading: who may open the console sees every section, and edits and deletes nothing.

    Whatever changes something is a `Change`: a page of its own around one way in, with a button where it may be used.
    """

    door = Door.ADMIN
    list_changes: Sequence[type[Change]] = ()
    record_changes: Sequence[type[Change]] = ()
    panels: Sequence[PanelMaker] = ()
    suggest_field = ""
    empty_text = "There is nothing here yet."
    empty_when_narrowed = "Nothing fits all of this."

    actions = None
    list_per_page = 50
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    sortable_by: ClassVar[Any] = ()  # what has an index and no nulls
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

    # What the list shows.

    def narrowed(self, request: HttpRequest, specs: Sequence[Any], search: str) -> models.QuerySet:
        """What the filters and the search leave. Raises ValidationError for what they do not understand."""
        found = filters.narrowed(self.get_queryset(request), specs, request)
        return self.get_search_results(request, found, search)[0] if search else found

    def filtered(self, request: HttpRequest, params: QueryDict) -> models.QuerySet:
        """The records behind the query string of this section's list: all of its pages, in no order.

        Raises ValidationError for a parameter or a value that the list does not offer, so that what is done to the
        whole set is never done to another one.
        """
        values = {name: params.getlist(name) for name in params if name not in (*IGNORED_PARAMS, *paging.PARAMETERS)}
        specs = [offered(request, values, self.model, self) for offered in self.list_filter]
        if values:  # each filter took what is its own
            raise ValidationError(f"There is no filter “{min(values)[:100]}”.")
        return self.narrowed(request, specs, params.get(SEARCH_VAR, ""))

    def find_address(self, request: HttpRequest) -> str:
        """Where the search box is sent to by POST. Empty: to the list itself, by GET."""
        return ""

    def in_brief(self, found: models.QuerySet) -> models.QuerySet:
        """Those records with no more than the columns need of them."""
        return found

    def dressed(self, records: list[Any]) -> list[Any]:
        """The records of one page with what the columns need of them, fetched for all of them at once."""
        return records

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
        if (clean := _cleaned(request)) is not None:
            return HttpResponseRedirect(f"{request.path}?{clean.urlencode()}" if clean else request.path)
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
            "panels": [panel for make in self.panels if (panel := make(obj, by))],
            "timeline": timeline(obj) if obj else [],
        }
        return super().render_change_form(request, context, add, change, form_url, obj)

    def _buttons(
        self, changes: Sequence[type[Change]], by: Actor, record: models.Model | None = None
    ) -> list[dict[str, Any]]:
        """Those in red come last, wherever the change comes from."""
        args = [record.pk] if record else []
        buttons = [
            {"label": change.label, "url": self.address(change.slug, *args), "danger": change.danger}
            for change in changes
            if change.on_record and change.fits(record) and change.permits(by, record)
        ]
        return sorted(buttons, key=lambda button: bool(button["danger"]))

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The record's events in place of Django's log of the admin, which is not written."""
        record = self.get_object(request, unquote(object_id))
        if not self.has_view_permission(request, record):
            raise PermissionDenied
        if record is None:
            raise Http404
        shown = page(record, request.GET.get("before", ""))
        context = {
            **self.admin_site.each_context(request),
            "title": f"History of {record}",
            "opts": self.opts,
            "original": record,
            "timeline": shown.entries,
            "older": shown.older,
            "is_first": "before" not in request.GET,
        }
        return TemplateResponse(request, self.object_history_template, context)

    def suggest(self, request: HttpRequest) -> JsonResponse:
        """Names that begin with `q`, for the text fields that complete what is typed."""
        begun = {f"{self.suggest_field}__startswith": request.GET.get("q", "")}
        found = self.suggested().filter(**begun).order_by(self.suggest_field)
        return JsonResponse({"names": [*found.values_list(self.suggest_field, flat=True)[:SUGGESTIONS]]})

    def suggested(self) -> models.QuerySet:
        raise NotImplementedError


def _cleaned(request: HttpRequest) -> QueryDict | None:
    """The parameters without the fields that were left empty, and without a secret; None where they are clean."""
    clean = request.GET.copy()
    if SECRETS.search(clean.get(SEARCH_VAR, "")):
        del clean[SEARCH_VAR]
        messages.error(request, NOT_SEARCHED)
    for name in [name for name, value in clean.items() if not value]:
        del clean[name]
    return clean if clean != request.GET else None
