from typing import Any

from django.db import migrations

CONFIGURED = {
    "Role": ("description", "policies", "sync_mode", "external_roles"),
    "Pool": ("description", "backend", "maintenance", "quota_limit", "spec"),
}


def load(apps: Any, editor: Any) -> None:
    """Revision 1 of roles and of pools: what there is now."""
    revisions = apps.get_model("profiles", "Revision")._base_manager
    items = apps.get_model("profiles", "Item")._base_manager
    for kind, configured in CONFIGURED.items():
        revision = revisions.create(
            config_type=kind.upper(),
            number=1,
            username="system",
            description="Initial configuration",
            tags=["initial-config"],
        )
        existing = apps.get_model("profiles", kind)._base_manager.filter(deleted_at=None)
        items.bulk_create(
            items.model(revision=revision, name=one.name, content={field: getattr(one, field) for field in configured})
            for one in existing
        )


class Migration(migrations.Migration):
    dependencies = [("profiles", "0003_configuration_history")]
    operations = [migrations.RunPython(load, migrations.RunPython.noop)]
