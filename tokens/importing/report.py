"""The report of an import, for the screen."""

from collections.abc import Iterator

from tokens.importing.findings import Findings
from tokens.importing.plan import OUTCOMES, Plan


def text(plan: Plan, findings: Findings, about: str) -> Iterator[str]:
    yield about
    yield ""
    yield f"{'':<18}" + "".join(f"{outcome:>10}" for outcome in OUTCOMES)
    for what, counts in plan.table().items():
        yield f"{what:<18}" + "".join(f"{counts[outcome]:>10,}" for outcome in OUTCOMES)
    yield from findings.lines()
    if plan.role_map:
        mapped = ",".join(f"{external}={role}" for external, role in sorted(plan.role_map.items()))
        yield "\nExternal roles are mapped by a setting. Take from this what shall be kept:"
        yield f"OIDC_ROLE_MAP={mapped}"
