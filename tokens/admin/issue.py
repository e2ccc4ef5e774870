"""Issuing a service token. The owner comes first, because the roles on offer depend on it."""

from datetime import date
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from osmo_portal.console.change import Change
from osmo_portal.events.actor import Actor
from profiles.admin.fields import ServiceAccountField
from profiles.models import Role
from profiles.names import MAX_LENGTH, MAX_TEXT
from tokens import rules
from tokens.admin.fields import DayField
from tokens.admin.shown_once import show_secret
from tokens.models import AccessToken

SENT_TWICE = (
    "If that was you a moment ago: the secret was shown once and is not shown again. "
    "Rotate that token to get a new secret, or choose another name."
)


class OwnerForm(forms.Form):
    owner = ServiceAccountField(
        label="Service account", help_text="The user id of the account that the program acts as."
    )


class IssueForm(forms.Form):
    name = forms.CharField(
        label="Token name",
        max_length=MAX_LENGTH,
        help_text="Unique among the account's tokens. Letters, digits, _ and -.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}),
    )
    roles = forms.MultipleChoiceField(
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one role: a service token without roles could do nothing."},
    )
    expires_at = DayField(label="Expires", help_text="The token is dead from 00:00 UTC of this day.")
    description = forms.CharField(
        max_length=MAX_TEXT, required=False, help_text="Where it is used. Seen by everybody who sees the token."
    )

    def __init__(self, *args: Any, offered: list[Role], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["roles"].choices = [(role.name, role) for role in offered]  # type: ignore[attr-defined]


class Issue(Change):
    slug, label = "issue", "Issue a service token"
    heading = "Issue a service token"
    template_name = "portal/issue.html"
    form_class = IssueForm

    owner: Any = None  # the service account, once it is chosen

    @classmethod
    def permits(cls, by: Actor, record: Any) -> bool:
        return rules.may_issue_service_tokens(by)

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        self.choice = OwnerForm(request.GET if "owner" in request.GET else None)
        self.owner = self.choice.cleaned_data["owner"] if self.choice.is_valid() else None
        return super().dispatch(request, *args, **kwargs)

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "offered": self.offered()}

    def offered(self) -> list[Role]:
        return list(rules.grantable_roles(owner=self.owner, by=self.by)) if self.owner else []

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if self.owner is None:
            return self.get(request, *args, **kwargs)
        return super().post(request, *args, **kwargs)

    def perform(self, *, expires_at: date, **fields: Any) -> AccessToken:
        try:
            return AccessToken.issue(by=self.by, owner=self.owner, expires=expires_at, **fields)
        except ValidationError as error:
            raise self._with_advice(error, fields["name"]) from None

    def _with_advice(self, error: ValidationError, name: str) -> ValidationError:
        """A page that was sent twice ends here: the name is taken, by the token of the first time."""
        taken = AccessToken.objects.listed().filter(owner=self.owner, name=name).exists()
        if taken and "name" in getattr(error, "error_dict", {}):
            return ValidationError({"name": [*error.messages, SENT_TWICE]})
        return error

    def answer(self, outcome: AccessToken) -> HttpResponse:
        return show_secret(self, outcome, f"{outcome} is issued")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        offered = self.offered()
        held_back = sorted(set(self.owner.held_role_names) - {role.name for role in offered}) if self.owner else []
        context = {
            "owner": self.owner,
            "choice": self.choice,
            "held_back": held_back,
            "offered": offered,
            "may_add_account": self.by.is_administrator,
            "new_account_url": reverse("admin:profiles_serviceaccount_new"),
            "today": timezone.now().date(),
            "presets": [days for days in (7, 30, 90) if days < settings.MAX_TOKEN_DAYS],
            "portal_days": settings.MAX_TOKEN_DAYS,
        }
        return super().get_context_data(**{**context, **kwargs})
