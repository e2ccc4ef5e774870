"""What the console offers about users, under /api/v1/: describe, hand over, end and bring back; and assignments."""

from typing import Any

import pytest

from osmo_portal.events.models import Event
from profiles.models import User
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast
from tests.rest import Rest, refused
from tokens import exchange

pytestmark = pytest.mark.django_db

CHANGES: list[tuple[str, str, Any]] = [
    ("PATCH", "users/{robot}", {"purpose": "x"}),
    ("POST", "users/{robot}/deactivate", {"reason": "x"}),
    ("POST", "users/{robot}/reactivate", {"reason": "x"}),
    ("POST", "users/{robot}/hand-over", {"to": "mallory", "reason": "x"}),
    ("POST", "users/{ada}/hand-over-accounts", {"to": "mallory", "reason": "x"}),
    ("POST", "users/{ada}/groups", {"groups": ["operators"]}),
    ("DELETE", "users/{robot}?reason=x", None),
    ("POST", "assignments", {"user": "robot", "role": "osmo-user"}),
    ("DELETE", "assignments/{assignment}?reason=x", None),
]


def at(cast: Cast, path: str) -> str:
    assignment = cast.robot.assignments.get(role__name=POOL_ROLE).pk
    return path.format(ada=cast.ada.pk, robot=cast.robot.pk, assignment=assignment)


@pytest.mark.parametrize("person", ["ada", "olive", "audrey", "mallory"])
def test_nobody_but_an_administrator_changes_them(cast: Cast, person: str):
    callers = [Rest(person=person)]
    callers += [Rest(cast.user_token("grace").plaintext)] if person == "ada" else []
    before = Event.objects.count()
    for rest in callers:
        for method, path, body in CHANGES:
            refused(rest.call(method, at(cast, path), body, if_match="*"), 403, "administrator")
    assert Event.objects.count() == before


def test_a_service_account_is_described_handed_over_ended_and_brought_back(cast: Cast):
    rest, address = Rest(person="grace"), f"users/{cast.robot.pk}"
    token = cast.service_token()

    described = rest.patch(address, {"purpose": "Nightly builds", "email": "ci@example.com"}).json()
    handed = rest.post(f"{address}/hand-over", {"to": "mallory", "reason": "moved"}).json()
    ended = rest.post(f"{address}/deactivate", {"reason": "pause"}).json()

    assert (described["purpose"], described["email"]) == ("Nightly builds", "ci@example.com")
    assert handed["accountable"] == "mallory"
    assert ended["is_active"] is False
    with pytest.raises(exchange.Refused):
        exchange.exchange(token.plaintext)
    assert rest.post(f"{address}/reactivate", {"reason": "go on"}).json()["is_active"] is True
    assert rest.get(f"tokens/{token.pk}").json()["state"] == "suspended"  # it resumes nothing
    assert rest.delete(f"{address}?reason=retired").status_code == 204
    refused(rest.get(address), 404)
    assert rest.get(f"tokens/{token.pk}").json()["state"] == "revoked"
    told = ["user.changed", "user.handed_over", "user.deactivated", "user.reactivated", "user.deleted"]
    assert [*Event.objects.filter(action__in=told, via="rest").order_by("pk").values_list("action", flat=True)] == [
        "user.changed",
        "user.handed_over",
        "user.deactivated",
        "user.reactivated",
        "user.deactivated",
        "user.deleted",
    ]


def test_a_person_becomes_an_operator_and_gives_all_accounts_away(cast: Cast):
    rest, address = Rest(person="grace"), f"users/{cast.ada.pk}"

    assert rest.post(f"{address}/groups", {"groups": ["operators"]}).json()["groups"] == ["operators"]
    assert rest.post(f"{address}/hand-over-accounts", {"to": "mallory", "reason": "left"}).json() == {"count": 1}
    assert User.objects.get(pk=cast.robot.pk).accountable == cast.mallory
    refused(rest.post(f"{address}/hand-over-accounts", {"to": "mallory", "reason": "left"}), 409)


