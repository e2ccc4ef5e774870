import json
import logging
import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

request_id: ContextVar[str] = ContextVar("request_id", default="")


def printable(text: str) -> str:
    """`text` with every control character written out, so that no name can forge a log line or colour a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class LineFormatter(logging.Formatter):
    """One line a record, in UTC. A traceback follows on lines of its own, since its text is ours."""

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"
    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record))


class JsonFormatter(logging.Formatter):
    """One JSON object a record, tracebacks included. Of a request it tells the id, and never a header or a query."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, Any] = {
            "time": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
        }
        if record.name == "gunicorn.access" and isinstance(record.args, Mapping):
            said |= record.args
        else:
            said |= {"message": record.getMessage(), "request_id": self._request_id(record)}
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json.dumps({name: value for name, value in said.items() if value != ""})

    def _request_id(self, record: logging.LogRecord) -> str:
        """Of the request that the record names, or of the one at work in this thread."""
        named: str = getattr(getattr(record, "request", None), "id", "")
        return named or request_id.get()
