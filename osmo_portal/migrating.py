"""Operations for migrations that run while the version before still serves, on tables of any size."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import NotSupportedError
from django.db.migrations import operations


class AddIndex(operations.AddIndex):
    """Makes an index while others read and write. Its migration must say `atomic = False`.

    So it may be broken off in the middle, and run again: an index that is there and whole is left as it is, and what a
    broken run left behind is made anew.
    """

    atomic = False

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        on_postgresql = schema_editor.connection.vendor == "postgresql"
        how: dict[str, Any] = {"concurrently": True} if on_postgresql else {}
        make(schema_editor, self.index.name, str(self.index.create_sql(model, schema_editor, **how)))

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        drop(schema_editor, self.index.name)


class RemoveIndex(operations.RemoveIndex):
    """Drops an index without waiting for whoever uses its table. Its migration must say `atomic = False`."""

    atomic = False

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        drop(schema_editor, self.name)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        index = to_state.models[app_label, self.model_name_lower].get_index_by_name(self.name)
        AddIndex(self.model_name, index).database_forwards(app_label, schema_editor, from_state, to_state)


def make(schema_editor: Any, name: str, statement: str) -> None:
    """Runs CREATE INDEX, which on PostgreSQL must say CONCURRENTLY, unless that index is there and whole."""
    if schema_editor.connection.vendor != "postgresql":
        schema_editor.execute(statement.replace("CREATE INDEX", "CREATE INDEX IF NOT EXISTS", 1))
        return
    with _patience(schema_editor) as cursor:
        cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [f'"{name}"'])
        found = cursor.fetchone()
        if found and not found[0]:
            cursor.execute(f'DROP INDEX CONCURRENTLY "{name}"')
        if not (found and found[0]):
            cursor.execute(statement)


def drop(schema_editor: Any, name: str) -> None:
    if schema_editor.connection.vendor != "postgresql":
        schema_editor.execute(f'DROP INDEX IF EXISTS "{name}"')
        return
    with _patience(schema_editor) as cursor:
        cursor.execute(f'DROP INDEX CONCURRENTLY IF EXISTS "{name}"')


@contextmanager
def _patience(schema_editor: Any) -> Iterator[Any]:
    """A cursor that may wait for locks as long as it takes. What is done concurrently keeps nobody else waiting."""
    connection = schema_editor.connection
    if connection.in_atomic_block:
        raise NotSupportedError("This migration must say `atomic = False`.")
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('lock_timeout')")
        (limit,) = cursor.fetchone()
        cursor.execute("SET lock_timeout = 0")
        try:
            yield cursor
        finally:
            if connection.is_usable():
                cursor.execute("SELECT set_config('lock_timeout', %s, false)", [limit])