def test_the_last_administrator_is_neither_ended_nor_deleted(cast: Cast):
    rest, address = Rest(person="grace"), f"users/{cast.grace.pk}"
    (held,) = [one for one in rest.get("assignments?user=grace").json()["results"] if one["role"] == "osmo-admin"]

    refused(rest.post(f"{address}/deactivate", {"reason": "x"}), 400, "last active administrator")
    refused(rest.delete(f"{address}?reason=x"), 400, "last active administrator")
    refused(rest.delete(f"assignments/{held['id']}?reason=x"), 400, "last active administrator")


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        ("users/{robot}/hand-over", {"to": "robot", "reason": "x"}, "There is no person"),
        ("users/{robot}/hand-over", {"to": "mallory"}, "reason"),
        ("users/{ada}/hand-over", {"to": "mallory", "reason": "x"}, "Only a service account"),
        ("users/{ada}/groups", {"groups": ["root"]}, "groups"),
        ("users/{robot}/groups", {"groups": ["operators"]}, "neither operator nor auditor"),
        ("users/{robot}/deactivate", {}, "reason"),
        ("assignments", {"user": "nobody", "role": PLAIN_ROLE}, "There is no user"),
        ("assignments", {"user": "robot", "role": "no-such-role"}, "does not exist"),
        ("assignments", {"user": "robot", "role": "osmo-default"}, "assigned to nobody"),
        ("assignments", {"user": "robot", "role": PLAIN_ROLE, "assigned_by": "ada"}, "assigned_by"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(cast: Cast, path: str, body: dict[str, Any], text: str):
    refused(Rest(person="grace").post(at(cast, path), body), 400, text)


@pytest.mark.parametrize("field", ["username", "kind", "is_active", "accountable", "roles", "password", "groups", "id"])
def test_a_change_sets_no_field_that_has_a_way_of_its_own(cast: Cast, field: str):
    refused(Rest(person="grace").patch(f"users/{cast.robot.pk}", {"purpose": "x", field: "y"}), 400, field)
    assert User.objects.get(pk=cast.robot.pk).purpose == "CI"


# Assignments.


def test_an_assignment_says_who_gave_and_who_took_it_and_stays(cast: Cast):
    rest = Rest(person="grace")
    cast.robot.remove_role(PLAIN_ROLE, by=cast.by("grace"))
    token = cast.service_token()

    given = rest.post("assignments", {"user": "robot", "role": PLAIN_ROLE})
    number = given.json()["id"]
    taken = rest.delete(f"assignments/{number}?reason=moved")

    assert (given.status_code, taken.status_code) == (201, 204)
    shown = rest.get(f"assignments/{number}").json()
    assert (shown["user"], shown["role"], shown["is_effective"]) == ("robot", PLAIN_ROLE, False)
    assert (shown["assigned_by"], shown["removed_by"]) == ("grace", "grace")
    assert Event.objects.filter(action="role.removed", via="rest").get().reason == "moved"
    refused(rest.delete(f"assignments/{number}?reason=again"), 409, "does not count any more")
    assert exchange.exchange(token.plaintext)


def test_a_role_that_is_held_stays_as_it_was_given(cast: Cast):
    held = cast.robot.assignments.get(role__name=PLAIN_ROLE)

    assert Rest(person="grace").post("assignments", {"user": "robot", "role": PLAIN_ROLE}).json()["id"] == held.pk


@pytest.mark.parametrize(
    ("person", "users"),
    [
        ("audrey", {"grace", "ada", "olive", "audrey", "mallory", "robot"}),
        ("ada", {"ada", "robot"}),
        ("mallory", {"mallory"}),
    ],
)
def test_assignments_are_those_of_the_users_that_one_may_know_of(cast: Cast, person: str, users: set[str]):
    rest = Rest(person=person)

    assert rest.names("assignments", "user") == users
    foreign = cast.grace.assignments.first()
    assert rest.get(f"assignments/{foreign.pk}").status_code == (200 if "grace" in users else 404)


def test_assignments_are_filtered(cast: Cast):
    cast.robot.remove_role(PLAIN_ROLE, by=cast.by("grace"))
    rest = Rest(person="grace")

    assert rest.names("assignments?user=robot", "role") == {POOL_ROLE, PLAIN_ROLE}
    assert rest.names("assignments?user=robot&state=effective", "role") == {POOL_ROLE}
    assert rest.names("assignments?state=ended", "role") == {PLAIN_ROLE}


def test_a_user_is_the_same_in_any_case_and_one_that_was_deleted_is_found(cast: Cast):
    rest = Rest(person="grace")

    assert rest.names("assignments?user=RoBot", "user") == {"robot"} == rest.names("users?name=RoBot", "username")
    cast.robot.mark_deleted(by=cast.by("grace"), reason="x")
    assert rest.names("assignments?user=robot", "user") == {"robot"}
    assert rest.names("assignments?user=no+id", "user") == set()
    assert rest.names("assignments?role=osmo-admin", "user") == {"grace"}
