"""What the page of a person tells about terminals that are signed in, and how an administrator ends that."""

from osmo_portal.console.change import ReasonForm
from osmo_portal.console.section import Panel
from osmo_portal.events.actor import Actor
from profiles.admin.people import PersonSection
from profiles.admin.users import UserChange, UserSection
from profiles.models import User
from tokens.models import TerminalSignIn

SHOWN = 20


def terminals_panel(user: User, by: Actor) -> Panel | None:
    if user.is_service_account:
        return None
    found = [*TerminalSignIn.objects.live().of(user).with_last_renewal().order_by("-pk")[: SHOWN + 1]]
    context = {"terminals": found[:SHOWN], "more": len(found) > SHOWN}
    return Panel("Terminals", "portal/panels/terminals.html", context) if found else None


class EndTerminals(UserChange):
    slug, label, heading, danger = "end-terminals", "Sign out terminals", "Sign out the terminals of {}", True
    form_class = ReasonForm
    explanation = (
        "Every terminal at which the person signed in with `osmo login` is signed out at once. Access tokens stay.",
    )

    @classmethod
    def fits(cls, record: User) -> bool:
        return super().fits(record) and TerminalSignIn.objects.live().of(record).exists()

    def perform(self, reason: str) -> str:
        count = TerminalSignIn.objects.of(self.record).end(by=self.by, reason=reason)
        many = f"{count} terminals of {self.record} are" if count != 1 else f"A terminal of {self.record} is"
        return f"{many} signed out."


UserSection.panels = [*UserSection.panels, terminals_panel]
PersonSection.record_changes = (*PersonSection.record_changes, EndTerminals)  # type: ignore[assignment]
