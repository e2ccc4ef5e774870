"""What reaches the terminal: text from elsewhere made harmless, secrets blotted out, tables."""

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import typer

BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
UNSAFE_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})

Format = Literal["text", "json"]

SECRET = r"osmo[dr]?_[0-9A-Za-z]{20,}|(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])"  # noqa: S105 - the forms of one
JWT = r"eyJ[\w-]+\.[\w-]+\.[\w-]+"
HIDDEN = re.compile(rf"{SECRET}|{JWT}|(?<=access_token=)[^&\s\"']+")


def hide(text: str, *known: str) -> str:
    """The text without `known` secrets and without whatever has the form of one."""
    for secret in filter(None, known):
        text = text.replace(secret, "[hidden]")
    return HIDDEN.sub("[hidden]", text)


def printable(text: str, keep: str = "\n") -> str:
    """Control and direction characters as escapes, so that no answer can steer the terminal."""
    return "".join(char if char in keep or not _unsafe(char) else _escaped(char) for char in text)


def _unsafe(char: str) -> bool:
    return char in BIDI_CONTROLS or unicodedata.category(char) in UNSAFE_CATEGORIES


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def say(text: str) -> None:
    typer.echo(printable(text))


def warn(text: str) -> None:
    typer.echo(printable(text), err=True)


def say_json(value: Any, indent: int | None = 2) -> None:
    typer.echo(json.dumps(value, indent=indent))


def table(headers: Sequence[Sequence[str]], rows: Sequence[Sequence[str]], total: Sequence[str] = ()) -> str:
    """Columns two spaces apart; a rule closes the header, and another one the rows when there is a total."""
    cells = [[printable(cell, keep="") for cell in line] for line in (*headers, *rows, total)]
    widths = [max(map(len, column)) for column in _columns(cells)]
    lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]
    rule = "=" * (sum(widths) + 2 * (len(widths) - 1))
    body = len(headers) + len(rows)
    closing = [rule, lines[-1]] if total else []
    return "\n".join([*lines[: len(headers)], rule, *lines[len(headers) : body], *closing])


def _columns(lines: Sequence[Sequence[str]]) -> Iterable[tuple[str, ...]]:
    width = max(map(len, lines))
    return zip(*([*line, *[""] * (width - len(line))] for line in lines), strict=True)
