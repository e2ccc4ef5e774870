"""The list of a section: narrowed by what the address says, a page at a time, and never counted whole."""

import re
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

from django.contrib.admin.templatetags.admin_list import result_headers
from django.contrib.admin.views.main import ORDER_VAR, SEARCH_VAR, ChangeList
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from osmo_portal.console import filters, paging, words

# No text of these shapes gets into an address: a secret, a part of one, a digest. Names may be long, but have dots.
SECRETS = re.compile(r"osmo_[0-9A-Za-z]|[0-9A-Za-z_-]{43}")
SHAPED_OTHERWISE = r"(?!.*osmo_[0-9A-Za-z])(?!.*[0-9A-Za-z_\-]{43}).*"  # the same for a browser


class SectionList(ChangeList):
    """Django's, with pages by key, and with words instead of a silent answer where the address asks for nonsense.

    It sorts by what `sortable_by` offers, also where an address asks for another column: few have an index. A filter
    may bring an order of its own (`ordering`), which holds until a column is chosen.
    """

    filter_specs: Any  # of SimpleListFilter, one and all
    model_admin: Any  # a Section

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet:
        asked = {name: self._take(name) for name in paging.PARAMETERS if name in self.params}
        self.filter_specs, self.has_filters, _, _, self.has_active_filters = self.get_filters(request)
        self.clear_all_filters_qs = self.get_query_string(remove=[*self.get_filters_params(), SEARCH_VAR])
        self.faults: list[str] = []
        self.place = paging.Place()
        try:
            self.place = paging.Place.asked(asked)
            found = self.model_admin.narrowed(request, self.filter_specs, self.query)
        except ValidationError as error:
            self.faults, found = error.messages, self.root_queryset.none()
        self.order = paging.Order.of(self.get_ordering(request, found)[0])
        return found if found.query.select_related else self.apply_select_related(found)

    def _take(self, name: str) -> str:
        """A parameter that says which page: no link of the list carries it on."""
        self.filter_params.pop(name)
        return str(self.params.pop(name))

    def get_results(self, request: HttpRequest) -> None:
        try:
            page = paging.page(self.model_admin.in_brief(self.queryset), self.order, self.place, self.list_per_page)
        except ValidationError as error:
            self.faults += error.messages
            page = paging.Page([], has_previous=False, has_next=False)
        self.result_list = self.model_admin.dressed(page.records)
        self.find_url = self.model_admin.find_address(request)
        self.has_previous, self.has_next = page.has_previous, page.has_next
        self.result_count = paging.counted(self.queryset)
        self.show_full_result_count = self.can_show_all = self.multi_page = False
        self.full_result_count, self.show_admin_actions = None, False

    # Sorting.

    def get_ordering_field(self, field_name: Any) -> Any:
        return super().get_ordering_field(field_name) if field_name in (self.sortable_by or ()) else None

    def get_ordering(self, request: HttpRequest, queryset: QuerySet) -> list[Any]:
        if self.params.get(ORDER_VAR):
            return super().get_ordering(request, queryset)[:1]
        brought = [spec.ordering for spec in self.filter_specs if spec.value() and getattr(spec, "ordering", "")]
        default = [_with_pk(name, self.opts.pk.name) for name in self.opts.ordering or ()]
        return [*brought, *default, "-pk"][:1]

    def get_ordering_field_columns(self) -> dict[int, Any]:
        columns = [i for i, name in enumerate(self.list_display) if self.get_ordering_field(name) == self.order.field]
        return dict.fromkeys(columns[:1], "desc" if self.order.descending else "asc")

    # What the templates ask.

    harmless = SHAPED_OTHERWISE

    @property
    def headers(self) -> list[dict[str, Any]]:
        return [*result_headers(self)]

    @property
    def rows(self) -> Iterator[SafeString]:
        """The cells of each record. Django's own tag took half of the page to ask of every cell what kind it is."""
        section, fields = self.opts.label_lower.replace(".", "_"), {field.name for field in self.opts.get_fields()}
        first, *others = names = [*map(str, self.list_display)]
        shown = [attrgetter(name) if name in fields else getattr(self.model_admin, name) for name in names]
        for record in self.result_list:
            title, *values = [show(record) for show in shown]
            head = format_html('<th class="field-{}">{}</th>', first, words.link(section, record.pk, title))
            cells = [words.NOTHING if value in (None, "") else value for value in values]
            yield head + format_html_join("", '<td class="field-{}">{}</td>', zip(others, cells, strict=True))

    @property
    def empty_text(self) -> str:
        return str(self.model_admin.empty_text)

    @property
    def empty_when_narrowed(self) -> str:
        return str(self.model_admin.empty_when_narrowed)

    @property
    def filter_fields(self) -> list[dict[str, Any]]:
        return [filters.field(spec) for spec in self.filter_specs]

    @property
    def kept(self) -> dict[str, str]:
        """What the filter form carries on beside its own fields."""
        own = {spec.parameter_name for spec in self.filter_specs}
        return {name: value for name, value in self.params.items() if name not in own}

    @property
    def chips(self) -> list[dict[str, str]]:
        """What narrows the list, each with the address of the list without it."""
        active = [(filters.in_words(spec), spec.parameter_name) for spec in self.filter_specs if spec.value()]
        if self.query:
            active.append((f"Search: {self.query}", SEARCH_VAR))
        return [{"words": words, "without": self._without(name)} for words, name in active]

    def _without(self, name: str) -> str:
        kept = self.filter_params.copy()
        kept.pop(name, None)
        return self.get_query_string(kept, remove=[*self.filter_params])

    @property
    def how_many(self) -> str:
        if self.result_count > paging.COUNTED:
            return f"More than {paging.COUNTED:,} {self.opts.verbose_name_plural}"
        name = self.opts.verbose_name if self.result_count == 1 else self.opts.verbose_name_plural
        return f"{self.result_count:,} {name}"

    @property
    def pages(self) -> list[dict[str, str]]:
        """The neighbouring pages, and the first and the last."""
        pages = []
        if self.has_previous:
            pages += [self._page("First"), self._page("Previous", paging.BEFORE, self.result_list[:1])]
        if self.has_next:
            pages += [self._page("Next", paging.AFTER, self.result_list[-1:]), self._page("Last", paging.LAST)]
        return [page for page in pages if page["url"]]

    def _page(self, label: str, side: str = "", beside: list[Any] | None = None) -> dict[str, str]:
        if side in (paging.AFTER, paging.BEFORE) and not beside:
            return {"label": label, "url": ""}
        return {"label": label, "url": self.get_query_string({side: beside[0].pk if beside else 1} if side else {})}


def _with_pk(name: str, pk: str) -> str:
    return name.replace(pk, "pk") if name.removeprefix("-") == pk else name
