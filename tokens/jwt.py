"""JWTs: what they say, how they are signed and verified, and the published key set.

There are two kinds, each with a `typ` and required claims of its own, so that neither is taken for the other: of an
access token, and of a person who is signed in at a terminal.
"""

import json
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from typing import Any

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from django.conf import settings
from jwt.algorithms import ECAlgorithm

from profiles.models import User
from tokens.models.signing_key import ALGORITHM, SigningKey
from tokens.models.terminal_sign_in import TerminalSignIn
from tokens.standing import Standing

LIFETIME = 300  # seconds
# The key set may be kept as long. A new key waits for signing_key.OVERLAP, so nobody misses it; what a voided one
# signed is taken no longer than the JWT of a revoked token.
KEYS_LAST = LIFETIME
TYPE = "at+jwt"
TERMINAL_TYPE = "osmo-terminal+jwt"
COORDINATE = 32  # bytes of either half of a signature
_REQUIRED = ["iss", "aud", "iat", "nbf", "exp", "sub", "jti"]
_NUMBERS = {TYPE: ["osmo_token_id", "osmo_secret_id"], TERMINAL_TYPE: ["osmo_terminal_id"]}  # of the kinds, by `typ`
_HEADER = {"alg", "typ", "kid"}


class BadToken(Exception):
    """The text is told to the caller; it holds nothing of the token."""


class _Key:
    """A pair of keys, decrypted once a process: whether it counts is for the database to say, at each use."""

    def __init__(self, record: SigningKey) -> None:
        self.kid, self._private = record.kid, record.load()
        self.public = self._private.public_key()
        self._headers = {
            kind: _base64(_json({"alg": ALGORITHM, "typ": kind, "kid": record.kid})) for kind in (TYPE, TERMINAL_TYPE)
        }

    def sign(self, claims: dict[str, Any], kind: str) -> str:
        """What PyJWT makes of the same, for two thirds of the time: the header is written once."""
        message = b"%s.%s" % (self._headers[kind], _base64(_json(claims)))
        r, s = decode_dss_signature(self._private.sign(message, _ES256))
        signature = r.to_bytes(COORDINATE, "big") + s.to_bytes(COORDINATE, "big")
        return f"{message.decode()}.{_base64(signature).decode()}"


_ES256 = ec.ECDSA(hashes.SHA256())
_keys: dict[str, _Key] = {}


def issue(standing: Standing) -> tuple[str, int]:
    """A signed JWT for a secret in good standing, and its `exp` in seconds since 1970. It never outlives the secret."""
    now = int(time.time())
    expires = min(now + LIFETIME, int(standing.dead_at.timestamp()))
    claims = {
        **_claims(standing.owner, standing.roles, now, expires),
        "osmo_token_name": standing.token_name,
        "osmo_token_id": standing.token_id,
        "osmo_secret_id": standing.secret_id,
    }
    if standing.owner.display_name:
        claims["name"] = standing.owner.display_name
    return _signer(standing.kid).sign(claims, TYPE), expires


def issue_to_terminal(sign_in: TerminalSignIn) -> tuple[str, int]:
    """A signed JWT for the person of a live sign-in, and for how many seconds it counts."""
    now, person = int(time.time()), sign_in.owner
    expires = min(now + LIFETIME, int(sign_in.expires_at.timestamp()))
    claims = {
        **_claims(person, sorted(person.held_role_names), now, expires),
        "name": person.display_name or person.username,
        "osmo_terminal_id": sign_in.pk,
    }
    return _signer(None).sign(claims, TERMINAL_TYPE), expires - now


def _claims(user: User, roles: Iterable[str], now: int, expires: int) -> dict[str, Any]:
    return {
        "iss": settings.JWT_ISSUER,
        "aud": settings.JWT_AUDIENCE,
        "iat": now,
        "nbf": now,
        "exp": expires,
        "sub": str(user.pk),
        "jti": secrets.token_urlsafe(16),
        "unique_name": user.username,
        "roles": list(roles),
    }


def is_of_terminal(text: str) -> bool:
    """Which of the two kinds the JWT says to be. Nothing is verified yet."""
    try:
        return text.isascii() and jwt.get_unverified_header(text).get("typ") == TERMINAL_TYPE
    except jwt.PyJWTError:
        return False


def verify(text: str, kind: str = TYPE) -> tuple[dict[str, Any], str]:
    """The claims of a JWT of ours of that kind, and the `kid` that signed it. Raises BadToken.

    The signature alone does not make it good: whether its key, and its secret or sign-in, still count is for the
    database to say.
    """
    header = _checked_header(text, kind)
    try:
        claims = jwt.decode(
            text,
            _known(header["kid"]).public,
            algorithms=[ALGORITHM],
            issuer=settings.JWT_ISSUER,
            audience=settings.JWT_AUDIENCE,
            options={"require": [*_REQUIRED, *_NUMBERS[kind]], "strict_aud": True},
        )
    except jwt.ExpiredSignatureError:
        raise BadToken("Jwt is expired") from None
    except jwt.PyJWTError:
        raise BadToken("Jwt verification fails") from None
    if not all(isinstance(claims[name], int) for name in _NUMBERS[kind]):
        raise BadToken("Jwt verification fails")
    return claims, header["kid"]


def key_set() -> dict[str, list[dict[str, Any]]]:
    """The public halves of all keys that count: the next, the current and the retiring ones."""
    SigningKey.current_or_first()
    return {"keys": [_jwk(_loaded(record)) for record in SigningKey.objects.published()]}


def forget_keys() -> None:
    """Empties this process's cache of keys."""
    _keys.clear()


def _checked_header(text: str, kind: str) -> dict[str, Any]:
    if not text.isascii() or text.count(".") != 2:
        message = "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"
        raise BadToken(message)
    try:
        header = jwt.get_unverified_header(text)
    except jwt.PyJWTError:
        raise BadToken("Jwt verification fails") from None
    # Exactly our own header: no other algorithm or type, no key from elsewhere (jku, x5u, jwk), no `crit`.
    if set(header) != _HEADER or header["alg"] != ALGORITHM or header["typ"] != kind:
        raise BadToken("Jwt verification fails")
    return header


def _signer(kid: str | None) -> _Key:
    """None is for who does not know which key signs now; the very first one is made on first need."""
    known = _keys.get(kid) if kid else None
    return known or _loaded(SigningKey.objects.get(kid=kid) if kid else SigningKey.current_or_first())


def _known(kid: str) -> _Key:
    if kid not in _keys:
        for record in SigningKey.objects.published():
            _loaded(record)
    try:
        return _keys[kid]
    except KeyError:
        raise BadToken("Jwt verification fails") from None


def _loaded(record: SigningKey) -> _Key:
    if record.kid not in _keys:
        _keys[record.kid] = _Key(record)
    return _keys[record.kid]


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _base64(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _jwk(key: _Key) -> dict[str, Any]:
    return {**ECAlgorithm.to_jwk(key.public, as_dict=True), "kid": key.kid, "use": "sig", "alg": ALGORITHM}
