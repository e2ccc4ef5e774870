"""The portal over HTTP: gunicorn with the portal's configuration, asked by wrk from outside, beside its yardsticks.

What is compared takes turns, several times, so that a machine that becomes slow meanwhile is slow for all of it: the
ratios say more than the figures.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psycopg

from tests.bench.places import EXCHANGE, HERE, LIST, PROFILE, Place
from tests.portals import Portal, serving

CONNECTIONS, SAMPLE, JWTS, FEW = 16, 20_000, 200, 50
ROUNDS = 3
TICKS = os.sysconf("SC_CLK_TCK")
RECORDED = Path(__file__).with_name("recorded.json")
BENCH = "/api/bench/"


class Row(NamedTuple):
    name: str
    rate: float  # a second
    p50: float  # milliseconds
    p95: float
    p99: float
    cpu: float  # microseconds of processors a request: the portal's workers and the database's server


class Ask(NamedTuple):
    """What wrk sends: lines of load.lua."""

    name: str
    lines: list[str]
    connections: int = CONNECTIONS

    @classmethod
    def get(cls, name: str, path: str, headers: list[str], expected: str) -> "Ask":
        return cls(name, [f"GET\t{path}\t{header}\t\t{expected}" for header in headers])

    @classmethod
    def exchange(cls, name: str, path: str, secrets: list[str]) -> "Ask":
        return cls(name, [f'POST\t{path}\t\t{{"token": "{secret}"}}\t"token"' for secret in secrets])


class Bench:
    """A portal on a seeded database, and what its callers know."""

    def __init__(self, place: Place, portal: Portal, known: dict[str, Any], home: Path, seconds: float) -> None:
        self.place, self.portal, self.known, self.home, self.seconds = place, portal, known, home, seconds
        self.postmaster = _postmaster(place.url) if place.kind == "postgresql" else None

    @property
    def few(self) -> list[str]:
        """From everywhere in the table, and so few that their last use was noted while all got warm."""
        return list(self.known["secrets"][:: max(1, len(self.known["secrets"]) // FEW)])

    def jwts(self, secrets: list[str]) -> list[str]:
        with httpx.Client(base_url=self.portal.url) as client:
            answers = [client.post(EXCHANGE, json={"token": secret}).json()["token"] for secret in secrets]
        return [f"Authorization=Bearer {jwt}" for jwt in answers]

    def measure(self, asks: dict[str, Ask]) -> dict[str, Row]:
        """Of each the round in the middle, by its rate."""
        for ask in asks.values():
            self._wrk(ask, self.seconds / 5)  # until everything is warm
        rounds = [{key: self._row(ask) for key, ask in asks.items()} for _ in range(ROUNDS)]
        rows = {key: sorted((one[key] for one in rounds), key=lambda row: row.rate)[ROUNDS // 2] for key in asks}
        if slow := [row.name for row in rows.values() if not row.rate]:
            raise SystemExit(f"In {self.seconds / ROUNDS:.0f} s no answer: {', '.join(slow)}. Raise BENCH_SECONDS.")
        print("\n".join(map(_line, rows.values())), flush=True)
        return rows

    def _row(self, ask: Ask) -> Row:
        before = self._idle()
        count, duration, p50, p95, p99 = self._wrk(ask, self.seconds / ROUNDS)
        cpu = (self._busy() - before) / max(1, count) * 1e6
        return Row(ask.name, count / duration * 1e6, p50 / 1000, p95 / 1000, p99 / 1000, cpu)

    def _wrk(self, ask: Ask, seconds: float) -> list[int]:
        asked = self.home / "asked.tsv"
        asked.write_text("\n".join(ask.lines) + "\n")
        script = str(Path(__file__).with_name("load.lua"))
        duration = f"{max(1, round(seconds))}s"
        command = [
            "wrk",
            "-t2",
            f"-c{ask.connections}",
            f"-d{duration}",
            "--timeout",
            "30s",
            "-s",
            script,
            self.portal.url,
        ]
        command += ["--", str(asked), str(time.monotonic_ns())]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        result = next(line for line in said.splitlines() if line.startswith("RESULT"))
        *figures, sample = result.split("\t")[1:]
        *measured, wrong, broken = map(int, figures)
        if wrong or broken:
            log = self.portal.log.read_text()[-2_000:]
            raise SystemExit(f"{ask.name}: {wrong} wrong answers, {broken} broken connections: {sample}\n{log}")
        return measured

    def _idle(self) -> float:
        """As `_busy`, once what the callers before left undone is done: no longer than six seconds."""
        before, patience = self._busy(), 20
        while patience:
            time.sleep(0.3)
            now = self._busy()
            patience = 0 if now - before < 0.03 else patience - 1
            before = now
        return before

    def _busy(self) -> float:
        """Seconds of processors so far: the portal's workers, and the database's server with all its children."""
        mine = sum(_seconds(pid)[0] for pid in self.portal.workers())
        if self.postmaster is None:
            return mine
        children = Path(f"/proc/{self.postmaster}/task/{self.postmaster}/children").read_text().split()
        return mine + sum(_seconds(self.postmaster)) + sum(_seconds(int(pid))[0] for pid in children)


def _seconds(pid: int) -> tuple[float, float]:
    """Of a process itself, and of its children that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except FileNotFoundError:
        return 0.0, 0.0
    own, ended = (sum(map(int, fields[at : at + 2])) / TICKS for at in (11, 13))
    return own, ended


