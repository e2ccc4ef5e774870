"""One action on all tokens behind a list: looked at, then done to exactly those in batches, then reported."""

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, JsonResponse, QueryDict
from django.shortcuts import render
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html

from osmo_portal.console import recent, words
from osmo_portal.console.change import Change, ReasonForm
from osmo_portal.console.filters import ListFilter
from osmo_portal.console.section import Panel, Section
from osmo_portal.events.actor import Actor
from profiles.admin.fields import PersonField
from profiles.models import User
from tokens import secrets
from tokens.models import AccessToken, BulkOperation
from tokens.models.bulk_operation import LEFT_ALONE, Action, Stage
from tokens.models.token_set import AccessTokenQuerySet

SEARCH = "q"
NO_FILTERS = {"o", "p", "e", "all", "after", "before", "last", "do"}  # order, page, action: they choose no tokens
BIG = 100  # from here on the number of tokens has to be typed
SLICE = 1.5  # seconds that one request works before it says how far it is
JSON = "application/json"
WHAT_HAPPENS = {
    Action.EXPIRE: "They stop working at that instant, for good. A token that ends earlier keeps its end.",
    Action.REVOKE: "The portal refuses them at once and for ever. The records stay; their names are free again.",
    Action.SUSPEND: "They stop working at once, until somebody resumes them.",
    Action.RESUME: "They work again at once, with the secrets that they have.",
    Action.HAND_OVER: "The service accounts that own them get another accountable person. No right changes.",
}


# Which tokens.


def read_filters(section: Section, query: QueryDict) -> dict[str, str]:
    """The filters of a list's address, by name. What is not understood is refused: left out, it would widen the set."""
    known, filters = _known(section), {}
    for name, values in query.lists():
        if name in NO_FILTERS:
            continue
        if name not in known:
            raise ValidationError(f"There is no filter “{name[:100]}”.")
        if len(values) != 1 or not any(c.isalnum() for c in values[0]):
            raise ValidationError(f"The filter “{name}” must have one value.")
        if secrets.PREFIX in values[0]:
            raise ValidationError("A secret does not belong into an address. Search for it on the list's page.")
        filters[name] = values[0]
    return filters


def _known(section: Section) -> set[str]:
    return {SEARCH, *(offered.parameter_name for offered in section.list_filter)}


def chosen(section: Section, request: HttpRequest, filters: dict[str, str]) -> AccessTokenQuerySet:
    """The tokens that the list shows with these filters. Raises ValidationError for what a filter does not offer."""
    return section.filtered(request, QueryDict(urlencode(filters)))  # type: ignore[return-value]


def _said(section: Section, filters: dict[str, str]) -> list[str]:
    titles = {SEARCH: "search", **{offered.parameter_name: offered.title for offered in section.list_filter}}
    if not filters:
        return ["none: all tokens that are not revoked"]
    return [f"{titles.get(name, name)}: {value}" for name, value in filters.items()]


def list_address(section: Section, filters: dict[str, str]) -> str:
    return f"{section.address('changelist')}?{urlencode(filters)}"


def offer(section: Section, request: HttpRequest, by: Actor) -> dict[str, Any]:
    """What the list needs to offer an action on all that it shows; no action to whoever may do nothing with sets."""
    carried = [(name, value) for name, values in request.GET.lists() for value in values if name not in NO_FILTERS]
    return {
        "url": section.address(Preview.slug),
        "carried": carried,
        "actions": actions(by) if Preview.permits(by, None) else [],
        "past_url": operations(section).address("changelist"),
    }


def actions(by: Actor) -> list[tuple[str, str]]:
    return [(a.value, a.label) for a in Action if a != Action.HAND_OVER or by.is_administrator]


# Looking: the page that the list leads to.


class InstantField(forms.DateTimeField):
    def __init__(self, **kwargs: Any) -> None:
        shape = "%Y-%m-%dT%H:%M"
        widget = forms.DateTimeInput(format=shape, attrs={"type": "datetime-local"})
        errors = {"invalid": "Write the instant as YYYY-MM-DDTHH:MM, for example 2026-01-31T18:00."}
        super().__init__(widget=widget, input_formats=[shape, f"{shape}:%S"], error_messages=errors, **kwargs)

    def clean(self, value: Any) -> Any:
        instant = super().clean(value)
        if instant is not None and instant <= timezone.now():
            raise ValidationError("This instant is over. Leave it empty to end them at once.")
        return instant


