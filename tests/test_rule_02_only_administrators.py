"""R2: who creates service accounts and puts pool roles on service tokens: administrators, through any door."""

from collections.abc import Callable

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest

from osmo_portal.events.actor import ADMINISTRATOR_ROLE, Actor, Door
from profiles.models import Role, User
from tests import dump
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tokens import rules
from tokens.models import AccessToken

NOT_ADMINISTRATORS: dict[str, Callable[[Cast], Actor]] = {
    "the accountable person": lambda cast: cast.by("ada"),
    "an operator": lambda cast: cast.by("olive"),
    "an auditor": lambda cast: cast.by("audrey"),
    "a stranger": lambda cast: cast.by("mallory"),
    "the shell": lambda cast: Actor.shell(),
    "nobody": lambda cast: Actor.nobody(HttpRequest(), Door.ADMIN),
    "the account's own token": lambda cast: cast.with_token(cast.service_token("own", [POOL_ROLE, PLAIN_ROLE])),
    "the account itself": lambda cast: cast.by("robot"),
    "a user token of an administrator": lambda cast: cast.with_token(cast.user_token("grace")),
    "a user token of an operator": lambda cast: cast.with_token(cast.user_token("olive")),
    "a user token of the accountable person": lambda cast: cast.with_token(cast.user_token("ada")),
    "a former administrator": lambda cast: _former_administrator(cast),
    "an administrators' service token that lost the role": lambda cast: _demoted_token(cast),
}
not_administrators = pytest.mark.parametrize("caller", NOT_ADMINISTRATORS.values(), ids=NOT_ADMINISTRATORS.keys())

NOT_PLAIN = {
    "submit on one pool": [{"effect": "Allow", "actions": ["workflow:Create"], "resources": ["pool/x"]}],
    "exec only": [{"effect": "Allow", "actions": ["workflow:Exec"], "resources": ["pool/*"]}],
    "port-forward only": [{"effect": "Allow", "actions": ["workflow:PortForward"], "resources": ["pool/*"]}],
    "http submit": [{"actions": ["http:/api/pool/*/workflow:Post"]}],
    "http everything": [{"actions": ["http:*:*"]}],
    "tokens of others": [{"effect": "Allow", "actions": ["auth:Token"], "resources": ["*"]}],
    "configuration": [{"effect": "Allow", "actions": ["config:Update"], "resources": ["*"]}],
    "backends": [{"effect": "Allow", "actions": ["internal:Operator"], "resources": ["*"]}],
    "users": [{"effect": "Allow", "actions": ["user:*"], "resources": ["*"]}],
    "all": [{"effect": "Allow", "actions": ["*:*"], "resources": ["*"]}],
}
not_plain = pytest.mark.parametrize("policies", NOT_PLAIN.values(), ids=NOT_PLAIN.keys())


def _former_administrator(cast: Cast) -> Actor:
    cast.ada.assign_role(ADMINISTRATOR_ROLE, by=cast.by("grace"))
    cast.ada.remove_role(ADMINISTRATOR_ROLE, by=cast.by("grace"), reason="moved on")
    return cast.by("ada")


def _demoted_token(cast: Cast) -> Actor:
    token = cast.administrator_token()
    token.owner.assign_role(PLAIN_ROLE, by=cast.by("grace"))
    token.owner.remove_role(ADMINISTRATOR_ROLE, by=cast.by("grace"), reason="too wide")
    token.owner.assign_role(ADMINISTRATOR_ROLE, by=cast.by("grace"))
    return cast.with_token(token)


@not_administrators
def test_a_pool_role_is_put_on_a_service_token_by_administrators_alone(
    cast: Cast, caller: Callable[[Cast], Actor]
) -> None:
    by = caller(cast)
    before = dump.tables()

    with pytest.raises(PermissionDenied):
        AccessToken.issue(by=by, owner=cast.robot, name="mine", expires=in_days(5), roles=[POOL_ROLE])

    assert dump.tables() == before
    assert not rules.grantable_roles(owner=cast.robot, by=by).filter(grants_pools=True).exists()


@not_administrators
def test_the_way_of_the_released_clients_is_open_to_administrators_alone(
    cast: Cast, caller: Callable[[Cast], Actor]
) -> None:
    by = caller(cast)
    before = dump.tables()

    for name in ("robot", "new-bot"):
        with pytest.raises(PermissionDenied):
            AccessToken.issue_with_account(by=by, name=name, expires=in_days(5), roles=[PLAIN_ROLE])

    assert dump.tables() == before


@not_administrators
def test_service_accounts_people_roles_and_assignments_are_made_by_administrators_alone(
    cast: Cast, caller: Callable[[Cast], Actor]
) -> None:
    by = caller(cast)
    before = dump.tables()
    everything = [{"effect": "Allow", "actions": ["*:*"], "resources": ["*"]}]

    for attempt in (
        lambda: User.create_service_account(by=by, username="bot", accountable=cast.ada),
        lambda: User.create_person(by=by, username="bob", roles=[ADMINISTRATOR_ROLE]),
        lambda: cast.robot.assign_role(ADMINISTRATOR_ROLE, by=by),
        lambda: cast.ada.assign_role(POOL_ROLE, by=by),
        lambda: cast.grace.remove_role(ADMINISTRATOR_ROLE, by=by),
        lambda: cast.ada.put_into_groups(["operators"], by=by),
        lambda: Role.create(by=by, name="new"),
        lambda: Role.objects.get(name=PLAIN_ROLE).change(by=by, policies=everything),
        lambda: Role.objects.get(name=PLAIN_ROLE).mark_deleted(by=by, reason="spring"),
    ):
        with pytest.raises(PermissionDenied):
            attempt()

    assert dump.tables() == before


