"""The first address, and errors that no other view answers."""

import sys
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from osmo_portal.middleware import database_away, error_answer
from osmo_portal.postgresql import is_away
from osmo_portal.signin.adapter import TOO_MANY, home_of
from osmo_portal.signin.limits import told_to_wait

PAGES = ("/admin/", "/me/")  # for people; below all other addresses are programs


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    signed_in = request.user.is_authenticated
    return HttpResponseRedirect(home_of(request.user) if signed_in else reverse("admin:index"))


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _error(request, 400, "The request cannot be read. Check its address, headers and length.")


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _error(request, 403, str(exception or "") or "You may not do this.")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _error(request, 403, "The form is too old, or it did not come from this portal. Load the page again.")


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _error(request, 404, "There is nothing at this address.")


def too_many(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return told_to_wait(_error(request, 429, TOO_MANY))


def server_error(request: HttpRequest) -> HttpResponse:
    error = sys.exc_info()[1]
    if error and is_away(error):
        return database_away(request, error)  # not in a view: while the session was read or kept
    number = getattr(request, "id", "unknown")
    return _error(request, 500, f"Something went wrong here. The log has the details under request id {number}.")


def _error(request: HttpRequest, status: int, message: str) -> HttpResponse:
    if request.path_info.startswith(PAGES):
        context: dict[str, Any] = {"status": status, "message": message}
        return render(request, "portal/error.html", context, status=status)
    return error_answer(request, status, message)
