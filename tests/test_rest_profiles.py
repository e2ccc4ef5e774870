"""Users, roles and pools under /api/v1/: who reads what, who changes them, and what nobody may set."""

from typing import Any

import pytest

from osmo_portal.events.models import Event
from profiles.models import Pool, Role, User
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast
from tests.rest import Rest, refused

pytestmark = pytest.mark.django_db

ACCESS = [{"effect": "Allow", "actions": ["workflow:Create"], "resources": ["pool/my_pool"]}]
PEOPLE = ["grace", "ada", "olive", "audrey", "mallory"]
CHANGES: list[tuple[str, str, Any]] = [
    ("POST", "users", {"kind": "person", "username": "eve"}),
    ("POST", "users", {"kind": "service", "username": "eve", "accountable": "ada"}),
    ("POST", "users/{robot}/assign-role", {"role": POOL_ROLE}),
    ("POST", "users/{robot}/remove-role", {"role": POOL_ROLE, "reason": "x"}),
    ("POST", "roles", {"name": "eve", "policies": []}),
    ("PATCH", "roles/{role}", {"description": "x"}),
    ("DELETE", "roles/{role}?reason=x", None),
    ("POST", "pools", {"name": "eve"}),
    ("PATCH", "pools/{pool}", {"description": "x"}),
    ("DELETE", "pools/{pool}?reason=x", None),
]


def at(path: str, cast: Cast) -> str:
    return path.format(robot=cast.robot.pk, pool=cast.pool.pk, role=Role.objects.get(name=POOL_ROLE).pk)


def assert_all_refused(rest: Rest, cast: Cast) -> None:
    before = Event.objects.count()
    for method, path, body in CHANGES:
        refused(rest.call(method, at(path, cast), body), 403, "administrator")
    assert Event.objects.count() == before


# Who changes them.


@pytest.mark.parametrize("person", ["ada", "olive", "audrey", "mallory"])
def test_nobody_but_an_administrator_changes_users_roles_and_pools(cast: Cast, person: str):
    assert_all_refused(Rest(person=person), cast)


def test_a_service_token_changes_nothing(cast: Cast):
    assert_all_refused(Rest(cast.service_token().plaintext), cast)


def test_an_administrators_own_user_token_changes_nothing(cast: Cast):
    assert_all_refused(Rest(cast.user_token("grace").plaintext), cast)


def test_an_administrator_changes_them_all(cast: Cast):
    for rest in (Rest(person="grace"), Rest(cast.administrator_token().plaintext)):
        rest.post("roles", {"name": "other", "policies": []})
        assert rest.post(f"users/{cast.robot.pk}/assign-role", {"role": "other"}).status_code == 200
        assert rest.patch(f"pools/{cast.pool.pk}", {"description": "x"}).status_code == 200


# Users.


def test_a_person_is_created_without_password_and_with_osmo_user(cast: Cast):
    body = {
        "kind": "person",
        "username": "eve",
        "display_name": "Eve",
        "email": "eve@example.com",
        "roles": [PLAIN_ROLE],
    }

    answer = Rest(person="grace").post("users", body)

    assert answer.status_code == 201
    shown = answer.json()
    assert shown["roles"] == ["osmo-user", PLAIN_ROLE]
    assert (shown["kind"], shown["is_active"], shown["accountable"]) == ("person", True, None)
    assert not User.objects.get(pk=shown["id"]).has_usable_password()
    assert Event.objects.filter(action="user.created", object_id=shown["id"], via="rest", actor="grace").exists()


