from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest


class ListFilter(admin.SimpleListFilter):
    """A filter that, without a choice, leaves something out, and says so in `everything`."""

    everything = "all"

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        first, *rest = super().choices(changelist)
        return iter([{**first, "display": self.everything}, *rest])


class TypedFilter(admin.SimpleListFilter):
    """A filter with a text field, for what has too many values to list. `suggest` names the route that completes it."""

    template = "portal/filter_typed.html"
    parameter_name: str
    control = "text"
    suggest = ""
    placeholder = ""

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [("", "")]  # Django leaves out a filter that offers nothing

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        others = [(key, value) for key, value in changelist.params.items() if key != self.parameter_name]
        yield {
            "name": self.parameter_name,
            "typed": self.value() or "",
            "others": others,
            "suggest": self.suggest,
            "control": self.control,
            "placeholder": self.placeholder,
            "without": changelist.get_query_string(remove=[self.parameter_name]),
        }

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        typed = (self.value() or "").strip()
        return self.narrow(queryset, typed) if typed else queryset

    def narrow(self, queryset: Any, typed: str) -> Any:
        raise NotImplementedError
