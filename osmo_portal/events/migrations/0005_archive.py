"""The triggers change in one transaction with the table that they ask, so events are never without them."""

from typing import Any

from django.db import migrations, models

from osmo_portal.events import triggers


def guard(apps: Any, editor: Any) -> None:
    triggers.drop(editor.connection, triggers.FIRST)
    triggers.create(editor.connection)


def guard_as_before(apps: Any, editor: Any) -> None:
    triggers.drop(editor.connection)
    triggers.create_first(editor.connection)


class Migration(migrations.Migration):
    dependencies = [("events", "0004_my_tokens")]

    operations = [
        migrations.CreateModel(
            name="Archive",
            fields=[
                (
                    "last",
                    models.PositiveBigIntegerField(
                        primary_key=True, serialize=False, verbose_name="number of the last event"
                    ),
                ),
                ("first", models.PositiveBigIntegerField()),
                ("until", models.DateTimeField(verbose_name="when the last event was")),
                ("hash", models.CharField(max_length=64, verbose_name="hash of the last event")),
                (
                    "digest",
                    models.CharField(max_length=64, verbose_name="SHA-256 of the lines with events in the file"),
                ),
                ("signature", models.CharField(max_length=64)),
            ],
            options={"ordering": ["last"]},
        ),
        migrations.RunPython(guard, guard_as_before),
    ]