def test_a_service_account_has_the_person_asked_for_or_the_caller_accountable(cast: Cast):
    rest = Rest(person="grace")

    named = rest.post("users", {"kind": "service", "username": "bot-1", "accountable": "ada", "purpose": "CI"}).json()
    unnamed = rest.post("users", {"kind": "service", "username": "bot-2"}).json()

    assert (named["accountable"], named["purpose"], named["roles"]) == ("ada", "CI", [])
    assert unnamed["accountable"] == "grace"


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        ({"kind": "robot"}, 400, "kind"),
        ({"kind": None}, 400, "kind"),
        ({"username": ""}, 400, "username"),
        ({"username": "a b"}, 400, "username"),
        ({"username": "ADA"}, 409, "already exists"),
        ({"username": ["eve"]}, 400, "username"),
        ({"username": 5}, 400, "username"),
        ({"username": "x" * 255}, 400, "username"),
        ({"email": "nowhere"}, 400, "email"),
        ({"accountable": "ada"}, 400, "Only a service account"),
        ({"purpose": "none"}, 400, "Only a service account"),
        ({"kind": "service", "accountable": "robot"}, 400, "There is no person robot"),
        ({"kind": "service", "accountable": "nobody"}, 400, "There is no person nobody"),
        ({"roles": ["no-such-role"]}, 400, "does not exist"),
        ({"roles": ["osmo-default"]}, 400, "assigned to nobody"),
        ({"roles": "osmo-admin"}, 400, "roles"),
        ({"roles": [["osmo-admin"]]}, 400, "roles"),
    ],
)
def test_a_user_that_cannot_be_is_refused_with_the_reason(cast: Cast, change: dict[str, Any], status: int, text: str):
    rest = Rest(person="grace")
    before = User.objects.count(), Event.objects.count()

    answer = rest.post("users", {"kind": "person", "username": "eve", **change})

    refused(answer, status, text)
    assert (User.objects.count(), Event.objects.count()) == before


@pytest.mark.parametrize(
    "field",
    [
        "id",
        "password",
        "is_active",
        "is_staff",
        "is_superuser",
        "groups",
        "user_permissions",
        "created_by",
        "created_at",
        "deleted_at",
        "last_signed_in_at",
    ],
)
def test_fields_of_a_user_that_are_not_asked_for_are_refused_by_name(cast: Cast, field: str):
    refused(Rest(person="grace").post("users", {"kind": "person", "username": "eve", field: 1}), 400, field)
    assert not User.objects.filter(username="eve").exists()


def test_roles_are_given_and_taken(cast: Cast):
    rest, robot = Rest(person="grace"), f"users/{cast.robot.pk}"
    rest.post("roles", {"name": "extra", "policies": []})

    given = rest.post(f"{robot}/assign-role", {"role": "extra"}).json()
    taken = rest.post(f"{robot}/remove-role", {"role": "extra", "reason": "done"}).json()

    assert "extra" in given["roles"]
    assert "extra" not in taken["roles"]
    assert Event.objects.filter(action="role.removed", reason="done", via="rest").exists()


def test_taking_a_role_that_is_not_held_is_refused(cast: Cast):
    answer = Rest(person="grace").post(f"users/{cast.mallory.pk}/remove-role", {"role": POOL_ROLE, "reason": "x"})

    refused(answer, 400, "does not hold")


def test_the_last_administrator_stays_one(cast: Cast):
    answer = Rest(person="grace").post(f"users/{cast.grace.pk}/remove-role", {"role": "osmo-admin", "reason": "x"})

    refused(answer, 400, "last active administrator")


@pytest.mark.parametrize(
    "body", [{}, {"role": None}, {"role": 1}, {"role": POOL_ROLE, "user": 1}, [], "osmo-admin", 5, None]
)
def test_what_is_no_role_is_assigned_to_nobody(cast: Cast, body: Any):
    refused(Rest(person="grace").post(f"users/{cast.mallory.pk}/assign-role", body), 400)


@pytest.mark.parametrize(
    ("person", "visible"),
    [
        ("grace", {*PEOPLE, "robot"}),
        ("olive", {*PEOPLE, "robot"}),
        ("audrey", {*PEOPLE, "robot"}),
        ("ada", {"ada", "robot"}),
        ("mallory", {"mallory"}),
    ],
)
def test_people_see_the_users_that_concern_them(cast: Cast, person: str, visible: set[str]):
    rest = Rest(person=person)

    assert rest.names("users", "username") == visible
    for user in User.objects.all():
        assert rest.get(f"users/{user.pk}").status_code == (200 if user.username in visible else 404)


