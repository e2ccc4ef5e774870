"""`python -m tests.faults.upgrade` upgrades a portal with many tokens from the first released schema under load.

Two portals of the version that came with that schema serve behind nginx. `migrate` of the current version runs beside
them, then current portals take their places, one by one. No client may notice: an answer that is not as expected, a 503
included, ends the run with exit code 1.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx
from cryptography.fernet import Fernet

from tests.faults import first_schema
from tests.faults.servers import Postgres
from tests.faults.site import HERE, LOG, Broken, Load, Site, free_port
from tests.processes import nginx

FIRST = "65faf28ab88502d4a435738b068fba102045fd90"  # the last commit with the first released schema
TOKENS = int(os.environ.get("UPGRADE_TOKENS", "2000000"))
STEADY = 20  # seconds of load before anything changes, to compare with
MORE = "proxy_next_upstream off; proxy_set_header X-Forwarded-For $http_x_forwarded_for;"


class Front:
    """nginx, which can be told of other portals while it serves. A failure of one is not hidden by asking another."""

    def __init__(self, home: Path) -> None:
        self.home, self.port = home, free_port()
        self.command = [str(nginx.BINARY), "-c", str(home / "nginx.conf"), "-e", str(home / "nginx.log")]

    def lead_to(self, sites: list[Site]) -> None:
        nginx.configured(self.home, self.port, [site.port for site in sites], more=MORE)
        running = (self.home / "nginx.pid").exists()
        subprocess.run([*self.command, *(["-s", "reload"] if running else [])], check=True)
        time.sleep(2)  # what was asked of those before is answered

    def stop(self) -> None:
        if (self.home / "nginx.pid").exists():
            subprocess.run([*self.command, "-s", "quit"], check=True)


class Asking(Load):
    """Beside the changes of any load: seeded tokens are exchanged, and what they lead to is looked at."""

    def _parts(self) -> list[Callable[[httpx.Client], None]]:
        return [self.look, self.look, *super()._parts()]

    def look(self, client: httpx.Client) -> None:
        answer = self.exchange(client, first_schema.secret(random.randrange(TOKENS)), {200})
        if answer is None:
            return
        self.exchanges.append(time.monotonic())
        headers = {"authorization": f"Bearer {answer.json()['token']}"}
        profile = self._sent(lambda: client.get("/api/profile/settings", headers=headers), {200})
        if profile is not None and "profile" not in profile.json():
            self.wrong.append(f"this is no profile: {profile.text[:200]}")

    def must_be_unnoticed(self) -> None:
        odd = {
            kind: count
            for kind, count in self.counts.items()
            if not kind.startswith("2") and kind not in {"400", "429"}
        }
        if odd or self.wrong:
            raise Broken(f"clients noticed: {odd} {self.wrong[:5]}")


def old_code(home: Path) -> Path:
    """The version that came with the first schema, with what it was locked to."""
    code = home / "first"
    subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(code), FIRST], cwd=HERE, check=True)
    subprocess.run([sys.executable, "-m", "venv", str(code / ".venv")], check=True)
    pip = [str(code / ".venv" / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "-r", "requirements.txt"], cwd=code, check=True)
    return code


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started here ends as well
    if nginx.BINARY is None or shutil.which("git") is None:
        raise SystemExit("This needs nginx and git (Debian: apt-get install nginx-light git).")
    with ExitStack() as cleanup:
        home = Path(tempfile.mkdtemp(prefix="osmo-portal-upgrade-"))
        cleanup.callback(subprocess.run, ["git", "worktree", "prune"], cwd=HERE, check=False)
        cleanup.callback(shutil.rmtree, home, ignore_errors=True)
        home.chmod(0o711)  # where root runs this, nginx's workers are nobody
        code = old_code(home)
        server = Postgres(shared_buffers="1GB", max_wal_size="8GB")
        cleanup.callback(server.close)
        server.start()
        front = Front(home)
        cleanup.callback(front.stop)
        shared = {
            "SECRET_KEY": "upgrade-" + os.urandom(32).hex(),
            "KEY_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
            "PORTAL_URL": f"http://127.0.0.1:{front.port}",
        }
        upgrade(server.url, front, code, shared)


def upgrade(database: str, front: Front, code: Path, shared: dict[str, str]) -> None:
    old, new = ([Site(database, **shared) for _ in range(2)] for _ in range(2))
    for site in old:
        site.code, site.python = code, code / ".venv" / "bin" / "python"
    for number, site in enumerate([*old, *new]):
        site.log = LOG.with_name(f"upgrade-{number}.log")
    administrator = old[0].prepare()
    seeding = time.monotonic()
    first_schema.seed(database, TOKENS)
    print(f"{TOKENS:,} tokens and their events in the first schema, seeded in {time.monotonic() - seeding:.0f} s")
    load = Asking(Through(front, new[0]), administrator)
    with ExitStack() as serving:
        ends = [serving.enter_context(ExitStack()) for _ in old]
        for site, end in zip(old, ends, strict=True):
            end.enter_context(site.serve())
        front.lead_to(old)
        with load.running():
            _phase(load, "two portals of the first version", lambda: time.sleep(STEADY))
            _phase(load, "migrate, beside them", lambda: new[0].manage("migrate", "--verbosity", "0"))
            for place in range(len(old)):
                replace = partial(_replace, front, place, old, new, ends, serving)
                _phase(load, f"portal {place + 1} replaced", replace)
            _phase(load, "two current portals", lambda: time.sleep(STEADY))
        load.must_be_unnoticed()
        load.hold()
    told = ", ".join(f"{count:,} × {kind}" for kind, count in sorted(load.counts.items()))
    print(f"Answers: {told}. No client noticed. Every acknowledged change holds, and the audit trail is whole.")


def _replace(front: Front, n: int, old: list[Site], new: list[Site], ends: list[ExitStack], serving: ExitStack) -> None:
    serving.enter_context(new[n].serve())
    front.lead_to([*new[: n + 1], *old[n + 1 :]])
    ends[n].close()


def _phase(load: Asking, name: str, what: Callable[[], object]) -> None:
    began, asked = time.monotonic(), sum(load.counts.values())
    load.longest = 0.0
    what()
    took = time.monotonic() - began
    answers = sum(load.counts.values()) - asked
    print(f"{name}: {took:.0f} s, {answers / took:.0f} answers a second, the longest {load.longest:.2f} s", flush=True)
    if load.wrong:
        raise Broken(f"{load.wrong[:5]}")


class Through(Site):
    """The portals behind the front, as a site."""

    def __init__(self, front: Front, site: Site) -> None:
        self.__dict__ |= vars(site) | {"port": front.port, "url": f"http://127.0.0.1:{front.port}"}

    def client(self) -> httpx.Client:
        """Each call on a connection of its own, as the released clients make them."""
        return httpx.Client(base_url=self.url, timeout=30, limits=httpx.Limits(max_keepalive_connections=0))


if __name__ == "__main__":
    main()
