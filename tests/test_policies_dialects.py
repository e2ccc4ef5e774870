"""Policies as older and newer clients are shown them and send them back."""

import importlib
import json
from typing import Any

import pytest
from hypothesis import given, settings

from profiles.policies import PolicyError, RolePolicies, decide_request, normalise, parse
from profiles.policies.dialects import PATHS, for_newer, for_older, from_wire
from profiles.policies.forms import MAX_ACTIONS, METHODS
from tests.test_policies_properties import REQUESTS, role_objects

DEFAULTS = importlib.import_module("profiles.migrations.0002_defaults").ROLES
POOL = {"effect": "Allow", "actions": ["workflow:Create"], "resources": ["pool/team-a*"]}


def came_back(shown: Any) -> Any:
    """What is stored of what a client was shown, printed to a file, and sent."""
    return normalise(from_wire(json.loads(json.dumps(shown))))


@pytest.mark.parametrize("role", DEFAULTS, ids=[role["name"] for role in DEFAULTS])
@pytest.mark.parametrize("shown", [for_older, for_newer])
def test_the_default_roles_come_back_as_they_were(role: dict[str, Any], shown: Any) -> None:
    assert came_back(shown(role["policies"])) == role["policies"]


@settings(max_examples=200)
@given(role_objects)
def test_whatever_was_shown_comes_back_as_it_was(policies: Any) -> None:
    stored = normalise(policies)

    assert came_back(for_older(stored)) == stored
    assert came_back(for_newer(stored)) == stored
    assert came_back(for_older(stored)[::-1]) == stored[::-1]


@given(role_objects)
def test_each_client_sees_actions_of_its_own_form(policies: Any) -> None:
    stored = normalise(policies)

    for policy in for_newer(stored):
        assert all(isinstance(action, str) for action in policy["actions"])
    for policy in for_older(stored):
        assert all(set(action) == {"base", "path", "method"} for action in policy["actions"])
        assert {action["method"] for action in policy["actions"]} <= {*METHODS}


@given(role_objects)
def test_what_is_shown_to_older_clients_opens_no_request_that_the_policy_does_not(policies: Any) -> None:
    for policy in normalise(policies):
        told = [{"actions": for_older([policy])[0]["actions"]}]
        allow, meant = [RolePolicies("told", parse(told))], [RolePolicies("meant", parse([policy]))]
        for method, target in REQUESTS:
            if decide_request(method, target, allow=allow, deny=allow):
                assert decide_request(method, target, allow=meant, deny=[]), (method, target)


def test_older_clients_see_the_paths_that_an_action_opens() -> None:
    (shown,) = for_older([POOL])

    assert shown == {
        "actions": [
            {"base": "http", "path": "/api/pool/team-a*/workflow", "method": "Post"},
            {"base": "http", "path": "/api/pool/team-a*/workflow/*", "method": "Post"},
        ],
        "stands_for": POOL,
    }


def test_a_policy_of_their_own_is_shown_to_older_clients_as_they_know_it() -> None:
    own = [{"actions": [{"base": "http", "path": "/api/pool/team-a*", "method": "Post"}]}]

    assert for_older(normalise(own)) == own
    assert for_newer(normalise(own)) == [
        {"effect": "Allow", "actions": ["http:/api/pool/team-a*:Post"], "resources": []}
    ]


@pytest.mark.parametrize(
    ("policy", "paths"),
    [
        ({"actions": ["*:*"], "resources": ["*"]}, ["*"]),
        ({"effect": "Deny", "actions": ["*:*"]}, ["!*"]),
        ({"effect": "Deny", "actions": ["user:List"], "resources": ["*"]}, ["!/api/users"]),
        ({"actions": ["auth:Token"]}, ["/api/auth/access_token", "/api/auth/access_token/*"]),
        ({"actions": ["workflow:Exec"], "resources": ["pool/a"]}, []),  # the path names no pool: it would open them all
        (
            {"actions": ["workflow:Create"], "resources": ["pool/a?"]},
            ["/api/pool/a[?]/workflow", "/api/pool/a[?]/workflow/*"],
        ),
        ({"actions": ["nothing:Known"], "resources": ["*"]}, []),
        ({"actions": ["workflow:Create"], "resources": ["pool/" + "a" * 495]}, []),
    ],
)
def test_the_paths_of(policy: dict[str, Any], paths: list[str]) -> None:
    (shown,) = for_older(normalise([policy]))

    assert sorted(action["path"] for action in shown["actions"]) == paths


def test_not_more_paths_are_told_than_a_policy_may_have() -> None:
    wide = normalise([{"actions": ["*:*"], "resources": [f"backend/{number}" for number in range(100)]}])

    assert len(for_older(wide)[0]["actions"]) == MAX_ACTIONS
    assert came_back(for_older(wide)) == wide


def test_a_policy_whose_actions_were_edited_is_not_mistaken_for_what_it_stood_for() -> None:
    (shown,) = for_older([POOL])
    shown["actions"] = shown["actions"][:1]

    with pytest.raises(PolicyError, match=r"Policy 2: its actions no longer fit .* take stands_for out"):
        from_wire([{"actions": []}, shown])

    assert came_back([{"actions": shown["actions"]}])[0]["actions"] == shown["actions"]
    assert came_back([{"stands_for": POOL}]) == [POOL]


@pytest.mark.parametrize("meant", [None, 5, {}, {"actions": ["nonsense"]}, {"actions": [], "stands_for": POOL}])
def test_what_a_policy_stands_for_is_checked_as_any_policy(meant: Any) -> None:
    with pytest.raises(PolicyError, match=r"^Policy 1"):
        came_back([{"stands_for": meant}])


@pytest.mark.parametrize("policies", [None, "x", {}, 5])
def test_what_is_no_list_is_left_to_the_check_of_policies(policies: Any) -> None:
    with pytest.raises(PolicyError):
        normalise(from_wire(policies))


def test_every_path_of_the_table_can_be_stored() -> None:
    for opened in PATHS:
        actions = [
            f"http:{path.format('x')}:{method}" for path in opened.paths.split() for method in opened.methods.split()
        ]
        assert normalise([{"actions": actions}])
