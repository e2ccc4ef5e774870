"""The rows that the cast consists of, kept by each process: they are made through the ways in once, and then written.

Making them costs some 160 statements, writing them 8, which are put together once. They are written only into a
database that holds nothing but what the migrations put in, which is where they were made.
"""

from typing import Any

from django.db import connection, models
from django.db.models.sql import InsertQuery

from osmo_portal.events.models import Event
from profiles.models import Item, Pool, Revision, Role, RoleAssignment, User

MODELS: list[type[models.Model]] = [Pool, Role, Revision, Item, User, RoleAssignment, User.groups.through, Event]
_kept: list[tuple[str, Any]] = []  # statement, parameters


def known() -> dict[type[models.Model], set[Any]]:
    return {model: set(model._base_manager.values_list("pk", flat=True)) for model in MODELS}


def keep(before: dict[type[models.Model], set[Any]]) -> None:
    """Keeps what came since `before`, if nobody had been there."""
    if not before[User]:
        _kept[:] = [_insert(model, before[model]) for model in MODELS]


def restore() -> bool:
    if not _kept or User.objects.exists() or Event.objects.exists():
        return False
    with connection.cursor() as cursor:
        for statement, parameters in _kept:
            cursor.execute(statement, parameters)
    return True


def _insert(model: type[models.Model], before: set[Any]) -> tuple[str, Any]:
    query = InsertQuery(model)
    rows = list(model._base_manager.exclude(pk__in=before).order_by("pk"))
    query.insert_values(model._meta.concrete_fields, rows, raw=True)
    [statement] = query.get_compiler(connection=connection).as_sql()
    return statement
