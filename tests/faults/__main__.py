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
from datetime import timedelta
from pathlib import Path

from tests.faults.patroni import Patroni
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


PACKAGES = {"ip": "iproute2", "mount": "mount", "patroni": "patroni", "etcd": "etcd-server"}  # of Debian


def needs(*programs: str, root: bool = False) -> None:
    """Raises Missing where this machine cannot do it."""
    lacking(*(PACKAGES[program] for program in programs if not shutil.which(program)))
    if root and os.geteuid():
        raise Missing("not made, this needs root, since it cuts networks or fills disks of its own")


def lacking(*packages: str) -> None:
    if packages:
        raise Missing(f"not made, this needs {' and '.join(packages)}: apt-get install {' '.join(packages)}")


@contextmanager
def postgres(listen: str = "127.0.0.1") -> Iterator[Postgres]:
    server = Postgres(listen=listen)
    server.start()
    try:
        yield server
    finally:
        server.close()


def _under_load(site: Site, break_it: Callable[[], None], load: Load | None = None) -> Load:
    load = load or Load(site, site.prepare())
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


# libfaketime makes an error of the system call that Python sleeps by.
SLEEP = "import select, time\ntime.sleep = lambda seconds: (select.select([], [], [], seconds), None)[1]\n"


@fault
def the_clock_jumps() -> Load:
    """The portal's clock goes half an hour ahead, then half an hour behind, 5 s each; then it is right again."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    lacking(*([] if library else ["libfaketime"]))
    with postgres() as server, tempfile.TemporaryDirectory(prefix="osmo-portal-clock-") as name:
        clock = Path(name) / "clock"
        clock.write_text("+0\n")
        (Path(name) / "sitecustomize.py").write_text(SLEEP)
        faked = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1", "FAKETIME_NO_CACHE": "1", "PYTHONPATH": name}
        told = {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(clock), **faked}
        site = Site(server.url, prefix=["env", *(f"{name}={value}" for name, value in told.items())])
        load = Load(site, site.prepare(), also={401})  # a JWT from before a jump is not accepted after it
        for tokens, ends in ((load.over, timedelta(0)), (load.soon, timedelta(minutes=20))):
            number, secret = site.issue(f"ends-in-{ends.seconds}", ends)
            tokens[number] = secret

        def jump() -> None:
            for offset in ("+1800", "-1800", "+0"):
                clock.write_text(f"{offset}\n")
                time.sleep(5)

        return _under_load(site, jump, load)


@fault
def the_primary_fails_over() -> Load:
    """Two servers with Patroni, the standby synchronous. kill -9 of all that is the primary's, which comes back."""
    needs("patroni", "etcd")
    cluster = Patroni()
    try:
        cluster.start()

        def kill() -> None:
            primary = cluster.primary()
            assert primary
            primary.kill()
            until(lambda: cluster.primary() not in {None, primary}, BACK_WITHIN, "the standby does not take over")
            primary.start()
            until(cluster.has_standby, BACK_WITHIN, "the server that failed does not come back as a standby")

        return _under_load(Site(cluster.url), kill)
    finally:
        cluster.close()


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
