"""The OpenAPI description: valid, complete, and for those who are signed in."""

from typing import Any

import pytest
from django.core.management import call_command
from drf_spectacular.generators import SchemaGenerator
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from openapi_spec_validator import validate
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from tests.cast import Cast
from tests.rest import Rest

pytestmark = pytest.mark.django_db


def test_the_description_is_valid_openapi_3_1(cast: Cast):
    schema = Rest(person="mallory").get("schema").json()

    assert schema["openapi"].startswith("3.1")
    validate(schema)


def test_nothing_in_it_had_to_be_guessed(tmp_path):
    call_command("spectacular", "--validate", "--fail-on-warn", file=str(tmp_path / "schema.yaml"))

    assert "/api/v1/tokens/{id}/rotate" in (tmp_path / "schema.yaml").read_text()


def test_it_describes_every_address_of_the_api_and_none_of_the_released_clients(cast: Cast):
    paths = Rest(cast.service_token().plaintext).get("schema").json()["paths"]

    assert set(paths) == {
        "/api/v1/access/check",
        "/api/v1/assignments",
        "/api/v1/assignments/{id}",
        "/api/v1/events",
        "/api/v1/events/chain",
        "/api/v1/events/{id}",
        "/api/v1/events/{id}/lines",
        "/api/v1/pools",
        "/api/v1/pools/{id}",
        "/api/v1/roles",
        "/api/v1/roles/{id}",
        "/api/v1/token-operations",
        "/api/v1/token-operations/{id}",
        "/api/v1/token-operations/{id}/continue",
        "/api/v1/token-operations/{id}/execute",
        "/api/v1/token-operations/{id}/stop",
        "/api/v1/tokens",
        "/api/v1/tokens/find",
        "/api/v1/tokens/{id}",
        "/api/v1/tokens/{id}/resume",
        "/api/v1/tokens/{id}/revoke",
        "/api/v1/tokens/{id}/rotate",
        "/api/v1/tokens/{id}/suspend",
        "/api/v1/users",
        "/api/v1/users/{id}",
        "/api/v1/users/{id}/assign-role",
        "/api/v1/users/{id}/deactivate",
        "/api/v1/users/{id}/groups",
        "/api/v1/users/{id}/hand-over",
        "/api/v1/users/{id}/hand-over-accounts",
        "/api/v1/users/{id}/reactivate",
        "/api/v1/users/{id}/remove-role",
        "/api/v1/whoami",
    }


def test_the_secret_is_in_the_two_answers_that_make_one(cast: Cast):
    schema = Rest(person="ada").get("schema").json()
    with_secret = {
        name for name, one in schema["components"]["schemas"].items() if "secret" in one.get("properties", {})
    }

    answers = {
        (path, verb)
        for path, verbs in schema["paths"].items()
        for verb, operation in verbs.items()
        if any(f"/{name}'" in str(operation["responses"]) for name in with_secret)
    }

    assert answers == {("/api/v1/tokens", "post"), ("/api/v1/tokens/{id}/rotate", "post")}


def described() -> dict[str, Any]:
    return Rest(person="grace").get("schema").json()


def test_a_process_writes_it_once(cast: Cast, monkeypatch: pytest.MonkeyPatch):
    first = described()
    monkeypatch.setattr(SchemaGenerator, "get_schema", None)

    assert described() == first


def test_every_operation_has_examples_that_fit_what_is_described(cast: Cast):
    schema = described()
    registry = Registry().with_resource("urn:portal", Resource.from_contents(schema, DRAFT202012))
    seen = 0
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            media = [operation["requestBody"]] if "requestBody" in operation else []
            media += [answer for answer in operation["responses"].values() if "content" in answer]
            assert media or method == "delete", path
            for content in [one["content"]["application/json"] for one in media]:
                reference = {"$ref": f"urn:portal{content['schema']['$ref']}"}
                Draft202012Validator(reference, registry=registry).validate(content["example"])
                seen += 1
    assert seen > 60


def test_every_operation_says_in_one_sentence_what_it_does(cast: Cast):
    methods = [*described()["paths"].values()]
    said = {one["operationId"]: one["summary"] for operations in methods for one in operations.values()}

    assert said["tokens_create"] == "Issues a token."
    assert said["token_operations_retrieve"] == "Shows one token operation."
    assert [name for name, summary in said.items() if not (10 < len(summary) < 120 and summary[-1] in ".?")] == []


def test_every_operation_describes_its_errors(cast: Cast):
    schema = described()
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            wanted = (
                {"400", "401", "403"} | ({"404"} if "{" in path else set()) | ({"428"} if method == "patch" else set())
            )
            assert wanted <= set(operation["responses"]), (path, method)
            assert operation["security"], path
    assert schema["components"]["responses"]["Problem412"]["content"]["application/problem+json"]["example"]
    assert set(schema["components"]["securitySchemes"]) == {"jwt", "session"}
