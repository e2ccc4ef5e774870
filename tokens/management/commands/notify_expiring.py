from typing import Any

from django.core.management.base import CommandError, CommandParser

from osmo_portal.events.actor import Actor
from profiles.management.door import DoorCommand, many
from tokens.notifying import Outcome, foresee, notify


class Command(DoorCommand):
    help = (
        "Tells the people who answer for them, the team's address and the webhook which tokens end soon: 30, 14, 7, 3 "
        "and 1 days before. One message for each recipient. Run it every hour, on as many machines as you like: "
        "each notice is sent once. How many were sent is printed on stdout; none due is no error."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Say how many there would be. Send nothing.")
        parser.add_argument("--actor", metavar="USER", help="Who does it (default: whoever runs the command).")
        self.add_json(parser)

    def handle(self, *args: Any, dry_run: bool, actor: str | None, json: bool, **options: Any) -> None:
        by = self.acting_as(actor) if actor else Actor.shell()
        outcome = foresee(by=by) if dry_run else notify(by=by, watched=self.progress)
        for name, problem in outcome.failures.items():
            self.tell(f"To {name}: {problem}.")
        if outcome.untold:
            self.tell(f"Of {many(outcome.untold, 'token')} nobody can be told: set NOTIFY_TEAM_EMAIL.")
        verb = "would go" if dry_run else "went"
        sentence = f"{many(outcome.notices, 'notice')} {verb} out in {many(outcome.messages, 'message')}."
        self.report(sentence, outcome.notices, json=json, **outcome.facts())
        if outcome.failures:
            raise CommandError(_failed(outcome))


def _failed(outcome: Outcome) -> str:
    messages = many(len(outcome.failures), "message")
    return f"{messages} with {many(outcome.failed_notices, 'notice')} could not be sent. The next run tries again."
