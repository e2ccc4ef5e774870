"""The OpenAPI description: valid, complete, and for those who are signed in."""

import pytest
from django.core.management import call_command
from openapi_spec_validator import validate

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
        "/api/v1/pools",
        "/api/v1/pools/{id}",
        "/api/v1/roles",
        "/api/v1/roles/{id}",
        "/api/v1/tokens",
        "/api/v1/tokens/{id}",
        "/api/v1/tokens/{id}/resume",
        "/api/v1/tokens/{id}/revoke",
        "/api/v1/tokens/{id}/rotate",
        "/api/v1/tokens/{id}/suspend",
        "/api/v1/users",
        "/api/v1/users/{id}",
        "/api/v1/users/{id}/assign-role",
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
