"""What the console's page of a person can do about the person's sign-in."""

from typing import Any

from django.conf import settings

from osmo_portal.signin import mail
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


PersonSection.record_changes = (*PersonSection.record_changes, Invite)  # type: ignore[assignment]
