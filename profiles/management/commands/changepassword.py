from typing import Any, NoReturn

from django.contrib.auth.management.commands import changepassword
from django.core.management.base import CommandError


class Command(changepassword.Command):
    help = "Refused: the shell sets no passwords of others. See recover_admin."
    requires_migrations_checks = False

    def handle(self, *args: Any, **options: Any) -> NoReturn:
        raise CommandError(
            "Passwords are changed in the console: the own one, or as an administrator another's. Where no "
            "administrator can sign in, `manage.py recover_admin USER` gives a person the role and a new password."
        )
