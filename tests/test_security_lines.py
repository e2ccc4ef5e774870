"""The map of security lines is whole: every line has tests, every test exists, and the documentation says the same."""

import ast
from functools import cache
from pathlib import Path

import pytest

from tests import security

HERE = Path(__file__).resolve().parent
UNUSED = {3, 4, 10, 29}  # numbers that were never given
LAST = 53


@cache
def functions(file: str) -> set[str]:
    return {node.name for node in ast.parse((HERE / file).read_text()).body if isinstance(node, ast.FunctionDef)}


def test_every_line_is_there() -> None:
    assert list(security.LINES) == [f"S{number}" for number in range(1, LAST + 1) if number not in UNUSED]


@pytest.mark.parametrize("line", security.LINES)
def test_every_line_has_tests_that_exist(line: str) -> None:
    tests = security.LINES[line]["tests"]

    assert tests
    for file, name in (test.split("::") for test in tests):
        assert name in functions(file)


def test_the_documentation_says_the_same() -> None:
    page = (HERE.parent / "docs" / "security.md").read_text()

    assert security.table() in page, "Put what `security.table()` gives into docs/security.md."
