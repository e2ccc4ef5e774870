"""The access matrix: roles down, pools across."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from profiles.models import Pool, Role
from profiles.policies import Operation, RolePolicies, may, parse
from tests import troupe
from tests.cast import Cast
from tests.console import Answer, text, visitor
from tests.troupe import allow, deny, http

MATRIX = "admin:profiles_role_matrix"


def matrix(name: str = "grace", **query: Any) -> Answer:
    return visitor(name).get(reverse(MATRIX), query)


def cells(page: Answer) -> dict[tuple[str, str], str]:
    pools = [pool.name for pool in page.context["pools"]]
    return {
        (role.name, pool): cell.text
        for role, row in page.context["rows"]
        for pool, cell in zip(pools, row, strict=True)
    }


def test_each_cell_says_what_the_role_by_itself_allows(cast: Cast) -> None:
    troupe.enter(cast)

    found = cells(matrix())

    assert len(found) == Role.objects.count() * Pool.objects.count()
    for (role, pool), told in found.items():
        own = [RolePolicies(role, parse(Role.objects.get(name=role).policies))]
        given = [operation.value for operation in Operation if may(operation, pool, allow=own, deny=own)]
        allowed = told.split("; denies")[0] if not told.startswith("denies") else "–"
        assert allowed == ("all" if len(given) == 3 else ", ".join(given) or "–"), (role, pool)


@pytest.mark.parametrize(
    ("policies", "told"),
    [
        ([allow("workflow:*", "pool/my_pool")], "all"),
        ([allow("workflow:*", "pool/other")], "–"),
        ([allow("workflow:Exec", "pool/my*")], "exec"),
        ([allow("workflow:*", "pool/*"), deny("workflow:Create", "pool/my_pool")], "exec, port-forward; denies submit"),
        ([deny("*:*")], "denies all"),
        ([deny("workflow:Exec", "*"), deny("workflow:Rsync", "*")], "denies exec"),
        ([deny("workflow:Rsync", "*")], "denies part of exec"),
        ([deny("workflow:Create"), deny("workflow:Exec")], "denies submit; denies part of exec"),
        ([http("/api/pool/my_pool/workflow")], "submit"),
        ([http("!/api/pool/*")], "denies submit"),
        ([], "–"),
    ],
)
def test_a_cell_speaks_in_words(cast: Cast, policies: list[dict[str, Any]], told: str) -> None:
    Role.create(by=cast.by("grace"), name="some", policies=policies)

    assert cells(matrix())["some", "my_pool"] == told


@pytest.mark.parametrize("name", ["grace", "olive", "audrey"])
def test_whoever_opens_the_console_reads_it(cast: Cast, name: str) -> None:
    assert matrix(name).status_code == 200
    assert reverse(MATRIX) in text(visitor(name).get(reverse("admin:profiles_role_changelist")))


def test_nobody_else_does(cast: Cast) -> None:
    for client in (Client(), visitor("ada")):
        assert client.get(reverse(MATRIX))["Location"].startswith(reverse("admin:login"))


def test_it_is_a_table_with_headers_for_its_rows_and_columns(cast: Cast) -> None:
    page = " ".join(text(matrix()).split())

    assert '<th scope="col"> <a href="' in page or '<th scope="col"><a href="' in page
    assert '<th scope="row">' in page
    assert "<caption" in page
    assert 'tabindex="0" role="region" aria-label="Access matrix"' in page


def test_both_sides_are_filtered_by_the_beginning_of_a_name(cast: Cast) -> None:
    troupe.enter(cast)

    found = cells(matrix(role="no-", pool="lab"))

    assert {role for role, _ in found} == {"no-exec", "no-entry"}
    assert {pool for _, pool in found} == {"lab", "lab-gpu"}


def test_many_roles_and_pools_come_in_pages(cast: Cast) -> None:
    by = cast.by("grace")
    for number in range(60):
        Role.create(by=by, name=f"r{number:02}")
    for number in range(25):
        Pool.create(by=by, name=f"p{number:02}")

    first, second = matrix(), matrix(roles="2", pools="2")

    assert (len(first.context["rows"]), len(first.context["pools"])) == (50, 20)
    assert (len(second.context["rows"]), len(second.context["pools"])) == (17, 7)
    assert not set(cells(first)) & set(cells(second))
    assert "?roles=2" in text(first)
    assert "pools=2&amp;roles=1" in text(second) or "roles=1&amp;pools=2" in text(second)
    assert len(first.content) < 150_000


def test_pool_roles_come_first(cast: Cast) -> None:
    roles = [role for role, _ in matrix().context["rows"]]

    assert [role.grants_pools for role in roles] == sorted((role.grants_pools for role in roles), reverse=True)


def test_deleted_roles_and_pools_are_left_out(cast: Cast) -> None:
    troupe.enter(cast)
    by = cast.by("grace")
    Role.objects.get(name="labs").mark_deleted(by=by, reason="x")
    Pool.objects.get(name="lab").mark_deleted(by=by, reason="x")

    found = cells(matrix())

    assert not [1 for role, pool in found if role == "labs" or pool == "lab"]


@pytest.mark.parametrize(
    "query",
    [
        {"roles": "x"},
        {"roles": "-1"},
        {"pools": "999999999999999999999"},
        {"role": "%"},
        {"role": "'\""},
        {"pool": "nowhere"},
    ],
)
def test_a_strange_query_breaks_nothing(cast: Cast, query: dict[str, str]) -> None:
    assert matrix(**query).status_code == 200


def test_hostile_names_come_out_as_text(cast: Cast) -> None:
    payload = "<script>alert(1)</script>"
    Role._base_manager.filter(name="team-reader").update(name=payload)
    Pool._base_manager.filter(name="my_pool").update(name=payload)

    for page in (matrix(), matrix(role=payload, pool='"><img src=x>')):
        assert "<script>alert" not in text(page)
        assert "<img src=x" not in text(page)


def test_it_costs_the_same_queries_however_much_it_shows(cast: Cast) -> None:
    client = visitor("grace")

    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            client.get(reverse(MATRIX))
        return len(seen)

    queries()  # what each process asks for once
    few = queries()
    by = cast.by("grace")
    for number in range(30):
        Role.create(by=by, name=f"r{number:02}", policies=[allow("workflow:*", "pool/p*")])
        Pool.create(by=by, name=f"p{number:02}")

    # The session, its person, the person's roles (3); roles and their number; pools and their number.
    assert queries() == few == 7
