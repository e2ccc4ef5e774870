from datetime import datetime
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.html import format_html

from osmo_portal.console import words
from osmo_portal.console.section import Section
from osmo_portal.events.actor import Actor, Door
from profiles.models import User
from tokens import rules
from tokens.admin import bulk
from tokens.admin.copies import in_words
from tokens.admin.export import Export
from tokens.admin.filters import FILTERS
from tokens.admin.find_secret import FindSecret
from tokens.admin.issue import Issue, NewAccount
from tokens.admin.lifecycle import Resume, Revoke, Rotate, Suspend
from tokens.admin.record import PANELS, all_pools
from tokens.models import AccessToken
from tokens.models.token_set import State
from tokens.pools_reached import pools_reached
from tokens.search import HELP, search

POOLS_NAMED = 3
HELP_FOR_AUDITORS = f"{HELP} Not for secrets: an administrator or operator can look one up."


@admin.register(AccessToken)
class AccessTokenSection(Section):
    list_display = ("title", "state", "owner_link", "carried", "pools", "expires", "used", "issue")
    sortable_by: ClassVar[Any] = ("title", "expires", "issue")
    list_filter = FILTERS
    search_fields = ("name", "description", "owner__username")  # as tokens.search understands them
    search_help_text = f"{HELP} Or paste a secret, or its SHA-256: it is looked up and gets into no address."
    empty_text = "There is no token yet. Issue one to a service account."
    empty_when_narrowed = "No token fits all of this."
    fields = (
        "owner_link",
        "kind",
        "description",
        "state",
        "expires",
        "used",
        "last_address",
        "issued",
        "issuer",
        "rotations",
        "suspended",
        "ended",
        "offline_copies",
    )
    readonly_fields = fields
    list_changes = (Issue, NewAccount, bulk.Preview)
    record_changes = (Rotate, Suspend, Resume, Revoke)
    panels = PANELS

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        visible = rules.visible_tokens(Actor.signed_in(request, Door.ADMIN))
        return visible.with_state().select_related("created_by", "ended_by")

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[QuerySet, bool]:
        return search(queryset, search_term), False

    def get_urls(self) -> list[Any]:
        find = path("find/", self.admin_site.admin_view(FindSecret.as_view(section=self)), name=self.route("find"))
        export = path("export/", self.admin_site.admin_view(Export.as_view(section=self)), name=self.route("export"))
        pools = path("<int:pk>/access/", self.admin_site.admin_view(self.access), name=self.route("access"))
        return [find, export, pools, *super().get_urls()]

    def access(self, request: HttpRequest, pk: int) -> HttpResponse:
        """What a token may do in all pools, or in those whose names begin with `pool`."""
        token = self.get_object(request, str(pk))
        if token is None:
            raise Http404
        context = {**self.admin_site.each_context(request), **all_pools(token, request.GET.get("pool", ""))}
        links = {"section_url": self.address("changelist"), "record": token, "back_url": self.record_address(pk)}
        title = f"What {token} may do"
        return TemplateResponse(request, "portal/access.html", {**context, **links, "title": title, "opts": self.opts})

    def find_address(self, request: HttpRequest) -> str:
        """Not for an auditor, who sends nothing by POST."""
        return "" if Actor.signed_in(request, Door.ADMIN).changes_nothing else self.address("find")

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changelist = super().get_changelist_instance(request)
        if not self.find_address(request):
            changelist.search_help_text = HELP_FOR_AUDITORS
        return changelist

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        by = Actor.signed_in(request, Door.ADMIN)
        context = {
            "export_url": "" if by.changes_nothing else self.address("export"),
            "bulk": bulk.offer(self, request, by),
        }
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def in_brief(self, found: Any) -> QuerySet:
        brief: QuerySet = found.in_brief()
        return brief

    def dressed(self, records: list[Any]) -> list[Any]:
        reached = pools_reached(token for token in records if token.ended_at is None)
        for token in records:
            token.pools = reached.get(token.pk, [])
        return records

    @admin.display(description="name", ordering="name")
    def title(self, token: AccessToken) -> str:
        return token.name

    @admin.display(description="owner")
    def owner_link(self, token: AccessToken) -> str:
        return user_link(token.owner)

    @admin.display(description="pools reached")
    def pools(self, token: AccessToken) -> str:
        if token.state() in (State.EXPIRED, State.REVOKED):
            return words.NOTHING
        return shortened(token.pools) or "none"  # type: ignore[attr-defined]

    @admin.display(description="issued by", ordering="issued_at")
    def issue(self, token: AccessToken) -> str:
        return format_html("{} {}", self.issuer(token), quiet_day(token.created_at))

    @admin.display(description="kind")
    def kind(self, token: AccessToken) -> str:
        return "service" if token.owner.is_service_account else "user"

    @admin.display(description="roles")
    def carried(self, token: AccessToken) -> str:
        return ", ".join(token.role_names) or words.badge("none left")

    @admin.display(description="state")
    def state(self, token: AccessToken) -> str:
        return words.badge(token.state())

    @admin.display(description="expires", ordering="expires_at")
    def expires(self, token: AccessToken) -> str:
        return words.stamp_and_distance(token.expires_at)

    @admin.display(description="last used")
    def used(self, token: AccessToken) -> str:
        return words.stamp_and_distance(token.last_use.at) if token.last_use.at else "never"

    @admin.display(description="last used from")
    def last_address(self, token: AccessToken) -> str:
        return " · ".join(filter(None, [token.last_use.ip, token.last_use.agent])) or words.NOTHING

    @admin.display(description="issued")
    def issued(self, token: AccessToken) -> str:
        return words.stamp_and_distance(token.created_at)

    @admin.display(description="issued by")
    def issuer(self, token: AccessToken) -> str:
        return user_link(token.created_by) if token.created_by else words.NOTHING

    @admin.display(description="suspended")
    def suspended(self, token: AccessToken) -> str:
        return words.stamp_and_distance(token.suspended_at)

    @admin.display(description="offline copies of its JWT")
    def offline_copies(self, token: AccessToken) -> str:
        stopped = token.suspended_at or token.ended_at
        return in_words(token) if stopped else words.NOTHING

    @admin.display(description="ended")
    def ended(self, token: AccessToken) -> str:
        if token.ended_at is None:
            return words.NOTHING
        who = token.ended_by or "the shell"
        return format_html("{} by {}: {}", words.stamp(token.ended_at), who, token.end_reason)


def shortened(pools: list[str]) -> str:
    """The first names, and how many more there are."""
    more = f" +{len(pools) - POOLS_NAMED}" if len(pools) > POOLS_NAMED else ""
    return ", ".join(pools[:POOLS_NAMED]) + more


def quiet_day(when: datetime | None) -> str:
    return format_html('<span class="quiet distance">{}</span>', f"{when:%Y-%m-%d}") if when else ""


def user_link(user: User) -> str:
    kind = "serviceaccount" if user.is_service_account else "person"
    return words.link(f"profiles_{kind}", user.pk, user)
