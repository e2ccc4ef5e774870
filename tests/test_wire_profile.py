"""The profile as `osmo profile` reads and sets it (wire.md section 8)."""

import pytest

from osmo_portal.events.models import Event
from profiles.models import Settings
from tests.cast import POOL_ROLE, Cast, in_days
from tests.wire import Wire, refused

PATH = "/api/profile/settings"
pytestmark = pytest.mark.django_db


@pytest.fixture
def ada(cast: Cast) -> Wire:
    return Wire(cast.user_token().plaintext)


def test_the_profile_has_what_both_generations_of_clients_read(cast: Cast, ada):
    cast.ada.assign_role(POOL_ROLE, by=cast.by("grace"))

    assert ada.get(PATH).json() == {
        "profile": {
            "username": "ada",
            "email_notification": False,
            "slack_notification": False,
            "bucket": None,
            "pool": None,
        },
        "roles": ["osmo-user"],
        "pools": ["my_pool"],
        "token": {"name": "my-token", "expires_at": f"{in_days(31)}T00:00:00"},
    }


def test_pools_come_from_policies_and_never_from_names(cast: Cast, ada):
    assert ada.get(PATH).json()["pools"] == []


def test_reading_makes_no_row(ada):
    ada.get(PATH)

    assert not Settings.objects.exists()


def test_settings_are_stored_and_recorded(cast: Cast, ada):
    answer = ada.post(
        PATH,
        {"slack_notification": True, "bucket": "osmo", "pool": "my_pool", "unknown": 1, "email_notification": None},
    )

    assert (answer.status_code, answer.content) == (200, b"null")
    assert ada.get(PATH).json()["profile"] == {
        "username": "ada",
        "email_notification": False,
        "slack_notification": True,
        "bucket": "osmo",
        "pool": "my_pool",
    }
    event = Event.objects.get(action="settings.changed")
    assert (event.actor, event.via, event.changes["pool"]) == ("ada", "cli", [None, "my_pool"])


@pytest.mark.parametrize(("text", "value"), [("yes", True), ("False", False), (1, True), ("0", False)])
def test_booleans_come_as_words_too(ada, text, value):
    ada.post(PATH, {"email_notification": text})

    assert ada.get(PATH).json()["profile"]["email_notification"] is value


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            {"bucket": "nosuch"},
            'Bucket nosuch does not exist. Use the "osmo bucket list" CLI  to see all available buckets.',
        ),
        ({"pool": "nosuch"}, "Pool nosuch not found."),
    ],
)
def test_unknown_buckets_and_pools_are_refused(ada, body, message):
    refused(ada.post(PATH, {"slack_notification": True, **body}), message)
    assert not Settings.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[1]",
        b'"x"',
        b"\xff",
        b'{"pool": "a\\ud800"}',
        b'{"bucket": "a\\u0000"}',
        {"pool": 5},
        {"bucket": ["a"]},
        {"email_notification": "maybe"},
        {"slack_notification": {}},
    ],
)
def test_a_malformed_body_is_422_and_changes_nothing(ada, body):
    answer = ada.post(PATH, body)

    assert answer.status_code == 422
    assert answer.json()["message"]
    assert not Settings.objects.exists()


def test_an_empty_change_is_fine(ada):
    assert ada.post(PATH).content == b"null"


def test_the_username_in_the_body_changes_nothing(cast: Cast, ada):
    ada.post(PATH, {"username": "grace", "bucket": "osmo"})

    assert Settings.objects.get().user == cast.ada


def test_a_service_account_reads_its_profile_and_changes_nothing(cast: Cast):
    wire = Wire(cast.service_token().plaintext)

    assert wire.get(PATH).json()["pools"] == ["my_pool"]
    refused(
        wire.post(PATH, {"bucket": "osmo"}),
        "A service account reads its profile. Ask an administrator to change it.",
        403,
    )


def test_a_profile_read_costs_four_queries(ada, django_assert_num_queries):
    ada.get(PATH)

    with django_assert_num_queries(4):  # the caller's standing; settings; pools; the owner's roles
        ada.get(PATH)


@pytest.mark.parametrize("header", ["x-osmo-auth", "authorization"])
def test_both_headers_carry_the_jwt(cast: Cast, header):
    assert Wire(cast.user_token().plaintext, header=header).get(PATH).status_code == 200


def test_two_different_credentials_are_refused(cast: Cast, ada):
    other = Wire(cast.user_token(owner="mallory").plaintext).headers["x-osmo-auth"]

    answer = ada.get(PATH, authorization=f"Bearer {other}")

    refused(answer, "x-osmo-auth and Authorization hold different credentials. Send one.", 401)


def test_identity_headers_from_outside_never_count(cast: Cast, ada):
    answer = ada.get(PATH, x_osmo_user="grace", x_osmo_roles="osmo-admin")

    assert (answer.json()["profile"]["username"], answer.json()["roles"]) == ("ada", ["osmo-user"])
    assert Wire().get(PATH, x_osmo_user="grace", x_osmo_roles="osmo-admin").status_code == 401


def test_nobody_is_told_what_is_missing(cast: Cast):
    answer = Wire().get(PATH)

    refused(answer, "Jwt is missing", 401)
    assert answer["www-authenticate"].startswith("Bearer")


def test_a_browser_session_does_not_open_the_wire(cast: Cast, client):
    client.force_login(cast.grace)

    assert client.get(PATH).status_code == 401


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (lambda cast, token: token.revoke(by=cast.by("grace"), reason="x"), "Access Token has been revoked"),
        (lambda cast, token: token.suspend(by=cast.by("grace"), reason="x"), "Access Token is suspended"),
        (
            lambda cast, token: cast.ada.deactivate(by=cast.by("grace"), reason="x"),
            "The owner of this Access Token is not active",
        ),
        (
            lambda cast, token: cast.ada.remove_role("osmo-user", by=cast.by("grace")),
            "Access Token has no role left: its owner lost all that it carried",
        ),
    ],
)
def test_a_jwt_dies_with_what_stands_behind_it(cast: Cast, end, message):
    token = cast.user_token()
    wire = Wire(token.plaintext)
    assert wire.get(PATH).status_code == 200

    end(cast, token)

    refused(wire.get(PATH), message, 401)
