"""Roles and pools in the console."""

import json
from typing import Any

import pytest
from django.urls import reverse

from profiles.models import Pool, Role
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tests.console import Answer, address, form_errors, last_event, look_and_save, text, visitor
from tokens.models import AccessToken

POLICIES = [{"effect": "Allow", "actions": ["workflow:Create"], "resources": ["pool/lab"]}]
POOL = {
    "name": "lab",
    "description": "",
    "backend": "default",
    "quota_used": 0,
    "quota_limit": 4,
    "total_usage": 0,
    "total_capacity": 8,
}


def add_role(**changed: Any) -> Answer:
    data = {"name": "lab", "description": "", "policies": json.dumps(POLICIES), "max_token_days": "", **changed}
    return look_and_save(visitor("grace"), reverse("admin:profiles_role_new"), data)


def edit(role: Role, **changed: Any) -> Answer:
    data = {
        "description": role.description,
        "policies": json.dumps(role.policies),
        "max_token_days": role.max_token_days or "",
        **changed,
    }
    return look_and_save(visitor("grace"), address(role, "edit"), data)


def test_an_administrator_adds_a_role(cast: Cast) -> None:
    answer = add_role(max_token_days="30")

    role = Role.objects.get(name="lab")
    assert answer["Location"] == address(role)
    assert (role.policies, role.max_token_days, role.grants_pools) == (POLICIES, 30, True)
    assert "pool lab: submit" in text(visitor("audrey").get(address(role)))


def test_a_role_without_policies_gives_nothing(cast: Cast) -> None:
    add_role(policies="")

    role = Role.objects.get(name="lab")
    assert role.policies == []
    assert "nothing" in text(visitor("grace").get(address(role)))


@pytest.mark.parametrize(
    ("changed", "field", "said"),
    [
        ({"name": ""}, "name", "required"),
        ({"name": POOL_ROLE}, "name", "already exists"),
        ({"name": "a b"}, "name", "Use letters"),
        ({"name": "nul\0"}, "name", "Null"),
        ({"policies": "{"}, "policies", "This is not JSON (line 1, column 2"),
        ({"policies": "[1]"}, "policies", "Write an object"),
        ({"policies": '{"a": 1}'}, "policies", ""),
        ({"policies": '"text"'}, "policies", ""),
        ({"policies": "12"}, "policies", ""),
        ({"policies": '[{"effect": "Maybe", "actions": []}]'}, "policies", 'Write "Allow" or "Deny"'),
        ({"policies": '[{"actions": ["\\u0000"]}]'}, "policies", "control characters"),
        ({"policies": '[{"actions": ["\\ud800"]}]'}, "policies", ""),
        ({"policies": "[" * 50_000}, "policies", "nested too deeply"),
        ({"policies": "1" * 5_000}, "policies", "nested too deeply"),
        ({"policies": "NaN"}, "policies", ""),
        ({"policies": "nul\0"}, "policies", ""),
        ({"max_token_days": "0"}, "max_token_days", "greater"),
        ({"max_token_days": "99999"}, "max_token_days", "less"),
        ({"max_token_days": "x"}, "max_token_days", "whole number"),
        ({"description": "x" * 2_001}, "description", "2000"),
    ],
)
def test_a_bad_role_is_an_error_beside_the_field(cast: Cast, changed: dict[str, str], field: str, said: str) -> None:
    answer = add_role(**changed)

    errors = form_errors(answer)
    assert set(errors) == {field}
    assert said in errors[field][0]
    assert not Role.objects.filter(name="lab").exists()


def test_what_was_typed_is_shown_again(cast: Cast) -> None:
    answer = add_role(policies="[broken </textarea><script>alert(1)</script>")

    assert "[broken &lt;/textarea&gt;&lt;script&gt;" in text(answer)
    assert "<script>alert" not in text(answer)


def test_the_editor_shows_indented_policies(cast: Cast) -> None:
    page = text(visitor("grace").get(address(Role.objects.get(name=POOL_ROLE), "edit")))

    assert "&quot;workflow:*&quot;" in page
    assert "\n    &quot;actions&quot;: [" in page


def test_a_role_is_changed_with_its_event(cast: Cast) -> None:
    role = Role.objects.get(name=PLAIN_ROLE)

    edit(role, description="Reads", policies=json.dumps(POLICIES))

    role.refresh_from_db()
    assert (role.description, role.policies, role.grants_pools) == ("Reads", POLICIES, True)
    assert last_event().action == "role.changed"
    assert last_event().changes["description"] == ["", "Reads"]


def test_a_lower_maximum_shortens_tokens(cast: Cast) -> None:
    token = cast.service_token(days=60)

    edit(Role.objects.get(name=POOL_ROLE), max_token_days="10")

    assert AccessToken.objects.get(pk=token.pk).expires_at.date() <= in_days(10)


