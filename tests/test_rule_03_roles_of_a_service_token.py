"""R3: a service token needs roles that exist, that its account holds and that the issuer may grant."""

import pytest
from django.core.exceptions import ValidationError

from osmo_portal.events.models import Event
from profiles.models import Kind, Role, User
from tests import dump
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tokens.models import AccessToken

WRONG_ROLES = {
    "none": ([], "At least one role must be specified for the access token."),
    "unknown": (["nonsense"], "Invalid role: nonsense"),
    "unknown beside a good one": ([PLAIN_ROLE, "nonsense"], "Invalid role: nonsense"),
    "other case": ([PLAIN_ROLE.upper()], f"Invalid role: {PLAIN_ROLE.upper()}"),
    "surrounding space": ([f" {PLAIN_ROLE}"], f"Invalid role:  {PLAIN_ROLE}"),
    "empty": ([""], "Invalid role: "),
    "NUL": (["a\0b"], "Invalid role: a\0b"),
    "lone surrogate": (["a\ud800b"], "Invalid role: a\ud800b"),
    "very long": (["a" * 100_000], f"Invalid role: {'a' * 100}"),
    "twice": ([PLAIN_ROLE, POOL_ROLE, PLAIN_ROLE], f"Role {PLAIN_ROLE} is listed twice."),
    "too many": (["a"] * 101, "At most 100 roles fit on one token."),
    "not held": (["osmo-ctrl"], "User robot does not hold the role osmo-ctrl."),
    "for everybody and nobody": (["osmo-default"], "User robot does not hold the role osmo-default."),
}


@pytest.mark.parametrize(("roles", "message"), WRONG_ROLES.values(), ids=WRONG_ROLES.keys())
def test_wrong_roles_are_refused_in_words(cast: Cast, roles: list[str], message: str) -> None:
    before = dump.tables()

    with pytest.raises(ValidationError) as refusal:
        AccessToken.issue(by=cast.by("grace"), owner=cast.robot, name="x", expires=in_days(5), roles=roles)

    assert refusal.value.message_dict == {"roles": [message]}
    assert dump.tables() == before


def test_a_role_that_the_account_has_lost_is_not_held(cast: Cast) -> None:
    cast.robot.remove_role(POOL_ROLE, by=cast.by("grace"))

    with pytest.raises(ValidationError, match="does not hold"):
        AccessToken.issue(by=cast.by("grace"), owner=cast.robot, name="x", expires=in_days(5), roles=[POOL_ROLE])


def test_a_deleted_role_does_not_exist(cast: Cast) -> None:
    Role.objects.get(name=POOL_ROLE).mark_deleted(by=cast.by("grace"), reason="pool is gone")

    with pytest.raises(ValidationError, match=f"Invalid role: {POOL_ROLE}"):
        AccessToken.issue(by=cast.by("grace"), owner=cast.robot, name="x", expires=in_days(5), roles=[POOL_ROLE])


def test_a_token_carries_the_roles_asked_for_and_no_other(cast: Cast) -> None:
    token = AccessToken.issue(by=cast.by("grace"), owner=cast.robot, name="x", expires=in_days(5), roles=[PLAIN_ROLE])

    assert token.role_names == [PLAIN_ROLE]


def test_an_inactive_account_gets_no_token(cast: Cast) -> None:
    cast.robot.deactivate(by=cast.by("grace"), reason="decommissioned")

    with pytest.raises(ValidationError, match="User robot is not active"):
        cast.service_token()


def test_an_account_that_was_deactivated_behind_the_callers_back_gets_no_token(cast: Cast) -> None:
    loaded_before = User.objects.get(username="robot")
    cast.robot.deactivate(by=cast.by("grace"), reason="decommissioned")

    with pytest.raises(ValidationError, match="not active"):
        AccessToken.issue(by=cast.by("grace"), owner=loaded_before, name="x", expires=in_days(5), roles=[POOL_ROLE])


def test_the_way_of_the_released_clients_makes_the_account_with_its_roles(cast: Cast) -> None:
    token = AccessToken.issue_with_account(
        by=cast.by("grace"), name="nightly", expires=in_days(5), roles=[POOL_ROLE, PLAIN_ROLE]
    )

    account = User.objects.get(username="nightly")
    assert (account.kind, account.accountable) == (Kind.SERVICE, cast.grace)
    assert account.held_role_names == {POOL_ROLE, PLAIN_ROLE}
    assert token.role_names == sorted([POOL_ROLE, PLAIN_ROLE])


def test_accountable_is_the_callers_own_accountable_person_where_the_caller_is_a_program(cast: Cast) -> None:
    by = cast.with_token(cast.administrator_token())

    AccessToken.issue_with_account(by=by, name="nightly", expires=in_days(5), roles=[PLAIN_ROLE])

    assert User.objects.get(username="nightly").accountable == cast.grace


def test_an_existing_account_keeps_its_accountable_person_and_gets_the_roles_that_it_lacks(cast: Cast) -> None:
    token = AccessToken.issue_with_account(by=cast.by("grace"), name="robot", expires=in_days(5), roles=["osmo-ctrl"])

    robot = User.objects.get(username="robot")
    assert (token.owner, robot.accountable) == (robot, cast.ada)
    assert robot.held_role_names == {POOL_ROLE, PLAIN_ROLE, "osmo-ctrl"}
    assert token.role_names == ["osmo-ctrl"]
    assert Event.objects.filter(action="role.assigned", object_id=robot.pk, changes={"role": "osmo-ctrl"}).exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"roles": [PLAIN_ROLE, "nonsense"]}, "Invalid role: nonsense"),
        ({"roles": []}, "At least one role"),
        ({"roles": ["osmo-default"]}, "assigned to nobody"),
        ({"expires": "2020-01-01"}, "past the current date"),
        ({"expires": "soon"}, "Invalid date format"),
        ({"description": "a\0"}, "Remove the control characters"),
        ({"name": "bad name"}, "must match regex"),
        ({"name": "a\0"}, "must match regex"),
    ],
)
def test_the_way_of_the_released_clients_makes_all_or_nothing(cast: Cast, fields: dict, message: str) -> None:
    before = dump.tables()
    wanted = {"name": "nightly", "expires": in_days(5), "roles": [PLAIN_ROLE], **fields}

    with pytest.raises(ValidationError, match=message):
        AccessToken.issue_with_account(by=cast.by("grace"), **wanted)

    assert dump.tables() == before


def test_a_name_that_is_taken_on_an_existing_account_gives_it_no_role(cast: Cast) -> None:
    AccessToken.issue_with_account(by=cast.by("grace"), name="robot", expires=in_days(5), roles=[PLAIN_ROLE])
    before = dump.tables()

    with pytest.raises(ValidationError, match="Token name robot already exists"):
        AccessToken.issue_with_account(by=cast.by("grace"), name="robot", expires=in_days(5), roles=["osmo-ctrl"])

    assert dump.tables() == before


@pytest.mark.parametrize("name", ["ada", "Ada", "ADA"])
def test_a_persons_name_cannot_name_a_service_token_in_any_case(cast: Cast, name: str) -> None:
    before = dump.tables()

    with pytest.raises(ValidationError, match="is the name of a person"):
        AccessToken.issue_with_account(by=cast.by("grace"), name=name, expires=in_days(5), roles=[PLAIN_ROLE])

    assert dump.tables() == before
