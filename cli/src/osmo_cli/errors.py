"""Why a command stopped, in the words and with the exit codes of the released clients."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from osmo_cli.output import Format, say_json

MISUSED = 1
REFUSED = 2
INTERRUPTED = 3
UNAVAILABLE = 10
TOO_MANY = 75


class OsmoError(Exception):
    """`message` and `code` are what `-t json` shows, `text` what is printed otherwise."""

    def __init__(self, message: str, *, code: int = 1, exit_code: int = REFUSED, text: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.exit_code = exit_code
        self.text = text or f"Error message: {message}\nError code: {code}"


def unavailable(message: str, *, code: int = 1, text: str = "") -> OsmoError:
    """The portal cannot be used now, as opposed to: it refused this request."""
    return OsmoError(message, code=code, exit_code=UNAVAILABLE, text=text or f"Error message: {message}")


@contextmanager
def errors_as(output: Format) -> Iterator[None]:
    try:
        yield
    except OsmoError as error:
        if output == "text":
            raise
        say_json({"message": error.message, "code": error.code})
        raise typer.Exit(error.exit_code) from None
