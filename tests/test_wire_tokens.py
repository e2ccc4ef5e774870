"""Tokens as the 6.0 and 6.1 clients handle them (wire.md section 5)."""

import pytest

from osmo_portal.events.models import Event
from profiles.models import User
from profiles.names import TOKEN_NAME
from tests.cast import POOL_ROLE, Cast, in_days
from tests.wire import Wire, refused
from tokens.models import AccessToken

BASE = "/api/auth/access_token"
ONLY_ADMINISTRATORS = "Only an administrator may list, issue and delete service tokens."
pytestmark = pytest.mark.django_db


@pytest.fixture
def ada(cast: Cast) -> Wire:
    return Wire(cast.user_token(days=60).plaintext)


@pytest.fixture
def root(cast: Cast) -> Wire:
    return Wire(cast.administrator_token().plaintext)


def test_a_person_creates_a_user_token(ada):
    answer = ada.post(f"{BASE}/user/laptop?expires_at={in_days(31)}&description=my+laptop")

    assert answer.status_code == 200
    token = AccessToken.objects.get(name="laptop")
    assert isinstance(answer.json(), str)
    assert Wire(answer.json()).get(f"{BASE}/user").status_code == 200
    assert (token.owner.username, token.role_names, token.description) == ("ada", ["osmo-user"], "my laptop")
    assert answer["cache-control"] == "no-store"


def test_the_list_shows_what_the_clients_read(ada):
    element = {
        "user_name": "ada",
        "token_name": "my-token",
        "expires_at": f"{in_days(60)}T00:00:00",
        "description": "",
        "access_type": "USER",
        "roles": ["osmo-user"],
    }

    assert ada.get(f"{BASE}/user").json() == [element]
    assert ada.get(BASE).json() == [element]


def test_the_list_is_sorted_by_name(ada):
    for name in ("zeta", "alpha"):
        ada.post(f"{BASE}/user/{name}?expires_at={in_days(9)}")

    assert [token["token_name"] for token in ada.get(f"{BASE}/user").json()] == ["alpha", "my-token", "zeta"]


def test_an_expired_token_stays_listed_and_keeps_its_name(cast: Cast, ada, time_machine_days):
    ada.post(f"{BASE}/user/short?expires_at={in_days(1)}")

    time_machine_days(2)
    later = Wire(cast.user_token(name="fresh").plaintext)

    assert "short" in [token["token_name"] for token in later.get(f"{BASE}/user").json()]
    refused(later.post(f"{BASE}/user/short?expires_at={in_days(9)}"), "Token name short already exists.")
    assert later.delete(f"{BASE}/user/short").content == b"null"
    assert later.post(f"{BASE}/user/short?expires_at={in_days(9)}").status_code == 200


def test_a_deleted_token_is_gone_from_the_list_but_not_from_the_records(ada):
    ada.post(f"{BASE}/user/x?expires_at={in_days(9)}")

    answer = ada.delete(f"{BASE}/user/x")

    assert (answer.status_code, answer.content) == (200, b"null")
    assert [token["token_name"] for token in ada.get(f"{BASE}/user").json()] == ["my-token"]
    record = AccessToken.objects.get(name="x")
    assert (record.ended_by, record.state()) == (User.objects.get(username="ada"), "revoked")
    assert Event.objects.filter(action="token.revoked", object_id=record.pk, via="cli").exists()


def test_deleting_what_is_not_there_is_400(ada):
    refused(ada.delete(f"{BASE}/user/nope"), "User access token nope does not exist.")


def test_a_foreign_token_is_as_absent_as_one_that_is_not_there(cast: Cast, ada):
    cast.user_token(owner="mallory", name="theirs")

    refused(ada.delete(f"{BASE}/user/theirs"), "User access token theirs does not exist.")
    assert AccessToken.objects.get(name="theirs").ended_at is None


