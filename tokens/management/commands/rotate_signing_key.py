from typing import Any

from django.core.management.base import CommandParser

from profiles.management.door import DoorCommand
from tokens.models import SigningKey


class Command(DoorCommand):
    help = "Makes a new key that signs the JWTs, and prints its id on stdout. JWTs of the old key live out."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--actor", required=True, metavar="USER", help="The administrator who rotates.")
        parser.add_argument(
            "--void",
            action="store_true",
            help="After a leak: the new key signs now, and every JWT of before is refused.",
        )

    def handle(self, *args: Any, actor: str, void: bool, **options: Any) -> None:
        key = SigningKey.rotate(by=self.acting_as(actor), void=void)
        if void:
            self.tell(
                f"Key {key} signs now. Every JWT of before is refused here; other verifiers forget it in an hour."
            )
        else:
            self.tell(f"Key {key} signs from {key.signs_from:%Y-%m-%d %H:%M} UTC. Nothing is interrupted.")
        self.stdout.write(key.kid)
