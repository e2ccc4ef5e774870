"""What docs/api.md says: each example is tried, in the order of the page, and each route that it names is there."""

import re
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client

from osmo_portal.keyset import PAGE_SIZE
from profiles.models import Pool, Role, User
from tests.cast import POOL_ROLE, Cast, in_days
from tests.rest import Rest

pytestmark = pytest.mark.django_db

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "api.md").read_text()
CALLS = [
    block.replace("\\\n", "")
    for block in re.findall(r"^(curl -s .*?)$", re.sub(r"\\\n", " ", PAGE), re.MULTILINE)
    if "/api/v1/" in block
]


@pytest.fixture
def rest(cast: Cast) -> Rest:
    """An administrator, and what the page speaks of."""
    by = cast.by("grace")
    User.create_service_account(by=by, username="my-robot", accountable=cast.ada, roles=[POOL_ROLE])
    return Rest(cast.administrator_token().plaintext)


def sent(call: str, known: dict[str, str]) -> tuple[str, str, dict[str, str], bytes | None]:
    """Method, path, headers and body of a line of curl."""
    for name, value in known.items():
        call = call.replace(name, value)
    method, path, headers, body = "GET", "", {}, None
    words = iter(shlex.split(call)[1:])
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name.lower()] = value
        elif word == "-d":
            body = next(words).encode()
        elif word.startswith("http"):
            path = word.partition("/api/v1/")[2]
    return method, path, headers, body


def test_each_example_does_what_it_says(cast: Cast, rest: Rest):
    assert len(CALLS) == 9
    known = {
        "2026-12-31": str(in_days(31)),
        "pools/1": f"pools/{cast.pool.pk}",
        "token-operations/1/": "token-operations/1/",
    }
    statuses: list[int] = []
    for call in CALLS:
        method, path, headers, body = sent(call, known)
        assert headers.pop("authorization") == "Bearer $JWT"
        headers.pop("content-type", None)

        answer = rest.call(method, path, body, **headers)

        assert answer.status_code < 300, (call, answer.content)
        statuses.append(answer.status_code)
        shown = answer.json() if answer.content else {}
        if "digest" in shown:
            known |= {"$DIGEST": shown["digest"], "token-operations/1/": f"token-operations/{shown['id']}/"}
    assert statuses == [200, 201, 200, 200, 204, 201, 200, 200, 200]
    assert Pool.objects.get(pk=cast.pool.pk).deleted_at


def test_a_secret_is_exchanged_as_the_page_says(cast: Cast):
    (call,) = re.findall(r"^JWT=\$\((curl .*?) \| python3", re.sub(r"\\\n", " ", PAGE), re.MULTILINE)
    words = shlex.split(call.replace("$SECRET", str(cast.user_token().plaintext)))
    method, address, content_type, body = (words[words.index(flag) + 1] for flag in ("-X", "POST", "-H", "-d"))

    answer = Client().generic(method, urlsplit(address).path, body, content_type.partition(": ")[2])

    headers = {"authorization": f"Bearer {answer.json()['token']}"}
    assert Client().get("/api/v1/whoami", headers=headers).json()["user"] == "ada"


def test_it_names_every_route_filter_and_action_that_there_is(cast: Cast):
    paths = Rest(person="grace").get("schema").json()["paths"]
    filters = {one["name"] for one in paths["/api/v1/tokens"]["get"]["parameters"]} - {"cursor", PAGE_SIZE, "ordering"}

    for path in paths:
        word = [part for part in path.removeprefix("/api/v1/").split("/") if part != "{id}"][-1]
        assert f"`{word}" in PAGE or f"/{word}`" in PAGE, path
    assert not {name for name in filters if f"`{name}`" not in PAGE}


def test_the_page_speaks_of_no_route_that_is_not_there(cast: Cast):
    paths = Rest(person="grace").get("schema").json()["paths"]
    rows: list[Any] = re.findall(r"^\| `([a-z/{}-]+)`", PAGE, re.MULTILINE)

    assert {f"/api/v1/{row}" for row in rows} <= set(paths)
    assert Role.objects.filter(name=POOL_ROLE).exists()