@pytest.mark.parametrize(
    ("name", "query", "message"),
    [
        ("9bad", "expires_at=notadate", f"Token name 9bad must match regex {TOKEN_NAME}"),
        (
            "ok",
            "expires_at=notadate",
            "Invalid date format notadate. Date must be in YYYY-MM-DD format (e.g. 2025-12-31)",
        ),
        (
            "ok",
            "expires_at=2026-02-30",
            "Invalid date format 2026-02-30. Date must be in YYYY-MM-DD format (e.g. 2025-12-31)",
        ),
        ("ok", "expires_at={today}", "Expiration date must be past the current date ({today})"),
        ("ok", "expires_at=1970-01-01", "Expiration date must be past the current date ({today})"),
        ("ok", "expires_at=9999-12-31", "Access token cannot last longer than 365d"),
        ("my-token", "expires_at={soon}", "Token name my-token already exists."),
        ("ok", "expires_at={soon}&roles=osmo-my_pool", "Assigning roles to user access tokens is not supported."),
        ("user", "expires_at={soon}", '"user" cannot name a token: it is part of an address. Choose another.'),
    ],
)
def test_what_is_wrong_with_a_user_token_is_told_in_order(ada, name, query, message):
    values = {"today": in_days(0), "soon": in_days(9)}

    answer = ada.post(f"{BASE}/user/{name}?{query.format(**values)}")

    refused(answer, message.format(**values))
    assert AccessToken.objects.count() == 1


def test_one_digit_months_pass_as_on_the_released_servers(cast: Cast, root):
    year = in_days(0).year + 1

    assert root.post(f"{BASE}/service/bot?expires_at={year}-1-5&roles={POOL_ROLE}").status_code == 200


def test_a_missing_date_is_422(ada):
    assert ada.post(f"{BASE}/user/x").status_code == 422


def test_a_token_cannot_make_one_that_outlives_it(ada):
    answer = ada.post(f"{BASE}/user/longer?expires_at={in_days(61)}")

    assert answer.status_code == 400
    assert str(in_days(60)) in answer.json()["message"]
    assert ada.post(f"{BASE}/user/equal?expires_at={in_days(60)}").status_code == 200


def test_an_administrator_creates_the_account_its_roles_and_the_token_at_once(cast: Cast, root):
    answer = root.post(f"{BASE}/service/trainer?expires_at={in_days(31)}&roles={POOL_ROLE}&roles=team-reader")

    account = User.objects.get(username="trainer")
    assert answer.status_code == 200
    assert account.held_role_names == {POOL_ROLE, "team-reader"}
    assert account.accountable == cast.grace  # the accountable person of the service account that called
    assert AccessToken.objects.get(owner=account).role_names == [POOL_ROLE, "team-reader"]
    assert not account.has_usable_password()


def test_a_refused_service_token_leaves_no_half_made_account(root):
    answer = root.post(f"{BASE}/service/trainer?expires_at=9999-12-31&roles={POOL_ROLE}")

    assert answer.status_code == 400
    assert not User.objects.filter(username="trainer").exists()


def test_a_service_token_of_an_existing_account_carries_the_roles_asked_for(cast: Cast, root):
    answer = root.post(f"{BASE}/service/robot?expires_at={in_days(31)}&roles=team-reader")

    assert answer.status_code == 200
    assert AccessToken.objects.get(name="robot").role_names == ["team-reader"]
    assert User.objects.get(username="robot").accountable == cast.ada


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("9bad?expires_at=x&roles=nope", "Invalid role: nope"),
        ("9bad?expires_at=x&roles=osmo-my_pool&roles=nope&roles=other", "Invalid role: nope"),
        ("9bad?expires_at=x&roles=osmo-my_pool", f"Token name 9bad must match regex {TOKEN_NAME}"),
        ("ok?expires_at=x&roles=osmo-my_pool&roles=osmo-my_pool", "Role osmo-my_pool is listed twice."),
        ("ok?expires_at=2999-01-01", "At least one role must be specified for the access token."),
        (
            "ada?expires_at={soon}&roles=osmo-my_pool",
            "ada is the name of a person. Choose another name for the service token.",
        ),
        (
            "ADA?expires_at={soon}&roles=osmo-my_pool",
            "ADA is the name of a person. Choose another name for the service token.",
        ),
        ("ok?expires_at={soon}&roles=osmo-default", "osmo-default counts for everybody and is assigned to nobody."),
    ],
)
def test_what_is_wrong_with_a_service_token_is_told_in_order(root, path, message):
    before = User.objects.count()

    refused(root.post(f"{BASE}/service/{path.format(soon=in_days(9))}"), message)

    assert User.objects.count() == before
    assert AccessToken.objects.count() == 1


