"""Files of token numbers, one a line: how a set is chosen that no filter describes."""

import hashlib
import re
import sys
from array import array
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from typing import TextIO

from django.core.management.base import CommandError

from tokens.models import AccessToken
from tokens.models.bulk_operation import MAX_TOKENS

STEP = 10_000  # numbers that are looked up at once
LONGEST_LINE = 100
NUMBER = re.compile(r"\d{1,18}", re.ASCII)


class NumberFile:
    """The token numbers in a file, or with `-` in the standard input, one a line. Empty lines do not count.

    It is read when it is first asked. As text it says which numbers they are, without naming a million.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.called = "The standard input" if path == "-" else path

    def __str__(self) -> str:
        digest = hashlib.sha256(self.numbers.tobytes()).hexdigest()
        return f"{len(self.numbers):,} number{'s' * (len(self.numbers) != 1)} ({digest[:12]})"

    @cached_property
    def numbers(self) -> "array[int]":
        """Raises CommandError naming the first line that is not the number of a token.

        What stands there is not repeated unless it is a number: it may be a secret.
        """
        try:
            if self.path == "-":
                return _read(sys.stdin, self.called)
            with open(self.path, encoding="utf-8-sig") as file:  # noqa: PTH123  (a path as it was typed)
                return _read(file, self.called)
        except OSError as error:
            raise CommandError(f"{self.called} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError as error:
            raise CommandError(f"{self.called} is no text. Give token numbers, one a line.") from error


def _read(file: TextIO, called: str) -> "array[int]":
    numbers, lines = array("q"), _lines(file, called)
    while step := list(islice(lines, STEP)):
        _require_tokens(step, called)
        numbers.extend(number for _, number in step)
        if len(numbers) > MAX_TOKENS:
            raise CommandError(f"{called} has more than {MAX_TOKENS:,} numbers. Split it.")
    return numbers


def _lines(file: TextIO, called: str) -> Iterator[tuple[int, int]]:
    for line, text in enumerate(iter(lambda: file.readline(LONGEST_LINE), ""), start=1):
        number = text.strip()
        if number and not NUMBER.fullmatch(number):
            raise CommandError(f"{called}, line {line}: this is no token number. Give numbers alone, one a line.")
        if number:
            yield line, int(number)


def _require_tokens(step: list[tuple[int, int]], called: str) -> None:
    known = set(AccessToken.objects.numbered([number for _, number in step]).values_list("pk", flat=True))
    for line, number in step:
        if number not in known:
            raise CommandError(f"{called}, line {line}: there is no token {number}.")
