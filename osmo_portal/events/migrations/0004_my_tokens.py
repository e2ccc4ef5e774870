"""Names one more door. It changes nothing in the database, so the triggers of the table stay."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("events", "0003_filters")]

    operations = [
        migrations.AlterField(
            model_name="event",
            name="via",
            field=models.CharField(
                choices=[
                    ("admin", "Admin"),
                    ("rest", "Rest"),
                    ("cli", "Cli"),
                    ("command", "Command"),
                    ("my-tokens", "My Tokens"),
                ],
                max_length=16,
            ),
        ),
    ]
