"""A mail server and a webhook on this machine, which keep what reaches them."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller

from tests import databases


@dataclass
class Sink:
    """A handler of aiosmtpd. Addresses in `refused` are not taken; the process `kills` dies while the message number
    `kills_at` is handed over, which is kept."""

    refused: set[str] = field(default_factory=set)
    kills_at: int = 0
    kills: int = 0
    taken: list[EmailMessage] = field(default_factory=list)

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, *_: Any) -> str:  # noqa: N802
        if address in self.refused:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.taken.append(message_from_bytes(envelope.content, policy=policy.default))
        if len(self.taken) == self.kills_at:
            os.kill(self.kills, signal.SIGKILL)
        return "250 OK"

    def to(self, address: str) -> list[EmailMessage]:
        return [message for message in self.taken if message["To"] == address]

    def named(self) -> Counter[tuple[str, str]]:
        """How often each recipient was told of each token."""
        return Counter((m["To"], token) for m in self.taken for token in tokens_in(m.get_content()))


def tokens_in(text: str) -> list[str]:
    return [line.split()[6] for line in text.splitlines() if " UTC  in " in line]


@contextmanager
def mail_server(sink: Sink) -> Iterator[int]:
    """Its port."""
    controller = Controller(sink, hostname="127.0.0.1", port=databases._free_port())
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


@dataclass
class Request:
    headers: dict[str, str]
    body: bytes


@contextmanager
def webhook_server(answer: Callable[[int], int]) -> Iterator[tuple[str, list[Request]]]:
    """Its address and what it was sent. `answer` gives the status of each request, by its number from 1."""
    received: list[Request] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(Request({name.lower(): value for name, value in self.headers.items()}, body))
            status = answer(len(received))
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/services/T0/B0/SECRETPATH", received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
