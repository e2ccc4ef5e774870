"""What the wire answers to anybody (wire.md section 4)."""

from datetime import timedelta

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from tests.cast import Cast
from tests.wire import Wire, refused
from tokens.models.signing_key import OVERLAP

pytestmark = pytest.mark.django_db


def test_version_is_told_as_strings():
    assert Wire().get("/api/version").json() == {"major": "6", "minor": "0", "revision": "0", "hash": ""}


def test_the_client_version_is_plain_text_where_that_is_asked_for():
    assert Wire().get("/client/version").json()["major"] == "6"
    assert Wire().get("/client/version", accept="text/plain").content == b"6.0.0"


def test_health_asks_for_nothing():
    assert Wire().get("/health").json() == {"status": "OK"}


def test_login_information_has_all_six_keys():
    assert sorted(Wire().get("/api/auth/login").json()) == [
        "browser_client_id",
        "browser_endpoint",
        "device_client_id",
        "device_endpoint",
        "logout_endpoint",
        "token_endpoint",
    ]


def test_a_double_slash_reaches_the_same_route():
    response = Wire().client.get("/health", PATH_INFO="//api/version")

    assert response.json()["major"] == "6"


def test_the_published_keys_verify_a_jwt_offline(cast: Cast):
    wire = Wire(cast.user_token().plaintext)
    text = wire.headers["x-osmo-auth"]
    (key,) = Wire().get("/api/auth/keys").json()["keys"]

    public = ECAlgorithm.from_jwk(key)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    claims = pyjwt.decode(text, public, algorithms=["ES256"], audience="osmo", issuer="osmo")

    assert key["kid"] == pyjwt.get_unverified_header(text)["kid"]
    assert "d" not in key
    assert claims["unique_name"] == "ada"
    assert claims["name"] == "Ada L."


def test_the_published_keys_may_be_kept_for_less_time_than_a_new_one_waits_to_sign():
    says = Wire().get("/api/auth/keys")["cache-control"]

    assert says == "public, max-age=300"
    assert timedelta(minutes=5) < OVERLAP


def test_an_unknown_route_is_404_with_a_message():
    refused(Wire().get("/api/nowhere"), "There is nothing at this address.", 404)


@pytest.mark.parametrize("path", ["/api/version", "/api/auth/keys", "/api/auth/login", "/health"])
def test_public_routes_change_nothing(path):
    response = Wire().post(path)

    assert response.status_code == 405
    assert "GET" in response["allow"]
