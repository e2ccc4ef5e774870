"""How the command line is read where the released clients read it differently from typer."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from osmo_cli.output import Format

FormatOption = Annotated[Format, typer.Option("-t", "--format-type", help="How the answer is printed.")]


class SeveralValues(TyperCommand):
    """A repeatable option may also be followed by several words: `--roles a b` is `--roles a --roles b`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        repeatable = {flag for param in self.params if getattr(param, "multiple", False) for flag in param.opts}
        return super().parse_args(ctx, spread(args, repeatable))


def spread(words: Sequence[str], repeatable: Iterable[str]) -> list[str]:
    """The words with a repeatable flag before each of its values; any other flag ends its values."""
    result: list[str] = []
    flag = ""
    for word in words:
        if word.startswith("-"):
            flag = word if word in repeatable else ""
        elif flag and result[-1] != flag:
            result.append(flag)
        result.append(word)
    return result
