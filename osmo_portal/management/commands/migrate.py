from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.commands import migrate
from django.db import connections


class Command(migrate.Command):
    """Django's, without the time limit on statements: a large table takes as long as it takes."""

    def handle(self, *args: Any, **options: Any) -> None:
        with _without_time_limit(options["database"]):
            super().handle(*args, **options)


@contextmanager
def _without_time_limit(alias: str) -> Iterator[None]:
    connection = connections[alias]
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
    try:
        yield
    finally:
        if connection.is_usable():  # else the next connection has the limit anyway
            with connection.cursor() as cursor:
                cursor.execute("RESET statement_timeout")
