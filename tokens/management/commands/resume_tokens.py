from typing import Any

from tokens.management.changing import ChangingCommand
from tokens.models.bulk_operation import Action


class Command(ChangingCommand):
    help = (
        "Lets all suspended tokens work again that match every filter given and that the actor may resume. Expired "
        "and revoked ones stay dead. How many is printed on stdout. Exit code 2: none matched, or the set is another "
        "one than expected, and nothing was changed."
    )
    action, verb, past, present = Action.RESUME, "resume", "Resumed", "Resuming"

    def add_actor(self, group: Any) -> None:
        group.add_argument(
            "--actor", required=True, metavar="USER", help="Who resumes them; checked as in the console."
        )
