"""gunicorn's log of requests, and of what goes wrong with them."""

import logging
import re
from datetime import timedelta
from typing import Any

from gunicorn.glogging import Logger  # type: ignore[import-untyped]

from osmo_portal.logging import printable

LINE = '%(request_id)s %(address)s "%(method)s %(path)s" %(status)s %(bytes)s %(milliseconds)sms'
UNREADABLE = re.compile(r"(Invalid request from ip=\S*: [^:'\"]*).*", re.DOTALL)
QUERY = re.compile(r"(?<=\S)\?\S+")


def without_secrets(record: logging.LogRecord) -> bool:
    """gunicorn tells of an error with the whole address, or with the line that it cannot read."""
    message = UNREADABLE.sub(r"\1", record.getMessage())
    record.msg, record.args = printable(QUERY.sub("", message)), ()
    return True


class AccessLog(Logger):  # type: ignore[misc]
    """A line a request: its id, the peer, what was asked, the status, bytes, milliseconds.

    Never the query string: the released 6.0 clients send a secret there. gunicorn's own gathers for each request all
    that a format may name, and writes control characters of the path as they are.
    """

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.addFilter(without_secrets)

    def access(self, response: Any, request: Any, environ: dict[str, Any], took: timedelta) -> None:
        if self.cfg.accesslog:
            request_id = next((value for name, value in response.headers if name.lower() == "x-request-id"), "-")
            facts = {
                "request_id": request_id,
                "address": printable(environ.get("REMOTE_ADDR") or "-"),
                "method": printable(environ["REQUEST_METHOD"]),
                "path": printable(environ["PATH_INFO"]),
                "status": str(response.status).split(maxsplit=1)[0],
                "bytes": response.sent or "-",
                "milliseconds": round(took.total_seconds() * 1000),
            }
            self.access_log.info(LINE, facts)
