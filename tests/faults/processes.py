"""Commands as processes of their own, on the database of the test."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

from django.db import connection

HERE = Path(__file__).parents[2]


def start(*args: str) -> "subprocess.Popen[str]":
    """`manage.py` with these arguments, at work on what the test has committed."""
    return subprocess.Popen(
        [sys.executable, "manage.py", *args],
        cwd=HERE,
        env={**os.environ, "DATABASE_URL": database_url()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def database_url() -> str:
    """The address of the database of the test."""
    place = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{place['NAME']}"
    user, password = quote(place["USER"]), quote(place["PASSWORD"])
    return f"postgres://{user}:{password}@{place['HOST']}:{place['PORT']}/{place['NAME']}"
