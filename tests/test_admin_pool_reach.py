"""Who reaches a pool, on its page: by evaluating policies, with the reason."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from profiles.models import Pool, Role, RoleAssignment, User
from tests import troupe
from tests.bulk import many_tokens
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast
from tests.console import address, text, visitor
from tests.troupe import Reached, deny
from tokens.models import AccessToken


def panels(pool: Pool, name: str = "grace") -> dict[str, dict]:
    page = visitor(name).get(address(pool))
    return {panel.title: panel.context for panel in page.context["panels"]}


def shown(pool: Pool) -> tuple[Reached, Reached]:
    found = panels(pool)

    def ways(rows: list[dict], who: str) -> Reached:
        return {
            (str(row[who]), pool.name, operation.value)
            for row in rows
            for operation, mark in zip(found["Who reaches it"]["operations"], row["marks"], strict=True)
            if mark == "yes"
        }

    return ways(found["Who reaches it"]["users"], "user"), ways(found["Live tokens that reach it"]["tokens"], "token")


@pytest.mark.parametrize("frozen", [False, True], ids=["as it is", "with a deny for everybody"])
def test_those_who_reach_a_pool_are_shown_exactly(cast: Cast, frozen: bool) -> None:
    troupe.enter(cast)
    if frozen:
        default = Role.objects.get(name="osmo-default")
        default.change(by=cast.by("grace"), policies=[*default.policies, deny("workflow:Create", "pool/lab*")])
    users, tokens = troupe.reached()

    for pool in Pool.objects.all():
        mine = {way for way in users if way[1] == pool.name}, {way for way in tokens if way[1] == pool.name}
        assert shown(pool) == mine


def test_nobody_is_listed_who_reaches_nothing(cast: Cast) -> None:
    troupe.enter(cast)

    for pool in Pool.objects.all():
        found = panels(pool)
        for row in found["Who reaches it"]["users"] + found["Live tokens that reach it"]["tokens"]:
            assert "yes" in row["marks"]


def test_each_yes_and_no_has_its_reason(cast: Cast) -> None:
    troupe.enter(cast)

    found = panels(Pool.objects.get(name="lab"))

    rows = {row["user"].username: row for row in found["Who reaches it"]["users"]}
    assert rows["bot-c"]["marks"] == ["yes", "no", "yes"]
    assert rows["bot-c"]["reasons"] == [
        "Role labs allows workflow:* on pool/lab*.",
        "Role no-entry denies workflow:Exec on everything.",
    ]
    tokens = {str(row["token"]): row for row in found["Live tokens that reach it"]["tokens"]}
    assert tokens["bot-h/t9"]["reasons"][0].startswith("Role submits allows workflow:Create")


def test_a_deny_of_the_owner_counts_for_a_token_that_does_not_carry_it(cast: Cast) -> None:
    troupe.enter(cast)

    found = panels(Pool.objects.get(name="lab"))

    tokens = {str(row["token"]): row["marks"] for row in found["Live tokens that reach it"]["tokens"]}
    assert tokens["bot-c/t2"] == ["yes", "no", "yes"]  # carries labs alone; its owner holds no-entry


def test_roles_with_a_say_are_listed_with_their_denies(cast: Cast) -> None:
    troupe.enter(cast)

    found = panels(Pool.objects.get(name="farm"))

    roles = {role.name: told for role, _, told in found["Who reaches it"]["roles"]}
    assert roles == {
        "frozen": "denies all",
        "no-entry": "denies exec",
        "older": "exec",
        "osmo-admin": "all",
        "submits": "submit",
    }


@pytest.mark.parametrize("name", ["grace", "olive", "audrey"])
def test_whoever_opens_the_console_reads_it(cast: Cast, name: str) -> None:
    cast.service_token()

    found = panels(cast.pool, name)

    assert [str(row["token"]) for row in found["Live tokens that reach it"]["tokens"]] == ["robot/ci"]


def test_the_tokens_lead_to_the_list_of_tokens(cast: Cast) -> None:
    cast.service_token()

    page = text(visitor("grace").get(address(cast.pool)))

    assert f"{reverse('admin:tokens_accesstoken_changelist')}?pool=my_pool" in page


def test_a_deleted_pool_is_reached_by_nobody(cast: Cast) -> None:
    cast.service_token()
    cast.pool.mark_deleted(by=cast.by("grace"), reason="x")

    page = visitor("grace").get(address(cast.pool))

    assert "The pool is deleted" in text(page)
    assert "robot/ci" not in text(page)


def test_a_pool_that_nobody_reaches_says_what_to_do(cast: Cast) -> None:
    Role.objects.get(name=POOL_ROLE).mark_deleted(by=cast.by("grace"), reason="x")

    page = text(visitor("grace").get(address(cast.pool)))

    assert "No live token reaches it." in page


def crowd_in(cast: Cast, users: int, tokens: int, prefix: str) -> None:
    role = Role.objects.get(name=POOL_ROLE)
    many = User._base_manager.bulk_create(
        User(username=f"{prefix}-{n}", kind="service", password="!", accountable=cast.ada) for n in range(users)
    )
    RoleAssignment._base_manager.bulk_create(RoleAssignment(user=user, role=role) for user in many)
    if cast.robot.held_roles().filter(name=PLAIN_ROLE).exists():
        cast.robot.remove_role(PLAIN_ROLE, by=cast.by("grace"), reason="many_tokens puts on what is left")
    many_tokens(cast.robot, tokens, prefix=prefix)


def test_the_page_costs_the_same_however_many_reach_the_pool(cast: Cast) -> None:
    crowd_in(cast, 2, 2, "few")
    client = visitor("grace")

    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            client.get(address(cast.pool))
        return len(seen)

    queries()  # what each process asks for once
    few = queries()
    crowd_in(cast, 40, 300, "many")

    # The session, its person, roles and groups (4); the pool; all roles, users who pass, and what they hold (3); all
    # roles, tokens in sight, those that pass, fifty of them with their uses and roles (3), what their owners hold (6);
    # the history (2).
    assert queries() == few == 17


def test_more_than_fit_are_counted_up_to_a_thousand(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("profiles.impact", "tokens.admin.reach"):
        monkeypatch.setattr(f"{module}.COUNTED", 55)
    crowd_in(cast, 60, 60, "crowd")

    page = visitor("grace").get(address(cast.pool))

    told = " ".join(text(page).split())
    assert "55+ users reach it; the first 50 are shown." in told
    assert "55+ tokens reach it; 50 of them are shown." in told
    found = {panel.title: panel.context for panel in page.context["panels"]}
    assert len(found["Who reaches it"]["users"]) == len(found["Live tokens that reach it"]["tokens"]) == 50


def test_hostile_texts_come_out_as_text(cast: Cast) -> None:
    payload = "<script>alert(1)</script>"
    cast.service_token()
    AccessToken._base_manager.update(name=payload)
    User._base_manager.filter(username="robot").update(username=payload)
    Role._base_manager.filter(name=POOL_ROLE).update(name=payload)

    page = text(visitor("grace").get(address(cast.pool)))

    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert(1)") > 3
