"""The security lines and their tests. `python -m tests.security` runs them and counts for each line what passed."""

import os
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree as ET

HERE = Path(__file__).resolve().parent
LINES: dict[str, dict] = tomllib.loads((HERE / "security_lines.toml").read_text())


def tests_of(line: str) -> list[str]:
    return [f"{HERE.name}/{test}" for test in LINES[line]["tests"]]


def table() -> str:
    """What docs/security.md says of the lines."""
    rows = [f"| {line} | {said['says']} | {_names(said['tests'])} |" for line, said in LINES.items()]
    return "\n".join(["| line | what holds | tested by, among others |", "| --- | --- | --- |", *rows])


def _names(tests: list[str]) -> str:
    """The files with the first test of each, so that the table can be read."""
    first = dict(reversed([test.split("::") for test in tests]))
    return ", ".join(f"`{file}`: {first[file]}" for file in sorted(first))


def run(arguments: list[str]) -> int:
    everything = sorted({test for line in LINES for test in tests_of(line)})
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junit-xml={report}", *arguments, *everything]
        # Whoever leaves a test out because another run has it must know that there is no other one.
        told = os.environ | {"SECURITY_LINES": "1"}
        code = subprocess.run(command, cwd=HERE.parent, env=told, check=False).returncode
        if not report.exists():
            return code or 1
        outcomes = _outcomes(report)
    missing = 0
    for line, said in LINES.items():
        counts = sum((outcomes[test] for test in tests_of(line)), Counter())
        without = [test for test in tests_of(line) if not outcomes[test]]
        missing += len(without) + (not said["tests"])
        story = ", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items()))
        print(f"{line:4} {story or 'no test'}{'; not run: ' + ', '.join(without) if without else ''} — {said['says']}")
    return code or bool(missing)


def _outcomes(report: Path) -> dict[str, "Counter[str]"]:
    """How the cases of each test went."""
    found: dict[str, Counter[str]] = {test: Counter() for line in LINES for test in tests_of(line)}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314  (pytest wrote it a moment ago)
        test = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name', '').partition('[')[0]}"
        kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
        if test in found:
            found[test][{"failure": "failed", "error": "failed"}.get(min(kinds), "skipped") if kinds else "passed"] += 1
    return found


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
