"""Clients that are too old, by the settings (wire.md section 2.3)."""

import base64

import pytest

from tests.cast import Cast
from tests.wire import Wire, refused

PATH = "/api/profile/settings"
pytestmark = pytest.mark.django_db


@pytest.fixture
def ada(cast: Cast) -> Wire:
    return Wire(cast.user_token().plaintext)


@pytest.mark.parametrize("version", ["0.0.1", "6.0.0", "6.3.1.abc123", "99.0.0"])
def test_without_settings_no_client_hears_of_its_version(ada, version):
    answer = ada.get(PATH, x_osmo_client_version=version)

    assert answer.status_code == 200
    assert "x-osmo-service-version" not in answer


@pytest.mark.parametrize(
    ("version", "told"),
    [("6.2.9", True), ("6.0.0.abc", True), ("6.3.1", False), ("6.3.1.abc", False), ("6.10.0", False)],
)
def test_an_older_client_is_told_the_latest_version(ada, settings, version, told):
    settings.CLI_LATEST_VERSION = "6.3.1"

    answer = ada.get(PATH, x_osmo_client_version=version)

    assert answer.status_code == 200
    assert answer.get("x-osmo-service-version") == ("6.3.1" if told else None)


@pytest.mark.parametrize(("latest", "newest"), [("6.9.0", "6.9.0"), ("", "6.2.0")])
def test_a_client_that_is_too_old_is_refused_and_changes_nothing(ada, settings, latest, newest):
    settings.CLI_MIN_VERSION, settings.CLI_LATEST_VERSION = "6.2.0", latest

    answer = ada.post(PATH, {"bucket": "osmo"}, x_osmo_client_version="5.0.0")

    assert (answer.status_code, answer.json()["error_code"]) == (400, "OSMO_ERROR")
    assert answer.json()["message"] == (
        "Your client is out of date. Client version is 5.0.0 "
        f"but the newest client version is {newest}. Please install a newer client."
    )
    assert ada.get(PATH, x_osmo_client_version="6.2.0").json()["profile"]["bucket"] is None


@pytest.mark.parametrize("version", ["", "6", "6.0", "6.0.0.", "6.0.x", "-6.0.0", "6.0.0.a b", "٦.0.0", "9" * 5_000])
def test_what_is_no_version_is_told_so(ada, version):
    message = "x-osmo-client-version: Version should be of the format major.minor.revision"

    refused(ada.get(PATH, x_osmo_client_version=version), message, 422)


def test_who_says_no_version_is_asked_for_none(ada, settings):
    settings.CLI_MIN_VERSION = "6.2.0"
    del ada.headers["x-osmo-client-version"]

    assert ada.get(PATH).status_code == 200


def test_a_stranger_is_told_of_no_version(cast: Cast, settings):
    settings.CLI_MIN_VERSION = settings.CLI_LATEST_VERSION = "9.0.0"

    answer = Wire().get(PATH)

    refused(answer, "Jwt is missing", 401)
    assert "x-osmo-service-version" not in answer


def test_public_routes_are_open_to_every_version(settings):
    settings.CLI_MIN_VERSION = "9.0.0"

    assert Wire().get("/api/version").status_code == 200
    assert Wire().get("/client/version").status_code == 200


def told(answer) -> list[str]:
    return base64.b64decode(answer.headers.get("x-osmo-warning", ""), validate=True).decode("ascii").splitlines()


def test_newer_clients_hear_of_the_latest_version_in_the_header_that_they_print(ada, settings):
    assert told(ada.get(PATH, x_osmo_client_version="6.2.9")) == []
    settings.CLI_LATEST_VERSION = "6.3.1"

    assert told(ada.get(PATH, x_osmo_client_version="6.2.9")) == [
        "WARNING: New client 6.3.1 available.",
        "Current version: 6.2.9.",
        "Please update by running the install command in the documentation.",
    ]
    assert told(ada.get(PATH, x_osmo_client_version="6.3.1")) == []


def test_the_end_of_the_token_is_told_below_it_also_with_a_refusal(cast: Cast, settings):
    settings.CLI_LATEST_VERSION = "6.3.1"
    wire = Wire(cast.user_token(name="t3", days=2).plaintext)

    answer = wire.delete("/api/auth/access_token/user/nothing", x_osmo_client_version="6.2.9")

    assert answer.status_code == 400
    assert [line.split(" ")[0] for line in told(answer)] == ["WARNING:", "Current", "Please", "WARNING:"]
    assert "t3 is expiring" in told(answer)[3]
