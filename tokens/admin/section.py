from datetime import datetime

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from osmo_portal.console import words
from osmo_portal.console.section import Panel, Section
from osmo_portal.events.actor import Actor, Door
from profiles.models import User
from tokens import rules
from tokens.admin.filters import (
    ExpiresFromFilter,
    ExpiresToFilter,
    ExpiryFilter,
    KindFilter,
    LifetimeFilter,
    OwnerFilter,
    PoolFilter,
    RoleFilter,
    StateFilter,
    UseFilter,
)
from tokens.admin.issue import Issue
from tokens.admin.lifecycle import Resume, Revoke, Rotate, Suspend
from tokens.models import AccessToken, Secret


def roles_panel(token: AccessToken, by: Actor) -> Panel:
    given = [role.assignment for role in token.roles.all()]
    return Panel("Roles", "portal/panels/token_roles.html", {"given": given, "token": token})


def secrets_panel(token: AccessToken, by: Actor) -> Panel:
    now = timezone.now()
    shown = [(secret, secret_state(secret, now)) for secret in token.secrets.defer("digest")]
    return Panel("Secrets", "portal/panels/secrets.html", {"secrets": shown})


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
    list_filter = (
        StateFilter,
        ExpiryFilter,
        ExpiresFromFilter,
        ExpiresToFilter,
        LifetimeFilter,
        KindFilter,
        UseFilter,
        RoleFilter,
        PoolFilter,
        OwnerFilter,
    )
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
        "ended",
    )
    readonly_fields = fields
    list_changes = (Issue,)
    record_changes = (Rotate, Suspend, Resume, Revoke)
    panels = (roles_panel, secrets_panel)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        visible = rules.visible_tokens(Actor.signed_in(request, Door.ADMIN))
        return visible.with_state().select_related("created_by", "ended_by")

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


def secret_state(secret: Secret, now: datetime) -> str:
    """What the secret itself is good for; the token's own state comes on top."""
    if not secret.is_live(now):
        return "retired"
    return "live" if secret.retires_at is None else "in its grace"
