"""The output of every test is searched for secrets: what is logged or complained of holds none (S48)."""

import re

import pytest

from tokens import secrets

PREFIXES = (secrets.PREFIX, secrets.DEVICE_PREFIX, secrets.REFRESH_PREFIX)
OURS = re.compile(rf"(?:{'|'.join(PREFIXES)})[0-9A-Za-z]{{{secrets.BODY_LENGTH + secrets.CHECKSUM_LENGTH}}}")
SEARCHED = ("log", "stderr")  # commands print a secret on stdout for its one reader


def search(report: pytest.TestReport) -> None:
    """Fail a test that passed with a secret in its output. The checksum tells a secret from what looks like one."""
    for title, text in report.sections:
        searched = any(word in title for word in SEARCHED)
        if report.passed and searched and any(_is_secret(found) for found in OURS.findall(text)):
            report.outcome = "failed"
            report.longrepr = f"{title} holds a secret."


def _is_secret(text: str) -> bool:
    return any(secrets.is_made_here(text, prefix) for prefix in PREFIXES)
