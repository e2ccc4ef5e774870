"""A person issues a token for the own use. It carries osmo-user and nothing else, so no role is chosen."""

from datetime import date
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.utils import timezone

from osmo_portal.console.change import Change
from osmo_portal.events.actor import Actor
from profiles.names import MAX_LENGTH, MAX_TEXT
from tokens import rules
from tokens.admin.fields import DayField
from tokens.admin.issue import SENT_TWICE
from tokens.admin.shown_once import show_secret
from tokens.models import AccessToken

PRESETS = (7, 30, 90)


class IssueMineForm(forms.Form):
    name = forms.CharField(
        label="Token name",
        max_length=MAX_LENGTH,
        help_text="Where you will use it, for example laptop. Letters, digits, _ and -.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}),
    )
    expires_at = DayField(label="Expires", help_text="The token is dead from 00:00 UTC of this day.")
    description = forms.CharField(max_length=MAX_TEXT, required=False, help_text="A note to yourself.")


class IssueMine(Change):
    slug, label, submit = "new", "Issue a user token", "Issue the token"
    template_name = "me/issue.html"
    form_class = IssueMineForm
    explanation = (
        "The command line and the API act as you with it.",
        "It gives no pool access: no submit, exec or port-forward. For that ask an administrator for a service token.",
    )

    @classmethod
    def permits(cls, by: Actor, record: Any) -> bool:
        return not by.changes_nothing

    def perform(self, *, name: str, expires_at: date, description: str) -> AccessToken:
        mine = self.by.user
        try:
            return AccessToken.issue(by=self.by, owner=mine, name=name, expires=expires_at, description=description)
        except ValidationError as error:
            if "name" in getattr(error, "error_dict", {}) and mine.tokens.listed().filter(name=name).exists():
                raise ValidationError({"name": [*error.messages, SENT_TWICE]}) from None
            raise

    def answer(self, outcome: AccessToken) -> HttpResponse:
        return show_secret(self, outcome, f"{outcome} is issued")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        offered = rules.grantable_roles(owner=self.by.user, by=self.by)
        days = rules.maximum_days(offered)
        context = {
            "offered": offered,
            "days": days,
            "presets": [preset for preset in PRESETS if preset < days],
            "today": timezone.now().date(),
        }
        return super().get_context_data(**{**context, **kwargs})
