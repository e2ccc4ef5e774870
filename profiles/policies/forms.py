"""Policies as JSON: what one role may hold, checked, and in the one spelling that is stored.

Two forms stand side by side, and a policy may mix them; neither is translated into the other.

* `"type:Action"` with resources (OSMO 6.2 and later): `*` may stand for either half, and in a resource for
  any text.
* `{"base": "http", "path": …, "method": …}`, also written `"http:path:method"` (6.0 and 6.1): a pattern for
  the paths of requests. A path that begins with `!` denies. Resources of the policy do not limit it.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

MAX_POLICIES = 100
MAX_ACTIONS = 200
MAX_RESOURCES = 100
MAX_TEXT = 500
METHODS = ("*", "Get", "Post", "Put", "Patch", "Delete", "Websocket")
SEMANTIC = re.compile(r"(?P<kind>\*|[a-z]+):(?P<verb>\*|[A-Z][a-zA-Z]*)")


class PolicyError(ValueError):
    """Says to a person which policy is wrong (counted from 1), what is wrong and what to write instead."""


class BadAction(PolicyError):
    """An action that is in neither grammar. `text` is how it begins."""

    def __init__(self, message: str, text: str) -> None:
        super().__init__(message)
        self.text = text[:60]


class BadMethod(BadAction):
    """The method of an http action is none."""


class Effect(StrEnum):
    ALLOW = "Allow"
    DENY = "Deny"


@dataclass(frozen=True, slots=True)
class SemanticAction:
    kind: str
    verb: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.verb}"

    def covers(self, action: str) -> bool:
        kind, _, verb = action.partition(":")
        return self.kind in ("*", kind) and self.verb in ("*", verb)


@dataclass(frozen=True, slots=True)
class HttpAction:
    path: str
    method: str
    denies: bool = False

    def __str__(self) -> str:
        return f"any request to {self.path}" if self.method == "*" else f"{self.method.upper()} {self.path}"

    def serves(self, method: str) -> bool:
        return self.method in ("*", method.capitalize())


Action: TypeAlias = SemanticAction | HttpAction


@dataclass(frozen=True, slots=True)
class Policy:
    effect: Effect
    actions: tuple[Action, ...]
    resources: tuple[str, ...]


def parse(policies: object) -> tuple[Policy, ...]:
    """The policies of one role from JSON. Raises PolicyError, and nothing else, for what is not right."""
    items = _list(policies, MAX_POLICIES, "Policies")
    return tuple(_policy(item, f"Policy {number}") for number, item in enumerate(items, start=1))


def normalise(policies: object) -> list[dict[str, Any]]:
    """What was sent, as it is stored: checked, complete, methods in one spelling, actions sorted.

    An http action sent as text becomes the object that 6.0 stores. Raises PolicyError like `parse`.
    """
    return [
        {
            "effect": policy.effect.value,
            "actions": [as_json(action) for action in policy.actions],
            "resources": list(policy.resources),
        }
        for policy in parse(policies)
    ]


def _policy(item: object, where: str) -> Policy:
    known = _object(item, {"effect", "actions", "resources"}, where)
    if "actions" not in known:
        raise PolicyError(f'{where} has no actions. Write "actions": [...], which may be empty.')
    actions = _list(known["actions"], MAX_ACTIONS, f"{where}: actions")
    resources = _list(known.get("resources", []), MAX_RESOURCES, f"{where}: resources")
    return Policy(
        _effect(known.get("effect", "Allow"), where),
        tuple(sorted((_action(action, where) for action in actions), key=_sort_key)),
        tuple(_resource(resource, where) for resource in resources),
    )


def _effect(item: object, where: str) -> Effect:
    for effect in Effect:
        if item == effect:
            return effect
    raise PolicyError(f'{where}: the effect is {_shown(item)}. Write "Allow" or "Deny".')


def _action(item: object, where: str) -> Action:
    if isinstance(item, dict):
        return _http_object(item, where)
    text = _text(item, f"{where}: an action")
    if text.startswith("http:"):
        path, _, method = text.removeprefix("http:").rpartition(":")
        return _http(path, method, where)
    # The gateway of 6.2 reads a lone star as everything.
    found = SEMANTIC.fullmatch("*:*" if text == "*" else text)
    if not found:
        raise BadAction(
            f"{where}: the action {_shown(text)} is not understood. "
            'Write "type:Action", for example "workflow:Create" or "workflow:*", or "http:/path:method".',
            text,
        )
    return SemanticAction(found["kind"], found["verb"])


def _http_object(item: dict[object, object], where: str) -> HttpAction:
    known = _object(item, {"base", "path", "method"}, f"{where}: an action")
    if known.get("base") != "http":
        raise PolicyError(f'{where}: the base of an action is {_shown(known.get("base"))}. Write "http".')
    path = _text(known.get("path"), f"{where}: the path of an action")
    method = _text(known.get("method"), f"{where}: the method of an action")
    return _http(path, method, where)


def _http(path: str, method: str, where: str) -> HttpAction:
    if method.capitalize() not in METHODS:
        raise BadMethod(
            f"{where}: the method {_shown(method)} is not known. Write one of {', '.join(METHODS)}.", method
        )
    denies, path = path.startswith("!"), path.removeprefix("!")
    if not path.startswith(("/", "*")):
        raise PolicyError(f'{where}: the path {_shown(path)} matches nothing. Begin it with "/", "!/" or "*".')
    return HttpAction(path, method.capitalize(), denies)


def _resource(item: object, where: str) -> str:
    text = _text(item, f"{where}: a resource")
    if "/" not in text and "*" not in text:
        raise PolicyError(f'{where}: the resource {_shown(text)} has no type. Write "type/name", for example "pool/x".')
    return text


def _object(item: object, keys: set[str], where: str) -> dict[object, object]:
    if not isinstance(item, dict):
        raise PolicyError(f"{where} is {_shown(item)}. Write an object with the keys {', '.join(sorted(keys))}.")
    for key in item:
        if key not in keys:
            raise PolicyError(f"{where} has the unknown key {_shown(key)}. Known are {', '.join(sorted(keys))}.")
    return item


def _list(item: object, most: int, where: str) -> list[object]:
    if not isinstance(item, list):
        raise PolicyError(f"{where}: {_shown(item)} is not a list. Write [...].")
    if len(item) > most:
        raise PolicyError(
            f"{where}: {len(item)} are too many, at most {most} are taken. Use a pattern or another role."
        )
    return item


def _text(item: object, where: str) -> str:
    if not isinstance(item, str) or not item:
        raise PolicyError(f"{where} is {_shown(item)}. Write a text.")
    if len(item) > MAX_TEXT:
        raise PolicyError(f"{where} has {len(item)} characters, at most {MAX_TEXT} are taken. Shorten it.")
    if not item.isprintable() or " " in item:
        raise PolicyError(f"{where} is {_shown(item)}. Write it without spaces and control characters.")
    return item


def _shown(value: object) -> str:
    if not isinstance(value, str):
        return "missing" if value is None else f"of type {type(value).__name__}"
    return repr(value[:60] + "…" if len(value) > 60 else value)


def _stored_path(action: HttpAction) -> str:
    return f"!{action.path}" if action.denies else action.path


def as_json(action: Action) -> str | dict[str, str]:
    if isinstance(action, SemanticAction):
        return str(action)
    return {"base": "http", "path": _stored_path(action), "method": action.method}


def _sort_key(action: Action) -> str:
    return f"http:{_stored_path(action)}:{action.method}" if isinstance(action, HttpAction) else str(action)
