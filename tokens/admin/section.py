from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.html import format_html

from osmo_portal.console import words
from osmo_portal.console.section import Section
from osmo_portal.events.actor import Actor, Door
from profiles.models import User
from tokens import rules
from tokens.admin.copies import in_words
from tokens.admin.filters import ExpiryFilter, KindFilter, OwnerFilter, RoleFilter, StateFilter, UseFilter
from tokens.admin.issue import Issue, NewAccount
from tokens.admin.lifecycle import Resume, Revoke, Rotate, Suspend
from tokens.admin.record import PANELS, all_pools
from tokens.models import AccessToken


@admin.register(AccessToken)
class AccessTokenSection(Section):
    list_display = (
        "title",
        "owner_link",
        "kind",
        "carried",
        "state",
        "expires",
        "used",
        "issuer",
    )
    list_filter = (StateFilter, ExpiryFilter, KindFilter, UseFilter, RoleFilter, OwnerFilter)
    search_fields = ("name__startswith", "owner__username__startswith")
    search_help_text = "The beginning of a token's name or of its owner's user id. Small and capital letters differ."
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
    list_changes = (Issue, NewAccount)
    record_changes = (Rotate, Suspend, Resume, Revoke)
    panels = PANELS

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        visible = rules.visible_tokens(Actor.signed_in(request, Door.ADMIN))
        return visible.with_state().select_related("created_by", "ended_by")

    def get_urls(self) -> list[URLPattern | URLResolver]:  # type: ignore[override]
        pools = self.admin_site.admin_view(self.access)
        return [path("<int:pk>/access/", pools, name=self.route("access")), *super().get_urls()]

    def access(self, request: HttpRequest, pk: int) -> HttpResponse:
        """What a token may do in all pools, or in those whose names begin with `pool`."""
        token = self.get_object(request, str(pk))
        if token is None:
            raise Http404
        context = {**self.admin_site.each_context(request), **all_pools(token, request.GET.get("pool", ""))}
        links = {"section_url": self.address("changelist"), "record": token, "back_url": self.record_address(pk)}
        title = f"What {token} may do"
        return TemplateResponse(request, "portal/access.html", {**context, **links, "title": title, "opts": self.opts})

    @admin.display(description="name")
    def title(self, token: AccessToken) -> str:
        return token.name

    @admin.display(description="owner")
    def owner_link(self, token: AccessToken) -> str:
        return user_link(token.owner)

    @admin.display(description="kind")
    def kind(self, token: AccessToken) -> str:
        return "service" if token.owner.is_service_account else "user"

    @admin.display(description="roles")
    def carried(self, token: AccessToken) -> str:
        return ", ".join(token.role_names) or words.badge("none left")

    @admin.display(description="state")
    def state(self, token: AccessToken) -> str:
        return words.badge(token.state())

    @admin.display(description="expires")
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


def user_link(user: User) -> str:
    kind = "serviceaccount" if user.is_service_account else "person"
    url = reverse(f"admin:profiles_{kind}_change", args=[user.pk])
    return format_html('<a href="{}">{}</a>', url, user)
