"""nginx and Envoy, as deploy/gateway has them, before an OSMO that tells what it was sent: the portal decides."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import httpx
import pytest
import yaml
from django.conf import settings
from joserfc import jwt as other_jwt
from joserfc.jwk import KeySet

from tests.cast import in_days

HERE = settings.BASE_DIR
FILES = HERE / "deploy" / "gateway"
BIN = Path(sys.executable).parent
KINDS = ["nginx", "envoy"]
SUBMIT = "/api/pool/my_pool/workflow"
SPOOFED = {
    "x-osmo-user": "grace",
    "x-osmo-roles": "osmo-admin",
    "x-osmo-token-name": "root",
    "x-osmo-allowed-pools": "all",
    "x-osmo-workflow-id": "w",
    "x-osmo-auth-skip": "true",
    "x_osmo_user": "grace",
    "cookie": "sessionid=secret",
}

pytestmark = pytest.mark.skipif(
    os.environ.get("TEST_DATABASE") == "postgresql" and "SECURITY_LINES" not in os.environ,
    reason="their portal is on SQLite, whatever the run is on",
)


class Osmo(ThreadingHTTPServer):
    """Answers every request with what arrived, and keeps a list of all."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Echo)
        self.seen: list[dict[str, Any]] = []


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Osmo

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65_537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        headers: dict[str, list[str]] = {}
        for name, value in self.headers.items():
            headers.setdefault(name.lower(), []).append(value)
        seen = {"method": self.command, "path": self.path, "headers": headers, "body": body}
        self.server.seen.append(seen)
        answer = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    def log_message(self, *arguments: Any) -> None:
        pass


class Stage(NamedTuple):
    """A portal, an OSMO, and the gateways in front of both."""

    portal: str
    osmo: Osmo
    gateways: dict[str, str]
    secrets: dict[str, str]
    stop_portal: Callable[[], None]

    def reached(self) -> int:
        return len(self.osmo.seen)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        assert process.poll() is None, "it did not start"
        try:
            httpx.get(url)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"{url} does not answer")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    if not shutil.which("nginx"):
        pytest.skip("nginx is not installed (apt-get install nginx)")
    place = tmp_path_factory.mktemp("gateway")
    osmo = Osmo()
    threading.Thread(target=osmo.serve_forever, daemon=True).start()
    ports = {name: free_port() for name in ("portal", *KINDS)}
    environment = {
        **os.environ,
        "DATABASE_URL": f"sqlite:///{place}/portal.sqlite3",
        "PORT": str(ports["portal"]),
        "PORTAL_URL": f"http://127.0.0.1:{ports['portal']}",
        "WEB_WORKERS": "1",
        "TRUSTED_PROXIES": "127.0.0.1/32",
    }
    running: dict[str, subprocess.Popen[bytes]] = {}

    def start(name: str, *command: str) -> None:
        with (place / f"{name}.log").open("wb") as log:
            running[name] = subprocess.Popen(command, cwd=HERE, env=environment, stdout=log, stderr=log)

    def stop(name: str) -> None:
        if process := running.pop(name, None):
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=20)

    manage = [sys.executable, "manage.py"]
    try:
        subprocess.run([*manage, "migrate", "--verbosity", "0"], cwd=HERE, env=environment, check=True)
        first = subprocess.run(
            [*manage, "bootstrap", "--json"], cwd=HERE, env=environment, check=True, capture_output=True
        )
        start("portal", str(BIN / "gunicorn"), "-c", "osmo_portal/gunicorn.conf.py", "osmo_portal.wsgi")
        nginx = written(place, "nginx.conf", ports["nginx"], ports["portal"], osmo.server_port)
        main = place / "main.conf"
        main.write_text(
            f"daemon off; pid {place}/nginx.pid; error_log {place}/error.log; events {{}}\n"
            f"http {{ client_body_temp_path {place}/b; proxy_temp_path {place}/p; fastcgi_temp_path {place}/f;\n"
            f"uwsgi_temp_path {place}/u; scgi_temp_path {place}/s; include {nginx}; }}\n"
        )
        start("nginx", "nginx", "-c", str(main), "-p", str(place), "-e", str(place / "error.log"))
        envoy = written(place, "envoy.yaml", ports["envoy"], ports["portal"], osmo.server_port)
        start("envoy", str(BIN / "envoy"), "-c", str(envoy), "--concurrency", "1", "--disable-hot-restart")
        for name, port in ports.items():
            wait_for(f"http://127.0.0.1:{port}/health", running[name])
        portal = f"http://127.0.0.1:{ports['portal']}"
        gateways = {kind: f"http://127.0.0.1:{ports[kind]}" for kind in KINDS}
        secrets = cast_of(portal, json.loads(first.stdout)["token"])
        yield Stage(portal, osmo, gateways, secrets, lambda: stop("portal"))
    finally:
        for name in [*running]:
            stop(name)
        osmo.shutdown()
        osmo.server_close()