def test_a_service_account_sees_itself(cast: Cast):
    assert Rest(cast.service_token().plaintext).names("users", "username") == {"robot"}


def test_users_are_filtered(cast: Cast):
    cast.mallory.deactivate(by=cast.by("grace"), reason="left")
    rest = Rest(person="grace")

    assert rest.names("users?kind=service", "username") == {"robot"}
    assert rest.names("users?role=osmo-admin", "username") == {"grace"}
    assert rest.names("users?name=ADA", "username") == {"ada"}
    assert rest.names("users?state=inactive", "username") == {"mallory"}
    refused(rest.get("users?password__startswith=md5"), 400, "password__startswith")
    refused(rest.get("users?email=ada@example.com"), 400, "email")


def test_nothing_of_a_password_is_shown(cast: Cast):
    shown = Rest(person="grace").get(f"users/{cast.ada.pk}").json()

    assert set(shown) == {
        "id",
        "username",
        "kind",
        "display_name",
        "email",
        "purpose",
        "accountable",
        "is_active",
        "roles",
        "groups",
        "created_at",
        "deleted_at",
    }


@pytest.mark.parametrize("path", ["users", "roles", "pools"])
def test_lists_cost_the_same_queries_however_long_they_are(cast: Cast, path: str, django_assert_max_num_queries):
    rest, by = Rest(cast.administrator_token().plaintext), cast.by("grace")
    rest.get(path)  # reads the signing keys
    for number in range(20):
        User.create_service_account(by=by, username=f"bot-{number}", accountable=cast.ada, roles=[PLAIN_ROLE])
        Role.create(by=by, name=f"role-{number}")
        Pool.create(by=by, name=f"pool-{number}")

    # The caller's standing, the list, and for users their roles and groups.
    with django_assert_max_num_queries(4 if path == "users" else 2):
        assert len(rest.get(path).json()["results"]) > 20


# Roles.


def test_a_role_is_created_changed_and_deleted(cast: Cast):
    rest = Rest(person="grace")

    made = rest.post("roles", {"name": "osmo-other", "policies": ACCESS, "max_token_days": 30})
    number = made.json()["id"]
    changed = rest.patch(f"roles/{number}", {"policies": [], "description": "Nothing"})
    deleted = rest.delete(f"roles/{number}?reason=unused")

    assert (made.status_code, changed.status_code, deleted.status_code) == (201, 200, 204)
    assert (made.json()["grants_pools"], changed.json()["grants_pools"]) == (True, False)
    assert changed.json()["max_token_days"] == 30
    refused(rest.get(f"roles/{number}"), 404)
    assert Role.objects.get(pk=number).deleted_at
    assert Event.objects.get(action="role.deleted").reason == "unused"


def test_a_role_of_a_name_that_is_taken_is_a_conflict(cast: Cast):
    refused(Rest(person="grace").post("roles", {"name": POOL_ROLE, "policies": []}), 409, "already exists")


@pytest.mark.parametrize("name", ["osmo-user", "osmo-default"])
def test_no_edit_gives_everybody_pool_access(cast: Cast, name: str):
    role = Role.objects.get(name=name)

    refused(Rest(person="grace").patch(f"roles/{role.pk}", {"policies": ACCESS}), 400, "must not give pool access")
    assert not Role.objects.get(name=name).grants_pools


