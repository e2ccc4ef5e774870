"""The ways in of roles: who may, what a policy must be, what is derived from it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, ValidationError

from osmo_portal.events.actor import Actor
from osmo_portal.events.models import Event
from profiles.models import Role, User
from tests import dump
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast

READ = [{"effect": "Allow", "actions": ["dataset:Read"], "resources": ["*"]}]
SUBMIT = [{"effect": "Allow", "actions": ["workflow:Create"], "resources": ["pool/x"]}]


@pytest.mark.parametrize(
    "caller",
    [
        lambda cast: cast.by("ada"),
        lambda cast: cast.by("olive"),
        lambda cast: cast.by("audrey"),
        lambda cast: cast.by("robot"),
        lambda cast: cast.with_token(cast.user_token("grace")),
        lambda cast: Actor.shell(),
    ],
    ids=["person", "operator", "auditor", "account", "administrator's user token", "shell"],
)
def test_roles_are_an_administrators(cast: Cast, caller: Callable[[Cast], Actor]) -> None:
    by, role = caller(cast), Role.objects.get(name=PLAIN_ROLE)
    before = dump.tables()

    for attempt in (
        lambda: Role.create(by=by, name="new"),
        lambda: role.change(by=by, description="x"),
        lambda: role.mark_deleted(by=by, reason="x"),
    ):
        with pytest.raises(PermissionDenied, match="Only an administrator may"):
            attempt()

    assert dump.tables() == before


def test_a_role_is_made_and_told(cast: Cast) -> None:
    role = Role.create(by=cast.by("grace"), name="new", description=" Reads. ", policies=READ, max_token_days=30)

    assert (role.description, role.policies, role.max_token_days) == ("Reads.", READ, 30)
    assert (role.grants_pools, role.is_plain, role.immutable, role.deleted_at) == (False, True, False, None)
    event = Event.objects.get(action="role.created", object_id=role.pk)
    assert event.changes == {"policies": READ, "max_token_days": 30}


@pytest.mark.parametrize(
    ("policies", "pools", "plain"),
    [([], False, True), (READ, False, True), (SUBMIT, True, False), ([*READ, *SUBMIT], True, False)],
)
def test_power_is_derived_when_a_role_is_made_and_when_it_changes(
    cast: Cast, policies: list, pools: bool, plain: bool
) -> None:
    made = Role.create(by=cast.by("grace"), name="made", policies=policies)
    changed = Role.create(by=cast.by("grace"), name="changed", policies=READ if pools else SUBMIT)
    changed.change(by=cast.by("grace"), policies=policies)

    for role in (made, changed, Role.objects.get(name="made"), Role.objects.get(name="changed")):
        assert (role.grants_pools, role.is_plain) == (pools, plain)


@pytest.mark.parametrize("field", ["grants_pools", "is_plain", "immutable", "deleted_at", "created_at", "id", "name"])
def test_what_is_derived_or_fixed_is_not_given(cast: Cast, field: str) -> None:
    role = Role.objects.get(name=POOL_ROLE)
    before = dump.tables()
    fields: dict[str, Any] = {field: None}

    with pytest.raises(TypeError):
        role.change(by=cast.by("grace"), **fields)
    with pytest.raises(TypeError):
        Role.create(**({"by": cast.by("grace"), "name": "new", field: None} if field != "name" else {}))  # type: ignore[arg-type]

    assert dump.tables() == before


def test_osmo_admin_is_immutable(cast: Cast) -> None:
    admin = Role.objects.get(name="osmo-admin")
    before = dump.tables()

    changes: list[dict[str, Any]] = [{"description": "x"}, {"policies": []}, {"max_token_days": 1}, {}]
    for fields in changes:
        with pytest.raises(ValidationError, match="osmo-admin cannot be changed: the portal stands on it"):
            admin.change(by=cast.by("grace"), **fields)
    admin.immutable, admin.name = False, "x"  # what somebody might do to the object
    with pytest.raises(ValidationError, match="cannot be changed"):
        admin.change(by=cast.by("grace"), policies=[])
    with pytest.raises(ValidationError, match="cannot be deleted"):
        admin.mark_deleted(by=cast.by("grace"), reason="x")

    assert dump.tables() == before


def test_a_change_tells_before_and_after(cast: Cast) -> None:
    role = Role.objects.get(name=PLAIN_ROLE)
    policies = role.policies

    role.change(by=cast.by("grace"), policies=READ, max_token_days=30)

    assert Event.objects.get(action="role.changed").changes == {
        "policies": [policies, READ],
        "max_token_days": [None, 30],
    }
    assert (role.policies, role.max_token_days) == (READ, 30)


def test_a_change_saves_what_was_asked_for_and_not_what_else_the_object_holds(cast: Cast) -> None:
    role = Role.objects.get(name=PLAIN_ROLE)
    role.policies, role.name, role.grants_pools = SUBMIT, "other", True

    role.change(by=cast.by("grace"), description="Reads.")

    stored = Role.objects.get(name=PLAIN_ROLE)
    assert (stored.description, stored.grants_pools, stored.is_plain) == ("Reads.", False, True)
    assert stored.policies != SUBMIT
    assert role.name == PLAIN_ROLE


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no list": ({"policies": "*"}, "policies"),
    "an object": ({"policies": {"effect": "Allow"}}, "policies"),
    "a number": ({"policies": 1}, "policies"),
    "an unknown key": ({"policies": [{"actions": ["pool:List"], "x": 1}]}, "policies"),
    "an unknown effect": ({"policies": [{"effect": "allow it", "actions": ["pool:List"]}]}, "policies"),
    "NUL in an action": ({"policies": [{"actions": ["pool:\0List"]}]}, "policies"),
    "NUL in a resource": ({"policies": [{"actions": ["pool:List"], "resources": ["pool/\0"]}]}, "policies"),
    "a lone surrogate": ({"policies": [{"actions": ["pool:List"], "resources": ["pool/\ud800"]}]}, "policies"),
    "NUL in a path": ({"policies": [{"actions": ["http:/a\0b:Get"]}]}, "policies"),
    "deep": ({"policies": [[[[[[[[[]]]]]]]]]}, "policies"),
    "many": ({"policies": [{"actions": ["pool:List"]}] * 101}, "policies"),
    "long": ({"policies": [{"actions": ["pool:List"], "resources": ["x" * 100_000]}]}, "policies"),
    "a description with NUL": ({"description": "a\0b"}, "description"),
    "a description with ANSI": ({"description": "\x1b[2J"}, "description"),
    "a long description": ({"description": "x" * 2_001}, "description"),
    "a maximum of 0": ({"max_token_days": 0}, "max_token_days"),
    "a maximum of ten years and a day": ({"max_token_days": 3_651}, "max_token_days"),
    "a maximum that is no number": ({"max_token_days": "soon"}, "max_token_days"),
    "a huge maximum": ({"max_token_days": 10**30}, "max_token_days"),
}


@pytest.mark.parametrize(("fields", "wrong"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_told_and_changes_nothing(cast: Cast, fields: dict[str, Any], wrong: str) -> None:
    before = dump.tables()

    for attempt in (
        lambda: Role.create(by=cast.by("grace"), name="new", **fields),
        lambda: Role.objects.get(name=PLAIN_ROLE).change(by=cast.by("grace"), **fields),
    ):
        with pytest.raises(ValidationError) as refusal:
            attempt()
        assert set(refusal.value.message_dict) == {wrong}
        assert all(len(message) < 1_000 for message in refusal.value.messages)
    assert dump.tables() == before


@pytest.mark.parametrize(
    "name",
    ["", " ", "-x", "x-", "a b", "a\n", "x\n", "a\0b", "a\ud800", "rôle", "x" * 255, "<b>", "a,b", "x" * 100_000],
    ids=lambda text: ascii(text[:12]),
)
def test_a_name_out_of_the_pattern_is_refused(cast: Cast, name: str) -> None:
    before = dump.tables()

    with pytest.raises(ValidationError) as refusal:
        Role.create(by=cast.by("grace"), name=name)

    assert set(refusal.value.message_dict) == {"name"}
    assert dump.tables() == before


@pytest.mark.parametrize("name", ["osmo-admin", "osmo-user", PLAIN_ROLE])
def test_a_name_that_is_taken_is_told(cast: Cast, name: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        Role.create(by=cast.by("grace"), name=name)

    assert refusal.value.message_dict == {"name": [f"Role {name} already exists."]}


def test_deletion_takes_the_role_from_everybody_and_frees_its_name(cast: Cast) -> None:
    role = Role.objects.get(name=PLAIN_ROLE)

    role.mark_deleted(by=cast.by("grace"), reason="unused")
    fresh = Role.create(by=cast.by("grace"), name=PLAIN_ROLE)

    assert fresh.pk != role.pk
    assert role.deleted_at
    assert User.objects.get(username="robot").held_role_names == {POOL_ROLE}
    assert list(Role.objects.existing().filter(name=PLAIN_ROLE)) == [fresh]
    assert Event.objects.get(action="role.deleted").reason == "unused"


@pytest.mark.parametrize("reason", ["", " ", "a\0b"])
def test_why_a_role_is_deleted_is_asked_for(cast: Cast, reason: str) -> None:
    with pytest.raises(ValidationError, match="reason"):
        Role.objects.get(name=PLAIN_ROLE).mark_deleted(by=cast.by("grace"), reason=reason)

    assert Role.objects.existing().filter(name=PLAIN_ROLE).exists()


def test_a_deleted_role_is_neither_changed_nor_deleted_again(cast: Cast) -> None:
    loaded_before = Role.objects.get(name=PLAIN_ROLE)
    Role.objects.get(name=PLAIN_ROLE).mark_deleted(by=cast.by("grace"), reason="unused")
    before = dump.tables()

    for attempt in (
        lambda: loaded_before.change(by=cast.by("grace"), description="x"),
        lambda: loaded_before.mark_deleted(by=cast.by("grace"), reason="again"),
    ):
        with pytest.raises(ValidationError, match=f"The role {PLAIN_ROLE} was deleted"):
            attempt()

    assert dump.tables() == before


def test_querysets_of_roles(cast: Cast) -> None:
    Role.create(by=cast.by("grace"), name="old", policies=SUBMIT).mark_deleted(by=cast.by("grace"), reason="x")

    assert {role.name for role in Role.objects.pool_roles()} == {"osmo-admin", POOL_ROLE}
    assert PLAIN_ROLE in {role.name for role in Role.objects.plain()}
    assert not {"osmo-admin", POOL_ROLE, "osmo-backend", "osmo-ctrl", "old"} & {
        role.name for role in Role.objects.plain()
    }
