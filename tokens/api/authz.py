"""May this request pass? What a gateway in front of an OSMO asks for each one that it gets.

nginx (`auth_request`) and Traefik (`forwardAuth`) tell the request in headers, Envoy (`ext_authz`) as the rest of the
address. Yes is 200 with who calls, in headers that the gateway passes on; no is 401 or 403, the only other answers that
gateways pass on, with the reason. Whatever is odd is no.
"""

import re
from typing import NamedTuple

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_variables
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied

from osmo_portal.events.actor import facts
from osmo_portal.metrics import DECISIONS
from osmo_portal.middleware import problem
from osmo_portal.problems import NOT_SIGNED_IN
from profiles.models import User
from profiles.policies.targets import Ambiguous, plain_method, plain_path
from profiles.powers import Powers
from tokens import exchange
from tokens.api.authentication import actor_of, credential

PREFIX = "/api/authz"
# How each kind of gateway tells the method and the address of the request that it asks about.
NGINX = ("HTTP_X_ORIGINAL_METHOD", "HTTP_X_ORIGINAL_URI")
TRAEFIK = ("HTTP_X_FORWARDED_METHOD", "HTTP_X_FORWARDED_URI")
# By these some servers take a request for another one.
OVERRIDES = (
    "HTTP_X_HTTP_METHOD",
    "HTTP_X_HTTP_METHOD_OVERRIDE",
    "HTTP_X_METHOD_OVERRIDE",
    "HTTP_X_ORIGINAL_URL",
    "HTTP_X_REWRITE_URL",
)


class Caller(NamedTuple):
    """`roles` are those in force; a person at a terminal has no token."""

    user: User
    roles: frozenset[str]
    token_name: str


POOLS_ARE_ASKED_FOR = re.compile("/api/profile/settings/?|/api/resources(/.*)?")


@csrf_exempt
@sensitive_variables()
def told_by_headers(request: HttpRequest) -> HttpResponse:
    told = [way for way in (NGINX, TRAEFIK) if any(name in request.META for name in way)]
    if len(told) != 1 or not all(name in request.META for name in told[0]):
        return _answer(request, None)
    method, target = (request.META[name] for name in told[0])
    # Traefik takes Upgrade out: there, the requests with it are asked about under an address of their own.
    upgrade = request.META.get("HTTP_X_ORIGINAL_UPGRADE") or request.GET.get("upgrade") or ""
    return _answer(request, (method, target, upgrade))


@csrf_exempt
@sensitive_variables()
def told_by_address(request: HttpRequest) -> HttpResponse:
    # As it was sent: path_info is decoded, and servers differ about what they decode.
    sent = request.META.get("RAW_URI") or request.META.get("REQUEST_URI") or ""
    if any(name in request.META for name in NGINX + TRAEFIK) or not sent.startswith(f"{PREFIX}/"):
        return _answer(request, None)
    return _answer(request, (request.META["REQUEST_METHOD"], sent.removeprefix(PREFIX), ""))


@sensitive_variables()
def _answer(request: HttpRequest, told: tuple[str, str, str] | None) -> HttpResponse:
    """`told` is the method, the target and the protocol that is to be changed to, where the gateway told them."""
    try:
        caller = _caller(request)
    except PermissionDenied as refused:
        return _refusal(403, str(refused))
    except (AuthenticationFailed, exchange.Refused) as refused:
        # Gateways know no 429.
        return _refusal(403 if getattr(refused, "wait", 0) else 401, str(refused))
    try:
        method, path, target = _plain(request, told)
    except Ambiguous as odd:
        return _refusal(403, str(odd))
    powers = Powers.of(caller.user, caller.roles)
    decision = powers.may_request(method, target)
    if not decision:
        return _refusal(403, decision.reason)
    DECISIONS.labels("200").inc()
    answer = HttpResponse()
    answer["x-osmo-user"] = caller.user.username
    answer["x-osmo-roles"] = ",".join(sorted(caller.roles))
    if caller.token_name:
        answer["x-osmo-token-name"] = caller.token_name
    if method == "GET" and POOLS_ARE_ASKED_FOR.fullmatch(path):
        answer["x-osmo-allowed-pools"] = ",".join(powers.submit_pools())
    return answer


@sensitive_variables()
def _caller(request: HttpRequest) -> Caller:
    """By a JWT, or by a secret itself: that is a use of it, as an exchange is.

    Raises AuthenticationFailed, PermissionDenied and Refused.
    """
    text = credential(request)
    if text is None:
        raise AuthenticationFailed(NOT_SIGNED_IN)
    if "." in text:
        actor = actor_of(text, request)
        return Caller(actor.user, actor.roles, actor.token.name if actor.token else "")
    used = exchange.used(text, agent=request.META.get("HTTP_USER_AGENT", ""), **facts(request))
    return Caller(used.owner, frozenset(used.roles), used.token_name)


def _plain(request: HttpRequest, told: tuple[str, str, str] | None) -> tuple[str, str, str]:
    """The method and the path as policies call them, and the target. Raises Ambiguous."""
    if told is None:
        raise Ambiguous("The gateway must tell method and address of the request, in one way.")
    if any(name in request.META for name in OVERRIDES):
        raise Ambiguous("The request has a header that makes some servers take it for another.")
    method, target, upgrade = told
    return plain_method(method, upgrade or request.META.get("HTTP_UPGRADE", "")), plain_path(target), target


def _refusal(status: int, reason: str) -> HttpResponse:
    """The reason is in the body, and for gateways that drop that in a header, fit to be put into JSON as it is."""
    DECISIONS.labels(str(status)).inc()
    answer = problem(status, reason)
    answer["x-osmo-reason"] = re.sub(r'["\\]', "'", reason).encode("ascii", "replace").decode()
    if status == 401:
        answer["www-authenticate"] = 'Bearer realm="osmo"'
    return answer
