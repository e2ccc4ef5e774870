"""Roles and pools as the released clients configure them: what they are shown, and what is taken of what they send."""

from typing import Any

from django.core.exceptions import ValidationError
from rest_framework.exceptions import APIException

from osmo_portal.problems import Unprocessable
from profiles import names
from profiles.models import Pool
from profiles.models.role import SyncMode
from profiles.policies import BadAction, BadMethod, PolicyError, dialects, normalise
from profiles.rules import ADMINISTRATOR_ROLE

METHODS = ["*", "get", "post", "put", "patch", "delete", "websocket"]
# A pool's settings where nobody has configured them.
UNSET: dict[str, Any] = {
    "download_type": None,
    "default_platform": "default",
    "default_exec_timeout": "",
    "default_queue_timeout": "",
    "max_exec_timeout": "",
    "max_queue_timeout": "",
    "default_exit_actions": {},
    "action_permissions": dict.fromkeys(["execute", "portforward", "cancel", "rsync"], "PRIVATE"),
    "topology_keys": [],
    "common_default_variables": {},
    "common_resource_validations": [],
    "common_pod_template": [],
    "common_group_templates": [],
    "platforms": {
        "default": {
            "description": "",
            "host_network_allowed": False,
            "privileged_allowed": False,
            "allowed_mounts": [],
            "default_mounts": [],
        }
    },
}
# What the servers tell of a pool and nobody configures. The clients send it back with the rest.
TOLD = {
    "status",
    "resource_usage",
    "last_heartbeat",
    "parsed_pod_template",
    "parsed_group_templates",
    "parsed_resource_validations",
}
OWN = {"name", "description", "backend", "enable_maintenance"}
# What everybody who is signed in may know of a pool. Templates and variables are not among it.
OPEN = (
    "download_type",
    "default_platform",
    "default_exec_timeout",
    "default_queue_timeout",
    "max_exec_timeout",
    "max_queue_timeout",
    "default_exit_actions",
    "action_permissions",
    "topology_keys",
)
OPEN_OF_PLATFORM = ("description", "host_network_allowed", "privileged_allowed", "allowed_mounts", "default_mounts")
Fields = dict[str, Any]


class Misused(APIException):
    """What a pool's configuration contradicts itself in. The clients end with status 1."""

    status_code = 400
    error_code = "USAGE"


# Roles.


def shown_role(name: str, configured: Fields, *, older: bool) -> Fields:
    policies = configured["policies"]
    role = {"name": name, "description": configured["description"], "immutable": name == ADMINISTRATOR_ROLE}
    if older:
        return {**role, "policies": dialects.for_older(policies)}
    external = configured["external_roles"]
    return {
        **role,
        "policies": dialects.for_newer(policies),
        "sync_mode": configured["sync_mode"],
        "external_roles": [name] if external is None else external,
    }


def asked_role(body: Any, *, older: bool, name: str | None = None) -> tuple[str, Fields]:
    """The name and the fields to change. `name` is that of the address: the body cannot be about another one."""
    known = _object(body, "A role", {"name", "description", "policies", "immutable", "sync_mode", "external_roles"})
    name = _agreed(known, name, "role")
    if "policies" not in known:
        raise Unprocessable(f"policies of the role {name[:100]} are missing.")
    fields: Fields = {"policies": _policies(known["policies"], older=older)}
    if known.get("description") is not None:
        fields["description"] = _a(str, known, "description")
    if known.get("sync_mode") is not None:
        fields["sync_mode"] = _sync_mode(known["sync_mode"])
    if known.get("external_roles") is not None:
        kept = _a(list, known, "external_roles")
        fields["external_roles"] = None if kept == [name] else kept
    return name, fields


def _sync_mode(value: Any) -> str:
    if value not in SyncMode.values:
        raise Unprocessable(f"sync_mode must be one of {', '.join(SyncMode.values)}.")
    return str(value)


def _policies(policies: Any, *, older: bool) -> list[Fields]:
    if not isinstance(policies, list):
        raise Unprocessable("policies must be a list.")
    try:
        return normalise(dialects.from_wire(policies))
    except PolicyError as error:
        raise ValidationError(_in_their_words(error, older=older)) from None


def _in_their_words(error: PolicyError, *, older: bool) -> str:
    """What the released servers say of an action; else what the portal says."""
    if isinstance(error, BadMethod):
        return f"Invalid method: {error.text}. Method must be one of: {METHODS}"
    if isinstance(error, BadAction) and older:
        return f"Invalid action: {error.text}"
    if isinstance(error, BadAction):
        return (
            f'Invalid action format: {error.text}. Expected format: "resource:Action" (e.g., "workflow:Create", "*:*")'
        )
    return str(error)


# Pools.


def shown_pool(name: str, configured: Fields) -> Fields:
    """All that is configured, for administrators."""
    spec = configured["spec"]
    return {
        "name": name,
        "description": configured["description"],
        "backend": configured["backend"],
        "enable_maintenance": configured["maintenance"],
        "resources": _resources(configured),
        **UNSET,
        **({"default_platform": None} if "platforms" in spec else {}),
        **{key: value for key, value in spec.items() if key != "resources"},
    }


