"""schemathesis against the live portal, with all its checks: as an administrator, as a person, and as a stranger.

The same examples in every run. SCHEMATHESIS_EXAMPLES asks for more of each operation, SCHEMATHESIS_SEED for others.
"""

import os
import re
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlsplit

import hypothesis
import pytest
import schemathesis
from django.db import connection
from hypothesis import HealthCheck, Phase
from pytest_django.live_server_helper import LiveServer
from schemathesis import GenerationMode

from profiles.models import Role
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast
from tests.furniture import furnish
from tokens import exchange
from tokens.models import AccessToken, BulkOperation

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "2"))
SEED = int(os.environ.get("SCHEMATHESIS_SEED", "20260131"))
# What the description cannot say of a request: that a name exists, is free, is the caller's; that a version is right.
BY_RULE = ["400", "401", "403", "404", "409", "412", "422", "428"]
CONFIG = {
    "seed": SEED,
    "checks": {
        "positive_data_acceptance": {"expected-statuses": ["2xx", *BY_RULE]},
        "negative_data_rejection": {"expected-statuses": ["406", "413", "415", *BY_RULE]},
    },
}
ADMINISTRATORS_ALONE = {"users", "roles", "pools", "assignments", "token-operations", "events"}


def credentials(cast: Cast, who: str) -> dict[str, str]:
    if who == "stranger":
        return {}
    token = cast.administrator_token() if who == "administrator" else cast.user_token("mallory", "fuzz")
    return {"Authorization": f"Bearer {exchange.exchange(token.plaintext)[0]}"}


def numbers(cast: Cast) -> dict[str, int]:
    """Of records that are there, and may be ended without ending the caller."""
    return {
        "users": cast.robot.pk,
        "roles": Role.objects.get(name=PLAIN_ROLE).pk,
        "pools": cast.pool.pk,
        "assignments": cast.robot.assignments.get(role__name=POOL_ROLE).pk,
        "tokens": AccessToken.objects.live().filter(owner=cast.robot).latest("pk").pk,
        "token-operations": BulkOperation.objects.latest("pk").pk,
        "events": 1,
    }


@pytest.mark.skipif(connection.vendor == "sqlite", reason="Takes a minute; test_rest_input asks the like of both.")
@pytest.mark.parametrize("who", ["administrator", "person", "stranger"])
def test_no_request_breaks_the_portal_or_its_description(
    transactional_db: None, live_server: LiveServer, who: str
) -> None:
    cast = Cast()
    furnish(cast)
    headers, known = credentials(cast, who), numbers(cast)
    reader = credentials(cast, "person") if who == "stranger" else headers
    config = schemathesis.Config.from_dict(CONFIG)
    schema = schemathesis.openapi.from_url(f"{live_server.url}/api/v1/schema", headers=reader, config=config)
    answered: set[int] = set()
    failed: list[Exception] = []

    operations: Any = schema.get_all_operations()
    for found in operations:
        for mode in GenerationMode:
            try:
                answered |= attempt(found.ok(), mode, headers, known, who)
            except Exception as error:  # each is told, and not the first alone
                failed.append(error)

    assert not failed, "\n\n".join(map(str, failed))
    assert answered >= {"stranger": {401}, "person": {200, 400, 403}, "administrator": {200, 201, 400}}[who]


def status_for_strangers(route: str, url: str) -> int:
    """Of the address alone: what no text column could hold, and what no route takes, is turned away before anybody is
    asked who comes. All else is 401, whatever the request holds and whatever there is."""
    if "%00" in url:
        return 400
    return 401 if re.fullmatch(route.replace("{id}", "[0-9]+"), unquote(urlsplit(url).path)) else 404


def attempt(operation: Any, mode: GenerationMode, headers: dict[str, str], known: dict[str, int], who: str) -> set[int]:
    """The statuses of some answers. Each answer is held to all checks."""
    kind = operation.path.removeprefix("/api/v1/").split("/")[0]
    path = {"id": known[kind]} if "{id}" in operation.path and mode == GenerationMode.POSITIVE else None
    extra = {"path_parameters": path} if path else {}
    answered: set[int] = set()

    @hypothesis.seed(SEED)
    @hypothesis.settings(
        max_examples=EXAMPLES,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode, **extra))
    def each(case: Any) -> None:
        response = case.call(headers=headers)
        case.validate_response(response, headers=headers)
        answered.add(response.status_code)
        if who == "stranger":
            assert response.status_code == status_for_strangers(operation.path, response.request.url), operation.label
        if who == "person" and kind in ADMINISTRATORS_ALONE and operation.method.upper() != "GET":
            assert response.status_code not in range(200, 300), (operation.label, response.status_code)

    with suppress(hypothesis.errors.Unsatisfiable):  # what takes nothing cannot be asked wrongly
        each()
    return answered