def _postmaster(url: str) -> int:
    with psycopg.connect(url) as connection:
        backend = connection.info.backend_pid
        return int(Path(f"/proc/{backend}/stat").read_text().rpartition(") ")[2].split()[1])


def _memory(pid: int) -> float:
    """Resident, in MB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


HEAD = "| what | requests/s | p50 | p95 | p99 | processor a request |\n| --- | --: | --: | --: | --: | --: |"


def _line(row: Row) -> str:
    return f"| {row.name} | {row.rate:,.0f} | {row.p50:.1f} | {row.p95:.1f} | {row.p99:.1f} | {row.cpu:,.0f} µs |"


# What is measured.


def yardsticks(bench: Bench) -> dict[str, Ask]:
    secrets = bench.few
    return {
        "empty": Ask("empty Django view", [f'POST\t{BENCH}empty\t\t{{"token": "{one}"}}\tyes' for one in secrets]),
        "least": Ask.exchange("the least an exchange takes", f"{BENCH}least", secrets),
        "naive": Ask.exchange("naive DRF exchange", f"{BENCH}naive", secrets),
        "tuned": Ask.exchange("tuned DRF exchange", f"{BENCH}tuned", secrets),
        "twin": Ask.get("tuned DRF profile", f"{BENCH}profile", bench.jwts(secrets[:JWTS]), '"username"'),
    }


def hot(bench: Bench) -> dict[str, Ask]:
    secrets = bench.few
    return {
        "exchange": Ask.exchange("exchange", EXCHANGE, secrets),
        "profile": Ask.get("profile", PROFILE, bench.jwts(secrets[:JWTS]), '"username"'),
    }


def others(bench: Bench) -> dict[str, Ask]:
    known = bench.known
    own, wide = bench.jwts([known["grace"]]), bench.jwts([known["wide"]])
    session = [f"Cookie=sessionid={known['session']}"]
    issue = f"POST\t{LIST}/user/n{{n}}?expires_at={known['day']}\t{own[0]}\t\tosmo_"
    console = {
        "console": Ask.get("console, first page", "/admin/", session, "</html>"),
        "console list": Ask.get("console, tokens", "/admin/tokens/accesstoken/", session, "</html>"),
    }
    return {
        "exchange of many": Ask.exchange("exchange, each with its last use", EXCHANGE, known["secrets"]),
        "list": Ask.get("token list of the wire", LIST, own, "token_name"),
        "issue": Ask("issue", [issue]),
        "v1": Ask.get("v1 list, first page", "/api/v1/tokens", wide, '"results"'),
        "v1 deep": Ask.get("v1 list, a deep page", known["deep"], wide, '"results"'),
    } | {key: ask._replace(connections=4) for key, ask in console.items()}


def bare(bench: Bench) -> dict[str, float]:
    """Microseconds of processors: the same SQL through the driver alone, and a signature. In as many processes at once
    as serve requests: what shares its processor with another takes longer for the same."""
    steps = [bench.place.start("bare_exchange") for _ in bench.portal.workers()]
    found = [json.loads(step.communicate()[0]) for step in steps]
    return {part: round(sum(one[part] for one in found) / len(found)) for part in found[0]}


def pgbench(place: Place) -> str:
    """How often the server alone answers for a digest, prepared."""
    if place.kind != "postgresql":
        return ""
    if not shutil.which("pgbench"):
        return "pgbench: not measured, there is none (Debian: apt-get install postgresql)."
    script = (
        "\\set i random(1, 1000000)\nSELECT token_id FROM tokens_secret WHERE digest = sha256(('seed' || :i)::bytea);"
    )
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        command = ["pgbench", "-n", "-M", "prepared", "-c", "4", "-j", "2", "-T", "4", "-f", file.name, place.url]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"tps = ([\d.]+)", said)
    assert found, said
    return f"pgbench, a select of the same table by digest: {float(found[1]):,.0f} a second."


# The ratios, and what they shall be.

GOALS = {
    "exchange to naive": (15, "≥"),
    "exchange to tuned": (3, "≥"),
    "exchange to empty": (0.45, "≥"),
    "exchange to the least it takes": (0.8, "≥"),
    "profile to its twin": (2, "≥"),
    "processor of the exchange to its parts": (1.6, "≤"),
}


def ratios(rows: dict[str, Row], parts: dict[str, float]) -> dict[str, float]:
    exchange = rows["exchange"]
    return {
        "exchange to naive": exchange.rate / rows["naive"].rate,
        "exchange to tuned": exchange.rate / rows["tuned"].rate,
        "exchange to empty": exchange.rate / rows["empty"].rate,
        "exchange to the least it takes": exchange.rate / rows["least"].rate,
        "profile to its twin": rows["profile"].rate / rows["twin"].rate,
        "processor of the exchange to its parts": exchange.cpu / (rows["empty"].cpu + sum(parts.values())),
    }


def _tell_ratios(found: dict[str, float]) -> None:
    print("\n| ratio | measured | goal |\n| --- | --: | --: |")
    for name, value in found.items():
        goal, sign = GOALS[name]
        print(f"| {name} | {value:.2f} | {sign} {goal} |")


def _needs_wrk() -> None:
    if not shutil.which("wrk"):
        raise SystemExit("This needs wrk, which sends the requests (Debian: apt-get install wrk).")


def _benches(kind: str, sizes: list[int], seconds: float) -> Iterator[tuple[int, Bench]]:
    """One a size: freshly seeded, and served until the next is asked for."""
    _needs_wrk()
    for size in sizes:
        place = Place(kind)
        place.seed(size, living=True)
        known = json.loads(place.run("callers", SAMPLE))
        if "BENCH_PAUSE" in os.environ:
            input(f"{size:,} tokens are seeded. Make the machine quiet, and press Enter: ")
        with tempfile.TemporaryDirectory() as folder:
            settings = {"DJANGO_SETTINGS_MODULE": "tests.bench.settings", "LOG_LEVEL": "WARNING"}
            with serving(1, place.url, Path(folder), **settings) as (portal,):
                yield size, Bench(place, portal, known, Path(folder), seconds)


def http(kind: str) -> None:
    """Every size in a process of its own: its database goes with it."""
    sizes = os.environ.get("BENCH_SIZES") or os.environ.get("BENCH_TOKENS") or "1000,10000,100000,1000000"
    seconds = float(os.environ.get("BENCH_SECONDS", "10"))
    growth: dict[int, dict[str, Row]] = {}
    *smaller, largest = (int(size) for size in sizes.split(","))
    for size in smaller:
        said = subprocess.run(
            [sys.executable, "-m", "tests.bench.over_http", kind, str(size), str(seconds)],
            cwd=HERE,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
        growth[size] = {name: Row(*row) for name, row in json.loads(said.splitlines()[-1]).items()}
    for _, bench in _benches(kind, [largest], seconds):
        _everything(bench, largest, growth)


def _everything(bench: Bench, size: int, growth: dict[int, dict[str, Row]]) -> None:
    place, portal = bench.place, bench.portal
    print(f"\n{size:,} tokens on {place.label}; {len(portal.workers())} workers; wrk with {CONNECTIONS} connections.")
    print(f"From the start to the first answer: {portal.started_in:.1f} s.\n\n{HEAD}")
    rows = bench.measure(yardsticks(bench) | hot(bench)) | bench.measure(others(bench))
    parts = bare(bench)
    growth[size] = rows
    print("\nMicroseconds of processors by the driver alone and in one signature: " + json.dumps(parts) + ".")
    print(pgbench(place))
    print(f"Memory of the workers: {', '.join(f'{_memory(pid):.0f} MB' for pid in portal.workers())}.")
    _tell_ratios(ratios(rows, parts))
    print("\nRequests a second, by how many tokens there are, and as shares of those of the empty view.\n")
    print("| tokens | empty view | exchange | | profile | |\n| --: | --: | --: | --: | --: | --: |")
    for tokens, of_size in growth.items():
        empty, one, two = (of_size[key].rate for key in ("empty", "exchange", "profile"))
        print(f"| {tokens:,} | {empty:,.0f} | {one:,.0f} | {one / empty:.2f} | {two:,.0f} | {two / empty:.2f} |")


def short() -> None:
    """Fails where a query was added, or a ratio is worse than half of what it was (recorded.json)."""
    recorded = json.loads(RECORDED.read_text())
    for _, bench in _benches("postgresql", [5_000], float(os.environ.get("BENCH_SECONDS", "3"))):
        queries = json.loads(bench.place.run("queries"))
        print(f"\n5,000 tokens on {bench.place.label}.\n\n{HEAD}")
        rows = bench.measure(yardsticks(bench) | hot(bench))
        found = ratios(rows, bare(bench))
        _tell_ratios(found)
        print("\n" + json.dumps({"queries": queries, "ratios": {k: round(v, 2) for k, v in found.items()}}))
        worse = [name for name, count in queries.items() if count > recorded["queries"][name]]
        worse += [name for name, value in found.items() if _is_worse(name, value, recorded["ratios"][name])]
        if worse:
            raise SystemExit(f"Worse than recorded.json allows: {', '.join(worse)}.")


def _is_worse(name: str, value: float, recorded: float) -> bool:
    return value < recorded / 2 if GOALS[name][1] == "≥" else value > recorded * 2


def memory() -> None:
    """What a worker holds while it answers a million requests: exchanges for the most part, between them all else."""
    total = int(os.environ.get("BENCH_REQUESTS", "1000000"))
    for _, bench in _benches("postgresql", [10_000], 10):
        print("\n| requests | memory of each worker |\n| --: | --- |")
        done, told = 0, 0
        while done < total:
            many = Ask.exchange("exchange", EXCHANGE, bench.known["secrets"])
            between = {"profile": hot(bench)["profile"]} | others(bench)  # with JWTs of this minute
            done += sum(bench._wrk(ask, 2)[0] for ask in between.values()) + bench._wrk(many, 60)[0]
            if done >= told:
                held = ", ".join(f"{_memory(pid):.1f} MB" for pid in bench.portal.workers())
                print(f"| {done:,} | {held} |", flush=True)
                told = done + total // 10


def main(kind: str, size: str, seconds: str) -> None:
    for _, bench in _benches(kind, [int(size)], float(seconds)):
        print(json.dumps(bench.measure({"empty": yardsticks(bench)["empty"]} | hot(bench))))


if __name__ == "__main__":
    begun = time.monotonic()
    main(*sys.argv[1:])
    print(f"{time.monotonic() - begun:.0f} s", file=sys.stderr)
