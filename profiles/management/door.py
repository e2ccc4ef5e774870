"""The command door: what every command that goes through a way in shares."""

import gc
import json as jsonlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import Progress

from osmo_portal.events.actor import Actor, Door
from profiles.models import User

NOTHING_MATCHED = 2
LARGE = 1_000  # from here on a bar is drawn; below, it would be over before one looks
# Rows by the million are freed by their counts of references; to look for cycles among them, as often as Python does by
# itself, is a tenth of the work.
OBJECTS_BETWEEN_COLLECTIONS = 100_000


def many(count: int, word: str) -> str:
    return f"{count:,} {word}{'s' * (count != 1)}"


class DoorCommand(BaseCommand):
    """The bare result goes to stdout, the story to stderr. Exit codes: 0 done, 1 error, 2 nothing matched.

    What a way in refuses becomes a CommandError with the same text.
    """

    # They work, and would hide what the command is about from who asks for its help.
    suppressed_base_arguments = {
        "--version",
        "--verbosity",
        "--settings",
        "--pythonpath",
        "--traceback",
        "--no-color",
        "--force-color",
    }

    def run_from_argv(self, argv: list[str]) -> None:
        self._called_from_command_line = True
        try:
            self.create_parser(argv[0], argv[1]).parse_args(argv[2:])
        except SystemExit as end:
            # argparse says 2 for a wrong call; here that means that nothing matched.
            sys.exit(1 if end.code else 0)
        gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
        super().run_from_argv(argv)

    def execute(self, *args: Any, **options: Any) -> Any:
        try:
            return super().execute(*args, **options)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        except PermissionDenied as error:
            raise CommandError(str(error)) from error

    def tell(self, sentence: str) -> None:
        """A sentence of the story; not an error, so not in red."""
        self.stderr.write(sentence, str)

    def add_json(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print the result as one JSON object on stdout.")

    def report(self, sentence: str, bare: object, *, json: bool = False, **facts: Any) -> None:
        """How a command ends: the sentence on stderr, on stdout the bare result or the facts as one JSON object.

        Instants in `facts` are written as ISO 8601.
        """
        self.tell(sentence)
        told = jsonlib.dumps(facts, default=lambda value: value.isoformat()) if json else str(bare)
        self.stdout.write(told)

    @contextmanager
    def progress(self, words: str, count: int) -> Iterator[Callable[[int], None] | None]:
        """A bar on a terminal, nothing in a pipe. What it yields is told how many are done."""
        if count < LARGE or not self.stderr.isatty():
            yield None
            return
        with Progress(console=Console(file=sys.stderr)) as bar:
            task = bar.add_task(words, total=count)
            yield lambda done: bar.update(task, completed=done)

    def acting_as(self, username: str) -> Actor:
        """The actor of `--actor`: an active user, checked like anyone. Raises CommandError."""
        user = self.user(username)
        if not user.is_active:
            raise CommandError(f"User {user} is not active and may do nothing. Give another --actor.")
        return Actor.acting_as(user, Door.COMMAND)

    def user(self, username: str) -> User:
        user: User | None = User.objects.existing().named(username).first()
        if user is None:
            raise CommandError(f"There is no user {username!r}. Look at the spelling.")
        return user
