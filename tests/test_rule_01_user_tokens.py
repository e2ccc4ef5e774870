"""R1: a user token carries exactly osmo-user, and osmo-user gives no pool access anywhere."""

import pytest
from django.core.exceptions import ValidationError

from osmo_portal.events.actor import Actor
from profiles.models import Role, User
from tests import dump
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tokens import rules
from tokens.models import AccessToken

POOL_ACCESS = [
    [{"effect": "Allow", "actions": ["workflow:Create"], "resources": ["pool/default"]}],
    [{"effect": "Allow", "actions": ["workflow:*"], "resources": ["*"]}],
    [{"effect": "Allow", "actions": ["workflow:Exec"], "resources": ["pool/*"]}],
    [{"effect": "Allow", "actions": ["workflow:Rsync"], "resources": ["pool/a*"]}],
    [{"effect": "Allow", "actions": ["workflow:PortForward"], "resources": ["pool/x"]}],
    [{"effect": "Allow", "actions": ["*:*"], "resources": ["*"]}],
    [{"effect": "Allow", "actions": ["*:Create"], "resources": ["pool/x"]}],
    [{"actions": [{"base": "http", "path": "/api/pool/default/workflow", "method": "Post"}]}],
    [{"actions": [{"base": "http", "path": "*", "method": "*"}]}],
    [{"actions": ["http:/api/workflow/*:*"]}],
    [
        {"effect": "Deny", "actions": ["workflow:*"], "resources": ["*"]},
        {"effect": "Allow", "actions": ["workflow:Create"], "resources": ["pool/default"]},
    ],
]


def test_a_user_token_carries_osmo_user_whatever_its_owner_holds(cast: Cast) -> None:
    cast.ada.assign_role(POOL_ROLE, by=cast.by("grace"))

    token = AccessToken.issue(by=cast.by("ada"), owner=cast.ada, name="mine", expires=in_days(5))

    assert token.role_names == ["osmo-user"]


def test_a_user_token_of_an_administrator_is_no_administrator(cast: Cast) -> None:
    token = AccessToken.issue(by=cast.by("grace"), owner=cast.grace, name="mine", expires=in_days(5))

    assert cast.by("grace").is_administrator
    assert not cast.with_token(token).is_administrator


@pytest.mark.parametrize("roles", [["osmo-user"], [POOL_ROLE], ["osmo-user", "osmo-user"], ["no-such-role"], [""]])
@pytest.mark.parametrize("issuer", ["ada", "grace"])
def test_roles_on_a_user_token_are_refused(cast: Cast, issuer: str, roles: list[str]) -> None:
    before = dump.tables()

    with pytest.raises(ValidationError) as refusal:
        AccessToken.issue(by=cast.by(issuer), owner=cast.ada, name="mine", expires=in_days(5), roles=roles)

    assert refusal.value.messages == ["Assigning roles to user access tokens is not supported."]
    assert dump.tables() == before


def test_only_osmo_user_is_offered_for_a_user_token(cast: Cast) -> None:
    cast.ada.assign_role(POOL_ROLE, by=cast.by("grace"))

    offered = rules.grantable_roles(owner=cast.ada, by=cast.by("ada"))

    assert [role.name for role in offered] == ["osmo-user"]


def test_nothing_is_offered_for_the_token_of_somebody_else(cast: Cast) -> None:
    for name in ("mallory", "olive", "audrey"):
        assert not rules.grantable_roles(owner=cast.ada, by=cast.by(name)).exists()
    assert not rules.grantable_roles(owner=cast.ada, by=Actor.shell()).exists()


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["osmo-user", "osmo-default", "osmo-backend", "osmo-ctrl"])
def test_no_default_role_but_the_administrators_gives_pool_access(name: str) -> None:
    role = Role.objects.get(name=name)
    stored = role.grants_pools

    role.clean()

    assert not stored
    assert not role.grants_pools


@pytest.mark.parametrize("policies", POOL_ACCESS)
@pytest.mark.parametrize("name", ["osmo-user", "osmo-default"])
def test_pool_access_cannot_be_added_to_the_roles_of_everybody(cast: Cast, name: str, policies: list) -> None:
    before = dump.tables()

    with pytest.raises(ValidationError, match="must not give pool access"):
        Role.objects.get(name=name).change(by=cast.by("grace"), policies=policies)

    assert dump.tables() == before


@pytest.mark.parametrize("policies", POOL_ACCESS)
def test_the_same_policies_make_any_other_role_a_pool_role(cast: Cast, policies: list) -> None:
    role = Role.create(by=cast.by("grace"), name="new", policies=policies)

    assert role.grants_pools
    assert not role.is_plain


def test_a_role_object_under_another_name_does_not_escape_the_guard(cast: Cast) -> None:
    role = Role.objects.get(name="osmo-user")
    role.name = "harmless"  # what a form does to its instance before it is saved

    with pytest.raises(ValidationError, match="must not give pool access"):
        role.change(by=cast.by("grace"), policies=POOL_ACCESS[0])

    assert not Role.objects.get(name="osmo-user").grants_pools


def test_no_second_osmo_user_can_be_made(cast: Cast) -> None:
    with pytest.raises(ValidationError, match="osmo-user already exists"):
        Role.create(by=cast.by("grace"), name="osmo-user")


@pytest.mark.parametrize("name", ["osmo-user", "osmo-default", "osmo-admin"])
def test_the_roles_that_the_portal_stands_on_cannot_be_deleted(cast: Cast, name: str) -> None:
    with pytest.raises(ValidationError, match="cannot be deleted"):
        Role.objects.get(name=name).mark_deleted(by=cast.by("grace"), reason="spring")

    assert Role.objects.existing().filter(name=name).exists()


def test_osmo_user_may_be_changed_without_pool_access(cast: Cast) -> None:
    narrower = [{"effect": "Allow", "actions": ["profile:Read"], "resources": ["*"]}]

    Role.objects.get(name="osmo-user").change(by=cast.by("grace"), policies=narrower)

    assert Role.objects.get(name="osmo-user").policies == narrower


@pytest.mark.parametrize("roles", [[], [PLAIN_ROLE], [POOL_ROLE, "osmo-user"]])
def test_every_person_gets_osmo_user_once(cast: Cast, roles: list[str]) -> None:
    person = User.create_person(by=cast.by("grace"), username="new", roles=roles)

    assert person.held_role_names == {"osmo-user", *roles}
