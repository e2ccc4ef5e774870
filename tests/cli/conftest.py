"""A portal that answers from a script and writes down what it is asked, and the real `osmo` process."""

import base64
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

SOURCE = Path(__file__).parents[2] / "cli" / "src"
SECRET = "osmo_" + "7Qm3xV9bTzK1nRcW5sYpL8dHgJ2fAeU4oXiBvNtMwEy" + "0aZ4kQ"
EXCHANGE = "/api/auth/jwt/access_token"


def jwt(life: int = 300, **claims: Any) -> str:
    parts = [{"alg": "ES256", "typ": "at+jwt"}, {"exp": int(time.time()) + life, **claims}]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, "c2lnbmF0dXJl"])


@dataclass
class Asked:
    method: str
    target: str
    headers: dict[str, str]
    body: str

    @property
    def line(self) -> str:
        return f"{self.method} {self.target}"


@dataclass
class Portal:
    """`on` scripts an answer; a request without one is answered 404 in plain text."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    answers: dict[str, tuple[int, bytes, dict[str, str]]] = field(default_factory=dict)
    delay: float = 0

    def on(self, line: str, answer: Any = None, status: int = 200, **headers: str) -> None:
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.answers[line] = (status, body, {name.replace("_", "-"): text for name, text in headers.items()})

    def grants(self, token: str) -> None:
        self.on(f"POST {EXCHANGE}", {"token": token, "expires_at": 1795455850, "error": None})

    def lines(self) -> list[str]:
        return [asked.line for asked in self.asked]


def handler(portal: Portal) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            headers = {name.lower(): text for name, text in self.headers.items()}
            portal.asked.append(Asked(self.command, self.path, headers, body))
            time.sleep(portal.delay)
            line = f"{self.command} {self.path.partition('?')[0]}"
            status, content, extra = portal.answers.get(line, (404, b"nothing here", {}))
            self.send_response(status)
            for name, text in {"Content-Length": str(len(content)), **extra}.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - the base class looks for these

        def log_message(self, *args: Any) -> None:
            """The test reads `portal.asked`."""

    return Handler


@pytest.fixture
def portal() -> Iterator[Portal]:
    scripted = Portal()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(scripted))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    scripted.url = f"http://127.0.0.1:{server.server_port}"
    yield scripted
    server.shutdown()
    server.server_close()
    for asked in scripted.asked:
        assert SECRET not in asked.target, "a secret was sent in an address"


@dataclass
class Osmo:
    """Runs `osmo` as a process of its own; no output may ever show the secret of the login."""

    home: Path
    environment: dict[str, str]
    starter: "Starter"

    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        result = self.starter.run(list(arguments), {**self.environment, **environment})
        assert SECRET not in result.stdout + result.stderr, "the secret was printed"
        assert "Traceback" not in result.stderr, result.stderr
        return result

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Without waiting for its end."""
        command = [sys.executable, "-m", "osmo_cli", *arguments]
        return subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL)

    @property
    def login_file(self) -> Path:
        return self.home / "login.yaml"

    def save(self, url: str, id_token: str) -> None:
        login = {
            "id_token": id_token,
            "refresh_token": SECRET,
            "refresh_url": url + EXCHANGE,
            "client_id": None,
        }
        saved = {"url": url, "name": "", "osmo_token": True, "token_login": login}
        self.home.mkdir(parents=True, exist_ok=True)
        self.login_file.write_text(yaml.safe_dump(saved))


class Starter:
    """Of processes that have `osmo` loaded."""

    def __init__(self, home: Path) -> None:
        environment = {"HOME": str(home), "PYTHONPATH": str(SOURCE), "PYTHONUTF8": "1"}
        self._outputs = [home / "stdout", home / "stderr"]
        command = [sys.executable, str(Path(__file__).with_name("started.py"))]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )

    def run(self, arguments: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        to, told = self._process.stdin, self._process.stdout
        assert to
        assert told
        for output in self._outputs:
            output.write_bytes(b"")
        stdout, stderr = map(str, self._outputs)
        asked = {"arguments": arguments, "environment": environment, "stdout": stdout, "stderr": stderr}
        to.write(json.dumps(asked) + "\n")
        to.flush()
        ready, _, _ = select.select([told], [], [], 60)
        assert ready, f"osmo did not end: {arguments}"
        code = int(told.readline())
        said = [output.read_bytes().decode() for output in self._outputs]
        return subprocess.CompletedProcess(["osmo", *arguments], code, *said)

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="session")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    one = Starter(tmp_path_factory.mktemp("osmo"))
    yield one
    one.end()


@pytest.fixture
def osmo(tmp_path: Path, starter: Starter) -> Osmo:
    home = tmp_path / "settings" / "osmo"
    own = {
        "HOME": str(tmp_path),
        "OSMO_CONFIG_FILE_DIR": str(home),
        "OSMO_CONNECT_RETRIES": "0",
        "PYTHONPATH": str(SOURCE),
        "PYTHONUTF8": "1",
    }
    return Osmo(home, {"PATH": os.environ["PATH"], **own}, starter)


@pytest.fixture
def secret() -> str:
    return SECRET


@pytest.fixture
def make_jwt() -> Callable[..., str]:
    return jwt


@pytest.fixture
def logged_in(portal: Portal, osmo: Osmo) -> Portal:
    """The portal, with the login of a token saved."""
    osmo.save(portal.url, jwt())
    return portal
