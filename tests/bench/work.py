"""What a piece of work costs, whatever else the machine does meanwhile."""

import time
from pathlib import Path

from django.db import connection


def busy() -> float:
    """Seconds that a processor has spent on this process, and on the server's process that works for it."""
    if connection.vendor != "postgresql":
        return time.process_time()
    connection.ensure_connection()
    here = Path(f"/proc/{connection.connection.info.backend_pid}/schedstat")
    return time.process_time() + int(here.read_text().split()[0]) / 1e9
