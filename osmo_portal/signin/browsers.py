"""Browsers in which a person has signed in before.

Wrong passwords for a user id and from an address are counted, and too many refuse even the right one for a while. So
that strangers cannot lock the holder out, a browser that has signed in as the holder before is counted by itself.
"""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare, get_random_string, salted_hmac

COOKIE = "known_browser"
YEAR = 365 * 24 * 60 * 60


def known_to(username: str, request: HttpRequest) -> str:
    """The number of the browser, where this person has signed in by it before; else empty."""
    number, _, proof = request.COOKIES.get(COOKIE, "").partition(".")
    return number if number and constant_time_compare(proof, _proof(number, username)) else ""


def remember(response: HttpResponse, user: Any) -> None:
    """The cookie tells nothing about who the person is, and opens nothing."""
    number = get_random_string(22)
    response.set_cookie(
        COOKIE,
        f"{number}.{_proof(number, user.username)}",
        max_age=YEAR,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def _proof(number: str, username: str) -> str:
    return salted_hmac("osmo_portal.known_browser", f"{number} {username.lower()}", algorithm="sha256").hexdigest()