def test_the_strictest_role_bounds_the_lifetime(cast: Cast, root):
    User.objects.get(username="robot").held_roles().get(name=POOL_ROLE).change(by=cast.by("grace"), max_token_days=30)

    answer = root.post(f"{BASE}/service/bot?expires_at={in_days(31)}&roles={POOL_ROLE}&roles=team-reader")

    refused(answer, "Access token cannot last longer than 30d")


def test_the_service_list_is_for_administrators_and_shows_all_service_tokens(cast: Cast, root):
    cast.service_token()

    names = [(token["user_name"], token["access_type"]) for token in root.get(f"{BASE}/service").json()]

    assert names == [("robot", "SERVICE"), ("root-bot", "SERVICE")]


def test_deleting_a_service_token_leaves_the_account_and_the_person_of_a_like_name(cast: Cast, root):
    root.post(f"{BASE}/service/trainer?expires_at={in_days(31)}&roles={POOL_ROLE}")

    assert root.delete(f"{BASE}/service/trainer").content == b"null"

    assert User.objects.get(username="trainer").is_active
    refused(root.delete(f"{BASE}/service/trainer"), "Service access token trainer does not exist.")
    refused(root.delete(f"{BASE}/service/ada"), "Service access token ada does not exist.")


@pytest.mark.parametrize(
    "call", ["GET service", "POST service/x?expires_at={soon}&roles=osmo-my_pool", "DELETE service/ci"]
)
@pytest.mark.parametrize("who", ["person", "administrator by user token", "service account", "operator by user token"])
def test_service_tokens_are_an_administrators_through_the_cli(cast: Cast, who, call):
    secrets = {
        "person": lambda: cast.user_token(),
        "administrator by user token": lambda: cast.user_token(owner="grace"),
        "operator by user token": lambda: cast.user_token(owner="olive"),
        "service account": lambda: cast.service_token(name="mine"),
    }
    wire = Wire(secrets[who]().plaintext)
    cast.service_token()
    method, path = call.format(soon=in_days(9)).split()

    refused(wire.call(method, f"{BASE}/{path}"), ONLY_ADMINISTRATORS, 403)
    assert AccessToken.objects.get(name="ci").ended_at is None


def test_a_service_account_issues_and_deletes_nothing(cast: Cast):
    wire = Wire(cast.service_token().plaintext)

    assert wire.post(f"{BASE}/user/x?expires_at={in_days(9)}").status_code == 403
    assert wire.delete(f"{BASE}/user/ci").status_code == 403
    assert [token["token_name"] for token in wire.get(f"{BASE}/user").json()] == ["ci"]


def test_an_administrators_service_account_has_no_user_tokens(root):
    assert root.post(f"{BASE}/user/x?expires_at={in_days(9)}").status_code == 400


def test_the_token_of_a_secret_is_told_to_its_holder(cast: Cast, ada):
    secret = cast.user_token(name="other").plaintext

    assert ada.get(f"{BASE}?access_token={secret}").json()["token_name"] == "other"
    refused(ada.get(f"{BASE}?access_token=osmo_nonsense"), "Access Token is invalid")
    assert Wire().get(f"{BASE}?access_token={secret}").status_code == 401


def test_a_list_of_a_thousand_tokens_costs_five_queries(cast: Cast, django_assert_num_queries):
    from tests.bulk import many_tokens

    many_tokens(cast.ada, 1_000)
    wire = Wire(cast.user_token().plaintext)
    wire.get(f"{BASE}/user")

    with django_assert_num_queries(5):  # the caller's standing; the tokens; their owner; their last uses; their roles
        assert len(wire.get(f"{BASE}/user").json()) == 1_001


def test_an_auditor_changes_nothing_by_token_either(cast: Cast):
    wire = Wire(cast.user_token(owner="audrey", name="mine").plaintext)

    assert wire.get(f"{BASE}/user").status_code == 200
    assert wire.post(f"{BASE}/user/x?expires_at={in_days(9)}").status_code == 403
    assert wire.delete(f"{BASE}/user/mine").status_code == 403
    assert wire.post("/api/profile/settings", {"bucket": "osmo"}).status_code == 403


def test_a_service_token_is_deleted_in_whatever_case_it_was_made(root):
    account = User.objects.get(username="robot")

    root.post(f"{BASE}/service/ROBOT?expires_at={in_days(9)}&roles={POOL_ROLE}")

    assert AccessToken.objects.get(owner=account).name == "ROBOT"
    assert root.delete(f"{BASE}/service/ROBOT").content == b"null"
