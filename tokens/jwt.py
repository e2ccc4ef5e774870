"""JWTs: what they say, how they are signed and verified, and the published key set.

There are two kinds, each with a `typ` and required claims of its own, so that neither is taken for the other: of an
access token, and of a person who is signed in at a terminal.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings
from django.utils.crypto import get_random_string
from jwt.algorithms import ECAlgorithm

from profiles.models import User
from tokens.models.signing_key import ALGORITHM, SigningKey
from tokens.models.terminal_sign_in import TerminalSignIn
from tokens.standing import Standing

LIFETIME = 300  # seconds
TYPE = "at+jwt"
TERMINAL_TYPE = "osmo-terminal+jwt"
CACHE_SECONDS = 10  # keys are asked for again this often; an unknown `kid` asks at once
_REQUIRED = ["iss", "aud", "iat", "nbf", "exp", "sub", "jti"]
_NUMBERS = {TYPE: ["osmo_token_id", "osmo_secret_id"], TERMINAL_TYPE: ["osmo_terminal_id"]}  # of the kinds, by `typ`
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
        **_claims(standing.owner, standing.roles, now, expires),
        "osmo_token_name": standing.token_name,
        "osmo_token_id": standing.token_id,
        "osmo_secret_id": standing.secret_id,
    }
    if standing.owner.display_name:
        claims["name"] = standing.owner.display_name
    return _signed(claims, TYPE), expires


def issue_to_terminal(sign_in: TerminalSignIn) -> tuple[str, int]:
    """A signed JWT for the person of a live sign-in, and for how many seconds it counts."""
    now, person = int(time.time()), sign_in.owner
    expires = min(now + LIFETIME, int(sign_in.expires_at.timestamp()))
    claims = {
        **_claims(person, sorted(person.held_role_names), now, expires),
        "name": person.display_name or person.username,
        "osmo_terminal_id": sign_in.pk,
    }
    return _signed(claims, TERMINAL_TYPE), expires - now


def _claims(user: User, roles: Iterable[str], now: int, expires: int) -> dict[str, Any]:
    return {
        "iss": settings.JWT_ISSUER,
        "aud": settings.JWT_AUDIENCE,
        "iat": now,
        "nbf": now,
        "exp": expires,
        "sub": str(user.pk),
        "jti": get_random_string(22),
        "unique_name": user.username,
        "roles": list(roles),
    }


def _signed(claims: dict[str, Any], kind: str) -> str:
    signer = _current_signer()
    return jwt.encode(claims, signer.key, ALGORITHM, headers={"kid": signer.kid, "typ": kind})


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
            _public_key(header["kid"]),
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
    _current_signer()
    return {"keys": [_jwk(key) for key in SigningKey.objects.published()]}


def forget_keys() -> None:
    """Empties this process's cache of keys."""
    global _signer
    _signer = None
    _public_keys.clear()


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
