"""whoami, and access/check: what one may do and why, and of others for administrators and auditors."""

from typing import Any

import pytest

from osmo_portal.events.models import Event
from profiles.models import Role
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast
from tests.rest import Rest, refused
from tokens.models import AccessToken

pytestmark = pytest.mark.django_db

SUBMIT = {"action": "workflow:Create", "resource": "pool/my_pool"}
PEOPLE = ["grace", "olive", "audrey", "ada", "mallory"]


def ask(rest: Rest, **question: Any) -> dict[str, Any]:
    """By GET and by POST: both answer the same."""
    query = "&".join(f"{name}={value}" for name, value in question.items())
    answer = rest.get(f"access/check?{query}")
    assert answer.status_code == 200, answer.content
    assert rest.post("access/check", question).json() == answer.json()
    return dict(answer.json())


def deny(cast: Cast, name: str, actions: list[str], resources: list[str]) -> None:
    """A role with one deny, for robot."""
    Role.create(
        by=cast.by("grace"), name=name, policies=[{"effect": "Deny", "actions": actions, "resources": resources}]
    )
    cast.robot.assign_role(name, by=cast.by("grace"))


# Who am I.


@pytest.mark.parametrize(
    ("person", "roles", "groups", "powers"),
    [
        ("grace", ["osmo-admin", "osmo-user"], [], ["administrator"]),
        ("olive", ["osmo-user"], ["operators"], ["operator"]),
        ("audrey", ["osmo-user"], ["auditors"], ["auditor"]),
        ("ada", ["osmo-user"], [], []),
    ],
)
def test_a_session_says_who_is_signed_in(cast: Cast, person: str, roles: list[str], groups: list[str], powers: Any):
    shown = Rest(person=person).get("whoami").json()

    assert (shown["user"], shown["kind"], shown["signed_in_by"]) == (person, "person", "session")
    assert (shown["roles"], shown["groups"], shown["powers"]) == (roles, groups, powers)
    assert shown["token"] is shown["until"] is None


def test_a_token_says_which_roles_are_in_force(cast: Cast):
    token = cast.service_token(roles=[PLAIN_ROLE])

    shown = Rest(token.plaintext).get("whoami").json()

    assert (shown["user"], shown["kind"], shown["signed_in_by"]) == ("robot", "service", "token")
    assert (shown["roles"], shown["groups"], shown["powers"]) == ([PLAIN_ROLE], [], [])
    assert shown["token"]["id"] == token.pk
    assert shown["token"]["name"] == "ci"
    assert shown["until"] == shown["token"]["expires_at"]


def test_the_user_token_of_an_administrator_is_none(cast: Cast):
    shown = Rest(cast.user_token("grace").plaintext).get("whoami").json()

    assert (shown["roles"], shown["powers"]) == (["osmo-user"], [])


# What may I do, and why.


def test_the_answer_names_the_role_and_the_policy_that_decide(cast: Cast):
    token = cast.service_token(roles=[POOL_ROLE, PLAIN_ROLE])

    answer = ask(Rest(token.plaintext), **SUBMIT)

    assert answer["allowed"] is True
    assert answer["role"] == POOL_ROLE
    assert (answer["user"], answer["token"], answer["roles"]) == ("robot", token.pk, [POOL_ROLE, PLAIN_ROLE])
    assert answer["statements"] == [{"role": POOL_ROLE, "effect": "Allow", "says": "workflow:* on pool/my_pool*"}]
    assert answer["reason"] == f"Role {POOL_ROLE} allows workflow:* on pool/my_pool*."


def test_a_token_without_the_role_may_not_what_its_owner_may(cast: Cast):
    token = cast.service_token(roles=[PLAIN_ROLE])

    assert ask(Rest(token.plaintext), **SUBMIT)["allowed"] is False
    assert ask(Rest(person="grace"), user="robot", **SUBMIT)["allowed"] is True


def test_a_deny_of_a_role_that_the_token_does_not_carry_wins(cast: Cast):
    token = cast.service_token(roles=[POOL_ROLE])
    deny(cast, "no-nights", ["workflow:Create"], ["*"])

    answer = ask(Rest(token.plaintext), **SUBMIT)

    assert answer["allowed"] is False
    assert answer["role"] == "no-nights"
    assert [(one["role"], one["effect"]) for one in answer["statements"]] == [
        ("no-nights", "Deny"),
        (POOL_ROLE, "Allow"),
    ]


def test_a_request_is_asked_by_method_and_path(cast: Cast):
    rest = Rest(cast.service_token(roles=[POOL_ROLE]).plaintext)

    assert ask(rest, method="post", path="/api/pool/my_pool/workflow")["allowed"] is True
    assert ask(rest, method="GET", path="/api/configs/service")["allowed"] is False
    assert "dot segments" in ask(rest, method="GET", path="/api/../admin")["reason"]


