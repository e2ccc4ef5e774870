"""What is done to a token that exists: a new secret, a pause, the end. Tokens are never edited and never deleted."""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.utils import timezone
from django.utils.functional import cached_property

from osmo_portal.console.change import Change, ReasonForm
from osmo_portal.events.actor import Actor
from tokens import rules
from tokens.admin import copies
from tokens.admin.fields import DayField
from tokens.admin.shown_once import show_secret
from tokens.models import AccessToken
from tokens.models.token_set import State

GRACES = [
    ("86400", "for 24 hours: time to put the new one in place"),
    ("3600", "for 1 hour"),
    ("604800", "for 7 days"),
    ("0", "no longer: it leaked"),
]


class TokenChange(Change):
    """`handles`: whether it needs power over the token's roles, as does all that could hand over its secret."""

    handles = False

    @classmethod
    def permits(cls, by: Actor, record: AccessToken) -> bool:
        allowed = rules.manageable_tokens(by) if cls.handles else rules.endable_tokens(by)
        return allowed.filter(pk=record.pk).exists()


class RotateForm(forms.Form):
    rotations = forms.IntegerField(widget=forms.HiddenInput, min_value=0)
    grace = forms.ChoiceField(label="The old secret works", choices=GRACES, widget=forms.RadioSelect)
    expires_at = DayField(
        label="New expiry", required=False, help_text="Empty: the token ends when it would have ended."
    )

    def __init__(self, *args: Any, only_at_once: bool, **kwargs: Any) -> None:
        """All graces stay valid: what a page from before chose is refused with the reason."""
        super().__init__(*args, **kwargs)
        if only_at_once:
            grace: Any = self.fields["grace"].widget
            grace.choices = [("0", "no longer, and neither does the one before it")]


class Rotate(TokenChange):
    slug, label, heading = "rotate", "Rotate", "Rotate {}"
    form_class = RotateForm
    handles = True

    @classmethod
    def fits(cls, record: AccessToken) -> bool:
        return record.state() == State.ACTIVE

    @cached_property
    def grace_ends(self) -> datetime | None:
        """Where two secrets work now, the end of the older one. Until then a rotation can only end both at once."""
        return self.record.secrets.retiring().values_list("retires_at", flat=True).first()  # type: ignore[no-any-return]

    def explained(self) -> list[str]:
        new = "The token gets a new secret, shown once on the next page. It works at once."
        if not self.grace_ends:
            return [new, "The old one works until its grace ends. Use of it after that is reported in the history."]
        end = f"Two secrets work now, the older one until {self.grace_ends:%Y-%m-%d %H:%M} UTC."
        return [new, f"{end} A third cannot work beside them: to rotate before then ends both at once."]

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "only_at_once": bool(self.grace_ends)}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**{"danger": bool(self.grace_ends), **kwargs})

    def get_initial(self) -> dict[str, Any]:
        return {"grace": "0" if self.grace_ends else GRACES[0][0], "rotations": self.record.rotations}

    def perform(self, *, rotations: int, grace: str, expires_at: Any) -> AccessToken:
        """The number of rotations that the page was made with lets a page that is sent twice rotate once."""
        if rotations != self.record.rotations:
            raise ValidationError(
                "The token was rotated since this page was opened, perhaps by this very page. A secret is shown "
                "once and not again. Go back to the token to rotate it once more."
            )
        self.grace = timedelta(seconds=int(grace))
        return self.record.rotate(by=self.by, grace=self.grace, expires=expires_at)  # type: ignore[no-any-return]

    def answer(self, outcome: AccessToken) -> HttpResponse:
        end = min(timezone.now() + self.grace, outcome.expires_at)
        note = f"The old secret works until {end:%Y-%m-%d %H:%M} UTC."
        if not self.grace:
            note = f"The old secret is dead. {copies.afterwards(self.record)}"
        return show_secret(self, outcome, f"{outcome} is rotated", note)


class Suspend(TokenChange):
    slug, label, heading, danger = "suspend", "Suspend", "Suspend {}", True
    form_class = ReasonForm

    @classmethod
    def fits(cls, record: AccessToken) -> bool:
        return record.state() == State.ACTIVE

    def explained(self) -> list[str]:
        return [
            "The portal refuses the token and all that was signed in with it at once, until somebody resumes it.",
            copies.beforehand(self.record),
        ]

    def perform(self, reason: str) -> str:
        self.record.suspend(by=self.by, reason=reason)
        return f"{self.record} is suspended. {copies.afterwards(self.record)}"


class Resume(TokenChange):
    slug, label, heading = "resume", "Resume", "Resume {}"
    form_class = ReasonForm
    handles = True
    explanation = ("The token works again at once, with the secrets that it has.",)

    @classmethod
    def fits(cls, record: AccessToken) -> bool:
        return record.state() == State.SUSPENDED

    def perform(self, reason: str) -> str:
        self.record.resume(by=self.by, reason=reason)
        return f"{self.record} works again."


class Revoke(TokenChange):
    slug, label, heading, danger = "revoke", "Revoke", "Revoke {} for good", True
    form_class = ReasonForm

    @classmethod
    def fits(cls, record: AccessToken) -> bool:
        return record.ended_at is None

    def explained(self) -> list[str]:
        return [
            "The portal refuses the token and all that was signed in with it at once, for ever.",
            copies.beforehand(self.record),
            "The record stays; its name is free again.",
        ]

    def perform(self, reason: str) -> str:
        self.record.revoke(by=self.by, reason=reason)
        return f"{self.record} is revoked for good. {copies.afterwards(self.record)}"
