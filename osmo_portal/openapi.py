"""The description of the API, and what it says beyond the views: errors, versions, and an example of everything."""

import re
from collections.abc import Iterator
from functools import cache
from http import HTTPStatus
from typing import Any

from django.http import HttpResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer, OpenApiJsonRenderer2
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from osmo_portal.openapi_examples import EXAMPLES
from osmo_portal.problems import PROBLEM_JSON
from osmo_portal.rest import RestView

JSON = "application/json"
RECORDS = re.compile(r"/api/v1/(users|roles|pools|assignments|tokens)(/\{id\}(/[a-z-]+)?)?")
NO_VERSION = re.compile(r"/api/v1/users/\{id\}/hand-over-accounts")
FOR_SOME = {"Role": {"policies"}}  # members that not every caller is shown
USUAL = {
    "_list": "Lists {all}.",
    "_retrieve": "Shows one {one}.",
    "_create": "Makes a {one}.",
    "_partial_update": "Changes a {one}.",
    "_destroy": "Ends a {one}.",
}
MEANINGS = {
    400: "Something in the request is wrong; `errors` says what, by field or parameter.",
    401: "Nobody is signed in, or the token has ended; its holder is told why.",
    403: "The caller may not do this, or the session's CSRF token is missing.",
    404: "It is not there, or it is not the caller's to see.",
    406: "The answer is JSON; `Accept` asks for something else.",
    409: "The state is in the way: a name is taken, the set has changed, this was done before.",
    412: "It is not the version that `If-Match` names any more. Nothing was changed.",
    413: "The body is too large.",
    415: "The body is not `application/json`.",
    422: "The `Idempotency-Key` was used for another request.",
    428: "`If-Match` is missing: say which version is to be changed.",
    503: "The database does not answer. Nothing was changed.",
}
PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "Problem details (RFC 9457). `token` is the number of the token that is in the way.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {"type": "object", "additionalProperties": True},
        "token": {"type": ["integer", "null"]},
    },
}


class Description(RestView):
    """For whoever is signed in, and the same for everybody."""

    renderer_classes = [OpenApiJsonRenderer, OpenApiJsonRenderer2]
    schema = None

    def get(self, request: Request) -> HttpResponse:
        return HttpResponse(_description(), content_type=request.accepted_renderer.media_type)


@cache
def _description() -> bytes:
    """Written once by each process: that takes many times what any other answer does."""
    generator: Any = SchemaGenerator
    return bytes(JSONRenderer().render(generator().get_schema(public=True)))


def complete(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A hook of drf-spectacular, for the whole description."""
    schemas = result["components"]["schemas"]
    schemas["Problem"] = PROBLEM
    result["components"]["responses"] = {f"Problem{status}": _problem(status) for status in MEANINGS}
    for name, members in FOR_SOME.items():
        schemas[name]["required"] = [one for one in schemas[name]["required"] if one not in members]
    for path, method, operation in _operations(result):
        operation["summary"] = _summary(operation)
        body = operation.get("requestBody")
        if body:
            _close(schemas, body)
        if _is_versioned(path):
            _tell_versions(method, operation)
        for status in _errors(path, method, operation):
            operation["responses"].setdefault(str(status), {"$ref": f"#/components/responses/Problem{status}"})
        for media in [body, *operation["responses"].values()]:
            _exemplify(media)
    return result


def _operations(result: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in result["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _summary(operation: dict[str, Any]) -> str:
    """The first sentence of what it does; where the view says nothing, what Django REST framework calls it."""
    if said := operation.get("description"):
        return re.split(r"(?<=[.?])\s", said)[0]
    kind = operation["tags"][0].replace("-", " ")
    done = next(words for action, words in USUAL.items() if operation["operationId"].endswith(action))
    return done.format(all=kind, one=kind.removesuffix("s"))


def _problem(status: int) -> dict[str, Any]:
    phrase = HTTPStatus(status).phrase
    example = {"type": "about:blank", "title": phrase, "status": status, "detail": MEANINGS[status]}
    content = {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}}
    return {"description": MEANINGS[status], "content": content}


def _errors(path: str, method: str, operation: dict[str, Any]) -> list[int]:
    found = [400, 401, 403, 406, 503]
    names = {one["name"] for one in operation.get("parameters", ())}
    if "{" in path or path.endswith("/check") or "cursor" in names:
        found.append(404)
    if method != "get":
        found += [409]
    if "requestBody" in operation:
        found += [413, 415]
    if "Idempotency-Key" in names:
        found.append(422)
    if "If-Match" in names:
        found.append(412)
    return [*found, 428] if method == "patch" else found


def _is_versioned(path: str) -> bool:
    return bool(RECORDS.fullmatch(path)) and not NO_VERSION.fullmatch(path)


def _tell_versions(method: str, operation: dict[str, Any]) -> None:
    if method != "get" and any(one["in"] == "path" for one in operation.get("parameters", ())):
        says = "The `ETag` of the version that is to be changed; `*` means any."
        required = {"required": True} if method == "patch" else {}
        header = {"in": "header", "name": "If-Match", "schema": {"type": "string"}, "description": says, **required}
        operation.setdefault("parameters", []).append(header)
    for status in ("200", "201"):
        if "Paginated" not in str(operation["responses"].get(status, "Paginated")):
            tag = {"description": "The version that is shown.", "schema": {"type": "string"}}
            operation["responses"][status]["headers"] = {"ETag": tag}


def _close(schemas: dict[str, Any], body: dict[str, Any]) -> None:
    """Unknown fields are refused, and a change must change something."""
    name = body["content"][JSON]["schema"].get("$ref", "").rpartition("/")[2]
    if name:
        schemas[name]["additionalProperties"] = False
    if name.startswith("Patched"):
        schemas[name]["minProperties"] = 1


def _exemplify(media: dict[str, Any] | None) -> None:
    content = (media or {}).get("content", {}).get(JSON)
    name = (content or {}).get("schema", {}).get("$ref", "").rpartition("/")[2]
    if content and name:
        content["example"] = example_of(name)


def example_of(component: str) -> Any:
    """Raises KeyError where none was written."""
    if paged := re.fullmatch("Paginated(.+)List", component):
        return {"next": None, "previous": None, "results": [EXAMPLES[paged[1]]]}
    return EXAMPLES[component.removeprefix("Patched")]
