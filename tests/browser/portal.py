"""A portal of its own for the scripts of this folder: a real server with records in its database."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django

from tests.demo import Demo


@contextmanager
def portal() -> Iterator[Demo]:
    """The portal, and this process at its database. Nothing of Django may have been imported before."""
    with tempfile.TemporaryDirectory(prefix="osmo-portal-pages-") as directory:
        demo = Demo(Path(directory))
        demo.manage("migrate", "--verbosity", "0")
        demo.manage("collectstatic", "--noinput", "--verbosity", "0")
        os.environ |= {
            **demo.environment,
            "DJANGO_SETTINGS_MODULE": "osmo_portal.settings",
            "DJANGO_ALLOW_ASYNC_UNSAFE": "true",  # Playwright's event loop runs in this thread
        }
        django.setup()
        from django.test.utils import setup_test_environment

        setup_test_environment()
        with demo.server():
            yield demo
