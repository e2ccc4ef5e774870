"""Plays the session of the documentation page against a portal of its own, and fails on any difference.

`python -m tests.demo`: a fresh SQLite database, a real server on a free port, the real `osmo` command line, and for the
service token the real form of the console.
"""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from cryptography.fernet import Fernet

HERE = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
# What the page shows, but for the dates and for the role, which it calls by a short name.
PROFILE = """\
user:
  email: testuser
notifications:
  email: False
  slack: True
bucket:
  default: osmo
pool:
  default: my_pool
  accessible:
  - my_pool
token roles:
  name: my-token
  expires_at: XXXX-XX-XX
  roles: osmo-user
"""
SERVICE_PROFILE = """\
user:
  email: my-robot
notifications:
  email: False
  slack: False
bucket:
  default: None
pool:
  default: None
  accessible:
  - my_pool
token roles:
  name: my-service-token
  expires_at: XXXX-XX-XX
  roles: osmo-my_pool
"""
SECRET = re.compile(r"osmo_[0-9A-Za-z]{49}")


class Demo:
    def __init__(self, home: Path) -> None:
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "ENV_FILE": os.devnull,
            "PORT": str(self.port),
            "PORTAL_URL": self.url,
            "DATABASE_URL": f"sqlite:///{home}/portal.sqlite3",
            "SECRET_KEY": "demo-" + os.urandom(32).hex(),
            "KEY_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
            "LOG_LEVEL": "WARNING",
        }

    def manage(self, *words: str) -> str:
        return self._run([sys.executable, "manage.py", *words], show=False)

    def osmo(self, *words: str) -> str:
        """Runs the command line and prints the session as a reader would see it."""
        print("$ " + SECRET.sub("osmo_…", shlex.join(["osmo", *words])))
        said = self._run(["osmo", *words])
        print()
        return said

    def _run(self, command: list[str], *, show: bool = True) -> str:
        done = subprocess.run(command, cwd=HERE, env=self.environment, capture_output=True, text=True, check=False)
        if show:
            print(SECRET.sub("osmo_…", done.stdout), end="")
        if done.returncode:
            raise SystemExit(f"{command[0]} {command[1]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    @contextmanager
    def server(self) -> Iterator[None]:
        command = [
            str(BIN / "gunicorn"),
            "-c",
            "osmo_portal/gunicorn.conf.py",
            "osmo_portal.wsgi",
            "--access-logfile",
            "/dev/null",
        ]
        process = subprocess.Popen(command, cwd=HERE, env=self.environment)
        try:
            self._wait(process)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            if process.wait(timeout=20):
                raise SystemExit(f"The portal did not stop cleanly: {process.returncode}")

    def _wait(self, process: "subprocess.Popen[bytes]") -> None:
        for _ in range(300):
            if process.poll() is not None:
                raise SystemExit("The portal did not start.")
            try:
                if httpx.get(f"{self.url}/health").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        raise SystemExit("The portal did not answer within 30 seconds.")


def play(demo: Demo) -> None:
    demo.manage("migrate", "--verbosity", "0")
    demo.manage("collectstatic", "--noinput", "--verbosity", "0")
    first = json.loads(demo.manage("bootstrap", "--json"))
    with demo.server():
        api = Api(demo.url, first["token"])
        _make_what_the_page_has(api)
        _session_of_the_page(demo)
        with httpx.Client(base_url=demo.url) as browser:
            _service_token_in_the_browser(demo, browser, first)
    print("The session is the page's.")


def _make_what_the_page_has(api: "Api") -> None:
    policies = [{"effect": "Allow", "actions": ["workflow:*"], "resources": ["pool/my_pool"]}]
    api.post("pools", name="my_pool")
    api.post("roles", name="osmo-my_pool", policies=policies)
    api.post("users", kind="person", username="testuser", roles=["osmo-my_pool"])
    api.post(
        "users", kind="service", username="my-robot", accountable="testuser", purpose="demo", roles=["osmo-my_pool"]
    )


def _session_of_the_page(demo: Demo) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=31)).date().isoformat()
    words = ["--actor", "testuser", "--owner", "testuser", "--name", "first-token", "--expires-at", tomorrow]
    demo.osmo("login", demo.url, "--method", "token", "--token", demo.manage("issue_token", *words).strip())
    secret = _secret(demo.osmo("token", "set", "my-token", "--expires-at", tomorrow))
    demo.osmo("login", demo.url, "--method", "token", "--token", secret)
    demo.osmo("profile", "set", "bucket", "osmo")
    demo.osmo("profile", "set", "pool", "my_pool")
    demo.osmo("profile", "set", "notifications", "slack", "true")
    _compare(demo.osmo("profile", "list"), PROFILE)
    if "my-token" not in demo.osmo("token", "list"):
        raise SystemExit("The list does not show the token.")
    demo.osmo("token", "delete", "first-token")
    if "first-token" in demo.osmo("token", "list"):
        raise SystemExit("The list still shows the deleted token.")


def _service_token_in_the_browser(demo: Demo, browser: httpx.Client, first: dict[str, Any]) -> None:
    """As an administrator does it: signs in, fills the form, copies the secret from the answer."""
    form = _form(browser, "/admin/login/")
    _submit(browser, "/admin/login/", form | {"username": first["username"], "password": first["password"]}, 302)
    page = "/admin/tokens/accesstoken/issue/?owner=my-robot"
    values = _form(browser, page) | {
        "name": "my-service-token",
        "expires_at": (datetime.now(UTC) + timedelta(days=31)).date().isoformat(),
        "roles": "osmo-my_pool",
    }
    secret = _secret(_submit(browser, page, values, 200))
    demo.osmo("login", demo.url, "--method", "token", "--token", secret)
    _compare(demo.osmo("profile", "list"), SERVICE_PROFILE)


def _form(browser: httpx.Client, page: str) -> dict[str, str]:
    """The hidden fields of a page's form."""
    html = browser.get(page).raise_for_status().text
    return dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', html))


def _submit(browser: httpx.Client, page: str, values: dict[str, str], status: int) -> str:
    answer = browser.post(page, data=values, headers={"referer": f"{browser.base_url}{page.lstrip('/')}"})
    if answer.status_code != status:
        raise SystemExit(f"{page} answered {answer.status_code}:\n{answer.text}")
    return answer.text


def _secret(text: str) -> str:
    found = SECRET.search(text)
    if not found:
        raise SystemExit(f"There is no secret in:\n{text}")
    return found[0]


def _compare(said: str, expected: str) -> None:
    dated = re.sub(r"(expires_at: )\d{4}-\d\d-\d\d", r"\1XXXX-XX-XX", said)
    if dated != expected:
        raise SystemExit(f"The page shows:\n{expected}\nThe command line printed:\n{dated}")


class Api:
    """REST as the bootstrap token's holder."""

    def __init__(self, url: str, secret: str) -> None:
        answer = httpx.post(f"{url}/api/auth/jwt/access_token", json={"token": secret}).raise_for_status()
        headers = {"authorization": f"Bearer {answer.json()['token']}"}
        self.client = httpx.Client(base_url=f"{url}/api/v1/", headers=headers)

    def post(self, path: str, **body: Any) -> None:
        answer = self.client.post(path, json=body)
        if answer.status_code != 201:
            raise SystemExit(f"POST {path} answered {answer.status_code}: {answer.text}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="osmo-portal-demo-") as directory:
        play(Demo(Path(directory)))
