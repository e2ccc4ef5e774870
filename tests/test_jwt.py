"""JWTs: what they say, and every way of forging one that happened to somebody (S18–S23)."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from django.core import signing

from osmo_portal.events.actor import Actor
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast
from tokens import exchange, jwt, standing
from tokens.models import AccessToken, SigningKey

FAILS = "Jwt verification fails"


def of(token: AccessToken) -> str:
    return exchange.exchange(token.plaintext)[0]


def header(text: str) -> dict[str, Any]:
    return pyjwt.get_unverified_header(text)


def claims(text: str) -> dict[str, Any]:
    return pyjwt.decode(text, options={"verify_signature": False})


def resign(text: str, *, key: Any = None, algorithm: str = "ES256", **changes: Any) -> str:
    """The same JWT with other header fields (`h_…`) or claims, signed by our own key. None leaves one out."""
    head = {**header(text), **{name[2:]: value for name, value in changes.items() if name.startswith("h_")}}
    body = {**claims(text), **{name: value for name, value in changes.items() if not name.startswith("h_")}}
    key = key or SigningKey.objects.get(kid=header(text)["kid"]).load()
    head = {name: value for name, value in head.items() if value is not None and name != "alg"}
    return pyjwt.encode({k: v for k, v in body.items() if v is not None}, key, algorithm, headers=head)


def by_hand(head: dict[str, Any], body: dict[str, Any], sign: Callable[[bytes], bytes] = lambda data: b"") -> str:
    """A JWT that no library would make."""
    message = ".".join(_base64(json.dumps(part).encode()) for part in (head, body))
    return f"{message}.{_base64(sign(message.encode()))}"


def signature_of(key: ec.EllipticCurvePrivateKey) -> Callable[[bytes], bytes]:
    algorithm = pyjwt.algorithms.ECAlgorithm(pyjwt.algorithms.ECAlgorithm.SHA256)
    return lambda data: algorithm.sign(data, key)


def _hmac(secret: bytes, method: Any, data: bytes) -> bytes:
    return hmac.new(secret, data, method).digest()


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def assert_refused(text: str, message: str = FAILS) -> None:
    with pytest.raises(jwt.BadToken) as refusal:
        jwt.verify(text)
    assert str(refusal.value) == message


# What a JWT says.


def test_it_says_who_with_which_roles_and_for_how_long(cast: Cast, time_machine: Any) -> None:
    tomorrow = datetime.now(tz=UTC) + timedelta(days=1)
    time_machine.move_to(tomorrow.replace(microsecond=999_999), tick=False)
    now = int(time.time())
    token = cast.service_token(roles=[POOL_ROLE, PLAIN_ROLE])

    text, expires = exchange.exchange(token.plaintext)

    said = claims(text)
    assert len(said.pop("jti")) == 22
    assert said == {
        "iss": "osmo",
        "aud": "osmo",
        "iat": now,
        "nbf": now,
        "exp": now + 300,
        "sub": str(cast.robot.pk),
        "unique_name": "robot",
        "roles": sorted([POOL_ROLE, PLAIN_ROLE]),
        "osmo_token_name": "ci",
        "osmo_token_id": token.pk,
        "osmo_secret_id": token.secrets.get().pk,
    }
    assert expires == now + 300
    assert header(text) == {"alg": "ES256", "typ": "at+jwt", "kid": SigningKey.objects.get().kid}


def test_it_says_the_display_name_where_there_is_one(cast: Cast) -> None:
    assert claims(of(cast.user_token("ada")))["name"] == "Ada L."
    assert "name" not in claims(of(cast.user_token("mallory")))


def test_no_two_are_the_same(cast: Cast) -> None:
    token = cast.user_token()

    assert len({claims(of(token))["jti"] for _ in range(10)}) == 10


def test_it_never_outlives_its_token(cast: Cast, time_machine: Any) -> None:
    token = cast.user_token(days=1)
    time_machine.move_to(token.expires_at - timedelta(seconds=10), tick=False)

    text, expires = exchange.exchange(token.plaintext)

    assert claims(text)["exp"] == expires == int(token.expires_at.timestamp())


def test_it_never_outlives_a_secret_in_its_grace(cast: Cast, time_machine: Any) -> None:
    token = cast.user_token()
    time_machine.move_to(token.issued_at, tick=False)
    token.rotate(by=cast.by("ada"), grace=timedelta(seconds=60))

    text = of(token)

    assert claims(text)["exp"] == int((token.issued_at + timedelta(seconds=60)).timestamp())


def test_it_never_outlives_a_lowered_maximum(cast: Cast, time_machine: Any, settings: Any) -> None:
    token = cast.user_token()
    settings.MAX_TOKEN_DAYS = 10
    end = token.issued_at + timedelta(days=10)
    time_machine.move_to(end - timedelta(seconds=10), tick=False)

    assert claims(of(token))["exp"] == int(end.timestamp())


def test_it_is_verified(cast: Cast) -> None:
    text = of(cast.user_token())

    assert jwt.verify(text) == (claims(text), header(text)["kid"])


# S18: one algorithm.


def test_no_signature_is_refused(cast: Cast) -> None:
    text = of(cast.user_token())

    for algorithm in ("none", "None", "NONE", "", None):
        assert_refused(by_hand({**header(text), "alg": algorithm}, claims(text)))
    assert_refused(by_hand(header(text), claims(text)))
    assert_refused(text.rpartition(".")[0] + ".")


def test_the_public_key_is_no_shared_secret(cast: Cast) -> None:
    text = of(cast.user_token())
    public = SigningKey.objects.get().load().public_key()
    forms = [
        public.public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
        for encoding in (serialization.Encoding.PEM, serialization.Encoding.DER)
    ]

    for secret in [*forms, json.dumps(jwt.key_set()["keys"][0]).encode(), b""]:
        for algorithm, method in (("HS256", hashlib.sha256), ("HS512", hashlib.sha512), ("ES256", hashlib.sha256)):
            forged = by_hand(
                {**header(text), "alg": algorithm},
                claims(text),
                partial(_hmac, secret, method),
            )
            assert_refused(forged)


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES384", "EdDSA", "es256", "ES256K"])
def test_another_algorithm_is_refused(cast: Cast, algorithm: str) -> None:
    text = of(cast.user_token())

    assert_refused(by_hand({**header(text), "alg": algorithm}, claims(text), lambda data: b"x" * 64))


def test_another_key_is_refused(cast: Cast) -> None:
    text = of(cast.user_token())

    assert_refused(resign(text, key=ec.generate_private_key(ec.SECP256R1())))
    assert_refused(resign(text, key=rsa.generate_private_key(65537, 2048), algorithm="RS256"))


def test_a_changed_claim_is_refused(cast: Cast) -> None:
    head, _, signature = of(cast.user_token()).split(".")
    body = _base64(json.dumps({**claims(of(cast.user_token(name="b"))), "roles": ["osmo-admin"]}).encode())

    assert_refused(f"{head}.{body}.{signature}")


@pytest.mark.parametrize("form", ["zeros", "ones", "order", "DER", "short", "long", "twice", "huge"])
def test_a_signature_of_another_form_is_refused(cast: Cast, form: str) -> None:
    """Zeros and the order of the curve open libraries that check no bounds (CVE-2022-21449)."""
    message, _, signature = of(cast.user_token()).rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    forged = {
        "zeros": bytes(64),
        "ones": (1).to_bytes(32, "big") * 2,
        "order": order.to_bytes(32, "big") * 2,
        "DER": encode_dss_signature(r, s),
        "short": raw[:-1],
        "long": raw + b"\0",
        "twice": raw * 2,
        "huge": raw * 20_000,
    }[form]

    assert_refused(f"{message}.{_base64(forged)}")


@pytest.mark.parametrize("bit", range(0, 512, 37))
def test_a_signature_with_one_other_bit_is_refused(cast: Cast, bit: int) -> None:
    message, _, signature = of(cast.user_token()).rpartition(".")
    raw = int.from_bytes(base64.urlsafe_b64decode(signature + "=="), "big") ^ (1 << bit)

    assert_refused(f"{message}.{_base64(raw.to_bytes(64, 'big'))}")


# S19: what must be there, and exactly equal.


@pytest.mark.parametrize(
    "changes",
    [
        *(
            {name: None}
            for name in ("iss", "aud", "iat", "nbf", "exp", "sub", "jti", "osmo_token_id", "osmo_secret_id")
        ),
        {"iss": "osmo2"},
        {"iss": "osm"},
        {"iss": ""},
        {"aud": "other"},
        {"aud": ["osmo"]},
        {"aud": ["osmo", "other"]},
        {"sub": 1},
        {"exp": "soon"},
        {"iat": "now"},
        pytest.param({"nbf": int(time.time()) + 3_600}, id="nbf in an hour"),
        pytest.param({"iat": int(time.time()) + 3_600}, id="iat in an hour"),
        {"osmo_token_id": "1"},
        {"osmo_secret_id": 1.5},
        {"osmo_secret_id": [1]},
        {"h_typ": None},
        {"h_typ": "JWT"},
        {"h_typ": "AT+JWT"},
        {"h_kid": None},
        {"h_kid": ""},
        {"h_kid": "unknown"},
        {"h_kid": "' OR 1=1 --"},
        {"h_kid": "../../dev/null"},
    ],
    ids=str,
)
def test_what_is_missing_or_not_equal_is_refused_though_we_signed_it(cast: Cast, changes: dict[str, Any]) -> None:
    text = of(cast.user_token())
    assert jwt.verify(resign(text))  # the way of signing is right

    assert_refused(resign(text, **changes))


def test_an_expired_one_is_told_so_to_the_second(cast: Cast, time_machine: Any) -> None:
    text, expires = exchange.exchange(cast.user_token().plaintext)

    time_machine.move_to(expires - 1, tick=False)
    assert jwt.verify(text)
    time_machine.move_to(expires, tick=False)
    assert_refused(text, "Jwt is expired")


# S20: no key from elsewhere.


@pytest.mark.parametrize("name", ["jku", "jwk", "x5u", "x5c", "x5t", "crit", "cty", "zip", "b64", "p2c", "extra"])
def test_a_header_field_that_we_do_not_write_is_refused(cast: Cast, name: str) -> None:
    text = of(cast.user_token())
    other = ec.generate_private_key(ec.SECP256R1())
    assert jwt.verify(by_hand(header(text), claims(text), signature_of(SigningKey.objects.get().load())))
    value: Any = {"b64": False, "jwk": json.loads(pyjwt.algorithms.ECAlgorithm.to_jwk(other.public_key()))}.get(
        name, ["exp"]
    )

    for key in (SigningKey.objects.get().load(), other):
        assert_refused(by_hand({**header(text), name: value}, claims(text), signature_of(key)))


# What is not even a JWT.

FORM = "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"


@pytest.mark.parametrize("text", ["", "a", "a.b", "a.b.c.d", "....", "é.b.c", "\ud800.b.c", "a b c", "Bearer"])
def test_another_form_is_told_so(db: None, text: str) -> None:
    assert_refused(text, FORM)


@pytest.mark.parametrize(
    "head",
    [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"[" * 10_000, b'{"a":' * 5_000, b'{"alg":1%s}' % (b"0" * 9_000)],
    ids=lambda head: repr(head[:10]),
)
def test_a_header_that_is_no_object_is_refused(db: None, head: bytes) -> None:
    assert_refused(f"{_base64(head)}.e30.e30")
    assert_refused("!.!.!")
    assert_refused("..")


@pytest.mark.parametrize("kid", [1, None, [], {}, True])
def test_a_kid_that_is_no_text_is_refused(cast: Cast, kid: Any) -> None:
    text = of(cast.user_token())

    assert_refused(by_hand({**header(text), "kid": kid}, claims(text)))


# S21: signed for one purpose, worth nothing for another.


def test_what_was_signed_for_another_purpose_is_refused(cast: Cast, settings: Any) -> None:
    text = of(cast.user_token())

    assert_refused(signing.dumps(claims(text)), FORM)
    assert_refused(pyjwt.encode(claims(text), settings.SECRET_KEY, "HS256", headers={"typ": "at+jwt", "kid": "x"}))
    with pytest.raises(signing.BadSignature):
        signing.loads(text)
    with pytest.raises(exchange.Refused, match="invalid"):
        exchange.exchange(text)


def test_a_secret_is_no_jwt(cast: Cast) -> None:
    assert_refused(cast.user_token().plaintext, FORM)


# S22: after a revocation the portal refuses at once, and by the very secret.


def standing_of(text: str) -> standing.Standing | None:
    said, kid = jwt.verify(text)
    return standing.of_jwt(token_id=said["osmo_token_id"], secret_id=said["osmo_secret_id"], kid=kid)


@pytest.mark.parametrize(
    ("end", "refusal"),
    [
        (lambda cast, token: token.revoke(by=cast.by("grace"), reason="x"), "revoked"),
        (lambda cast, token: token.suspend(by=cast.by("grace"), reason="x"), "suspended"),
        (lambda cast, token: token.rotate(by=cast.by("grace"), grace=timedelta(0)), "retired"),
        (lambda cast, token: cast.robot.deactivate(by=cast.by("grace"), reason="x"), "owner_inactive"),
        (lambda cast, token: cast.robot.mark_deleted(by=cast.by("grace"), reason="x"), "revoked"),
    ],
)
def test_a_running_jwt_is_refused_at_once(cast: Cast, end: Callable, refusal: str) -> None:
    token = cast.service_token()
    text = of(token)
    before = standing_of(text)

    end(cast, token)

    after = standing_of(text)
    assert before is not None
    assert before.refusal is None
    assert after is not None
    assert after.refusal == refusal


def test_a_jwt_of_one_token_does_not_speak_for_another(cast: Cast) -> None:
    mine, other = cast.user_token(), cast.service_token()
    text = of(mine)

    forged = resign(text, osmo_token_id=other.pk)

    assert standing_of(forged) is None


def test_what_a_jwt_says_of_roles_is_not_read(cast: Cast) -> None:
    found = standing_of(resign(of(cast.user_token()), roles=["osmo-admin"], unique_name="grace"))

    assert found is not None
    assert (found.roles, found.owner) == (("osmo-user",), cast.ada)


# S23: keys.


def test_two_keys_count_during_a_rotation(cast: Cast, time_machine: Any) -> None:
    token = cast.user_token(days=31)
    old = of(token)
    SigningKey.rotate(by=Actor.shell())
    jwt.forget_keys()
    assert header(of(token))["kid"] == header(old)["kid"]
    assert len(jwt.key_set()["keys"]) == 2

    time_machine.move_to(datetime.now(tz=UTC) + timedelta(hours=1), tick=False)
    jwt.forget_keys()
    new = of(token)

    assert header(new)["kid"] != header(old)["kid"]
    assert {key["kid"] for key in jwt.key_set()["keys"]} == {header(new)["kid"], header(old)["kid"]}
    assert standing_of(new)

    time_machine.move_to(datetime.now(tz=UTC) + timedelta(hours=1), tick=False)
    jwt.forget_keys()
    assert {key["kid"] for key in jwt.key_set()["keys"]} == {header(new)["kid"]}


def test_a_next_key_is_known_before_it_signs(cast: Cast) -> None:
    text = of(cast.user_token())
    following = SigningKey.rotate(by=Actor.shell())
    jwt.verify(text)

    assert jwt.verify(resign(text, key=following.load(), h_kid=following.kid))


@pytest.mark.parametrize("restarted", [True, False])
def test_voiding_refuses_what_was_signed_before_in_every_process(cast: Cast, restarted: bool) -> None:
    token = cast.user_token()
    text = of(token)
    jwt.verify(text)  # the key is in this process's cache

    SigningKey.rotate(by=Actor.shell(), void=True)
    if restarted:
        jwt.forget_keys()
        assert_refused(text)
    else:
        assert standing_of(text) is None

    jwt.forget_keys()
    assert standing_of(of(token))


def test_the_published_keys_hold_no_private_half(cast: Cast) -> None:
    key_set = jwt.key_set()

    (key,) = key_set["keys"]
    assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert (key["kty"], key["crv"], key["use"], key["alg"]) == ("EC", "P-256", "sig", "ES256")
    assert pyjwt.decode(of(cast.user_token()), pyjwt.PyJWK(key).key, algorithms=["ES256"], audience="osmo")


def test_a_key_that_another_process_made_is_found(cast: Cast) -> None:
    text = of(cast.user_token())
    jwt.verify(text)

    key = SigningKey.rotate(by=Actor.shell(), void=True)

    assert jwt.verify(resign(text, key=key.load(), h_kid=key.kid))


def test_another_processs_rotation_is_noticed_at_once(cast: Cast) -> None:
    token = cast.user_token()
    old = of(token)

    key = SigningKey.rotate(by=Actor.shell(), void=True)

    new = of(token)
    assert header(new)["kid"] == key.kid != header(old)["kid"]
    assert standing_of(new)
    assert standing_of(old) is None
