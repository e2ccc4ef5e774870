"""The two addresses of OAuth by which a terminal is signed in (RFC 8628), and stays so (RFC 6749, 6)."""

from typing import Any

from allauth.core import ratelimit
from authlib.oauth2.rfc6749.errors import InvalidRequestError, OAuth2Error, UnauthorizedClientError
from django.conf import settings
from django.http import HttpRequest
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_POST

from osmo_portal.events.trail import audited
from osmo_portal.signin.limits import told_to_wait
from tokens.terminal import server

LARGEST = 4_096  # bytes of a form
SWITCHED_OFF = "This portal signs no terminals in. Use `osmo login URL --method token` with an access token."
TOO_MANY = "Too many sign-ins were begun from this address. Wait 15 minutes, then try again."


@csrf_exempt
@require_POST
@sensitive_post_parameters()
@sensitive_variables()
def ask_for_codes(request: HttpRequest) -> Any:
    error = _objection(request)
    if error:
        return server.refuse(error)
    if not ratelimit.consume(request, action="ask_for_codes"):
        return told_to_wait(server.refuse(OAuth2Error(TOO_MANY, error="temporarily_unavailable", status_code=429)))
    return server.create_endpoint_response("device_authorization", request)


@csrf_exempt
@require_POST
@sensitive_post_parameters()
@sensitive_variables()
def give_tokens(request: HttpRequest) -> Any:
    """What is refused commits as well: that a terminal asked too soon, and that a used token ended its sign-in."""
    error = _objection(request)
    if error:
        return server.refuse(error)
    with audited():
        return server.create_token_response(request)


def _objection(request: HttpRequest) -> OAuth2Error | None:
    """What is wrong with any request here, before its form is read."""
    if not settings.TERMINAL_DAYS:
        return UnauthorizedClientError(SWITCHED_OFF)
    if request.content_type != "application/x-www-form-urlencoded":
        return InvalidRequestError("Send a form, as application/x-www-form-urlencoded.")
    if len(request.body) > LARGEST:
        return InvalidRequestError(f"The form is too large: at most {LARGEST} bytes.", status_code=413)
    if any(len(values) > 1 for _, values in request.POST.lists()):
        return InvalidRequestError("A field is sent twice.")
    return None
