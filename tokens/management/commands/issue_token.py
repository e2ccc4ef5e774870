from typing import Any

from django.core.management.base import CommandParser
from django.views.decorators.debug import sensitive_variables

from profiles.management.door import DoorCommand
from tokens.models import AccessToken


class Command(DoorCommand):
    help = (
        "Issues a token and prints its secret, and nothing else, on stdout: TOKEN=$(./manage.py issue_token …) works. "
        "--actor answers for it, and is checked as in the console."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--actor", required=True, metavar="USER", help="Who issues it.")
        parser.add_argument("--owner", required=True, metavar="USER", help="The person or service account it is for.")
        parser.add_argument("--name", required=True)
        parser.add_argument("--expires-at", required=True, metavar="YYYY-MM-DD", help="It ends at 00:00 UTC that day.")
        parser.add_argument(
            "--role",
            action="append",
            default=[],
            help="For a service account: a role to put on the token. Give it again for another one.",
        )
        parser.add_argument("--description", default="")

    @sensitive_variables()
    def handle(
        self,
        *args: Any,
        actor: str,
        owner: str,
        name: str,
        expires_at: str,
        role: list[str],
        description: str,
        **options: Any,
    ) -> None:
        token = AccessToken.issue(
            by=self.acting_as(actor),
            owner=self.user(owner),
            name=name,
            expires=expires_at,
            roles=role,
            description=description,
        )
        roles = ", ".join(token.role_names)
        self.tell(f"Issued {token} with {roles}. It ends on {token.expires_at:%Y-%m-%d} at 00:00 UTC.")
        self.stdout.write(token.plaintext)
