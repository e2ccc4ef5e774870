"""`python -m tests.bench` measures what the portal promises for large installations, and prints it in Markdown.

`http-postgresql`, `http-sqlite`, `memory`, `bulk-postgresql`, `bulk-sqlite` and `console` choose parts; `short` is for
every change. BENCH_TOKENS is how many tokens there are; without it a part takes as many as its promise is about. A part
takes minutes, and some gigabytes of the temporary folder meanwhile.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.bench import over_http, soak
from tests.bench.places import Place

PARTS: dict[str, Callable[[], None]] = {}
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "2"))
GOALS = {"postgresql": 1.3, "sqlite": 2.0}
LONGEST_WAIT, MEMORY = 100, 150  # ms, MB
IDLE = 20  # seconds of exchanges while nothing else happens


def bulk(kind: str) -> None:
    tokens = int(os.environ.get("BENCH_TOKENS") or 2_000_000)
    place = Place(kind)
    place.seed(tokens, living=True)
    rounds = [{what: _measured(place, what) for what in WORDS} for _ in range(ROUNDS)]
    waits = {"nothing else": _exchanges(place, "")} | {WORDS[what]: _exchanges(place, what) for what in BY_THE_PORTAL}
    rows = rounds[0]["bare"]["rows"]
    print(f"\n{rows:,} of {tokens:,} tokens ended on {place.label}; of {ROUNDS} rounds the best figure each.\n")
    _tell_cost(rows, rounds)
    _tell_waits(waits)
    print(f"\nGoals: {GOALS[kind]} times one bare UPDATE, {LONGEST_WAIT} ms on PostgreSQL, {MEMORY} MB.", flush=True)


WORDS = {
    "bare": "one bare UPDATE",
    "floor": "the same, and one INSERT of lines",
    "expire": "the way in",
    "operation": "an operation, run",
}
BY_THE_PORTAL = ("expire", "operation")


def _tell_cost(rows: int, rounds: list[dict[str, Any]]) -> None:
    print("| what | seconds | rows a second | to bare | work, seconds | to bare | memory |")
    print("| --- | --: | --: | --: | --: | --: | --: |")
    best = {what: {name: min(one[what][name] for one in rounds) for name in ("seconds", "work")} for what in WORDS}
    for what, words in WORDS.items():
        seconds, work = best[what]["seconds"], best[what]["work"]
        slower, dearer = seconds / best["bare"]["seconds"], work / best["bare"]["work"]
        memory = max(one[what]["memory"] for one in rounds)
        rate = f"{rows / seconds:,.0f}"
        print(f"| {words} | {seconds:.1f} | {rate} | {slower:.2f} | {work:.1f} | {dearer:.2f} | {memory} MB |")


def _tell_waits(waits: dict[str, dict[str, Any]]) -> None:
    print("\n| exchanges beside | number | p99 | longest wait |\n| --- | --: | --: | --: |")
    for words, seen in waits.items():
        print(f"| {words} | {seen['count']:,} | {seen['p99'] * 1000:.0f} ms | {seen['longest'] * 1000:.0f} ms |")


def _measured(place: Place, what: str) -> dict[str, Any]:
    with place.copy() as url:
        return json.loads(place.run(what, url=url))


def _exchanges(place: Place, what: str) -> dict[str, Any]:
    """How long exchanges take in another process while that happens."""
    with place.copy() as url:
        exchanges = place.start("exchange", url=url)
        time.sleep(IDLE if not what else IDLE / 4)
        if what:
            place.run(what, url=url)
        said, _ = exchanges.communicate()
        return json.loads(said)


def console() -> None:
    tokens = int(os.environ.get("BENCH_TOKENS") or 1_000_000)
    place = Place("postgresql")
    place.seed(tokens, living=False)
    pages = json.loads(place.run("console"))
    print(f"\nThe console with {tokens:,} tokens on {place.label}, in milliseconds.\n")
    print("| page | work | p50 | p95 | budget | queries | reads whole |\n| --- | --: | --: | --: | --: | --: | --- |")
    for name, _, budget, work, p50, p95, queries, whole, _ in pages:
        p95 = f"{p95:.0f} **beyond**" if p95 > budget else f"{p95:.0f}"
        print(f"| {name} | {work:.0f} | {p50:.0f} | {p95} | {budget} | {queries} | {', '.join(whole)} |")


PARTS |= {
    "http-postgresql": lambda: over_http.http("postgresql"),
    "http-sqlite": lambda: over_http.http("sqlite"),
    "memory": over_http.memory,
    "bulk-postgresql": lambda: bulk("postgresql"),
    "bulk-sqlite": lambda: bulk("sqlite"),
    "console": console,
}


def main(chosen: list[str]) -> None:
    """Each part in a process of its own: its database goes with it."""
    if chosen in (["short"], ["soak"]):
        (over_http.short if chosen == ["short"] else soak.soak)()
        return
    if len(chosen) == 1:
        PARTS[chosen[0]]()
        return
    for part in chosen or PARTS:
        subprocess.run([sys.executable, "-m", "tests.bench", part], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
