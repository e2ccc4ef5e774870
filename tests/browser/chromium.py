"""Which browser the tests and the scripts of this folder drive, and how."""

import os
import shutil

import pytest

# The shell first: it is the same browser without the windows, which take half of the time of a test.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",  # the tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str:
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if not path:
        raise pytest.UsageError("No Chromium for tests/browser: install one, or set CHROMIUM to its path.")
    return path