class PreviewForm(forms.Form):
    do = forms.ChoiceField(label="What to do with them", widget=forms.RadioSelect)
    at = InstantField(label="End at", required=False, help_text="In UTC. Empty: at once.")
    accountable = PersonField(label="Accountable from now on", required=False, help_text="A user id.")

    def __init__(self, *args: Any, by: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["do"].choices = actions(by)  # type: ignore[attr-defined]


class Preview(Change):
    slug, label, on_record = "bulk", "With all filtered tokens", False
    submit = "Preview the set"
    template_name = "portal/bulk.html"
    form_class = PreviewForm
    explanation = (
        "Nothing happens yet. The next page shows how many tokens these filters find, and whose they are.",
        "That somebody looked is kept in the events.",
    )

    filters: dict[str, str]

    @classmethod
    def permits(cls, by: Actor, record: Any) -> bool:
        return by.is_administrator or by.is_operator

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return super().dispatch(request, *args, **kwargs)
        except ValidationError as error:
            return self._refuse(error)

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        self._read()
        return super().get(request, *args, **kwargs)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        self._read()
        return super().post(request, *args, **kwargs)

    def _read(self) -> None:
        self.filters = read_filters(self.section, self.request.GET)
        self.tokens = chosen(self.section, self.request, self.filters)

    def _refuse(self, error: ValidationError) -> HttpResponse:
        message = " ".join([*error.messages, "Nothing was looked at or changed. Choose the filters in the list."])
        return render(self.request, "portal/error.html", {"status": 400, "message": message}, status=400)

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "by": self.by}

    def get_initial(self) -> dict[str, Any]:
        return {"do": self.request.GET.get("do")}

    def perform(self, do: str, at: datetime | None, accountable: User | None) -> BulkOperation:
        return BulkOperation.preview(
            self.tokens,
            by=self.by,
            action=do,
            filters=self.filters,
            at=at if do == Action.EXPIRE else None,
            accountable=accountable if do == Action.HAND_OVER else None,
        )

    def answer(self, outcome: BulkOperation) -> HttpResponse:
        return HttpResponseRedirect(operations(self.section).address(Execute.slug, outcome.pk))

    def get_success_url(self) -> str:
        return list_address(self.section, getattr(self, "filters", {}))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        said = _said(self.section, self.filters)
        return super().get_context_data(**{"filters": said, "list_url": self.get_success_url(), **kwargs})


# Doing: what a look leads to.


