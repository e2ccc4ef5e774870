from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils.crypto import get_random_string

from osmo_portal.events.actor import Actor
from osmo_portal.events.trail import audited, record
from profiles.management.door import DoorCommand
from profiles.models import User
from profiles.rules import ADMINISTRATOR_ROLE
from profiles.signals import user_recovered

REASON = "recovered from the shell"


class Command(DoorCommand):
    help = (
        "The way back in: makes an existing person an active administrator and prints a new password on stdout. "
        "Whoever may run this command may do everything anyway; the events tell of it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", metavar="USER", help="The user id of a person.")

    def handle(self, *args: Any, user: str, **options: Any) -> None:
        person, password = self.user(user), get_random_string(20)
        if person.is_service_account:
            raise CommandError(f"{person} is a service account: it cannot sign in. Give the user id of a person.")
        _recover(person, password)
        self.tell(f"{person} is an active administrator with a new password, which is shown this once:")
        self.stdout.write(password)


def _recover(person: User, password: str) -> None:
    by = Actor.bootstrap()
    with audited():
        record("user.recovered", by, person, reason=REASON)
        if not person.is_active:
            person.reactivate(by=by, reason=REASON)
        person.assign_role(ADMINISTRATOR_ROLE, by=by)
        person.change_password(password, by=by)
        user_recovered.send(User, user=person, by=by, reason=REASON)
