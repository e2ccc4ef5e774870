from typing import Any

from django.db import migrations


def _allow(actions: str, *resources: str) -> dict[str, Any]:
    return {"effect": "Allow", "actions": sorted(actions.split()), "resources": list(resources)}


ROLES: list[dict[str, Any]] = [
    {
        "name": "osmo-admin",
        "description": "Administrators: everything.",
        "policies": [_allow("*:*", "*")],
        "immutable": True,
        "grants_pools": True,
        "is_plain": False,
    },
    {
        "name": "osmo-user",
        "description": "Every person holds it, and every user token carries it. It gives no pool access.",
        "policies": [
            _allow(
                "app:* credentials:* dataset:* pool:List profile:Read profile:Update resources:Read "
                "user:List workflow:List workflow:Read",
                "*",
            ),
            # Without resources: the holder's own tokens, not those of other users.
            _allow("auth:Token"),
        ],
    },
    {
        "name": "osmo-backend",
        "description": "The agents of a backend.",
        "policies": [_allow("config:Read internal:Operator pool:List", "backend/*", "config/backend", "pool/*")],
    },
    {
        "name": "osmo-ctrl",
        "description": "The controllers of running workflows.",
        "policies": [_allow("internal:Logger internal:Router", "*")],
    },
    {
        "name": "osmo-default",
        "description": "Counts for everybody and is assigned to nobody.",
        "policies": [_allow("auth:Login auth:Refresh profile:* system:Health system:Version", "*")],
    },
]


def load(apps: Any, editor: Any) -> None:
    roles = apps.get_model("profiles", "Role")._base_manager
    roles.bulk_create(roles.model(**{"grants_pools": False, "is_plain": False} | role) for role in ROLES)
    pools = apps.get_model("profiles", "Pool")._base_manager
    pools.bulk_create([pools.model(name="default", description="Default pool", backend="default")])
    groups = apps.get_model("auth", "Group")._base_manager
    groups.bulk_create([groups.model(name="operators"), groups.model(name="auditors")])


class Migration(migrations.Migration):
    dependencies = [("profiles", "0001_initial"), ("auth", "0012_alter_user_first_name_max_length")]
    operations = [migrations.RunPython(load, migrations.RunPython.noop)]