class ExecuteForm(ReasonForm):
    digest = forms.CharField(widget=forms.HiddenInput, max_length=64)
    count = forms.CharField(
        label="Number of tokens", max_length=20, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )

    field_order = ["digest", "reason", "count"]

    def __init__(self, *args: Any, operation: BulkOperation, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.operation = operation
        if operation.count < BIG and operation.filters:
            del self.fields["count"]
        else:
            self.fields["count"].help_text = f"This is a large set. Type {operation.count} to say that you mean it."

    def clean_count(self) -> None:
        typed = "".join(c for c in self.cleaned_data["count"] if c.isdigit())
        if typed != str(self.operation.count):
            raise ValidationError(
                f"The set has {self.operation.count} tokens. Look again whether these are the right ones."
            )


class Execute(Change):
    slug, label = "execute", "Execute"
    heading, danger = "{}", True
    template_name = "portal/bulk_preview.html"
    form_class = ExecuteForm

    @classmethod
    def permits(cls, by: Actor, record: BulkOperation) -> bool:
        return record.may_run(by) and by.user == record.created_by

    @classmethod
    def fits(cls, record: BulkOperation) -> bool:
        return record.stage == Stage.PREVIEWED

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Asks now already: a reason that was typed would be lost on the way through the sign-in."""
        return recent.ask(request) or super().get(request, *args, **kwargs)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return recent.ask(request) or super().post(request, *args, **kwargs)

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "operation": self.record}

    def get_initial(self) -> dict[str, Any]:
        return {"digest": self.record.digest}

    def perform(self, digest: str, reason: str, count: None = None) -> BulkOperation:
        tokens = chosen(tokens_section(self.section), self.request, self.record.filters)
        self.record.start(tokens, by=self.by, digest=digest, reason=reason)
        return self.record  # type: ignore[no-any-return]

    def answer(self, outcome: BulkOperation) -> HttpResponse:
        return HttpResponseRedirect(self.get_success_url())

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        operation, tokens = self.record, tokens_section(self.section)
        context = {
            "operation": operation,
            "set": seen(operation),
            "account_count": operation.seen.get("account_count", 0),
            "submit": f"{operation.get_action_display()}: {operation.affected:,} of {operation.count:,}",
            "filters": _said(tokens, operation.filters),
            "what_happens": WHAT_HAPPENS[operation.action],
            "left_alone": LEFT_ALONE[operation.action],
            "unaffected": operation.count - operation.affected,
            "list_url": list_address(tokens, operation.filters),
            "again_url": f"{tokens.address(Preview.slug)}?{urlencode(operation.filters)}",
            "danger": operation.action not in (Action.RESUME, Action.HAND_OVER),
        }
        return super().get_context_data(**{**context, **kwargs})


class Continue(Change):
    """Works for a moment, and says how far it is: to a browser with the operation's page, to its script in JSON."""

    slug, label, on_record = "continue", "Continue", False
    explanation = ("The operation goes on with the tokens that it has not handled yet.",)

    @classmethod
    def permits(cls, by: Actor, record: BulkOperation) -> bool:
        return record.may_run(by)

    @classmethod
    def fits(cls, record: BulkOperation) -> bool:
        return record.stage == Stage.RUNNING

    def perform(self) -> BulkOperation:
        self.record.run(by=self.by, seconds=SLICE)
        return self.record  # type: ignore[no-any-return]

    def answer(self, outcome: BulkOperation) -> HttpResponse:
        if self.request.headers.get("accept") != JSON:
            return HttpResponseRedirect(self.get_success_url())
        return JsonResponse(
            {"handled": outcome.handled, "count": outcome.count, "going_on": outcome.stage == Stage.RUNNING}
        )


class Stop(Change):
    slug, label, heading, danger = "stop", "Stop", "Stop “{}”", True
    form_class = ReasonForm
    explanation = ("What was done stays done. It leaves the tokens that it has not handled yet as they are, for good.",)

    @classmethod
    def permits(cls, by: Actor, record: BulkOperation) -> bool:
        return record.may_run(by)

    @classmethod
    def fits(cls, record: BulkOperation) -> bool:
        return record.stage == Stage.RUNNING

    def perform(self, reason: str) -> str:
        self.record.stop(by=self.by, reason=reason)
        return f"Stopped. {self.record.remaining:,} tokens were not handled."


# The operations themselves: how far they are, and what came of them.


def seen(operation: BulkOperation) -> dict[str, Any]:
    """What the preview kept of the set."""
    sample = [{**one, "expires_at": parse_datetime(one["expires_at"])} for one in operation.seen.get("sample", ())]
    return {**operation.seen, "sample": sample}


def progress_panel(operation: BulkOperation, by: Actor) -> Panel:
    titles = {Stage.PREVIEWED: "Not begun", Stage.RUNNING: "Progress"}
    left_alone = LEFT_ALONE[Action(operation.action)]
    context = {"operation": operation, "may_run": operation.may_run(by), "left_alone": left_alone}
    return Panel(titles.get(Stage(operation.stage), "Report"), "portal/panels/bulk_progress.html", context)


def set_panel(operation: BulkOperation, by: Actor) -> Panel:
    return Panel("The set, as the preview saw it", "portal/panels/bulk_set.html", seen(operation))


class StageFilter(ListFilter):
    everything = "all that were begun"
    title = "stage"
    parameter_name = "stage"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [(stage.value, stage.label.lower()) for stage in Stage]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() in Stage.values:
            return queryset.filter(stage=self.value())
        return queryset.exclude(stage=Stage.PREVIEWED)


@admin.register(BulkOperation)
class BulkOperationSection(Section):
    list_display = ("what", "by_filters", "handled_of", "who", "began", "stage_badge")
    list_filter = (StageFilter,)
    list_select_related = ("created_by",)
    fields = (
        "stage_badge",
        "ends",
        "to",
        "by_filters",
        "fingerprint",
        "who",
        "why",
        "previewed",
        "began",
        "ended",
    )
    readonly_fields = fields
    record_changes = (Execute, Continue, Stop)
    panels = (progress_panel, set_panel)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return False  # no section of its own in the navigation: the token list leads here

    @admin.display(description="what")
    def what(self, operation: BulkOperation) -> str:
        return str(operation)

    @admin.display(description="filters")
    def by_filters(self, operation: BulkOperation) -> str:
        """A link where they are the list's own; the command has others."""
        tokens, said = tokens_section(self), ", ".join(_said(tokens_section(self), operation.filters))
        if not {*operation.filters} <= _known(tokens):
            return said
        return format_html('<a href="{}">{}</a>', list_address(tokens, operation.filters), said)

    @admin.display(description="done")
    def handled_of(self, operation: BulkOperation) -> str:
        return f"{operation.handled:,} of {operation.count:,}"

    @admin.display(description="who")
    def who(self, operation: BulkOperation) -> str:
        return str(operation.created_by or "the shell")

    @admin.display(description="reason")
    def why(self, operation: BulkOperation) -> str:
        return operation.reason or words.NOTHING

    @admin.display(description="end at")
    def ends(self, operation: BulkOperation) -> str:
        return words.stamp(operation.at if operation.action == Action.EXPIRE else None)

    @admin.display(description="accountable person")
    def to(self, operation: BulkOperation) -> str:
        return str(operation.accountable or words.NOTHING)

    @admin.display(description="digest of the set")
    def fingerprint(self, operation: BulkOperation) -> str:
        return format_html("<code>{}</code>", operation.digest)

    @admin.display(description="previewed")
    def previewed(self, operation: BulkOperation) -> str:
        return words.stamp(operation.previewed_at)

    @admin.display(description="began")
    def began(self, operation: BulkOperation) -> str:
        return words.stamp_and_distance(operation.started_at)

    @admin.display(description="ended")
    def ended(self, operation: BulkOperation) -> str:
        return words.stamp_and_distance(operation.finished_at)

    @admin.display(description="stage")
    def stage_badge(self, operation: BulkOperation) -> str:
        return words.badge(operation.get_stage_display().lower())


def operations(section: Section) -> "BulkOperationSection":
    """The section beside `section` in which the operations are."""
    return section.admin_site.get_model_admin(BulkOperation)  # type: ignore[return-value]


def tokens_section(section: Section) -> Section:
    return section.admin_site.get_model_admin(AccessToken)  # type: ignore[return-value]
