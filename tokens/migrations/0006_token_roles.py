from typing import Any

import django.db.models.deletion
from django.db import migrations, models

from osmo_portal import migrating

TABLE, COLUMNS = "tokens_tokenrole", ("assignment_id", "token_id")


def drop(apps: Any, schema_editor: Any) -> None:
    """The indexes that Django made for the two keys. If it altered the fields, it would check the whole table anew."""
    for column in COLUMNS:
        migrating.drop(schema_editor, schema_editor._create_index_name(TABLE, [column]))


def create(apps: Any, schema_editor: Any) -> None:
    how = "CONCURRENTLY " if schema_editor.connection.vendor == "postgresql" else ""
    for column in COLUMNS:
        name = schema_editor._create_index_name(TABLE, [column])
        migrating.make(schema_editor, name, f'CREATE INDEX {how}"{name}" ON {TABLE} ({column})')


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("profiles", "0002_defaults"),
        ("tokens", "0005_purged_secrets"),
    ]

    operations = [
        migrating.AddIndex(
            model_name="tokenrole",
            index=models.Index(fields=["assignment", "token", "id"], name="token_role_of_assignment"),
        ),
        migrations.SeparateDatabaseAndState(
            [migrations.RunPython(drop, create)],
            [
                migrations.AlterField(
                    model_name="tokenrole",
                    name="assignment",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="token_roles",
                        to="profiles.roleassignment",
                    ),
                ),
                migrations.AlterField(
                    model_name="tokenrole",
                    name="token",
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="roles",
                        to="tokens.accesstoken",
                    ),
                ),
            ],
        ),
    ]
