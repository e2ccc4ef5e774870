"""Migrations run while the version before still serves: none takes a table away from it, or what it relies on."""

from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.db import NotSupportedError, connection, migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from osmo_portal import migrating

LOADER = MigrationLoader(None)
# Tables that stay small: an index on one is made in no time.
SMALL = {"signingkey", "bulkoperation", "bulkchunk", "role", "pool", "providersubject", "cacheentry"}
# What the rules below would refuse, and why it may be all the same.
LOOKED_AT = {
    ("events", "0002_triggers"): "came with the first schema",
    ("events", "0005_archive"): "takes the lock for a moment, and never leaves the table without triggers",
    ("profiles", "0002_defaults"): "came with the first schema",
    ("profiles", "0004_initial_configuration"): "writes to tables that the version before does not know",
    ("tokens", "0002_lists"): "makes its other indexes concurrently as well",
    ("tokens", "0006_token_roles"): "drops its indexes concurrently",
}


def own() -> list[tuple[str, str]]:
    here = {config.label for config in apps.get_app_configs() if _is_own(config.path)}
    return sorted(key for key in LOADER.disk_migrations if key[0] in here)


def _is_own(path: str) -> bool:
    return Path(path).is_relative_to(settings.BASE_DIR) and not Path(path).is_relative_to(settings.BASE_DIR / ".venv")


def faults(migration: migrations.Migration, state: ProjectState) -> list[str]:
    """What is wrong with a migration, where `state` is what it finds."""
    fresh: set[str] = set()
    found = []
    for operation in migration.operations:
        after = state.clone()
        operation.state_forwards(migration.app_label, after)
        if isinstance(operation, migrations.CreateModel):
            fresh.add(operation.name_lower)
        elif getattr(operation, "model_name_lower", "") not in fresh:
            found += [fault for fault in [_fault(operation, migration, state, after)] if fault]
        state = after
    return found


def _fault(operation: Operation, migration: migrations.Migration, state: ProjectState, after: ProjectState) -> str:
    match operation:
        case migrating.AddIndex() | migrating.RemoveIndex():
            return "" if not migration.atomic else f"{operation.describe()}: the migration must say `atomic = False`."
        case migrations.AddIndex() | migrations.RemoveIndex():
            small = operation.model_name_lower in SMALL
            return "" if small else f"{operation.describe()}: take migrating.{type(operation).__name__}, others wait."
        case migrations.AddField():
            return _fault_of_new(operation.field, operation)
        case migrations.AlterField():
            was = state.models[migration.app_label, operation.model_name_lower].fields[operation.name]
            return "" if _same_column(was, operation.field) else f"{operation.describe()}: it may rewrite the table."
        case migrations.AlterModelOptions() | migrations.AlterModelManagers() | migrations.RenameIndex():
            return ""
    return f"{operation.describe()}: say in LOOKED_AT why it neither locks a table nor breaks the version before."


def _fault_of_new(field: Any, operation: Operation) -> str:
    if field.many_to_many:
        return ""
    if not field.null and field.db_default is models.NOT_PROVIDED:
        return f"{operation.describe()}: the version before inserts rows without it. Say null=True or db_default."
    if field.unique or field.db_index or (field.remote_field and field.db_constraint):
        return f"{operation.describe()}: its index or constraint locks the table. Make it in a step of its own."
    return ""


def _same_column(was: Any, field: Any) -> bool:
    columns = [was.clone(), field.clone()]
    for column in columns:
        column.set_attributes_from_name("column")
    editor: Any = connection.SchemaEditorClass(connection)
    return not editor._field_should_be_altered(*columns)


@pytest.mark.parametrize("key", own(), ids="-".join)
def test_a_migration_disturbs_nobody_who_is_served_meanwhile(key: tuple[str, str]) -> None:
    migration = LOADER.disk_migrations[key]
    if migration.initial or key in LOOKED_AT:
        return
    state = LOADER.project_state(key, at_end=False)

    assert faults(migration, state) == [], "see `Migrations` in docs/developers.md"


def test_what_was_looked_at_exists() -> None:
    assert set(LOOKED_AT) <= set(own())


@pytest.fixture
def state() -> ProjectState:
    return LOADER.project_state(LOADER.graph.leaf_nodes())


def migration(*doing: Operation, atomic: bool = True) -> migrations.Migration:
    made: Any = migrations.Migration("0999", "tokens")
    made.operations, made.atomic = list(doing), atomic
    return made