def test_the_role_of_administrators_is_fixed(cast: Cast):
    role, rest = Role.objects.get(name="osmo-admin"), Rest(person="grace")

    refused(rest.patch(f"roles/{role.pk}", {"policies": []}), 400, "cannot be changed")
    refused(rest.delete(f"roles/{role.pk}?reason=x"), 400, "cannot be deleted")


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"name": "other"},
        {"immutable": True},
        {"is_plain": True},
        {"grants_pools": False},
        {"id": 1},
        {"deleted_at": None},
        {"policies": "x"},
        {"policies": ["x"]},
        {"policies": {}},
        {"policies": None},
        {"policies": [{}]},
        {"policies": [{"effect": "Allow", "actions": [["x"]], "resources": 5}]},
        {"policies": [{"effect": "Allow", "actions": [{"base": 1, "path": {}, "method": []}]}]},
        {"policies": [{"effect": 1e308, "actions": [None], "resources": [None]}]},
        {"max_token_days": 0},
        {"max_token_days": 10**30},
        {"max_token_days": "many"},
        {"description": 5},
        {"description": "x" * 2_001},
        [],
        None,
    ],
)
def test_a_change_of_a_role_that_makes_no_sense_changes_nothing(cast: Cast, change: Any):
    role = Role.objects.get(name=POOL_ROLE)
    before = (role.policies, role.max_token_days, role.description, role.name)

    refused(Rest(person="grace").patch(f"roles/{role.pk}", change), 400)

    role.refresh_from_db()
    assert (role.policies, role.max_token_days, role.description, role.name) == before


def test_deleting_takes_a_reason(cast: Cast):
    rest, role = Rest(person="grace"), Role.objects.get(name=POOL_ROLE)

    for query in ("", "?reason=", "?reason=%20", "?why=x", "?reason=x&force=1"):
        refused(rest.delete(f"roles/{role.pk}{query}"), 400)
        refused(rest.delete(f"pools/{cast.pool.pk}{query}"), 400)
    assert Role.objects.existing().filter(pk=role.pk).exists()


@pytest.mark.parametrize(
    ("person", "shown"), [("grace", True), ("olive", True), ("audrey", True), ("ada", False), ("mallory", False)]
)
def test_everybody_reads_which_roles_there_are_and_the_consoles_people_their_policies(
    cast: Cast, person: str, shown: bool
):
    answer = Rest(person=person).get("roles").json()["results"]

    assert {role["name"] for role in answer} == {*Role.objects.existing().values_list("name", flat=True)}
    assert all(("policies" in role) is shown for role in answer)


def test_a_service_token_reads_no_policies(cast: Cast):
    role = Role.objects.get(name=POOL_ROLE)

    assert "policies" not in Rest(cast.service_token().plaintext).get(f"roles/{role.pk}").json()


# Pools.


def test_a_pool_is_created_changed_and_deleted(cast: Cast):
    rest = Rest(person="grace")

    made = rest.post("pools", {"name": "arm", "quota_limit": 16, "online": True})
    number = made.json()["id"]
    changed = rest.patch(f"pools/{number}", {"maintenance": True})
    deleted = rest.delete(f"pools/{number}?reason=moved")

    assert (made.status_code, changed.status_code, deleted.status_code) == (201, 200, 204)
    assert (made.json()["status"], changed.json()["status"]) == ("ONLINE", "MAINTENANCE")
    assert changed.json()["quota_limit"] == 16
    refused(rest.get(f"pools/{number}"), 404)
    assert Pool.objects.get(pk=number).deleted_at


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"name": "other"},
        {"status": "ONLINE"},
        {"id": 1},
        {"quota_limit": -1},
        {"quota_limit": 2**31},
        {"quota_limit": 10**40},
        {"quota_limit": 1.5},
        {"quota_limit": "x"},
        {"online": "perhaps"},
        {"online": None},
        {"backend": ""},
        {"backend": ["x"]},
    ],
)
def test_a_change_of_a_pool_that_makes_no_sense_changes_nothing(cast: Cast, change: Any):
    refused(Rest(person="grace").patch(f"pools/{cast.pool.pk}", change), 400)
    assert not Event.objects.filter(action="pool.changed").exists()


def test_a_pool_of_a_name_that_is_taken_is_a_conflict(cast: Cast):
    refused(Rest(person="grace").post("pools", {"name": "my_pool"}), 409, "already exists")


def test_everybody_signed_in_reads_pools(cast: Cast):
    for rest in (Rest(person="mallory"), Rest(cast.service_token().plaintext)):
        assert rest.names("pools") == {"default", "my_pool"}
        assert rest.names("pools?name=my_pool") == {"my_pool"}
