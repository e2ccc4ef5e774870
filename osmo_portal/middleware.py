"""What every request passes: facts about it (id, address), and the headers that every answer carries."""

import ipaddress
import re
import uuid
from collections.abc import Callable, Mapping
from functools import cache
from typing import ClassVar

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponsePermanentRedirect, JsonResponse
from django.middleware.common import CommonMiddleware
from django.views.decorators.debug import sensitive_variables

from osmo_portal.events.actor import Door
from osmo_portal.logging import request_id
from osmo_portal.postgresql import OutcomeUnknown, is_away
from osmo_portal.problems import PROBLEM_JSON, problem_details

View = Callable[[HttpRequest], HttpResponse]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)

DATABASE_AWAY = "The database does not answer. Nothing was changed; try again in a moment."
OUTCOME_UNKNOWN = "The connection to the database broke while the change was kept. Look whether it was made."

# Asked by machines inside, under whatever name they know this process by. No answer there depends on it.
ANY_HOST = re.compile("/(health|ready|metrics|api/authz(/.*)?)", re.DOTALL)


def client_address(request: HttpRequest) -> str | None:
    """The right-most address of `X-Forwarded-For` that is not a trusted proxy, if the peer is one; else the peer."""
    hops = [request.META.get("REMOTE_ADDR", "")]
    if request.META.get("HTTP_X_FORWARDED_FOR"):
        hops = [*request.META["HTTP_X_FORWARDED_FOR"].split(","), *hops]
    address = None
    for hop in reversed(hops):
        try:
            address = _parsed(hop)
        except ValueError:
            break  # what stands left of nonsense cannot be trusted either
        if not _is_proxy(address):
            break
    return str(address) if address else None


def _parsed(hop: str) -> Address:
    address = ipaddress.ip_address(hop.strip().partition("%")[0])  # without the zone of a link
    return getattr(address, "ipv4_mapped", None) or address


def _is_proxy(address: Address) -> bool:
    return any(address in _network(written) for written in settings.TRUSTED_PROXIES)


@cache
def _network(written: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(written)


class ProtocolOfProxies:
    """X-Forwarded-Proto counts where a trusted proxy says it; from others it goes unread."""

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if "HTTP_X_FORWARDED_PROTO" in request.META and not self._is_told_by_proxy(request):
            del request.META["HTTP_X_FORWARDED_PROTO"]
        return self.get_response(request)

    def _is_told_by_proxy(self, request: HttpRequest) -> bool:
        try:
            return _is_proxy(_parsed(request.META.get("REMOTE_ADDR", "")))
        except ValueError:
            return False


class RequestFacts:
    """Sets `request.id` and `request.address`, refuses NUL, folds `//api`, and says 503 when the database is away."""

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response

    @sensitive_variables("request")
    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.id = uuid.uuid4().hex  # type: ignore[attr-defined]
        request_id.set(request.id)  # type: ignore[attr-defined]
        request.address = client_address(request)  # type: ignore[attr-defined]
        if "\0" in request.path_info or "%00" in request.META.get("QUERY_STRING", ""):
            response: HttpResponse = error_answer(request, 400, "The address holds a NUL character. Remove it.")
        else:
            # Released clients build some addresses with a double slash; older ones send it.
            if request.path_info.startswith("//"):
                request.path_info = re.sub("^/+", "/", request.path_info)
            response = self.get_response(request)
        response["x-request-id"] = request.id  # type: ignore[attr-defined]
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        return database_away(request, error) if is_away(error) else None


class KnownHost(CommonMiddleware):
    """Refuses a Host that is not the portal's. Probes and gateways call this process by another name, and are told
    the same under each."""

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        return None if ANY_HOST.fullmatch(request.path_info) else super().process_request(request)


# A program's request goes from PagesFrom to PagesTo at once, past the sessions, messages and sign-ins in between, which
# cost more than a JWT does.


class PagesFrom:
    def __init__(self, get_response: View) -> None:
        self.to_pages, self.past_them = get_response, PagesTo.inner

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return (self.past_them if _is_of_program(request) else self.to_pages)(request)


class PagesTo:
    inner: ClassVar[View]  # of the list that Django reads now, from its end on

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response
        PagesTo.inner = self

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)


def _is_of_program(request: HttpRequest) -> bool:
    """Only under /api/v1/ a browser's session counts as well."""
    if not request.path_info.startswith("/api/"):
        return False
    return Door.of_api(request.path_info) == Door.CLI or not request.META.get("HTTP_COOKIE")


class SecurityHeaders:
    """A constant Content-Security-Policy, and no caching of what a program or a signed-in person was told."""

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        if not request.path_info.startswith(settings.STATIC_URL):
            response.setdefault("Cache-Control", "no-store")
        return response


def error_answer(request: HttpRequest, status: int, message: str) -> JsonResponse:
    """An error that no view answers: problem details under /api/v1/, the released clients' shape elsewhere."""
    if Door.of_api(request.path_info) == Door.REST:
        return JsonResponse(problem_details(status, message), status=status, content_type=PROBLEM_JSON)
    return problem(status, message)


def database_away(request: HttpRequest, error: BaseException) -> JsonResponse:
    """The 503 of an error for which `postgresql.is_away`."""
    return error_answer(request, 503, OUTCOME_UNKNOWN if isinstance(error, OutcomeUnknown) else DATABASE_AWAY)


def problem(
    status: int, message: str, error_code: str = "USER", headers: Mapping[str, str] | None = None
) -> JsonResponse:
    """An error as the released clients read it: they print `message`."""
    body = {"message": message, "error_code": error_code, "workflow_id": None}
    return JsonResponse(body, status=status, headers=headers)
