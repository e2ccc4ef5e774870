"""Where allauth asks the portal."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import NoReverseMatch, reverse

from osmo_portal.signin import browsers
from profiles.backends import PersonBackend

WRONG = "The user id or the password is wrong. Small and capital letters differ in the password."
TOO_MANY = "There were too many wrong tries. Wait 15 minutes, then try again."
CLOSED = "You cannot sign in here. Ask an administrator."


def home_of(user: Any) -> str:
    """The page on which somebody begins who has just signed in."""
    if user.is_staff:
        return reverse("admin:index")
    try:
        return reverse("my_tokens")
    except NoReverseMatch:
        return reverse("mfa_index")


class AccountAdapter(DefaultAccountAdapter):
    """PersonBackend stays the authority on who may sign in, whichever way the person proved to be there."""

    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "username_password_mismatch": WRONG,
        "too_many_login_attempts": TOO_MANY,
        "rate_limited": TOO_MANY,
    }

    def get_client_ip(self, request: HttpRequest) -> str:
        """What failures are counted under besides the user id: the address as RequestFacts found it, trusted proxies
        left out. A browser that the person has used before is a source of its own, so that whoever shares its address
        cannot lock it out."""
        return str(getattr(request, "known_browser", None) or getattr(request, "address", None) or "unknown")

    def is_ajax(self, request: HttpRequest) -> bool:
        return False

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        username, number = credentials["username"], browsers.known_to(credentials["username"], request)
        request.known_browser = number  # type: ignore[attr-defined]
        counted = f"{username} in {number}" if number else username
        super().pre_authenticate(request, **{**credentials, "username": counted})

    def login(self, request: HttpRequest, user: Any) -> None:
        if not PersonBackend().user_can_authenticate(user):
            raise ImmediateHttpResponse(self.respond_user_inactive(request, user))
        super().login(request, user)

    def respond_user_inactive(self, request: HttpRequest, user: Any) -> HttpResponse:
        messages.error(request, CLOSED)
        return HttpResponseRedirect(reverse("admin:login"))

    def post_login(self, request: HttpRequest, user: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().post_login(request, user, **kwargs)
        browsers.remember(response, user)
        return response

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        return home_of(request.user)

    def add_message(self, *args: Any, **kwargs: Any) -> None:
        """Our pages say themselves what happened."""
