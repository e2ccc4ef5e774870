"""Shell-style patterns as policies use them: does one match a text, do two have a text in common.

`*` stands for any text, also across `/`; `?` for one character; `[ab]`, `[a-z]` and `[!a]` for one of a set.
The meaning is that of `fnmatch.fnmatchcase`, whatever the operating system.
"""

import fnmatch
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

Ranges = tuple[tuple[int, int], ...]
LAST = 0x10FFFF


class Token(NamedTuple):
    """Characters a place of a pattern accepts, as code point ranges: exactly one of them, or any number."""

    ranges: Ranges
    many: bool = False


ANY = ((0, LAST),)
SEGMENT = ((0, ord("/") - 1), (ord("/") + 1, LAST))


@lru_cache(maxsize=4096)
def matcher(*patterns: str) -> Callable[[str], object]:
    """A test that answers something true for a text that one of the patterns, at least one, matches."""
    return re.compile("|".join(map(fnmatch.translate, patterns))).match


def matches(pattern: str, text: str) -> bool:
    return bool(matcher(pattern)(text))


@lru_cache(maxsize=4096)
def only_stars(pattern: str) -> str:
    """The pattern with `?` and `[` taken literally, so that `*` alone is special."""
    return re.sub(r"([?[])", r"[\1]", pattern)


def is_everything(pattern: str) -> bool:
    return set(pattern) == {"*"}


@lru_cache(maxsize=4096)
def overlap(left: str, right: str) -> bool:
    """Whether some text matches both patterns. Takes time in proportion to the product of their lengths."""
    return _meet_somewhere(tuple(_tokens(left, ANY)), tuple(_tokens(right, ANY)))


@lru_cache(maxsize=4096)
def overlap_path(pattern: str, template: str) -> bool:
    """The same, where a `*` of the template stands for no more than one segment of a path."""
    return _meet_somewhere(tuple(_tokens(pattern, ANY)), tuple(_tokens(template, SEGMENT)))


def _meet_somewhere(a: tuple[Token, ...], b: tuple[Token, ...]) -> bool:
    seen = {(0, 0)}
    todo = [(0, 0)]
    while todo:
        place = todo.pop()
        if place == (len(a), len(b)):
            return True
        fresh = set(_steps(a, b, *place)) - seen
        seen |= fresh
        todo += fresh
    return False


def _steps(a: tuple[Token, ...], b: tuple[Token, ...], i: int, j: int) -> Iterator[tuple[int, int]]:
    """The places reached from place i of one pattern and j of the other by at most one character."""
    if i < len(a) and a[i].many:
        yield i + 1, j
    if j < len(b) and b[j].many:
        yield i, j + 1
    if i < len(a) and j < len(b) and _meet(a[i].ranges, b[j].ranges):
        yield i + (not a[i].many), j + (not b[j].many)


def _meet(a: Ranges, b: Ranges) -> bool:
    return any(low <= high_b and low_b <= high for low, high in a for low_b, high_b in b)


def _tokens(pattern: str, star: Ranges) -> Iterator[Token]:
    i = 0
    while i < len(pattern):
        end = pattern.find("]", i + 2 + (pattern[i + 1 : i + 2] == "!")) if pattern[i] == "[" else -1
        if end > 0:
            yield Token(_set(pattern[i + 1 : end]))
            i = end
        elif pattern[i] == "*":
            yield Token(star, many=True)
        else:
            yield Token(ANY if pattern[i] == "?" else _ranges(pattern[i]))
        i += 1


def _set(body: str) -> Ranges:
    return _complement(_ranges(body[1:])) if body.startswith("!") else _ranges(body)


def _ranges(body: str) -> Ranges:
    """`a-z_` as ranges; a range that runs backwards is empty."""
    found = []
    while body:
        low, high = ord(body[0]), ord(body[0])
        if body[1:2] == "-" and len(body) > 2:
            high, body = ord(body[2]), body[2:]
        found.append((low, high))
        body = body[1:]
    return tuple(sorted(r for r in found if r[0] <= r[1]))


def _complement(ranges: Ranges) -> Ranges:
    found, start = [], 0
    for low, high in ranges:
        found.append((start, low - 1))
        start = max(start, high + 1)
    found.append((start, LAST))
    return tuple(r for r in found if r[0] <= r[1])
