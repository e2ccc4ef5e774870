"""The exchange as the clients see it (wire.md section 4.1)."""

import json
import logging
import time

import jwt as pyjwt
import pytest

from osmo_portal.events.models import Event
from tests.cast import Cast
from tests.wire import Wire, refused
from tokens import exchange as core

PATH = "/api/auth/jwt/access_token"
pytestmark = pytest.mark.django_db


def test_older_clients_send_the_secret_in_the_address(cast: Cast):
    secret = cast.user_token().plaintext

    answer = Wire().get(f"{PATH}?access_token={secret}")

    assert answer.status_code == 200
    assert list(answer.json()) == ["token", "expires_at", "error"]
    assert answer.json()["error"] is None
    assert abs(answer.json()["expires_at"] - time.time() - 300) < 5


def test_newer_clients_send_it_in_the_body(cast: Cast):
    secret = cast.user_token().plaintext

    assert Wire().post(PATH, {"token": secret}).status_code == 200


def test_a_secret_may_stand_in_the_authorization_header(cast: Cast):
    secret = cast.user_token().plaintext

    assert Wire().get(PATH, authorization=f"Bearer {secret}").status_code == 200
    assert Wire().post(PATH, authorization=f"Bearer {secret}").status_code == 200


def test_the_address_form_is_switched_off_by_one_setting(cast: Cast, settings):
    settings.EXCHANGE_BY_QUERY = False
    secret = cast.user_token().plaintext

    for path in (PATH, "/api/auth/access_token"):
        answer = Wire(secret).get(f"{path}?access_token={secret}")
        assert answer.status_code == 422
        assert secret not in answer.content.decode()


def test_the_jwt_says_what_osmo_reads(cast: Cast):
    token = cast.service_token()

    text = Wire().post(PATH, {"token": token.plaintext}).json()["token"]
    claims = pyjwt.decode(text, options={"verify_signature": False})

    assert (
        claims.items()
        >= {
            "iss": "osmo",
            "aud": "osmo",
            "unique_name": "robot",
            "roles": ["osmo-my_pool"],
            "osmo_token_name": "ci",
            "sub": str(cast.robot.pk),
        }.items()
    )
    assert claims["exp"] - claims["iat"] == 300
    assert "name" not in claims
    assert pyjwt.get_unverified_header(text).items() >= {"alg": "ES256", "typ": "at+jwt"}.items()


@pytest.mark.parametrize(
    "secret",
    ["", "x", "osmo_", "é" * 54, "osmo_" + "0" * 49, "0" * 64, "A" * 43, "osmo_" + "a" * 10_000, "null", "0\n" * 30],
)
def test_every_stranger_hears_the_same(cast: Cast, secret):
    refused(Wire().post(PATH, {"token": secret}), "Access Token is invalid")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"osmo"',
        b"{}",
        b'{"token": null}',
        b'{"token": 5}',
        b"\xff\xfe",
        b'{"token": ["a"]}',
        b"[" * 100_000,
    ],
)
def test_a_body_without_a_secret_is_told_so(body):
    answer = Wire().post(PATH, body)

    assert answer.status_code == 422
    assert sorted(answer.json()) == ["error_code", "message", "workflow_id"]


def test_a_missing_parameter_is_422():
    assert Wire().get(PATH).status_code == 422


def test_only_the_proven_holder_hears_why(cast: Cast):
    token = cast.user_token()
    token.revoke(by=cast.by("grace"), reason="left the team")

    refused(Wire().post(PATH, {"token": token.plaintext}), "Access Token has been revoked")
    refused(Wire().post(PATH, {"token": token.plaintext[:-1] + "!"}), "Access Token is invalid")


def test_a_body_over_the_limit_is_refused(cast: Cast):
    answer = Wire().post(PATH, {"token": "x" * 300_000})

    assert answer.status_code in {400, 413}
    assert "x" * 100 not in answer.content.decode()


def test_one_wrong_character_is_refused_without_a_query(cast: Cast, django_assert_num_queries):
    secret = cast.user_token().plaintext
    wrong = secret[:10] + ("a" if secret[10] != "a" else "b") + secret[11:]

    with django_assert_num_queries(0):
        refused(Wire().post(PATH, {"token": wrong}), "Access Token is invalid")


def test_the_exchange_costs_one_query_and_a_second_one_when_last_use_is_due(cast: Cast, django_assert_num_queries):
    secret = cast.user_token().plaintext
    Wire().get("/api/auth/keys")  # the signing key is read once a process
    wire = Wire()

    with django_assert_num_queries(2):  # the standing of the secret; its last use
        wire.post(PATH, {"token": secret})
    with django_assert_num_queries(1):  # the standing of the secret
        wire.post(PATH, {"token": secret})


def test_a_successful_exchange_writes_no_event(cast: Cast):
    secret = cast.user_token().plaintext
    Wire().get("/api/auth/keys")
    before = Event.objects.count()

    Wire().post(PATH, {"token": secret})

    assert Event.objects.count() == before


def test_no_log_line_holds_the_secret(cast: Cast, caplog):
    caplog.set_level(logging.DEBUG)
    token = cast.user_token()
    Wire().get(f"{PATH}?access_token={token.plaintext}")
    token.revoke(by=cast.by("grace"), reason="gone")

    Wire().get(f"{PATH}?access_token={token.plaintext}")
    Wire().get(f"{PATH}/nowhere?access_token={token.plaintext}")

    said = [line for line in caplog.messages if not line.startswith("(0.")]  # the SQL log holds digests, not secrets
    assert said
    assert not [line for line in caplog.messages if token.plaintext in line or token.plaintext[5:30] in line]


def test_an_unexpected_error_tells_nothing_of_the_secret(cast: Cast, monkeypatch, caplog):
    secret = cast.user_token().plaintext
    client = Wire().client
    client.raise_request_exception = False
    monkeypatch.setattr(core, "proven", lambda *_, **__: 1 / 0)

    answer = client.post(PATH, json.dumps({"token": secret}), content_type="application/json")

    assert answer.status_code == 500
    assert "request id" in answer.json()["message"]
    assert secret not in answer.content.decode() + caplog.text
