from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.views.decorators.debug import sensitive_variables

from profiles.management.door import DoorCommand
from tokens.demo import company, story

INSTEAD = "Choose an empty database, for example DATABASE_URL=sqlite:///var/demo.sqlite3, and migrate it first."


class Command(DoorCommand):
    help = (
        "Fills an empty database with a company to look at: people, service accounts, pools, roles, tokens in all "
        "states, and what happened in a month. Prints who may sign in, with passwords, once. Refuses a database in use."
    )

    @sensitive_variables()
    def handle(self, *args: Any, **options: Any) -> None:
        if story.is_seeded():
            self.tell("The demonstration is here already; nothing was done. Its passwords were shown when it was made.")
            return
        try:
            passwords = story.seed()
        except ValidationError as error:
            raise CommandError(" ".join([*error.messages, INSTEAD])) from error
        self.tell("Made a company to look at. The passwords are shown this once.")
        self.stdout.write(f"Portal:  {settings.PORTAL_URL}")
        for name, password in passwords.items():
            self.stdout.write(f"{name:<8} {password}  ({company.SHOWN[name]})")
