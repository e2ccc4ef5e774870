"""Issuing a service token. The owner comes first, because the roles on offer depend on it."""

from datetime import date, timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.http import urlencode

from osmo_portal.console.change import Change
from osmo_portal.events.actor import Actor
from profiles.admin.fields import ServiceAccountField
from profiles.admin.service_accounts import AddServiceAccount, AddServiceAccountForm
from profiles.models import Role
from profiles.names import MAX_LENGTH, MAX_TEXT, token_name
from profiles.rules import DEFAULT_ROLE
from tokens import rules
from tokens.admin.fields import DayField
from tokens.admin.shown_once import show_secret
from tokens.admin.summary import Summary
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
        validators=[token_name],
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
        first = timezone.now().date() + timedelta(days=1)
        bounds = {"min": first.isoformat(), "max": rules.latest_expiry([]).isoformat()}
        self.fields["expires_at"].widget.attrs |= bounds


class Issue(Change):
    slug, label = "issue", "Issue a service token"
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
        return self._offered

    @cached_property
    def _offered(self) -> list[Role]:
        return list(rules.grantable_roles(owner=self.owner, by=self.by)) if self.owner else []

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """The page; with `summary`, the part of it that tells what the roles come to, for the script."""
        if self.owner and "summary" in request.GET:
            return render(request, "portal/summary.html", {"summary": self.summary(request.GET)})
        return super().get(request, *args, **kwargs)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if self.owner is None:
            return self.get(request, *args, **kwargs)
        if "look" in request.POST:
            return self.look(request.POST)
        return super().post(request, *args, **kwargs)

    def look(self, typed: QueryDict) -> HttpResponse:
        """The page once more with what was typed, unchecked, and with the summary: for browsers without scripts."""
        initial = {**typed.dict(), "roles": typed.getlist("roles")}
        form = IssueForm(initial=initial, offered=self.offered())
        return self.render_to_response(self.get_context_data(form=form, summary=self.summary(typed)))

    def summary(self, typed: QueryDict) -> Summary:
        chosen = [role for role in self.offered() if role.name in typed.getlist("roles")]
        return Summary.of(self.owner, chosen, typed.get("expires_at", ""), by=self.by)

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
            "new_account_url": self.section.address(NewAccount.slug) if self.by.is_administrator else "",
            "today": timezone.now().date(),
            "presets": [days for days in (7, 30, 90) if days < settings.MAX_TOKEN_DAYS],
            "portal_days": settings.MAX_TOKEN_DAYS,
        }
        if self.owner and "summary" not in kwargs:
            context["summary"] = self.summary(self.request.POST)
        return super().get_context_data(**{**context, **kwargs})


class NewAccountForm(AddServiceAccountForm):
    """Without roles, the token that the account is made for could not be issued."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = Role.objects.existing().exclude(name=DEFAULT_ROLE)
        roles: Any = self.fields["roles"]
        roles.choices = [(role.name, role) for role in known]
        roles.required = True
        roles.error_messages["required"] = "Choose at least one role: a token carries roles of its account."


class NewAccount(AddServiceAccount):
    """A service account on the way to its first token: it leads to the page that issues it."""

    slug, on_record = "new-account", False
    label = heading = "New service account"
    submit = "Make the account and go on"
    template_name = "portal/new_account.html"
    form_class = NewAccountForm

    def get_initial(self) -> dict[str, Any]:
        return {**super().get_initial(), "username": self.request.GET.get("username", "")}

    def perform(self, **fields: Any) -> str:
        super().perform(**fields)
        return f"{self.record} is here. Now the token: what it may do, and until when."

    def get_success_url(self) -> str:
        page = self.section.address(Issue.slug)
        return f"{page}?{urlencode({'owner': self.record.username})}" if self.record else page

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**{"portal_days": settings.MAX_TOKEN_DAYS, **kwargs})
