import json as jsonlib
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError, CommandParser

from profiles.management.door import DoorCommand
from tokens.doctor import Finding, examine


class Command(DoorCommand):
    help = (
        "Examines settings, database, migrations, clock, keys, audit trail, administrators and mail. Says what is "
        "wrong and what to do, and changes nothing. Exit code 1 where something is bad; warnings do not count."
    )
    requires_system_checks = []  # they are the first thing that it tells of

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print the findings as a JSON array on stdout.")

    def handle(self, *args: Any, json: bool, **options: Any) -> None:
        findings = list(examine())
        if json:
            self.stdout.write(jsonlib.dumps([asdict(finding) for finding in findings], indent=2))
        else:
            for finding in findings:
                self.stdout.write(f"{finding.grade:8} {finding.part}: {finding.says}", self._colour(finding))
                if finding.advice:
                    self.stdout.write(f"         {finding.advice}")
        bad = sum(finding.grade == "bad" for finding in findings)
        if bad:
            raise CommandError(f"{bad} finding{'s' * (bad > 1)} to mend.")

    def _colour(self, finding: Finding) -> Callable[[str], str]:
        styles = {"good": self.style.SUCCESS, "warning": self.style.WARNING, "bad": self.style.ERROR}
        return styles[finding.grade]
