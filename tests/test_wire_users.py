"""Users and their roles as `osmo user` handles them: what stands behind the answers (wire.md section 7)."""

import json

import pytest

from osmo_portal.events.models import Event
from profiles.models import Kind, Role, User
from tests import dump
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast
from tests.wire import Wire, refused
from tokens.models import AccessToken

USERS, ROLES = "/api/auth/user", "/api/auth/roles"
pytestmark = pytest.mark.django_db


@pytest.fixture
def root(cast: Cast) -> Wire:
    return Wire(cast.administrator_token().plaintext, header="authorization")


def ids(answer) -> list[str]:
    return [user["id"] for user in answer.json()["users"]]


@pytest.mark.parametrize(
    ("pattern", "username", "kind"),
    [
        ("@", "ann@example.org", Kind.PERSON),
        ("@", "nightly", Kind.SERVICE),
        ("^p-", "p-ann", Kind.PERSON),
        ("^p-", "ann@p-example.org", Kind.SERVICE),
    ],
)
def test_the_id_decides_between_a_person_and_a_service_account(cast: Cast, root, settings, pattern, username, kind):
    settings.PERSON_ID_PATTERN = pattern

    assert root.post(USERS, {"id": username, "roles": [PLAIN_ROLE]}).status_code == 200

    user = User.objects.get(username=username)
    person = kind == Kind.PERSON
    assert (user.kind, user.has_usable_password()) == (kind, False)
    assert user.accountable == (None if person else cast.grace)
    assert user.held_role_names == ({PLAIN_ROLE, "osmo-user"} if person else {PLAIN_ROLE})
    assert Event.objects.get(action="user.created", object_id=user.pk).via == "cli"


@pytest.mark.parametrize(
    "body",
    [
        {"id": "erin", "roles": [PLAIN_ROLE, "nosuch"]},
        {"id": "erin", "roles": ["osmo-default"]},
        {"id": "Robot"},
        {"id": "a" * 255},
        {"id": "-erin"},
        {"id": "er\nin"},
        {"id": "erin\n"},
        {"id": ""},
        {"id": "éva"},
        b'{"id": "a\\u0000b"}',
        b'{"id": "a\\ud800b"}',
        {"id": 5},
        {"id": None},
        {"id": ["erin"]},
        {"id": "erin", "roles": "osmo-user"},
        {"id": "erin", "roles": [5]},
        {"id": "erin", "roles": {"a": 1}},
        b"[]",
        b"{",
        b"[" * 50_000,
    ],
    ids=lambda body: (body.decode() if isinstance(body, bytes) else json.dumps(body))[:40],
)
def test_a_user_that_cannot_be_made_leaves_nothing_behind(root, body):
    before = dump.tables()

    answer = root.post(USERS, body)

    assert answer.status_code in {400, 422}
    assert answer.json()["message"]
    assert dump.tables() == before


def test_the_newest_users_come_first_and_pages_neither_repeat_nor_miss(cast: Cast, root):
    everybody = ids(root.get(USERS))

    pages = [ids(root.get(f"{USERS}?count=2&start_index={start}")) for start in (1, 3, 5, 7)]

    assert everybody[0] == "root-bot"
    assert [name for page in pages for name in page] == everybody
    assert root.get(f"{USERS}?count=2&start_index=3").json()["total_results"] == len(everybody) == 7


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("count=0", 1),
        ("count=-5", 1),
        ("count=99999999", 7),
        ("start_index=0", 7),
        ("start_index=-3", 7),
        ("start_index=999999999999999999", 0),
        ("start_index=8", 0),
    ],
)
def test_numbers_out_of_bounds_are_brought_within_them(root, query, found):
    answer = root.get(f"{USERS}?{query}").json()

    assert (len(answer["users"]), answer["items_per_page"], answer["total_results"]) == (found, found, 7)


@pytest.mark.parametrize("number", ["x", "", "1.5", "1e3", "%20", "١", "1_0", "9" * 5_000])
@pytest.mark.parametrize("name", ["count", "start_index"])
def test_what_is_no_number_is_422(root, name, number):
    refused(root.get(f"{USERS}?{name}={number}"), f"{name} must be a number.", 422)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("id_prefix=ro", {"robot", "root-bot"}),
        ("id_prefix=RO", {"robot", "root-bot"}),
        ("id_prefix=%25", set()),
        ("id_prefix=_obot", set()),
        (f"roles={POOL_ROLE}", {"robot"}),
        (f"roles={POOL_ROLE}&roles=osmo-admin", {"robot", "grace", "root-bot"}),
        ("roles=nosuch", set()),
        ("id_prefix=ro&roles=osmo-admin", {"root-bot"}),
        ("unknown=1&id_prefix=ada", {"ada"}),
    ],
)
def test_users_are_found_by_what_their_id_begins_with_and_by_any_of_roles(root, query, found):
    assert set(ids(root.get(f"{USERS}?{query}"))) == found


def test_a_deleted_user_is_gone_with_its_tokens_and_its_name_is_free(cast: Cast, root):
    secret = cast.service_token().plaintext

    assert root.delete(f"{USERS}/robot").content == b"null"

    refused(root.get(f"{USERS}/robot"), "User robot not found")
    refused(Wire().post("/api/auth/jwt/access_token", {"token": secret}), "Access Token has been revoked")
    assert AccessToken.objects.get(name="ci").ended_at
    assert root.post(USERS, {"id": "robot"}).status_code == 200