def written(place: Path, name: str, port: int, portal: int, osmo: int) -> Path:
    """The file of deploy/gateway with the addresses of this run, and nothing else changed."""
    text = (FILES / name).read_text()
    for documented, ours in (("8080", port), ("8000", portal), ("9000", osmo)):
        text, count = re.subn(rf"(127\.0\.0\.1:|127\.0\.0\.1, port_value: ){documented}\b", rf"\g<1>{ours}", text)
        assert count == 1
    (place / name).write_text(text)
    return place / name


def cast_of(portal: str, secret: str) -> dict[str, str]:
    """Secrets of an administrator and of a service account that may submit to my_pool."""
    token = httpx.post(f"{portal}/api/auth/jwt/access_token", json={"token": secret}).json()["token"]
    with httpx.Client(base_url=f"{portal}/api/v1/", headers={"authorization": f"Bearer {token}"}) as api:
        policies = [{"effect": "Allow", "actions": ["workflow:*", "pool:*"], "resources": ["pool/my_pool"]}]
        bodies: list[tuple[str, dict[str, Any]]] = [
            ("pools", {"name": "my_pool"}),
            ("roles", {"name": "osmo-my_pool", "policies": policies}),
            (
                "roles",
                {"name": "plain", "policies": [{"effect": "Allow", "actions": ["pool:List"], "resources": ["*"]}]},
            ),
            ("users", {"kind": "service", "username": "robot", "purpose": "CI", "roles": ["osmo-my_pool", "plain"]}),
        ]
        for path, body in bodies:
            assert api.post(path, json=body).status_code == 201, path
        made = {"administrator": secret}
        for name, roles in (("robot", ["osmo-my_pool"]), ("reader", ["plain"])):
            body = {"owner": "robot", "name": name, "expires_at": str(in_days(9)), "roles": roles}
            answer = api.post("tokens", json=body)
            assert answer.status_code == 201, answer.text
            made[name] = answer.json()["secret"]
    return made


def jwt_of(stage: Stage, who: str) -> str:
    answer = httpx.post(f"{stage.portal}/api/auth/jwt/access_token", json={"token": stage.secrets[who]})
    return str(answer.json()["token"])


