"""Tokens as the 6.2 and 6.3 clients handle them: what stands behind the answers (wire.md section 6)."""

import pytest

from osmo_portal.events.models import Event
from profiles.models import Role, User
from tests import dump
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tests.wire import Wire, refused
from tokens.models import AccessToken

BASE = "/api/auth/access_token"
ROBOT = "/api/auth/user/robot/access_token"
pytestmark = pytest.mark.django_db


@pytest.fixture
def ada(cast: Cast) -> Wire:
    return Wire(cast.user_token(days=60).plaintext, header="authorization")


@pytest.fixture
def root(cast: Cast) -> Wire:
    return Wire(cast.administrator_token().plaintext, header="authorization")


def test_a_person_creates_a_user_token_that_carries_osmo_user_alone(cast: Cast, ada):
    cast.ada.assign_role(POOL_ROLE, by=cast.by("grace"))

    secret = ada.post(f"{BASE}/laptop?expires_at={in_days(31)}&description=my+laptop").json()

    token = AccessToken.objects.get(name="laptop")
    assert (token.owner, token.role_names, token.description) == (cast.ada, ["osmo-user"], "my laptop")
    assert Wire(secret, header="authorization").get(BASE).status_code == 200


@pytest.mark.parametrize("path", [f"{BASE}/x", "/api/auth/user/ada/access_token/x"])
@pytest.mark.parametrize("role", ["osmo-user", POOL_ROLE, "nonsense"])
def test_roles_on_a_persons_token_are_refused_at_both_addresses(cast: Cast, ada, root, path, role):
    cast.ada.assign_role(POOL_ROLE, by=cast.by("grace"))
    callers = [ada] if path.startswith(BASE) else [ada, root]

    for wire in callers:
        answer = wire.post(f"{path}?expires_at={in_days(9)}&roles={role}")
        refused(answer, "Assigning roles to user access tokens is not supported.")


def test_a_token_for_a_service_account_without_roles_carries_all_that_the_account_holds(cast: Cast, root):
    assert root.post(f"{ROBOT}/t?expires_at={in_days(9)}").status_code == 200

    assert AccessToken.objects.get(name="t").role_names == [POOL_ROLE, PLAIN_ROLE]


def test_a_token_for_a_service_account_with_roles_carries_those(cast: Cast, root):
    assert root.post(f"{ROBOT}/t?expires_at={in_days(9)}&roles={PLAIN_ROLE}").status_code == 200

    assert AccessToken.objects.get(name="t").role_names == [PLAIN_ROLE]


def test_a_service_account_without_roles_gets_no_token(cast: Cast, root):
    User.create_service_account(by=cast.by("grace"), username="bare")

    answer = root.post(f"/api/auth/user/bare/access_token/t?expires_at={in_days(9)}")

    refused(answer, "At least one role must be specified for the access token.")


def test_an_inactive_account_gets_no_token_whatever_it_held(cast: Cast, root):
    cast.robot.deactivate(by=cast.by("grace"), reason="x")

    refused(root.post(f"{ROBOT}/t?expires_at={in_days(9)}"), "User robot is not active.")


def test_an_administrators_service_account_makes_a_token_of_its_own(root):
    assert root.post(f"{BASE}/second?expires_at={in_days(9)}").status_code == 200

    token = AccessToken.objects.get(name="second")
    assert (token.owner.username, token.role_names) == ("root-bot", ["osmo-admin"])


def test_who_is_accountable_lists_and_ends_the_accounts_tokens_and_issues_none(cast: Cast, ada):
    cast.service_token()

    assert [token["token_name"] for token in ada.get(ROBOT).json()] == ["ci"]
    refused(ada.post(f"{ROBOT}/t?expires_at={in_days(9)}"), "Only an administrator may issue service tokens.", 403)
    assert ada.delete(f"{ROBOT}/ci").content == b"null"
    assert AccessToken.objects.get(name="ci").ended_by == cast.ada


