"""Secrets: how they look, and their digest. `osmo_` + 43 characters of base62 (over 256 bits) + 6 of their CRC-32.

The checksum lets scanners and typing errors be told apart from secrets without asking the database; it is no
security check. Secrets of imported tokens are 64 hex digits or 43 characters of url-safe base64. What signs a terminal
in has the same form with a prefix of its own, so that none is taken for another.
"""

import hashlib
import re
import secrets
import string
import zlib
from typing import NoReturn

PREFIX = "osmo_"
DEVICE_PREFIX = "osmod_"
REFRESH_PREFIX = "osmor_"
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
BODY_LENGTH = 43
CHECKSUM_LENGTH = 6
DIGEST_LENGTH = 32

_BODY = re.compile(rf"([0-9A-Za-z]{{{BODY_LENGTH}}})([0-9A-Za-z]{{{CHECKSUM_LENGTH}}})")
_IMPORTED = re.compile(r"[0-9a-f]{64}|[0-9A-Za-z_-]{43}")


class Plaintext(str):
    """A secret on its way to its one reader: it keeps out of `repr`, and cannot be pickled into a store."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<secret>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret is not stored")


def generate(prefix: str = PREFIX) -> Plaintext:
    """A new secret of more than 256 random bits."""
    body = _base62(secrets.randbelow(len(ALPHABET) ** BODY_LENGTH), BODY_LENGTH)
    return Plaintext(prefix + body + _checksum(body))


def is_well_formed(text: str) -> bool:
    """Whether `text` can be a secret at all. False for any secret of ours with one character changed."""
    return is_made_here(text) or _IMPORTED.fullmatch(text) is not None


def is_made_here(text: str, prefix: str = PREFIX) -> bool:
    """Whether `generate(prefix)` can have made it."""
    body = _BODY.fullmatch(text.removeprefix(prefix))
    return text.startswith(prefix) and body is not None and _checksum(body[1]) == body[2]


def digest(secret: str) -> bytes:
    """The SHA-256 that the database holds. 256 random bits need no salt."""
    return hashlib.sha256(secret.encode()).digest()


def hint(secret: str) -> str:
    """What lists may show of a secret: its last four characters."""
    return secret[-4:]


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), CHECKSUM_LENGTH)


def _base62(number: int, length: int) -> str:
    characters = []
    for _ in range(length):
        number, index = divmod(number, len(ALPHABET))
        characters.append(ALPHABET[index])
    return "".join(reversed(characters))
