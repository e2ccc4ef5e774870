"""JWTs: what they say, how they are signed and verified, and the published key set."""

import time
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings
from django.utils.crypto import get_random_string
from jwt.algorithms import ECAlgorithm

from tokens.models.signing_key import ALGORITHM, SigningKey
from tokens.standing import Standing

LIFETIME = 300  # seconds
TYPE = "at+jwt"
CACHE_SECONDS = 10  # keys are asked for again this often; an unknown `kid` asks at once
_REQUIRED = ["iss", "aud", "iat", "nbf", "exp", "sub", "jti", "osmo_token_id", "osmo_secret_id"]
_HEADER = {"alg", "typ", "kid"}


class BadToken(Exception):
    """The text is told to the caller; it holds nothing of the token."""


@dataclass(frozen=True, slots=True)
class _Signer:
    kid: str
    key: ec.EllipticCurvePrivateKey
    read_at: float


_signer: _Signer | None = None
_public_keys: dict[str, ec.EllipticCurvePublicKey] = {}


def issue(standing: Standing) -> tuple[str, int]:
    """A signed JWT for a secret in good standing, and its `exp` in seconds since 1970. It never outlives the secret."""
    now = int(time.time())
    expires = min(now + LIFETIME, int(standing.dead_at.timestamp()))
    claims = {
        "iss": settings.JWT_ISSUER,
        "aud": settings.JWT_AUDIENCE,
        "iat": now,
        "nbf": now,
        "exp": expires,
        "sub": str(standing.owner.pk),
        "jti": get_random_string(22),
        "unique_name": standing.owner.username,
        "roles": list(standing.roles),
        "osmo_token_name": standing.token_name,
        "osmo_token_id": standing.token_id,
        "osmo_secret_id": standing.secret_id,
    }
    if standing.owner.display_name:
        claims["name"] = standing.owner.display_name
    signer = _current_signer()
    return jwt.encode(claims, signer.key, ALGORITHM, headers={"kid": signer.kid, "typ": TYPE}), expires


def verify(text: str) -> tuple[dict[str, Any], str]:
    """The claims of a JWT of ours, and the `kid` that signed it. Raises BadToken.

    The signature alone does not make it good: whether its key and its secret still count is for the database to say.
    """
    header = _checked_header(text)
    try:
        claims = jwt.decode(
            text,
            _public_key(header["kid"]),
            algorithms=[ALGORITHM],
            issuer=settings.JWT_ISSUER,
            audience=settings.JWT_AUDIENCE,
            options={"require": _REQUIRED, "strict_aud": True},
        )
    except jwt.ExpiredSignatureError:
        raise BadToken("Jwt is expired") from None
    except jwt.PyJWTError:
        raise BadToken("Jwt verification fails") from None
    if not isinstance(claims["osmo_token_id"], int) or not isinstance(claims["osmo_secret_id"], int):
        raise BadToken("Jwt verification fails")
    return claims, header["kid"]


def key_set() -> dict[str, list[dict[str, Any]]]:
    """The public halves of all keys that count: the next, the current and the retiring ones."""
    _current_signer()
    return {"keys": [_jwk(key) for key in SigningKey.objects.published()]}


def forget_keys() -> None:
    """Empties this process's cache of keys."""
    global _signer
    _signer = None
    _public_keys.clear()


def _checked_header(text: str) -> dict[str, Any]:
    if not text.isascii() or text.count(".") != 2:
        message = "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"
        raise BadToken(message)
    try:
        header = jwt.get_unverified_header(text)
    except jwt.PyJWTError:
        raise BadToken("Jwt verification fails") from None
    # Exactly our own header: no other algorithm or type, no key from elsewhere (jku, x5u, jwk), no `crit`.
    if set(header) != _HEADER or header["alg"] != ALGORITHM or header["typ"] != TYPE:
        raise BadToken("Jwt verification fails")
    return header


def _public_key(kid: str) -> ec.EllipticCurvePublicKey:
    if kid not in _public_keys:
        for key in SigningKey.objects.published():
            _public_keys[key.kid] = key.load().public_key()
    try:
        return _public_keys[kid]
    except KeyError:
        raise BadToken("Jwt verification fails") from None


def _current_signer() -> _Signer:
    global _signer
    if _signer is None or time.monotonic() - _signer.read_at > CACHE_SECONDS:
        current = SigningKey.current_or_first()
        key = _signer.key if _signer and _signer.kid == current.kid else current.load()
        _signer = _Signer(current.kid, key, time.monotonic())
    return _signer


def _jwk(key: SigningKey) -> dict[str, Any]:
    public = ECAlgorithm.to_jwk(key.load().public_key(), as_dict=True)
    return {**public, "kid": key.kid, "use": "sig", "alg": key.algorithm}
