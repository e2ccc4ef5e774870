"""Policies in words, for the screen."""

from profiles.policies import globs
from profiles.policies.forms import HttpAction, Policy, SemanticAction
from profiles.policies.statements import ALL_WAYS, WAYS, Statement, action_in_words, statements


def describe(policies: tuple[Policy, ...]) -> list[str]:
    """One line for each thing allowed or denied; pools as `pool <name>: submit, exec, port-forward`."""
    lines: list[str] = []
    for policy in policies:
        said = statements([policy])
        lines += _pool_lines([one for one in said if not one.denies])
        lines += _together([one for one in said if not (one.denies or _told_by_pool(one))])
        lines += [f"no access to: {line}" for line in _together([one for one in said if one.denies])]
    return list(dict.fromkeys(lines))


def _pool_lines(allowing: list[Statement]) -> list[str]:
    reach: dict[str, list[str]] = {}
    for operation, ways in WAYS.items():
        concerned = [said for said in allowing if any(said.concerns(way) for way in ways)]
        for pools in dict.fromkeys(pools for said in concerned for pools in _pools_of(said)):
            reach.setdefault(pools, []).append(operation.value)
    return [f"{pools}: {', '.join(operations)}" for pools, operations in reach.items()]


def _pools_of(said: Statement) -> list[str]:
    """In words, the pools of a statement that concerns some; rather too many than too few."""
    if isinstance(said.action, HttpAction):
        return [_pool_after("/api/pool/", said.action.path)]
    return [_pool_after("pool/", name) for name in said.pool_resources()]


def _pool_after(prefix: str, pattern: str) -> str:
    name = pattern.removeprefix(prefix).split("/")[0]
    return f"pool {name}" if pattern.startswith(prefix) and not globs.is_everything(name) else "every pool"


def _told_by_pool(said: Statement) -> bool:
    """Whether the line about its pools says all that is worth saying of a statement."""
    return (
        isinstance(said.action, SemanticAction)
        and said.action.kind == "workflow"
        and any(said.action.covers(way.action) for way in ALL_WAYS)
        and bool(said.resources)
        and all(name.startswith("pool/") for name in said.resources)
    )


def _together(said: list[Statement]) -> list[str]:
    """Statements of one policy, one line for each form."""
    named = [action_in_words(one.action) for one in said if isinstance(one.action, SemanticAction)]
    requests = [str(one.action) for one in said if isinstance(one.action, HttpAction)]
    lines = [f"{', '.join(named)} {said[0].place}"] if named else []
    return [*lines, ", ".join(requests)] if requests else lines