def test_an_operator_issues_a_service_token_with_plain_roles(cast: Cast) -> None:
    token = AccessToken.issue(
        by=cast.by("olive"), owner=cast.robot, name="mine", expires=in_days(5), roles=[PLAIN_ROLE]
    )

    assert token.role_names == [PLAIN_ROLE]


@pytest.mark.parametrize("roles", [[PLAIN_ROLE, POOL_ROLE], [POOL_ROLE, PLAIN_ROLE]])
def test_an_operator_cannot_hide_a_pool_role_among_plain_ones(cast: Cast, roles: list[str]) -> None:
    with pytest.raises(PermissionDenied, match=f"Only an administrator may put the role {POOL_ROLE}"):
        AccessToken.issue(by=cast.by("olive"), owner=cast.robot, name="mine", expires=in_days(5), roles=roles)

    assert not AccessToken.objects.exists()


@not_plain
def test_an_operator_cannot_put_a_role_of_power_on_a_token(cast: Cast, policies: list) -> None:
    Role.create(by=cast.by("grace"), name="strong", policies=policies)
    cast.robot.assign_role("strong", by=cast.by("grace"))

    with pytest.raises(PermissionDenied):
        AccessToken.issue(by=cast.by("olive"), owner=cast.robot, name="mine", expires=in_days(5), roles=["strong"])


@not_plain
def test_a_role_that_gains_power_is_no_longer_an_operators_to_grant(cast: Cast, policies: list) -> None:
    Role.objects.get(name=PLAIN_ROLE).change(by=cast.by("grace"), policies=policies)

    with pytest.raises(PermissionDenied):
        AccessToken.issue(by=cast.by("olive"), owner=cast.robot, name="mine", expires=in_days(5), roles=[PLAIN_ROLE])


def test_a_change_of_the_description_alone_keeps_what_another_change_made_of_the_power(cast: Cast) -> None:
    loaded_before = Role.objects.get(name=PLAIN_ROLE)
    Role.objects.get(name=PLAIN_ROLE).change(by=cast.by("grace"), policies=NOT_PLAIN["submit on one pool"])

    loaded_before.change(by=cast.by("grace"), description="Reads.")

    role = Role.objects.get(name=PLAIN_ROLE)
    assert (role.grants_pools, role.is_plain) == (True, False)
    assert role.policies == NOT_PLAIN["submit on one pool"]


def test_an_operator_who_lost_the_group_issues_nothing(cast: Cast) -> None:
    cast.olive.put_into_groups([], by=cast.by("grace"))

    with pytest.raises(PermissionDenied):
        AccessToken.issue(by=cast.by("olive"), owner=cast.robot, name="mine", expires=in_days(5), roles=[PLAIN_ROLE])


def test_an_auditor_among_the_operators_still_changes_nothing(cast: Cast) -> None:
    cast.olive.put_into_groups(["operators", "auditors"], by=cast.by("grace"))
    token = cast.service_token(roles=[PLAIN_ROLE])
    before = dump.tables()
    by = cast.by("olive")

    for attempt in (
        lambda: AccessToken.issue(by=by, owner=cast.robot, name="x", expires=in_days(5), roles=[PLAIN_ROLE]),
        lambda: token.rotate(by=by),
        lambda: token.revoke(by=by, reason="why not"),
        lambda: token.suspend(by=by, reason="why not"),
        lambda: AccessToken.objects.all().revoke(by=by, reason="why not"),
        lambda: AccessToken.objects.all().expire(by=by, reason="why not"),
        lambda: AccessToken.objects.all().suspend(by=by, reason="why not"),
    ):
        with pytest.raises(PermissionDenied):
            attempt()

    assert dump.tables() == before


def test_the_service_token_of_an_administrator_account_may_put_a_pool_role(cast: Cast) -> None:
    by = cast.with_token(cast.administrator_token())

    token = AccessToken.issue(by=by, owner=cast.robot, name="mine", expires=in_days(5), roles=[POOL_ROLE])

    assert token.role_names == [POOL_ROLE]


def test_an_operator_cannot_issue_a_token_for_another_person(cast: Cast) -> None:
    with pytest.raises(PermissionDenied):
        AccessToken.issue(by=cast.by("olive"), owner=cast.ada, name="mine", expires=in_days(5))


def test_a_refused_issue_names_the_reason_and_not_the_first_thing_at_hand(cast: Cast) -> None:
    """An operator learns that the role is an administrator's; an unknown role is told as such."""
    with pytest.raises(ValidationError, match="Invalid role: nonsense"):
        AccessToken.issue(by=cast.by("olive"), owner=cast.robot, name="x", expires=in_days(5), roles=["nonsense"])
