"""Dockerfile, compose.yaml and nginx's configuration, without a Docker engine: their steps in a fresh folder."""

import fnmatch
import json
import os
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from cryptography.fernet import Fernet
from django.conf import settings

ROOT = settings.BASE_DIR
NGINX = ROOT / "deploy" / "nginx" / "nginx.conf"
OWN = ("osmo_portal", "profiles", "tokens", "templates", "static")
SHELL = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
SECRET = "osmo_AtTheEndOfAnAddress"


class Step(NamedTuple):
    word: str
    rest: str


def steps() -> list[Step]:
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [Step(*line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


def told(word: str) -> str:
    """What the last such instruction says."""
    return [step.rest for step in steps() if step.word == word][-1]


def environment() -> dict[str, str]:
    pairs = [pair.split("=", 1) for step in steps() if step.word == "ENV" for pair in shlex.split(step.rest)]
    return {name: value for name, value in pairs if name != "PATH"}


# The Dockerfile.


def test_the_image_runs_as_nobody_in_particular() -> None:
    assert told("USER") == "10001:10001"
    assert [step.word for step in steps()].index("USER") > max(i for i, s in enumerate(steps()) if s.word == "RUN")


def test_the_image_begins_twice_at_one_version_and_takes_only_what_was_built() -> None:
    first, last = (step.rest.split()[0] for step in steps() if step.word == "FROM")

    assert first == last == "${BASE}"
    assert re.fullmatch(r"BASE=python:3\.\d+-slim-\w+", told("ARG"))
    second = steps()[[i for i, step in enumerate(steps()) if step.word == "FROM"][1] :]
    assert [step.rest for step in second if step.word == "COPY"] == ["--from=build /opt/osmo-portal /opt/osmo-portal"]


def test_what_is_installed_is_locked() -> None:
    (install,) = [step.rest for step in steps() if "pip install" in step.rest]

    assert "--require-hashes -r requirements.txt" in install
    assert not any(step.word == "ADD" or "curl" in step.rest or "apt-get" in step.rest for step in steps())


def test_no_key_gets_into_the_image() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    wanted = {step.rest.split()[0] for step in steps() if step.word == "COPY" and "--from" not in step.rest}

    assert lines[1] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == wanted
    assert not any(fnmatch.fnmatch(name, pattern) for name in (".env", "var", ".git") for pattern in wanted)
    named = {name for step in steps() if step.word in {"ENV", "ARG"} for name in re.findall(r"(\w+)=", step.rest)}
    assert not {name for name in named if "KEY" in name or "SECRET" in name or "PASSWORD" in name}


@pytest.fixture
def image() -> Iterator[Path]:
    """What the steps make, but for the packages: those of this run."""
    home = Path(tempfile.mkdtemp(prefix="osmo-portal-image-"))
    home.chmod(0o755)
    for name in ("requirements.txt", "manage.py"):
        shutil.copy(ROOT / name, home)
    for name in OWN:
        shutil.copytree(ROOT / name, home / name, ignore=shutil.ignore_patterns("__pycache__"))
    (home / ".venv").symlink_to(Path(sys.executable).parents[1])
    for step in steps():
        if step.word == "RUN" and "collectstatic" in step.rest:
            quickly = step.rest.replace("collectstatic", "collectstatic --dry-run")  # compressing takes its time
            subprocess.run(["sh", "-euc", quickly], cwd=home, env=SHELL, check=True, capture_output=True)
    subprocess.run(["chmod", "-R", "a-w,a+rX", str(home)], check=True)
    yield home
    subprocess.run(["chmod", "-R", "u+w", str(home)], check=True)
    shutil.rmtree(home)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_its_steps_make_a_portal_that_serves_without_writing_to_its_folder(image: Path) -> None:
    """As the user of the image, where the tests run as root and that user can read Python."""
    port = _free_port()
    person = _user_of_the_image()
    run = SHELL | environment() | {"PATH": f"{image}/.venv/bin:{SHELL['PATH']}", "BIND": f"127.0.0.1:{port}"}
    run |= {
        "SECRET_KEY": "x" * 60,
        "KEY_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "LOG_LEVEL": "ERROR",
        "WEB_WORKERS": "1",
    }
    run |= {"PORTAL_URL": "https://osmo.example.org", "DATABASE_URL": "sqlite:////nonexistent/portal.sqlite3"}
    before = sorted(image.rglob("*"))

    process = subprocess.Popen(json.loads(told("CMD")), cwd=image, env=run, stdout=subprocess.DEVNULL, **person)
    try:
        assert healthy(image, run, port, person)
    finally:
        process.send_signal(getattr(signal, told("STOPSIGNAL")))
        assert process.wait(timeout=20) == 0

    assert sorted(image.rglob("*")) == before
    assert not [name for name in ("tests", "cli", ".git", ".env") if (image / name).exists()]


def _user_of_the_image() -> dict[str, Any]:
    """For `subprocess`: nothing where it cannot be that user, or that user cannot read this Python."""
    number = int(told("USER").partition(":")[0])
    person: dict[str, Any] = {"user": number, "group": number, "extra_groups": []}
    try:
        subprocess.run([sys.executable, "-c", ""], check=True, **person)
    except PermissionError:
        return {}
    return person


def healthy(image: Path, run: dict[str, str], port: int, person: dict[str, Any]) -> bool:
    """Whether the health check passes in the end, and does not where nobody listens."""
    check = json.loads(told("HEALTHCHECK").partition("CMD ")[2])

    def passes(where: int) -> bool:
        here = [part.replace(":8000", f":{where}") for part in check]
        return subprocess.run(here, cwd=image, env=run, capture_output=True, check=False, **person).returncode == 0

    deadline = time.monotonic() + 30
    while not passes(port):
        assert time.monotonic() < deadline, "it does not become healthy"
    return not passes(_free_port())


# compose.yaml.


def services() -> dict[str, dict[str, Any]]:
    return yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]


def specified(file: Path) -> subprocess.CompletedProcess[str]:
    """What the schema of the Compose specification says of the file."""
    program = Path(sys.executable).with_name("check-jsonschema")
    command = [str(program), "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_compose_is_what_its_specification_describes(tmp_path: Path) -> None:
    text = (ROOT / "compose.yaml").read_text()
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(text.replace("stop_grace_period", "stop_graceperiod", 1))

    assert specified(ROOT / "compose.yaml").returncode == 0
    assert "stop_graceperiod" in specified(wrong).stdout, "it would say what is wrong"


def test_compose_starts_them_in_order() -> None:
    found = services()

    assert set(found) == {"migrate", "portal", "nginx", "postgresql", "valkey"}
    assert found["migrate"]["depends_on"]["postgresql"] == {"condition": "service_healthy"}
    assert found["portal"]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    # New portals have new addresses, which nginx finds by beginning anew.
    assert found["nginx"]["depends_on"]["portal"] == {"condition": "service_healthy", "restart": True}
    assert found["portal"]["deploy"]["replicas"] == 2


@pytest.mark.parametrize("name", ["migrate", "portal", "nginx", "valkey"])
def test_compose_gives_no_power(name: str) -> None:
    service = services()[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_compose_opens_nginx_alone_and_trusts_it_alone() -> None:
    found = services()
    networks = yaml.safe_load((ROOT / "compose.yaml").read_text())["networks"]

    assert [name for name, service in found.items() if "ports" in service] == ["nginx"]
    assert networks["back"]["internal"] is True
    address = found["nginx"]["networks"]["front"]["ipv4_address"]
    assert found["portal"]["environment"]["TRUSTED_PROXIES"] == f"{address}/32"
    assert "back" not in found["nginx"]["networks"]


def test_compose_holds_no_password() -> None:
    text = (ROOT / "compose.yaml").read_text()

    assert set(re.findall(r"\$\{(\w+):\?", text)) == {"POSTGRES_PASSWORD", "PORTAL_URL"}
    assert re.findall(r"PASSWORD: (\S+?)[ }:]", text) == ["${POSTGRES_PASSWORD"]


# nginx.


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[tuple[int, int, Path]]:
    """The real one with a certificate of the moment, in front of nobody: its plain and TLS ports, and its log."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None or shutil.which("openssl") is None:
        pytest.skip("nginx or openssl is not installed")
    plain, secure, nobody = _free_port(), _free_port(), _free_port()
    certificate = ["-keyout", f"{tmp_path}/portal.key", "-out", f"{tmp_path}/portal.crt", "-subj", "/CN=localhost"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", *certificate],
        check=True,
        capture_output=True,
    )
    log = tmp_path / "log"
    places = {
        "/run/secrets/": f"{tmp_path}/",
        "/tmp/": f"{tmp_path}/",
        "/dev/stderr": str(log),
        "/dev/stdout": str(log),
        "listen 8080": f"listen 127.0.0.1:{plain}",
        "listen 8443": f"listen 127.0.0.1:{secure}",
        "server portal:8000": f"server 127.0.0.1:{nobody}",
    }
    text = re.sub("|".join(map(re.escape, places)), lambda found: places[found[0]], NGINX.read_text())
    assert all(place in text for place in places.values())
    (tmp_path / "nginx.conf").write_text(text)
    command = [program, "-c", str(tmp_path / "nginx.conf"), "-p", str(tmp_path), "-e", str(log)]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "[warn]" not in checked.stderr, checked.stderr
    process = subprocess.Popen([*command, "-g", "daemon off;"], stderr=subprocess.DEVNULL)
    try:
        _wait_for(secure)
        yield plain, secure, log
    finally:
        process.terminate()
        process.wait(timeout=10)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


def _send(port: int, text: str, *, secure: bool) -> str:
    context = ssl._create_unverified_context()  # noqa: S323  (a certificate of the moment, on loopback)
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    with context.wrap_socket(plain) if secure else plain as connection:
        connection.sendall(text.encode())
        return connection.recv(4096).decode()


def test_nginx_writes_no_query_string_anywhere(nginx: tuple[int, int, Path]) -> None:
    plain, secure, log = nginx
    head = "Host: localhost\r\nConnection: close\r\n"

    redirected = _send(plain, f"GET /api/a?token={SECRET} HTTP/1.1\r\n{head}\r\n", secure=False)
    away = _send(secure, f"GET /api/b?token={SECRET} HTTP/1.1\r\n{head}\r\n", secure=True)
    too_large = _send(
        secure, f"POST /api/c?token={SECRET} HTTP/1.1\r\n{head}Content-Length: 999999999\r\n\r\n", secure=True
    )
    nonsense = _send(secure, f"GET /api/d?token={SECRET} HTTP/9.9\r\n\r\n", secure=True)
    unread = _send(secure, f"GET /api/e?token={SECRET} HTTP/1.1\r\n{head}X: {'x' * 40_000}\r\n\r\n", secure=True)
    inside = _send(secure, f"GET /metrics?token={SECRET} HTTP/1.1\r\n{head}\r\n", secure=True)

    answers = [redirected, away, too_large, nonsense, unread, inside]
    assert [answer.split()[1] for answer in answers] == ["308", "502", "413", "505", "400", "404"]
    assert "Location: https://localhost/api/a\r\n" in redirected
    lines = log.read_text()
    assert '"GET /api/b" 502' in lines
    assert SECRET not in lines
    assert SECRET not in "".join(answers)


@pytest.mark.parametrize(
    ("sent", "leads_to"),
    [
        ("/api/a?token=x", "/api/a"),
        ("/x%0d%0aSet-Cookie:%20a=b", "/x%0d%0aSet-Cookie:%20a=b"),
        ("/x%3ftoken=y?z", "/x%3ftoken=y"),
        ("http://localhost/api/a?token=x", "/api/a"),
    ],
)
def test_nginx_leads_to_the_same_path_and_writes_no_header_for_anybody(
    nginx: tuple[int, int, Path], sent: str, leads_to: str
) -> None:
    answer = _send(nginx[0], f"GET {sent} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", secure=False)

    assert answer.startswith("HTTP/1.1 308 ")
    assert f"\r\nLocation: https://localhost{leads_to}\r\n" in answer
    assert "\r\nSet-Cookie" not in answer


def test_nginx_says_itself_who_asks() -> None:
    text = NGINX.read_text()

    assert "proxy_set_header X-Forwarded-For $remote_addr;" in text
    assert "$proxy_add_x_forwarded_for" not in text
    for name in ("x-osmo-user", "x-osmo-roles", "Forwarded"):
        assert f'proxy_set_header {name} "";' in text
    (written,) = re.findall(r"log_format.*?;", text, re.DOTALL)
    assert "$request_uri" not in written
