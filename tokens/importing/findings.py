"""What is worth telling of an import: the kinds of it, and where it is kept until it is told."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any, NamedTuple, TextIO

from django.core.exceptions import ValidationError

SHOWN = 10
WIDTH = 100


class Kind(Enum):
    """The value is the key in JSON, and the heading on screen."""

    OVER_PRIVILEGED = "over_privileged", "Tokens of people that carry more than osmo-user"
    ADMINISTRATORS = "administrators", "People and service tokens that get osmo-admin"
    OVER_LONG = "over_long", "Tokens beyond the longest life: they end earlier"
    WITHOUT_OWNER = "without_owner", "Tokens without an owner: left out"
    COLLISIONS = "collisions", "Names that collide"
    OWN_PROFILES = "own_profiles", "Profiles taken for those of service accounts (--person NAME says otherwise)"
    LOST_ROLES = "lost_roles", "Roles that no longer exist, or are left out"
    INVALID = "invalid", "What the portal cannot take: left out"
    CLEANED = "cleaned", "Names and texts that were changed to fit"
    LEFT_OUT = "left_out", "Tokens left out for another reason"
    EXPIRED = "expired", "Expired tokens: left out"
    ENDED_HERE = "ended_here", "Ended or deleted in the portal: not brought back"
    KEPT = "kept", "The portal's own stays as it is"
    MAPPINGS = "mappings", "External role mappings that do not fit into OIDC_ROLE_MAP"

    def __init__(self, key: str, heading: str) -> None:
        self.key = key
        self.heading = heading


class Finding(NamedTuple):
    kind: Kind
    subject: str
    told: str


class Findings:
    """Counts all, keeps the first of each kind, and writes all to the file of --report where there is one."""

    def __init__(self, file: TextIO | None = None) -> None:
        self.counts: Counter[Kind] = Counter()
        self.first: dict[Kind, list[Finding]] = {kind: [] for kind in Kind}
        self._file = file

    def note(self, kind: Kind, subject: object, told: str) -> None:
        finding = Finding(kind, shown(subject), told)
        self.counts[kind] += 1
        if len(self.first[kind]) < SHOWN:
            self.first[kind].append(finding)
        if self._file:
            line = {"list": kind.key, "subject": finding.subject, "told": finding.told}
            self._file.write(json.dumps(line) + "\n")

    def lines(self) -> Iterator[str]:
        for kind, count in ((kind, self.counts[kind]) for kind in Kind if self.counts[kind]):
            yield f"\n{kind.heading} ({count:,}):"
            yield from (f"  {finding.subject}: {finding.told}" for finding in self.first[kind])
            if count > SHOWN:
                yield f"  … and {count - SHOWN:,} more; --report FILE has them all."

    def facts(self) -> dict[str, Any]:
        return {
            kind.key: {
                "count": self.counts[kind],
                "first": [{"subject": found.subject, "told": found.told} for found in self.first[kind]],
            }
            for kind in Kind
        }


@contextmanager
def written_to(path: str | None) -> Iterator[Findings]:
    """Findings that go to a new file, which its owner alone may read. Raises ValidationError where it exists."""
    if path is None:
        yield Findings()
        return
    try:
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w")
    except OSError as error:
        raise ValidationError(f"The report {path} cannot be written: {error.strerror}.") from None
    with file:
        yield Findings(file)


def shown(value: object) -> str:
    """What came from outside, so that it can be printed: without control characters, and not longer than a line."""
    text = str(value)
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[: WIDTH + 1])
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"
