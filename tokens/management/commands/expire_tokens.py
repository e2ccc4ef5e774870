from datetime import datetime
from typing import Any

from tokens.management.changing import ChangingCommand
from tokens.management.choosing import instant
from tokens.models.bulk_operation import Action


class Command(ChangingCommand):
    help = (
        "Lets all tokens end that match every filter given, now or at an instant. It only ever shortens lives, and "
        "what has expired stays so. How many is printed on stdout. Exit code 2: none matched, or the set is another "
        "one than expected, and nothing was changed."
    )
    action, verb, past, present = Action.EXPIRE, "let", "Let", "Ending"

    def add_change(self, group: Any) -> None:
        group.add_argument("--at", type=instant, metavar="INSTANT", help="When they end (default: now).")

    def what(self, verb: str, count: int, at: datetime | None) -> str:
        end = f"at {at:%Y-%m-%d %H:%M} UTC" if at else "at once"
        return f"{super().what(verb, count, at)} end {end}"