INDEX = models.Index(fields=["description"], name="token_description")
REFUSED = {
    "an index that locks": migrations.AddIndex("accesstoken", INDEX),
    "a concurrent index in a transaction": migrating.AddIndex("accesstoken", INDEX),
    "a constraint": migrations.AddConstraint("accesstoken", models.UniqueConstraint(fields=["name"], name="one")),
    "a column that must be filled": migrations.AddField("accesstoken", "colour", models.TextField(default="")),
    "a column with an index": migrations.AddField("accesstoken", "colour", models.TextField(null=True, db_index=True)),
    "a key": migrations.AddField("accesstoken", "pool", models.ForeignKey("profiles.Pool", models.PROTECT, null=True)),
    "a column that is gone": migrations.RemoveField("accesstoken", "description"),
    "a column of another name": migrations.RenameField("accesstoken", "description", "text"),
    "a column of another type": migrations.AlterField("accesstoken", "description", models.CharField(max_length=9)),
    "a table that is gone": migrations.DeleteModel("lastuse"),
    "code": migrations.RunPython(migrations.RunPython.noop),
    "SQL": migrations.RunSQL("UPDATE tokens_accesstoken SET description = ''"),
}
ALLOWED = {
    "an index on a small table": migrations.AddIndex(
        "signingkey", models.Index(fields=["created_at"], name="key_created")
    ),
    "a column that may be empty": migrations.AddField("accesstoken", "colour", models.TextField(null=True)),
    "a column that the database fills": migrations.AddField("accesstoken", "colour", models.TextField(db_default="")),
    "other words": migrations.AlterField(
        "accesstoken", "description", models.TextField(blank=True, max_length=2000, help_text="What it is for.")
    ),
    "a table": migrations.CreateModel("Colour", [("id", models.BigAutoField(primary_key=True))]),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_would_disturb_is_refused(state: ProjectState, what: str) -> None:
    assert len(faults(migration(REFUSED[what]), state)) == 1


@pytest.mark.parametrize("what", ALLOWED)
def test_what_does_not_is_not(state: ProjectState, what: str) -> None:
    assert faults(migration(ALLOWED[what]), state) == []


def test_an_index_on_a_table_of_the_same_migration_is_nobodys_business(state: ProjectState) -> None:
    index = migrations.AddIndex("colour", models.Index(fields=["id"], name="colour_id"))

    assert faults(migration(ALLOWED["a table"], index), state) == []


# The operations themselves.


def indexes() -> set[str]:
    with connection.cursor() as cursor:
        return set(connection.introspection.get_constraints(cursor, "tokens_accesstoken"))


def apply(operation: Any, state: ProjectState, *, backwards: bool = False) -> None:
    after = state.clone()
    operation.state_forwards("tokens", after)
    with connection.schema_editor(atomic=False) as editor:
        if backwards:
            operation.database_backwards("tokens", editor, after, state)
        else:
            operation.database_forwards("tokens", editor, state, after)


@pytest.mark.django_db(transaction=True)
def test_an_index_comes_goes_and_comes_again(state: ProjectState) -> None:
    add, with_it = migrating.AddIndex("accesstoken", INDEX), state.clone()
    add.state_forwards("tokens", with_it)
    remove = migrating.RemoveIndex("accesstoken", INDEX.name)

    apply(add, state)
    apply(add, state)  # a run that was broken off after it
    assert INDEX.name in indexes()
    apply(remove, with_it)
    apply(remove, with_it)
    assert INDEX.name not in indexes()
    apply(remove, with_it, backwards=True)
    assert INDEX.name in indexes()
    apply(add, state, backwards=True)
    assert INDEX.name not in indexes()


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL makes indexes concurrently")
def test_what_a_broken_run_left_behind_is_made_anew(state: ProjectState) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE INDEX token_description ON tokens_accesstoken (name)")
        cursor.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'token_description'::regclass")

    apply(migrating.AddIndex("accesstoken", INDEX), state)

    with connection.cursor() as cursor:
        found = "FROM pg_index WHERE indexrelid = 'token_description'::regclass"
        cursor.execute(f"SELECT indisvalid, pg_get_indexdef(indexrelid) {found}")
        ((valid, definition),) = cursor.fetchall()
        cursor.execute("DROP INDEX token_description")
    assert valid
    assert "(description)" in definition


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL makes indexes concurrently")
def test_a_concurrent_index_says_when_it_is_in_a_transaction(state: ProjectState) -> None:
    with pytest.raises(NotSupportedError, match="atomic = False"):
        apply(migrating.AddIndex("accesstoken", INDEX), state)