@pytest.mark.parametrize("who", ["mallory", "grace", "olive", "audrey"])
def test_to_others_the_user_is_not_there_at_all(cast: Cast, who):
    """An administrator's, an operator's and an auditor's user token is a user token like any other."""
    cast.service_token()
    wire = Wire(cast.user_token(owner=who).plaintext, header="authorization")
    before = dump.tables()

    for user in ("robot", "ada", "ghost"):
        refused(wire.get(f"/api/auth/user/{user}/access_token"), f"User {user} not found")
        for method, path in (("POST", f"t?expires_at={in_days(9)}"), ("DELETE", "ci")):
            answer = wire.call(method, f"/api/auth/user/{user}/access_token/{path}")
            if who == "audrey":
                assert answer.status_code == 403
            else:
                refused(answer, f"User {user} not found")
    assert dump.tables() == before


def test_a_service_account_reads_its_own_tokens_and_nobody_elses(cast: Cast):
    wire = Wire(cast.service_token().plaintext, header="authorization")
    cast.user_token()

    assert [token["token_name"] for token in wire.get(ROBOT).json()] == ["ci"]
    refused(wire.get("/api/auth/user/ada/access_token"), "User ada not found")
    assert wire.post(f"{BASE}/x?expires_at={in_days(9)}").status_code == 403
    assert wire.post(f"{ROBOT}/x?expires_at={in_days(9)}").status_code == 403
    assert wire.delete(f"{BASE}/ci").status_code == 403
    assert wire.delete(f"{ROBOT}/ci").status_code == 403


@pytest.mark.parametrize("path", [f"{BASE}/longer", "/api/auth/user/ada/access_token/longer"])
def test_no_address_makes_a_token_that_outlives_the_one_used(ada, path):
    answer = ada.post(f"{path}?expires_at={in_days(61)}")

    assert answer.status_code == 400
    assert str(in_days(60)) in answer.json()["message"]


def test_the_strictest_role_bounds_the_lifetime_and_is_named_in_days(cast: Cast, root):
    Role.objects.get(name=POOL_ROLE).change(by=cast.by("grace"), max_token_days=30)

    answer = root.post(f"{ROBOT}/t?expires_at={in_days(31)}")

    refused(answer, "Access token expiration date cannot be more than 30d from now")


@pytest.mark.parametrize("name", ["user", "service"])
def test_what_is_part_of_an_address_names_no_token(ada, name):
    answer = ada.post(f"{BASE}/{name}?expires_at={in_days(9)}")

    refused(answer, f'"{name}" cannot name a token: it is part of an address. Choose another.')
    refused(ada.delete(f"{BASE}/{name}"), f"Access token {name} does not exist.")


def test_a_lost_role_is_told_of_no_more(cast: Cast, root):
    token = cast.service_token(roles=[POOL_ROLE, PLAIN_ROLE])
    wire = Wire(token.plaintext, header="authorization")

    cast.robot.remove_role(POOL_ROLE, by=cast.by("grace"))

    (role,) = wire.get(f"{BASE}/ci/roles").json()["roles"]
    assert (role["role_name"], role["assigned_by"]) == (PLAIN_ROLE, "grace")


def test_the_roles_of_a_foreign_token_are_not_told(cast: Cast, ada):
    cast.user_token(owner="mallory", name="theirs")

    refused(ada.get(f"{BASE}/theirs/roles"), "Token theirs not found or does not belong to current user")


def test_a_deleted_token_stays_as_a_record(cast: Cast, ada):
    ada.post(f"{BASE}/x?expires_at={in_days(9)}")

    assert ada.delete(f"{BASE}/x").content == b"null"

    record = AccessToken.objects.get(name="x")
    assert (record.ended_by, record.state()) == (cast.ada, "revoked")
    assert Event.objects.filter(action="token.revoked", object_id=record.pk, via="cli").exists()
    assert "x" not in [token["token_name"] for token in ada.get(BASE).json()]


def test_lists_of_another_users_tokens_cost_six_queries(cast: Cast, root, django_assert_num_queries):
    for number in range(5):
        cast.service_token(f"t{number}")
    root.get(ROBOT)

    # The caller's standing; the user; the tokens; their owner, uses and roles.
    with django_assert_num_queries(6):
        assert len(root.get(ROBOT).json()) == 5
