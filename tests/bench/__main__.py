"""`python -m tests.bench` measures what the portal promises for large installations, and prints it in Markdown.

`bulk-postgresql`, `bulk-sqlite` and `console` choose parts. BENCH_TOKENS is how many tokens there are; without it a
part takes as many as its promise is about. A part takes minutes, and some gigabytes of the temporary folder meanwhile.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.bench.places import Place

PARTS: dict[str, Callable[[], None]] = {}
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "2"))
GOALS = {"postgresql": 1.3, "sqlite": 2.0}
LONGEST_WAIT, MEMORY = 100, 150  # ms, MB
IDLE = 20  # seconds of exchanges while nothing else happens


def bulk(kind: str) -> None:
    tokens = int(os.environ.get("BENCH_TOKENS", "2000000"))
    place = Place(kind)
    place.seed(tokens, living=True)
    rounds = [{what: _measured(place, what) for what in ("bare", "expire", "operation")} for _ in range(ROUNDS)]
    quiet = _exchanges(place, "")
    busy = [_exchanges(place, what) for what in ("expire", "operation")]
    best = {what: min((one[what] for one in rounds), key=lambda done: done["seconds"]) for what in rounds[0]}
    print(f"\n{best['bare']['rows']:,} of {tokens:,} tokens ended on {place.label}; the best of {ROUNDS} rounds.\n")
    print("| what | seconds | rows a second | to one bare UPDATE | memory |\n| --- | --: | --: | --: | --: |")
    for what, done in best.items():
        ratio = min(one[what]["seconds"] / one["bare"]["seconds"] for one in rounds)
        rate = done["rows"] / done["seconds"]
        print(f"| {WORDS[what]} | {done['seconds']:.1f} | {rate:,.0f} | {ratio:.2f} | {done['memory']} MB |")
    print("\n| exchanges meanwhile | number | p99 | longest wait |\n| --- | --: | --: | --: |")
    for words, waits in zip(("nothing else happens", WORDS["expire"], WORDS["operation"]), (quiet, *busy), strict=True):
        print(f"| {words} | {waits['count']:,} | {waits['p99'] * 1000:.0f} ms | {waits['longest'] * 1000:.0f} ms |")
    print(f"\nGoals: {GOALS[kind]} times one bare UPDATE, {LONGEST_WAIT} ms on PostgreSQL, {MEMORY} MB.", flush=True)


WORDS = {"bare": "one bare UPDATE", "expire": "the way in", "operation": "an operation, run"}


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
    tokens = int(os.environ.get("BENCH_TOKENS", "1000000"))
    place = Place("postgresql")
    place.seed(tokens, living=False)
    pages = json.loads(place.run("console"))
    print(f"\nThe console with {tokens:,} tokens on {place.label}, in milliseconds.\n")
    print("| page | work | best | p95 | budget | queries |\n| --- | --: | --: | --: | --: | --: |")
    for name, _, budget, work, best, p95, queries, _ in pages:
        print(f"| {name} | {work:.0f} | {best:.0f} | {p95:.0f} | {budget} | {queries} |")


PARTS |= {
    "bulk-postgresql": lambda: bulk("postgresql"),
    "bulk-sqlite": lambda: bulk("sqlite"),
    "console": console,
}


def main(chosen: list[str]) -> None:
    """Each part in a process of its own: its database goes with it."""
    if len(chosen) == 1:
        PARTS[chosen[0]]()
        return
    for part in chosen or PARTS:
        subprocess.run([sys.executable, "-m", "tests.bench", part], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
