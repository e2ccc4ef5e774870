"""nginx in front of several portals, with a configuration of its own."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.portals import Portal, free_port

BINARY = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin")
STARTS_WITHIN = 20  # seconds
CONFIGURATION = """
worker_processes 1;
pid {home}/nginx.pid;
error_log {home}/nginx.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    upstream portals {{ {servers} }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://portals;
            proxy_set_header Host $host;
            {more}
        }}
    }}
}}
"""
MORE = """
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            add_header x-served-by $upstream_addr always;
"""


def configured(home: Path, port: int, ports: list[int], *, more: str, upstream: str = "") -> Path:
    """A file for an nginx on `port` that asks the portals on the others; `more` is about each request."""
    servers = " ".join(f"server 127.0.0.1:{portal};" for portal in ports)
    file = home / "nginx.conf"
    file.write_text(CONFIGURATION.format(home=home, port=port, servers=f"{servers} {upstream}", more=more))
    return file


@contextmanager
def in_front_of(portals: list[Portal], home: Path) -> Iterator[str]:
    """The address of an nginx that asks one portal after the other."""
    home.chmod(0o711)  # where root runs the tests, its workers are nobody
    port = free_port()
    ports = [portal.port for portal in portals]
    configuration = configured(home, port, ports, more=MORE, upstream="keepalive 8;")
    command = [str(BINARY), "-g", "daemon off;", "-c", str(configuration), "-e", str(home / "nginx.log")]
    process = subprocess.Popen(command)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(process, url)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait(process: "subprocess.Popen[bytes]", url: str) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("nginx did not start.")
        time.sleep(0.05)
