"""What the console's page of a person can do about the person's sign-in."""

from typing import Any

from django import forms
from django.conf import settings

from osmo_portal.console.change import ReasonForm
from osmo_portal.signin import factors, mail, oidc
from osmo_portal.signin.models import ProviderSubject
from profiles.admin.people import PersonSection
from profiles.admin.users import UserChange
from profiles.models import User


class Invite(UserChange):
    slug, label, heading = "invite", "Send an invitation", "Invite {} by mail"
    submit = "Send the mail"
    explanation = ("The mail has a link that sets a password. It works once, for 24 hours.",)

    @classmethod
    def fits(cls, record: User) -> bool:
        return super().fits(record) and settings.SENDS_MAIL and record.is_active and bool(record.email)

    def perform(self, **_: Any) -> str:
        mail.invite(self.record, by=self.by)
        return f"The invitation is on its way to {self.record.email}."


class ResetFactors(UserChange):
    slug, label, heading, danger = "reset-factors", "Reset second factors", "Take the second factors of {} away", True
    form_class = ReasonForm
    explanation = (
        "For somebody who lost them. Make sure that it is the person who asks.",
        "The next sign-in wants the password alone, until a new factor is added.",
    )

    @classmethod
    def fits(cls, record: User) -> bool:
        return super().fits(record) and factors.of(record).exists()

    def perform(self, reason: str) -> str:
        factors.reset(self.record, by=self.by, reason=reason)
        return f"{self.record} has no second factor any more."


class SubjectForm(forms.Form):
    subject = forms.CharField(max_length=255, help_text="What the provider's tokens call the person in `sub`.")


class Bind(UserChange):
    slug, label, heading = "bind", "Bind to the provider", "Bind {} to the identity provider"
    form_class = SubjectForm
    explanation = ("Whoever signs in there as this subject is signed in here as this person.",)

    @classmethod
    def fits(cls, record: User) -> bool:
        return super().fits(record) and oidc.is_on()

    def perform(self, subject: str) -> str:
        ProviderSubject.bind(self.record, issuer=settings.OIDC_ISSUER, subject=subject, by=self.by)
        return f"{self.record} signs in as {subject} now."


class Unbind(UserChange):
    slug, label, heading, danger = "unbind", "Unbind from the provider", "Unbind {} from the identity provider", True
    form_class = ReasonForm
    explanation = ("The provider signs this person in no more. Who is signed in stays so.",)

    @classmethod
    def fits(cls, record: User) -> bool:
        return super().fits(record) and ProviderSubject.objects.filter(user=record, removed_at=None).exists()

    def perform(self, reason: str) -> str:
        ProviderSubject.unbind(self.record, by=self.by, reason=reason)
        return f"{self.record} is bound to no provider any more."


PersonSection.record_changes = (*PersonSection.record_changes, Invite, ResetFactors, Bind, Unbind)  # type: ignore[assignment]
