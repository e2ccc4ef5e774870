from typing import Any, NoReturn

from django.contrib.auth.management.commands import createsuperuser
from django.core.management.base import CommandError


class Command(createsuperuser.Command):
    help = "Refused: power comes from the role osmo-admin. See bootstrap and recover_admin."
    requires_migrations_checks = False

    def handle(self, *args: Any, **options: Any) -> NoReturn:
        raise CommandError(
            "There are no superusers here: administrators hold the role osmo-admin. `manage.py bootstrap` makes the "
            "first one, `manage.py recover_admin USER` gives an existing person the role and a new password."
        )
