"""`python -m tests.faults` makes what goes wrong go wrong, under load, and prints how long the portal was away.

Names of faults as arguments choose some. Each ends with every promise held, or the run ends with what was not.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.faults.servers import Postgres
from tests.faults.site import Broken, Load, Site, longest_gap, until

BEFORE, AFTER = float(os.environ.get("FAULT_SECONDS", "5")), 4.0  # seconds of load before a fault, and after it
BACK_WITHIN = 90
NETWORK = "osmo-fault"
FAULTS: dict[str, Callable[[], Load]] = {}


class Missing(Exception):
    """What this machine has not got."""


def fault(make: Callable[[], Load]) -> Callable[[], Load]:
    FAULTS[make.__name__.replace("_", "-")] = make
    return make


def needs(*programs: str, root: bool = False) -> None:
    """Raises Missing where this machine cannot do it."""
    missing = [f"`{program}`" for program in programs if not shutil.which(program)]
    if root and os.geteuid():
        missing.append("root, since it cuts networks or fills disks of its own")
    if missing:
        raise Missing(f"not made, this needs {' and '.join(missing)}")


@contextmanager
def postgres(listen: str = "127.0.0.1") -> Iterator[Postgres]:
    server = Postgres(listen=listen)
    server.start()
    try:
        yield server
    finally:
        server.close()


def _under_load(site: Site, break_it: Callable[[], None]) -> Load:
    load = Load(site, site.prepare())
    with site.serve():
        with load.running():
            time.sleep(BEFORE)
            break_it()
            for successes in (load.exchanges, load.changes):
                _until_more(successes)
            time.sleep(AFTER)
        load.hold()
    return load


def _until_more(successes: list[float]) -> None:
    seen = len(successes)
    until(lambda: len(successes) > seen + 5, BACK_WITHIN, "it does not come back")


@fault
def a_worker_is_killed() -> Load:
    """kill -9 of one of two workers, three times."""
    with postgres() as server:
        site = Site(server.url)

        def kill() -> None:
            for _ in range(3):
                os.kill(site.workers()[0], signal.SIGKILL)
                time.sleep(2)

        return _under_load(site, kill)


@fault
def postgresql_is_killed() -> Load:
    """kill -9 of all its processes, and started again 2 s later."""
    with postgres() as server:

        def kill() -> None:
            server.kill()
            time.sleep(2)
            server.start()

        return _under_load(Site(server.url), kill)


@fault
def the_network_is_cut() -> Load:
    """Packets between portal and database get lost for 15 s, without a word."""
    needs("ip", root=True)
    with ExitStack() as cleanup:
        _ip(f"netns add {NETWORK}")
        cleanup.callback(_ip, f"netns delete {NETWORK}")
        for link, number in (("osmo-front", 0), ("osmo-back", 1)):
            _ip(f"link add {link} type veth peer name {link} netns {NETWORK}")
            cleanup.callback(subprocess.run, ["ip", "link", "delete", link], check=False, stderr=subprocess.DEVNULL)
            for side, last in (("", 1), (f"-n {NETWORK} ", 2)):
                _ip(f"{side}addr add 10.231.{number}.{last}/24 dev {link}")
                _ip(f"{side}link set {link} up")
        _ip(f"-n {NETWORK} link set lo up")
        server = cleanup.enter_context(postgres("127.0.0.1,10.231.1.1"))
        site = Site(server.url, host="10.231.0.2", prefix=["ip", "netns", "exec", NETWORK])

        def cut() -> None:
            """Each side sends to a machine that is not there."""
            ends = (("", "10.231.1.2"), (f"-n {NETWORK} ", "10.231.1.1"))
            for side, other in ends:
                _ip(f"{side}neigh replace {other} lladdr 02:00:00:00:00:99 dev osmo-back nud permanent")
            time.sleep(15)
            for side, other in ends:
                _ip(f"{side}neigh delete {other} dev osmo-back")

        return _under_load(site, cut)


def _ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True)


@fault
def the_disk_of_sqlite_is_full() -> Load:
    """A disk of 24 MB that something else fills for 5 s."""
    with _small_disk() as disk:
        return _under_load(Site(f"sqlite:///{disk}/portal.sqlite3"), lambda: _fill(disk))


@fault
def the_disk_of_postgresql_is_full() -> Load:
    """A disk of 160 MB that something else fills for 5 s; PostgreSQL is started again where it gave up."""
    with _small_disk(size="160m") as disk:
        server = Postgres(home=disk)
        server.start()

        def fill() -> None:
            _fill(disk)
            if not server.answers():
                server.kill()
                server.start()

        try:
            return _under_load(Site(server.url), fill)
        finally:
            server.kill()


@contextmanager
def _small_disk(size: str = "24m") -> Iterator[Path]:
    needs("mount", root=True)
    with tempfile.TemporaryDirectory(prefix="osmo-portal-disk-") as name:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", name], check=True)
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", "--lazy", name], check=True)


def _fill(disk: Path) -> None:
    try:
        with (disk / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(65_536))
    except OSError:
        time.sleep(5)
    (disk / "filler").unlink()


def main(chosen: list[str]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started here ends as well
    unknown = set(chosen) - set(FAULTS)
    if unknown:
        raise SystemExit(f"There is no fault {', '.join(unknown)}. There are: {', '.join(FAULTS)}.")
    print("| fault | s without an exchange | s without a change | longest answer, s | answers | tokens held to it |")
    print("| --- | --: | --: | --: | --- | --: |", flush=True)
    failed = False
    for name in chosen or FAULTS:
        words = name.replace("-", " ")
        try:
            load = FAULTS[name]()
        except Missing as missing:
            print(f"| {words} | {missing} |")
        except Broken as broken:
            failed = True
            print(f"| {words} | BROKEN: {broken} |")
        else:
            away = " | ".join(f"{longest_gap(moments):.1f}" for moments in (load.exchanges, load.changes))
            told = ", ".join(f"{count:,} × {kind}" for kind, count in sorted(load.counts.items()))
            kept = len(load.live) + len(load.revoked)
            print(f"| {words} | {away} | {load.longest:.1f} | {told} | {kept:,} |")
        sys.stdout.flush()
    raise SystemExit(failed)


if __name__ == "__main__":
    main(sys.argv[1:])
