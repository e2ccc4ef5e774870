"""`osmo user`, and tokens of a user who is named: what is sent, and what is printed."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.cli.conftest import Osmo, Portal

USERS = "/api/auth/user"
SECRET = "osmo_" + "Zy9" * 16 + "b"
GIVEN = {"role_name": "osmo-user", "assigned_by": "grace", "assigned_at": "2026-11-23T17:41:17.782940Z"}
ERIN = {"id": "erin", "created_at": "2026-11-23T17:43:24.179387Z", "created_by": "grace"}


def test_users_are_listed(osmo: Osmo, logged_in: Portal) -> None:
    logged_in.on(f"GET {USERS}", {"total_results": 5, "users": [ERIN]})

    result = osmo("user", "list", "-p", "e", "-r", "a", "b", "-c", "7")

    assert result.stdout == "Total users: 5\n\nUser ID  Created At\n===================\nerin     2026-11-23\n"
    assert logged_in.asked[0].target == f"{USERS}?count=7&id_prefix=e&roles=a&roles=b"


@pytest.mark.parametrize("form", [[], ["-t", "json"]])
def test_no_users_are_said_so(osmo: Osmo, logged_in: Portal, form: list[str]) -> None:
    logged_in.on(f"GET {USERS}", {"total_results": 0, "users": []})

    assert osmo("user", "list", *form).stdout == "No users found\n"


def test_a_user_is_made_with_roles(osmo: Osmo, logged_in: Portal) -> None:
    logged_in.on(f"POST {USERS}", ERIN)

    result = osmo("user", "create", "erin", "--roles", "a", "b")

    assert result.stdout == "User created: erin\nRoles assigned: a, b\n"
    assert json.loads(logged_in.asked[0].body) == {"id": "erin", "roles": ["a", "b"]}


@pytest.mark.parametrize("identity", ["bad name", "-x", "../x", "a/b", SECRET])
def test_what_is_no_id_is_not_sent(osmo: Osmo, logged_in: Portal, identity: str) -> None:
    result = osmo("user", "get", identity)

    assert result.returncode == 2
    assert SECRET not in result.stderr
    assert logged_in.asked == []


@pytest.mark.parametrize(
    ("roles", "shown"),
    [([GIVEN], "Roles:\n  - osmo-user (assigned by grace on 2026-11-23)\n"), ([], "Roles: None\n")],
)
def test_a_user_is_shown(osmo: Osmo, logged_in: Portal, roles: list[Any], shown: str) -> None:
    logged_in.on(f"GET {USERS}/erin", {**ERIN, "roles": roles})

    result = osmo("user", "get", "erin")

    assert result.stdout == f"User ID: erin\nCreated At: 2026-11-23\nCreated By: grace\n\n{shown}"


def test_roles_are_given_and_taken_one_after_the_other(osmo: Osmo, logged_in: Portal) -> None:
    logged_in.on(f"POST {USERS}/ann@example.org/roles", {})
    logged_in.on(f"DELETE {USERS}/ann@example.org/roles/team/reader")

    result = osmo("user", "update", "ann@example.org", "-a", "x", "y", "-r", "team/reader")

    assert result.stdout == "Added role: x\nAdded role: y\nRemoved role: team/reader\n"
    assert [json.loads(asked.body)["role_name"] for asked in logged_in.asked[:2]] == ["x", "y"]


@pytest.mark.parametrize("role", ["../../x", "a?b", "a b", "a#b", "a//b"])
def test_what_would_lead_elsewhere_is_no_role(osmo: Osmo, logged_in: Portal, role: str) -> None:
    result = osmo("user", "update", "erin", "--remove-roles", role)

    assert (result.stdout, result.returncode) == (f"Error message: Role {role} does not exist\nError code: 1\n", 2)
    assert logged_in.asked == []


def test_an_update_of_nothing_says_how(osmo: Osmo, logged_in: Portal) -> None:
    assert osmo("user", "update", "erin").stdout == "No updates specified. Use --add-roles or --remove-roles.\n"


@pytest.mark.parametrize(("typed", "deleted"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_a_deletion_is_asked_about(osmo: Osmo, logged_in: Portal, typed: str, deleted: bool) -> None:
    logged_in.on(f"DELETE {USERS}/erin")
    command = [sys.executable, "-m", "osmo_cli", "user", "delete", "erin"]

    result = subprocess.run(
        command, env=osmo.environment, input=typed, capture_output=True, encoding="utf-8", check=True
    )

    assert result.stdout.endswith("User deleted: erin\n" if deleted else "Cancelled\n")
    assert 'delete user "erin"? This will delete all associated tokens, roles, and profile. [y/N]' in result.stdout
    assert len(logged_in.asked) == deleted


def test_force_asks_nothing_and_a_closed_input_says_so(osmo: Osmo, logged_in: Portal) -> None:
    logged_in.on(f"DELETE {USERS}/erin")
    command = [sys.executable, "-m", "osmo_cli", "user", "delete", "erin"]

    closed = subprocess.run(command, env=osmo.environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    forced = osmo("user", "delete", "erin", "--force")

    assert closed.returncode == 2
    assert b"--force" in closed.stdout
    assert forced.stdout == "User deleted: erin\n"


# Tokens of a user.


def test_a_token_is_made_for_a_user(osmo: Osmo, logged_in: Portal) -> None:
    logged_in.on(f"POST {USERS}/svc/access_token/nightly", SECRET)

    result = osmo("token", "set", "nightly", "--user", "svc", "-e", "2027-01-05", "-r", "a", "b")

    assert result.stdout == (
        "Note: Save the token in a secure location as it will not be shown again\n"
        f"Access token: {SECRET}\nCreated for user: svc\nRoles: a, b\n"
    )
    assert logged_in.asked[0].target == f"{USERS}/svc/access_token/nightly?expires_at=2027-01-05&roles=a&roles=b"


def test_tokens_of_a_user_are_listed_and_deleted(osmo: Osmo, logged_in: Portal) -> None:
    one = {"token_name": "nightly", "expires_at": "2099-01-05T00:00:00", "roles": ["a"], "description": ""}
    logged_in.on(f"GET {USERS}/svc/access_token", [one])
    logged_in.on(f"DELETE {USERS}/svc/access_token/nightly")

    listed, deleted = osmo("token", "list", "-u", "svc"), osmo("token", "delete", "nightly", "-u", "svc")
    logged_in.on(f"GET {USERS}/svc/access_token", [])

    assert listed.stdout.startswith("Tokens for user: svc\n\nName ")
    assert deleted.stdout == "Access token nightly deleted for user svc\n"
    assert osmo("token", "list", "-u", "svc").stdout == "No tokens found for user svc\n"


def test_a_user_and_service_exclude_each_other(osmo: Osmo, logged_in: Portal) -> None:
    result = osmo("token", "list", "--service", "--user", "svc")

    assert "Give either --service or --user, not both." in result.stdout
    assert logged_in.asked == []


def test_roles_of_a_token_are_shown(osmo: Osmo, logged_in: Portal) -> None:
    answer = {"user_name": "ada", "token_name": "laptop", "roles": [GIVEN]}
    logged_in.on("GET /api/auth/access_token/laptop/roles", answer)

    as_text, as_json = osmo("token", "roles", "laptop"), osmo("token", "roles", "laptop", "-t", "json")

    assert as_text.stdout == ("Token: laptop\nOwner: ada\n\nRoles:\n  - osmo-user (assigned by grace on 2026-11-23)\n")
    assert json.loads(as_json.stdout) == answer
