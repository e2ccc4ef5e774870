"""Targets of requests that every server reads alike. A gateway decides about no others: where two servers read one
address differently, the one is asked and the other obeys."""

import re
from urllib.parse import unquote

from profiles.policies.decisions import ROUTES

MAX_TARGET = 4_000
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
WEBSOCKET = "WEBSOCKET"  # how policies call a request that opens one

_PATH = re.compile(r"(?:/(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%[0-9A-Fa-f]{2})*)+")
_QUERY = re.compile(r"[!-~]*")
# Percent-encoded, though nothing needs that: letters, digits and -._~ stand for themselves. Or meant to be read twice
# (%25), as a separator (/ \ ; ? #), or as nothing printable.
_NEEDLESS = re.compile(r"%(?:2[35DEF]|3[0-9BF]|[46][1-9A-F]|[57][0-9A]|5[CF]|7E|7F|[01].)", re.IGNORECASE)
_TWO_IN_ONE = re.compile(r",\s*(?:/|[A-Za-z]+:)")  # what a server makes of a header that was sent twice
_LOOSELY = [(re.compile(route.path.pattern, re.IGNORECASE), route) for route in ROUTES]


class Ambiguous(ValueError):
    """Says what is odd about a request, in words for whoever sent it; it holds nothing of the request."""


def plain_method(method: str, upgrade: str = "") -> str:
    """The method as policies call it. Raises Ambiguous."""
    if method not in METHODS:
        raise Ambiguous("The method is not one of " + ", ".join(sorted(METHODS)) + ".")
    if not upgrade:
        return method
    if method != "GET" or upgrade.lower() != "websocket":
        raise Ambiguous("The request asks for another protocol than a WebSocket.")
    return WEBSOCKET


def plain_path(target: str) -> str:
    """The decoded path of a target as it was sent. Raises Ambiguous."""
    raw, _, query = target.partition("?")
    if len(target) > MAX_TARGET:
        raise Ambiguous(f"The address is longer than {MAX_TARGET} characters.")
    if not raw.startswith("/") or not _PATH.fullmatch(raw) or not _QUERY.fullmatch(query):
        raise Ambiguous("The address is no path that begins with a slash, or has characters that must be encoded.")
    if "//" in raw or not {".", ".."}.isdisjoint(raw.split("/")):
        raise Ambiguous("The path has dot segments or empty segments.")
    if _NEEDLESS.search(raw) or _TWO_IN_ONE.search(target):
        raise Ambiguous("The address has encoded slashes, dots or letters, or is two in one.")
    path = unquote(raw)
    if not path.isprintable() or "\ufffd" in path:
        raise Ambiguous("The path is not UTF-8, or has control characters.")
    if _in_another_case(path):
        raise Ambiguous("The path is written in another case than the platform's own.")
    return path


def _in_another_case(path: str) -> bool:
    first = path.split("/")[1]
    if first.lower() in {"api", "client", "health"} and not first.islower():
        return True
    known = path.rstrip("/")
    return not known.islower() and any(
        loosely.fullmatch(known) and not route.path.fullmatch(known) for loosely, route in _LOOSELY
    )