@pytest.mark.parametrize("how", ["jwt", "secret"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_allowed_arrives_with_what_the_portal_says_and_nothing_else(stage: Stage, kind: str, how: str) -> None:
    credential = jwt_of(stage, "robot") if how == "jwt" else stage.secrets["robot"]

    answer = httpx.post(
        f"{stage.gateways[kind]}{SUBMIT}?a=b%2Fc",
        content=b"workflow: x",
        headers={**SPOOFED, "authorization": f"Bearer {credential}"},
    )

    assert answer.status_code == 200, answer.text
    seen = answer.json()
    assert (seen["method"], seen["path"], seen["body"]) == ("POST", f"{SUBMIT}?a=b%2Fc", "workflow: x")
    told = {name: values for name, values in seen["headers"].items() if "osmo" in name}
    assert told == {"x-osmo-user": ["robot"], "x-osmo-roles": ["osmo-my_pool"], "x-osmo-token-name": ["robot"]}
    assert not {"authorization", "cookie", "x-osmo-auth", "x-original-uri"} & seen["headers"].keys()
    assert credential not in answer.text


@pytest.mark.parametrize("kind", KINDS)
def test_the_pools_arrive_where_osmo_wants_them(stage: Stage, kind: str) -> None:
    headers = {"x-osmo-auth": jwt_of(stage, "administrator")}

    seen = httpx.get(f"{stage.gateways[kind]}/api/profile/settings", headers=headers).json()

    assert seen["headers"]["x-osmo-allowed-pools"] == ["default,my_pool"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_allowed_does_not_arrive(stage: Stage, kind: str) -> None:
    before = stage.reached()

    denied = httpx.post(
        f"{stage.gateways[kind]}{SUBMIT}", headers={**SPOOFED, "authorization": f"Bearer {stage.secrets['reader']}"}
    )
    nobody = httpx.post(f"{stage.gateways[kind]}{SUBMIT}", headers=SPOOFED)
    wrong = httpx.post(f"{stage.gateways[kind]}{SUBMIT}", headers={"authorization": "Bearer a.b.c"})

    assert (denied.status_code, denied.json()["message"]) == (403, "No role allows it.")
    assert (nobody.status_code, nobody.json()["message"]) == (401, "Jwt is missing")
    assert (wrong.status_code, wrong.json()["message"]) == (401, "Jwt verification fails")
    assert "Bearer" in nobody.headers["www-authenticate"]
    assert stage.reached() == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", ["/api/version", "/client/install.sh?a=b%2Fc", "/api/auth/jwt/refresh_token"])
def test_what_osmo_tells_everybody_arrives_without_an_identity(stage: Stage, kind: str, path: str) -> None:
    credentials = {"authorization": f"Bearer {stage.secrets['robot']}", "x-osmo-auth": jwt_of(stage, "robot")}

    answer = httpx.get(f"{stage.gateways[kind]}{path}", headers={**SPOOFED, **credentials, "x-original-uri": SUBMIT})

    assert answer.status_code == 200
    seen = answer.json()
    assert seen["path"] == path
    assert not [name for name in seen["headers"] if "osmo" in name or name in {"authorization", "cookie"}]


@pytest.mark.parametrize("kind", KINDS)
def test_the_portal_answers_behind_the_gateway(stage: Stage, kind: str) -> None:
    """And its keys verify its JWTs for a library that it does not use, from the published keys alone."""
    keys = KeySet.import_key_set(httpx.get(f"{stage.gateways[kind]}/api/auth/keys").json())

    verified = other_jwt.decode(jwt_of(stage, "robot"), keys, algorithms=["ES256"])

    assert verified.header["typ"] == "at+jwt"
    assert verified.claims["unique_name"] == "robot"
    assert verified.claims["roles"] == ["osmo-my_pool"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_websocket_is_asked_about_as_one(stage: Stage, kind: str) -> None:
    headers = {"connection": "Upgrade", "upgrade": "websocket", "authorization": f"Bearer {stage.secrets['robot']}"}
    before = stage.reached()

    refused = httpx.get(f"{stage.gateways[kind]}/api/pool", headers=headers)

    assert refused.status_code == 403
    assert stage.reached() == before
    headers["authorization"] = f"Bearer {stage.secrets['administrator']}"
    httpx.get(f"{stage.gateways[kind]}/api/router/exec/w/client/k", headers=headers)
    assert stage.osmo.seen[before]["headers"]["upgrade"] == ["websocket"]


# What a client makes no other way: request lines as bytes.

ODD = [
    f"POST {SUBMIT} HTTP/1.1",
    f"POST {SUBMIT}/ HTTP/1.1",
    f"POST /{SUBMIT} HTTP/1.1",
    "POST /api//pool/my_pool/workflow HTTP/1.1",
    "POST /api/pool/./my_pool/workflow HTTP/1.1",
    "POST /api/version/../pool/my_pool/workflow HTTP/1.1",
    "POST /api/version/%2e%2e/pool/my_pool/workflow HTTP/1.1",
    "POST /api/version/..%2fpool/my_pool/workflow HTTP/1.1",
    "POST /api/auth/%2e%2e/pool/my_pool/workflow HTTP/1.1",
    "POST /api/pool/my_pool/workflow/..%2f..%2f..%2fversion HTTP/1.1",
    "POST /api/pool/my_pool/workflow/../../../version HTTP/1.1",
    "POST /api/pool/my_pool%2fworkflow HTTP/1.1",
    "GET /api/version%0a HTTP/1.1",
    "POST /api/pool/my_pool/workflow%00 HTTP/1.1",
    "POST /api/p%6fol/my_pool/workflow HTTP/1.1",
    "POST /api\\pool\\my_pool\\workflow HTTP/1.1",
    "POST /API/pool/my_pool/workflow HTTP/1.1",
    "POST /api/pool/my_pool/workflow;x=y HTTP/1.1",
    "POST /api/pool/my_pool/workflow#x HTTP/1.1",
    "POST /health?/../api/pool/my_pool/workflow HTTP/1.1",
    f"POST http://osmo{SUBMIT} HTTP/1.1",
    f"POST http://osmo/health?{SUBMIT} HTTP/1.1",
    f"GET /health,{SUBMIT} HTTP/1.1",
    f"post {SUBMIT} HTTP/1.1",
    f"PUT {SUBMIT} HTTP/1.1",
    f"POST {SUBMIT} HTTP/1.0",
]
SMUGGLED = [
    [],
    ["X-Original-URI: /api/pool", "X-Original-Method: GET"],
    ["X-Forwarded-Uri: /api/pool", "X-Forwarded-Method: GET"],
    ["X-HTTP-Method-Override: GET"],
    ["X-Rewrite-URL: /api/pool", "X-Original-URL: /api/pool"],
    ["Connection: x-osmo-user, authorization, x-original-uri, close", "X-Osmo-User: grace"],
    ["Upgrade: websocket"],
    ["Authorization: Bearer a.b.c"],
]


def sent_raw(url: str, line: str, secret: str, *headers: str) -> int:
    """The status of the answer, or 0 where the connection was closed without one."""
    host, _, port = url.removeprefix("http://").partition(":")
    lines = [line, "Host: osmo", f"Authorization: Bearer {secret}", "Content-Length: 0", *headers, "", ""]
    if not any(header.startswith("Connection") for header in headers):
        lines.insert(2, "Connection: close")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall("\r\n".join(lines).encode())
        answer = connection.recv(65_536).decode(errors="replace")
    return int(answer.split()[1]) if answer.startswith("HTTP/") else 0


@pytest.mark.parametrize("kind", KINDS)
def test_no_spelling_of_a_request_leads_past_the_portal(stage: Stage, kind: str) -> None:
    """The reader may list pools, and submit nowhere: what arrives is what everybody may ask, and no submission."""
    before = stage.reached()

    statuses = {
        (line, *more): sent_raw(stage.gateways[kind], line, stage.secrets["reader"], *more)
        for line in ODD
        for more in SMUGGLED
    }

    arrived = {unquote(seen["path"].partition("?")[0]) for seen in stage.osmo.seen[before:]}
    assert arrived <= {"/health", "/api/version"}
    assert statuses[(ODD[0],)] == 403
    assert not {status for status in statuses.values() if status >= 500}, statuses


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_spellings_reach_it_for_whoever_may(stage: Stage, kind: str) -> None:
    """Else the test above would show nothing."""
    administrator = stage.secrets["administrator"]

    assert sent_raw(stage.gateways[kind], ODD[0], administrator) == 200
    assert sent_raw(stage.gateways[kind], f"POST http://osmo{SUBMIT} HTTP/1.1", administrator) == 200
    assert sent_raw(stage.gateways[kind], "POST /api/pool/my_pool%2fworkflow HTTP/1.1", administrator) in {400, 403}


def test_traefiks_file_names_what_the_portal_answers() -> None:
    """No Traefik to run here: the file is held against the two others."""
    http = yaml.safe_load((FILES / "traefik.yaml").read_text())["http"]
    deciding = {name: one["forwardAuth"] for name, one in http["middlewares"].items() if "forwardAuth" in one}
    removed = http["middlewares"]["without-identity"]["headers"]["customRequestHeaders"]

    assert {one["address"].partition("?")[0] for one in deciding.values()} == {"http://127.0.0.1:8000/api/authz"}
    assert not any(one["trustForwardHeader"] for one in deciding.values())
    for one in deciding.values():
        assert set(one["authResponseHeaders"]) == {name for name in SPOOFED if name.startswith("x-osmo")} - {
            "x-osmo-workflow-id",
            "x-osmo-auth-skip",
        }
    assert {name for name in SPOOFED if name.startswith("x-osmo")} <= set(removed)
    for name, router in http["routers"].items():
        assert router["middlewares"][0] == "without-identity", name
        if router["service"] == "osmo":
            assert router["middlewares"][-1] == "without-credential", name
            assert name == "public" or set(router["middlewares"]) & set(deciding), name


def test_traefik_changes_to_no_protocol_but_websockets() -> None:
    """By another (h2c) a client would talk to what is behind, and nobody would be asked."""
    http = yaml.safe_load((FILES / "traefik.yaml").read_text())["http"]
    sets = {
        name: one["headers"]["customRequestHeaders"].get("Upgrade")
        for name, one in http["middlewares"].items()
        if "headers" in one
    }
    upgrades = {
        name: [sets[one] for one in router["middlewares"] if sets.get(one) is not None]
        for name, router in http["routers"].items()
    }

    # No request with an Upgrade comes to `osmo`: the router for websockets takes them, and goes before it.
    assert upgrades == {"portal": [""], "public": [""], "osmo": [], "osmo-websocket": ["websocket"]}
    assert http["routers"]["osmo-websocket"]["priority"] > http["routers"]["osmo"]["priority"]
    assert http["routers"]["osmo-websocket"]["rule"].endswith("HeaderRegexp(`Upgrade`, `.+`)")


@pytest.mark.parametrize("kind", KINDS)
def test_without_the_portal_nothing_passes(stage: Stage, kind: str) -> None:
    """The last one: the portal does not come back."""
    stage.stop_portal()
    before = stage.reached()

    answer = httpx.get(
        f"{stage.gateways[kind]}/api/pool", headers={"authorization": f"Bearer {stage.secrets['robot']}"}
    )

    assert answer.status_code in {500, 502, 503}
    assert stage.reached() == before