def test_the_role_of_every_person_gets_no_pool_access(cast: Cast) -> None:
    role = Role.objects.get(name="osmo-user")

    answer = edit(role, policies=json.dumps(POLICIES))

    assert "must not give pool access" in form_errors(answer)["policies"][0]
    role.refresh_from_db()
    assert not role.grants_pools


def test_an_immutable_role_can_be_looked_at_alone(cast: Cast) -> None:
    role = Role.objects.get(name="osmo-admin")
    client = visitor("grace")

    assert client.get(address(role)).context["buttons"] == []
    for slug in ("edit", "delete-record"):
        assert client.post(address(role, slug), {"policies": "[]", "reason": "x"})["Location"] == address(role)
    role.refresh_from_db()
    assert role.policies
    assert role.deleted_at is None


def test_a_role_is_deleted_with_a_reason_and_stays_as_a_record(cast: Cast) -> None:
    role = Role.objects.get(name=POOL_ROLE)
    client = visitor("grace")

    assert set(form_errors(client.post(address(role, "delete-record"), {"reason": ""}))) == {"reason"}
    look_and_save(client, address(role, "delete-record"), {"reason": "pool is gone"})

    role.refresh_from_db()
    assert role.deleted_at
    assert cast.robot.held_roles().filter(name=POOL_ROLE).count() == 0
    page = client.get(reverse("admin:profiles_role_changelist"), {"state": "deleted"})
    assert [r.name for r in page.context["cl"].result_list] == [POOL_ROLE]
    assert client.get(address(role)).context["buttons"] == []


@pytest.mark.parametrize("name", ["osmo-user", "osmo-default"])
def test_roles_that_everybody_has_offer_no_deletion(cast: Cast, name: str) -> None:
    page = visitor("grace").get(address(Role.objects.get(name=name)))

    assert [button["label"] for button in page.context["buttons"]] == ["Change"]


@pytest.mark.parametrize(("power", "expected"), [("pool", POOL_ROLE), ("plain", PLAIN_ROLE)])
def test_roles_are_filtered_by_power(cast: Cast, power: str, expected: str) -> None:
    page = visitor("olive").get(reverse("admin:profiles_role_changelist"), {"power": power})

    names = {role.name for role in page.context["cl"].result_list}
    assert expected in names
    assert not {POOL_ROLE, PLAIN_ROLE} <= names


def test_role_names_are_suggested(cast: Cast) -> None:
    answer = visitor("olive").get(reverse("admin:profiles_role_suggest"), {"q": "team"})

    assert answer.json() == {"names": [PLAIN_ROLE]}


# Pools.


def add_pool(**changed: Any) -> Answer:
    return visitor("grace").post(reverse("admin:profiles_pool_new"), {**POOL, **changed})


def test_an_administrator_adds_and_changes_a_pool(cast: Cast) -> None:
    add_pool(online="on")
    pool = Pool.objects.get(name="lab")
    assert (pool.status, pool.total_capacity) == ("ONLINE", 8)

    visitor("grace").post(address(pool, "edit"), {**POOL, "maintenance": "on", "name": "renamed"})
    pool.refresh_from_db()
    assert (pool.status, pool.name, pool.online) == ("MAINTENANCE", "lab", False)
    assert last_event().changes["maintenance"] == [False, True]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "my_pool"}, "name"),
        ({"name": "1st"}, "name"),
        ({"name": "nul\0"}, "name"),
        ({"quota_limit": "-1"}, "quota_limit"),
        ({"quota_limit": "x"}, "quota_limit"),
        ({"quota_limit": "99999999999999999999"}, "quota_limit"),
        ({"backend": ""}, "backend"),
        ({"description": "x" * 2_001}, "description"),
    ],
)
def test_a_bad_pool_is_an_error_beside_the_field(cast: Cast, changed: dict[str, str], field: str) -> None:
    answer = add_pool(**changed)

    assert set(form_errors(answer)) == {field}
    assert not Pool.objects.filter(name="lab").exists()


def test_a_pool_is_deleted_with_a_reason(cast: Cast) -> None:
    client = visitor("grace")

    assert set(form_errors(client.post(address(cast.pool, "delete-record"), {"reason": ""}))) == {"reason"}
    client.post(address(cast.pool, "delete-record"), {"reason": "sold"})

    pool = Pool.objects.get(name="my_pool")
    assert pool.deleted_at
    assert client.get(address(pool)).context["buttons"] == []


def test_a_pools_name_is_free_again_after_its_deletion(cast: Cast) -> None:
    cast.pool.mark_deleted(by=cast.by("grace"), reason="sold")

    add_pool(name="my_pool")

    assert Pool.objects.existing().filter(name="my_pool").count() == 1


def test_pool_names_are_suggested(cast: Cast) -> None:
    answer = visitor("olive").get(reverse("admin:profiles_pool_suggest"), {"q": "my"})

    assert answer.json() == {"names": ["my_pool"]}
