"""Scenes: rows that many tests begin with. Each process makes them once through the ways in, and writes them from
then on.

To make the cast costs some 160 statements, to write it 8, which are put together once; PostgreSQL is sent one text.
"""

import copy
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

import pytest
from django.apps import apps
from django.db import connection, models, transaction
from django.db.models.sql import InsertQuery, UpdateQuery
from django.utils import timezone

from osmo_portal.events.models import Event
from profiles.models import User
from tokens.secrets import Plaintext

Result = TypeVar("Result")
Model = type[models.Model]
Rows = dict[Any, models.Model]  # by their key
Statement = tuple[str, Any]  # with its parameters

LASTS = timedelta(minutes=5)  # what was made just now is still what was made just now


class _Scene(NamedTuple):
    made_at: datetime
    statements: list[Statement]
    result: Any

    @property
    def is_fresh(self) -> bool:
        now = timezone.now()
        return timedelta(0) <= now - self.made_at < LASTS and now.date() == self.made_at.date()


_kept: dict[tuple[str, Any], _Scene] = {}


def scene(name: str, make: Callable[[], Result]) -> Result:
    """What `make` returned when this process first called it in this state, with the rows that it had made and altered.

    The last event tells the state. So `make` is not to depend on what leaves no event: settings, patches, rows that a
    test altered by itself. It may delete nothing.
    """
    last = Event.objects.order_by("-pk").values_list("hash", flat=True).first()
    where = (name, last or User.objects.exists())
    kept = _kept.get(where)
    if kept and kept.is_fresh:
        write(kept.statements)
        return _copied(kept.result)
    before = {model: _rows(model) for model in _models()}
    result = make()
    statements = [statement for model, rows in before.items() for statement in _since(model, rows)]
    _kept[where] = _Scene(timezone.now(), _together(statements), _copied(result))
    return result


def everything() -> list[Statement]:
    """What writes all the rows that there are into empty tables."""
    models = [model for model in apps.get_models(include_auto_created=True) if _has_a_table(model)]
    return _together([_insert(model, [*rows.values()]) for model in models if (rows := _rows(model))])


def write(statements: list[Statement]) -> None:
    with transaction.atomic(savepoint=False), connection.cursor() as cursor:
        for statement, parameters in statements:
            cursor.execute(statement, parameters)


def _together(statements: list[Statement]) -> list[Statement]:
    """As few as the database can be sent at once. Most of the time goes into sending them and filling them in."""
    if connection.vendor != "postgresql":
        return statements
    with connection.cursor() as cursor:
        return [(";".join(cursor.mogrify(*statement) for statement in statements), None)]


def _copied(result: Result) -> Result:
    """With its secrets, which nobody else may copy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Plaintext, "__deepcopy__", lambda secret, memo: secret, raising=False)
        return copy.deepcopy(result)


def _models() -> list[Model]:
    ours = [apps.get_app_config(label) for label in ("profiles", "tokens", "events")]
    found = [model for app in ours for model in app.get_models(include_auto_created=True)]
    return [model for model in found if _has_a_table(model)]


def _has_a_table(model: Model) -> bool:
    return bool(model._meta.managed and not model._meta.proxy)


def _rows(model: Model) -> Rows:
    return model._base_manager.in_bulk()


def _since(model: Model, before: Rows) -> list[Statement]:
    after = _rows(model)
    assert before.keys() <= after.keys(), f"a scene deletes no {model.__name__}"
    fresh = [row for key, row in sorted(after.items()) if key not in before]
    altered = [row for key, row in after.items() if key in before and _values(row) != _values(before[key])]
    return [*([_insert(model, fresh)] if fresh else []), *map(_update, altered)]


def _values(row: models.Model) -> list[Any]:
    return [getattr(row, field.attname) for field in row._meta.concrete_fields]


def _insert(model: Model, rows: list[models.Model]) -> Statement:
    query = InsertQuery(model)
    query.insert_values(model._meta.concrete_fields, rows, raw=True)
    [statement] = query.get_compiler(connection=connection).as_sql()
    return statement


def _update(row: models.Model) -> Statement:
    query: Any = UpdateQuery(type(row))
    fields = [field for field in row._meta.concrete_fields if not field.primary_key]
    query.add_update_fields([(field, None, getattr(row, field.attname)) for field in fields])
    query.add_filter("pk", row.pk)
    return query.get_compiler(connection=connection).as_sql()
