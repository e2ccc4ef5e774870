import os
from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils.crypto import get_random_string


class Command(BaseCommand):
    help = "Writes .env with fresh keys, readable by its owner only, unless there is one. Prints no secret."
    requires_system_checks = ()  # they are what this command makes pass

    def handle(self, *args: Any, **options: Any) -> None:
        path = settings.BASE_DIR / ".env"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            self.stderr.write(f"{path.name} is there already; nothing was written.")
            return
        with os.fdopen(descriptor, "w") as file:
            file.write(f"SECRET_KEY={get_random_string(64)}\nKEY_ENCRYPTION_KEYS={Fernet.generate_key().decode()}\n")
        self.stderr.write(f"Wrote {path.name} with fresh keys. Keep a copy: without it the signing keys are lost.")
