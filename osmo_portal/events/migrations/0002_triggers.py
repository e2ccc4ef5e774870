from django.db import migrations

from osmo_portal.events import triggers


class Migration(migrations.Migration):
    dependencies = [("events", "0001_initial")]
    operations = [
        migrations.RunPython(
            lambda apps, editor: triggers.create_first(editor.connection),
            lambda apps, editor: triggers.drop(editor.connection, triggers.FIRST),
        )
    ]