@pytest.mark.parametrize("end", ["suspended", "revoked", "no role left", "not active"])
def test_of_a_token_that_is_refused_everything_is_denied_and_the_answer_says_why(cast: Cast, end: str):
    token, by = cast.service_token(roles=[POOL_ROLE]), cast.by("grace")
    {
        "suspended": lambda: token.suspend(by=by, reason="x"),
        "revoked": lambda: token.revoke(by=by, reason="x"),
        "no role left": lambda: cast.robot.remove_role(POOL_ROLE, by=by),
        "not active": lambda: cast.robot.deactivate(by=by, reason="x"),
    }[end]()

    answer = ask(Rest(person="grace"), token=token.pk, **SUBMIT)

    assert answer["allowed"] is False
    assert end in answer["reason"]
    assert answer["statements"] == []


def test_of_an_inactive_user_everything_is_denied(cast: Cast):
    cast.robot.deactivate(by=cast.by("grace"), reason="x")

    answer = ask(Rest(person="grace"), user="robot", **SUBMIT)

    assert (answer["allowed"], answer["reason"]) == (False, "The user is not active.")


# About whom.


@pytest.mark.parametrize("person", PEOPLE)
def test_administrators_and_auditors_ask_about_everybody_others_about_themselves(cast: Cast, person: str):
    own, foreign = cast.user_token(person, "own"), cast.service_token("foreign")
    rest, all_of_them = Rest(person=person), person in {"grace", "audrey"}
    query = "action=pool:List"

    assert rest.get(f"access/check?{query}").json()["user"] == person
    assert rest.get(f"access/check?{query}&user={person}").json()["user"] == person
    assert rest.get(f"access/check?{query}&token={own.pk}").json()["token"] == own.pk
    for about in ("user=robot", f"token={foreign.pk}"):
        answer = rest.get(f"access/check?{query}&{about}")
        assert answer.status_code == (200 if all_of_them else 404), about
    for absent in ("user=nobody-at-all", "user=robot%00", f"token={2**62}"):
        assert rest.get(f"access/check?{query}&{absent}").status_code in {404, 400}


def test_foreign_and_absent_get_the_same_answer(cast: Cast):
    rest = Rest(person="mallory")

    foreign, absent = (rest.post("access/check", {"user": user, **SUBMIT}) for user in ("robot", "nobody"))

    assert foreign.json() == absent.json()
    refused(foreign, 404)


def test_the_user_token_of_an_administrator_asks_about_nobody_else(cast: Cast):
    rest = Rest(cast.user_token("grace").plaintext)

    refused(rest.post("access/check", {"user": "ada", **SUBMIT}), 404)
    assert rest.post("access/check", {"user": "grace", "action": "config:Update"}).json()["allowed"] is False


def test_an_auditor_asks_by_get_alone(cast: Cast):
    refused(Rest(person="audrey").post("access/check", SUBMIT), 403, "changes nothing")


def test_asking_changes_nothing(cast: Cast):
    rest, before = Rest(person="grace"), Event.objects.count()

    rest.post("access/check", {"user": "robot", **SUBMIT})

    assert Event.objects.count() == before
    assert not AccessToken.objects.exists()


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ({}, "action"),
        ({"action": "*:*"}, "Stars ask nothing"),
        ({"action": "workflow"}, "action"),
        ({"action": "workflow:Create", "resource": "pool/*"}, "Stars ask nothing"),
        ({"action": "workflow:Create", "resource": "my_pool"}, "resource"),
        ({"resource": "pool/x"}, "action"),
        ({"method": "GET"}, "method and path"),
        ({"path": "/x"}, "method and path"),
        ({"method": "G ET", "path": "/x"}, "method"),
        ({"action": "pool:List", "method": "GET", "path": "/x"}, "method and path"),
        ({"action": "pool:List", "user": "ada", "token": 1}, "user or about a token"),
        ({"action": "pool:List", "token": "one"}, "token"),
        ({"action": "pool:List", "token": 2**70}, "token"),
        ({"action": "pool:List", "roles": ["osmo-admin"]}, "roles"),
        ({"action": ["pool:List"]}, "action"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(cast: Cast, question: dict[str, Any], text: str):
    refused(Rest(person="grace").post("access/check", question), 400, text)


def test_a_check_costs_the_same_queries_whatever_the_user_holds(cast: Cast, django_assert_num_queries):
    rest = Rest(cast.service_token(roles=[POOL_ROLE]).plaintext)
    rest.get("whoami")  # reads the signing keys

    with django_assert_num_queries(2):  # the caller's standing, the policies of what its user holds
        rest.get("access/check?action=pool:List")