def test_the_last_administrator_is_neither_deleted_nor_robbed(cast: Cast, root):
    message = "This is the last active administrator. Make another one first"

    refused(root.delete(f"{USERS}/grace"), message)
    refused(root.delete(f"{USERS}/grace/roles/osmo-admin"), message)
    assert User.objects.get(username="grace").is_administrator


def test_a_role_that_is_held_stays_as_it_was_first_assigned(cast: Cast, root):
    first = root.post(f"{USERS}/ada/roles", {"role_name": PLAIN_ROLE}).json()

    again = root.post(f"{USERS}/ada/roles", {"role_name": PLAIN_ROLE}).json()

    assert again == first
    assert Event.objects.filter(action="role.assigned", object_id=cast.ada.pk, via="cli").count() == 1


def test_a_removed_role_leaves_the_tokens_at_once_and_given_again_returns_to_none(cast: Cast, root):
    secret = cast.service_token().plaintext

    assert root.delete(f"{USERS}/robot/roles/{POOL_ROLE}").content == b"null"
    root.post(f"{USERS}/robot/roles", {"role_name": POOL_ROLE})

    answer = Wire().post("/api/auth/jwt/access_token", {"token": secret})
    refused(answer, "Access Token has no role left: its owner lost all that it carried")


@pytest.mark.parametrize("path", ["ada/roles/osmo-admin", "ghost/roles/osmo-user", "ada/roles/nosuch", "ada/roles/%20"])
def test_removing_what_is_not_held_says_nothing_and_changes_nothing(root, path):
    before = dump.tables()

    assert root.delete(f"{USERS}/{path}").content == b"null"

    assert dump.tables() == before


def test_a_role_whose_name_holds_a_slash_is_reached(cast: Cast, root):
    Role.create(by=cast.by("grace"), name="team/a")

    assert root.post(f"{ROLES}/team/a/users", {"user_ids": ["ada"]}).json()["assigned"] == ["ada"]
    assert [user["user_id"] for user in root.get(f"{ROLES}/team/a/users").json()["users"]] == ["ada"]
    assert root.delete(f"{USERS}/ada/roles/team/a").content == b"null"
    assert root.get(f"{ROLES}/team/a/users").json()["users"] == []


def test_many_users_get_a_role_and_each_is_told_of(cast: Cast, root):
    asked = ["ada", "robot", "ghost", "mallory", "ADA", "bad name"]

    answer = root.post(f"{ROLES}/{POOL_ROLE}/users", {"user_ids": asked}).json()

    assert answer == {
        "role_name": POOL_ROLE,
        "assigned": ["ada", "mallory"],
        "already_assigned": ["robot", "ADA"],
        "failed": ["ghost", "bad name"],
    }
    assert set(User.objects.holding(POOL_ROLE).values_list("username", flat=True)) == {"ada", "mallory", "robot"}


def test_what_counts_for_everybody_is_assigned_to_nobody(root):
    answer = root.post(f"{ROLES}/osmo-default/users", {"user_ids": ["ada"]})

    assert answer.json()["failed"] == ["ada"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"user_ids": ["ada", " "]}, "User ID must not be empty"),
        ({"user_ids": ["ada"] * 1_001}, "Assign a role to at most 1000 users at once"),
        ({}, "user_ids must be a list of texts."),
        ({"user_ids": "ada"}, "user_ids must be a list of texts."),
        ({"user_ids": ["ada", None]}, "user_ids must be a list of texts."),
    ],
    ids=["blank", "too many", "missing", "text", "null"],
)
def test_a_list_that_is_wrong_anywhere_assigns_to_nobody(root, body, message):
    before = dump.tables()

    answer = root.post(f"{ROLES}/{POOL_ROLE}/users", body)

    refused(answer, message, 422 if message.startswith("user_ids") else 400)
    assert dump.tables() == before


CALLS = [
    ("GET", USERS, None),
    ("POST", USERS, {"id": "erin"}),
    ("GET", f"{USERS}/robot", None),
    ("DELETE", f"{USERS}/robot", None),
    ("GET", f"{USERS}/robot/roles", None),
    ("POST", f"{USERS}/robot/roles", {"role_name": "osmo-admin"}),
    ("DELETE", f"{USERS}/robot/roles/{POOL_ROLE}", None),
    ("GET", f"{ROLES}/osmo-admin/users", None),
    ("POST", f"{ROLES}/osmo-admin/users", {"user_ids": ["robot"]}),
]


@pytest.mark.parametrize("who", ["ada", "mallory", "grace", "olive", "audrey", "robot", "lost it"])
def test_users_are_for_administrators_alone(cast: Cast, who):
    """Also not for an administrator's, an operator's or an auditor's user token, nor for the account itself."""
    if who == "lost it":
        token = cast.administrator_token()
        token.owner.assign_role(PLAIN_ROLE, by=cast.by("grace"))
        token = AccessToken.issue(
            by=cast.by("grace"), owner=token.owner, name="weak", expires=token.expires_at.date(), roles=[PLAIN_ROLE]
        )
    else:
        token = cast.service_token() if who == "robot" else cast.user_token(owner=who)
    wire = Wire(token.plaintext, header="authorization")
    before = dump.tables()

    for method, path, body in CALLS:
        refused(
            wire.call(method, path, body),
            "Only an administrator may list, create, change and delete users.",
            403,
        )
    assert dump.tables() == before


def test_a_list_of_users_costs_three_queries(root, django_assert_num_queries):
    root.get(USERS)

    with django_assert_num_queries(3):  # the caller's standing; the page; how many there are
        root.get(USERS)