def open_pool(pool: Pool) -> Fields:
    """What everybody may know."""
    shown = shown_pool(pool.name, pool.configuration)
    platforms = {name: _open_platform(platform) for name, platform in shown["platforms"].items()}
    return {
        "name": pool.name,
        "description": pool.description,
        "status": pool.status,
        "enable_maintenance": pool.maintenance,
        "backend": pool.backend,
        **{key: shown[key] for key in OPEN},
        "resources": shown["resources"] if shown["resources"].get("gpu") else {"gpu": _gpu(pool.quota_limit)},
        "platforms": platforms,
    }


def _open_platform(platform: Fields) -> Fields:
    return {key: platform.get(key, UNSET["platforms"]["default"][key]) for key in OPEN_OF_PLATFORM}


def _gpu(guarantee: int, gpu: Fields | None = None) -> Fields:
    return {"maximum": -1, "weight": 1, **(gpu or {}), "guarantee": guarantee}


def _resources(configured: Fields) -> Fields:
    """As they were sent, unless the console has changed the quota since."""
    sent: Fields = configured["spec"].get("resources") or {"gpu": None}
    quota = configured["quota_limit"]
    return sent if quota == _guaranteed(sent) else {**sent, "gpu": _gpu(quota, sent.get("gpu"))}


def _guaranteed(resources: Fields) -> int:
    """GPUs that the pool is sure of; the clients write -1 where there is no limit, which is no quota here."""
    number = (resources.get("gpu") or {}).get("guarantee", 0)
    return number if isinstance(number, int) and 0 <= number < 2**31 else 0


def asked_pool(body: Any, *, name: str, now: Fields | None) -> Fields:
    """The fields to change. `now` is what is configured, or nothing for a new pool."""
    known = _object(body, f"The pool {name[:100]}")
    if not (len(name) <= names.MAX_LENGTH and names.pool_name.fits(name)):
        raise ValidationError(
            f'Pool name "{name[:100]}" is not valid! Name can only be alphanumeric and contain dash or underscore.'
        )
    _agreed(known, name, "pool")
    fields = {
        "description": _a(str, known, "description", ""),
        "backend": _a(str, known, "backend"),
        "maintenance": _a(bool, known, "enable_maintenance", default=False),
    }
    before = now or {"description": "", "backend": "", "maintenance": False, "quota_limit": 0, "spec": {}}
    shown = shown_pool(name, before)
    sent = {key: value for key, value in known.items() if key not in OWN | TOLD}
    fields["spec"] = _spec(sent, shown, before["spec"])
    fields["quota_limit"] = before["quota_limit"]
    if sent.get("resources") != shown["resources"]:
        fields["quota_limit"] = _guaranteed(_checked_resources(sent.get("resources")))
    _check_platforms(shown_pool(name, {**before, **fields}))
    return fields


def _spec(sent: Fields, shown: Fields, spec: Fields) -> Fields:
    """What was shown and comes back as it was stays as it is: defaults are not written down by that."""
    same = {key for key in sent if key in shown and sent[key] == shown[key]}
    kept = {key: spec[key] for key in sent if key in same & spec.keys()}
    return kept | {key: value for key, value in sent.items() if key not in same}


def merged(shown: Any, changes: Any) -> Any:
    """A patch of the clients: objects are changed key by key, anything else is replaced."""
    if not (isinstance(shown, dict) and isinstance(changes, dict)):
        return changes
    return {**shown, **{key: merged(shown.get(key), value) for key, value in changes.items()}}


def _checked_resources(resources: Any) -> Fields:
    if resources is None:
        return {}
    gpu = _object(resources, "resources of a pool").get("gpu")
    if gpu is not None and not isinstance(_object(gpu, "resources.gpu of a pool").get("guarantee", 0), int):
        raise Unprocessable("resources.gpu.guarantee of a pool must be a number.")
    return resources  # type: ignore[no-any-return]


def _check_platforms(shown: Fields) -> None:
    platforms = _object(shown["platforms"], "platforms of a pool")
    for name, platform in platforms.items():
        _object(platform, f"The platform {name[:100]}")
        if not names.pool_name.fits(name):
            raise ValidationError(
                f'Platform name "{name[:100]}" is not valid! '
                "Name can only be alphanumeric and contain dash or underscore."
            )
    chosen = shown["default_platform"]
    if not isinstance(chosen, str | None):
        raise Unprocessable("default_platform must be text.")
    if chosen and chosen not in platforms:
        raise Misused(f"Default platform {str(chosen)[:100]} not in platforms")


# Both.


def _agreed(body: Fields, name: str | None, what: str) -> str:
    if name is None or body.get("name") is not None:
        written = _a(str, body, "name")
        if name is not None and written != name:
            raise ValidationError(
                f"The address is about the {what} {name[:100]}, the body about {written[:100]}. Write one name."
            )
        return str(written)
    return name


def _object(value: Any, what: str, keys: set[str] | None = None) -> Fields:
    if not isinstance(value, dict):
        raise Unprocessable(f"{what} must be an object.")
    if keys and (unknown := sorted(set(value) - keys)):
        raise Unprocessable(f"{what} has no {unknown[0][:100]}. It has {', '.join(sorted(keys))}.")
    return value


WORDS: dict[type, str] = {str: "text", bool: "true or false", list: "a list"}
MISSING: Any = object()


def _a(kind: type, body: Fields, name: str, default: Any = MISSING) -> Any:
    value = body.get(name)
    if value is None and default is not MISSING:
        return default
    if name not in body:
        raise Unprocessable(f"{name} is missing.")
    if not isinstance(value, kind):
        raise Unprocessable(f"{name} must be {WORDS[kind]}.")
    return value
