"""`osmo pool`: which pools there are, and how full."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import typer

from osmo_cli.arguments import FormatOption, SeveralValues
from osmo_cli.errors import errors_as
from osmo_cli.output import say, say_json, table, warn
from osmo_cli.wire import Portal

Mode = Literal["used", "free"]

FIRST_COLUMNS = ["name", "description", "status"]
HEADER = ["Pool", "Description", "Status", "GPU [#]"]
FIGURES: dict[Mode, dict[str, str]] = {
    "used": {
        "quota_used": "Quota Used",
        "quota_limit": "Quota Limit",
        "total_usage": "Total Usage",
        "total_capacity": "Total Capacity",
    },
    "free": {"quota_free": "Quota Free", "total_free": "Total Free"},
}

app = typer.Typer(help="Pools of machines.")


@app.command("list", cls=SeveralValues)
def list_pools(
    pool: Annotated[list[str] | None, typer.Option("-p", "--pool", metavar="POOL...", help="Only these.")] = None,
    format_type: FormatOption = "text",
    mode: Annotated[Mode, typer.Option("-m", "--mode", help="What the figures count.")] = "used",
) -> None:
    """List pools with their quota and use."""
    with errors_as(format_type):
        params = {"pools": pool, "all_pools": "False"} if pool else {"all_pools": "True"}
        answer = Portal().get("/api/pool_quota", dict, params=params)
        if format_type == "json":
            say_json(answer, indent=4)
        else:
            _show(answer, pool or [], mode)


def _show(answer: dict[str, Any], wanted: list[str], mode: Mode) -> None:
    figures = FIGURES[mode]
    rows = [row for node_set in answer.get("node_sets") or [] for row in _rows(node_set, list(figures))]
    missing = [name for name in wanted if name not in {row[0] for row in rows}]
    if rows:
        blank = [""] * len(FIRST_COLUMNS)
        total = [*blank, *_cells(answer.get("resource_sum"), list(figures))]
        say(table([HEADER, [*blank, *figures.values()]], rows, total))
    elif not wanted:
        say("No pools available")
    if missing:
        (warn if rows else say)(f"Pools {', '.join(missing)} not found")


def _rows(node_set: dict[str, Any], figures: list[str]) -> Iterator[list[str]]:
    """Pools of one node set share its machines: from the second on the last figure was counted before."""
    for index, pool in enumerate(node_set.get("pools") or []):
        row = _cells(pool, FIRST_COLUMNS) + _cells(pool.get("resource_usage"), figures)
        row[-1] += " (shared)" if index else ""
        yield row


def _cells(source: dict[str, Any] | None, keys: list[str]) -> list[str]:
    return [str((source or {}).get(key, "-")) for key in keys]
