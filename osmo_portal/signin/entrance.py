"""The way in: user id and password, then the second step."""

from typing import Any

from allauth.account.views import LoginView
from allauth.mfa.base.views import AuthenticateView
from django.core.exceptions import PermissionDenied
from django.urls import reverse

from osmo_portal.signin import factors
from osmo_portal.signin.forms import SignInForm
from osmo_portal.signin.frame import frame
from osmo_portal.signin.limits import LimitedMixin

NOT_FOR_YOU = (
    "You are known here, but this console is for administrators, operators and auditors. "
    "If you should be one of them, ask an administrator."
)
OWN_PAGES = ("mfa_index", "admin:password_change", "admin:confirm")


class SignIn(LimitedMixin, LoginView):
    form_class = SignInForm
    template_name = "admin/login.html"

    def get_authenticated_redirect_url(self) -> str:
        """Where to go on; else whom the console sends here would be sent back and forth."""
        url: str = super().get_authenticated_redirect_url()
        own = tuple(reverse(page) for page in OWN_PAGES)
        if url.startswith(reverse("admin:index")) and not url.startswith(own) and not self.request.user.is_staff:
            raise PermissionDenied(NOT_FOR_YOU)
        return url

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = {**frame(self.request, "Sign in"), "next": self.get_next_url() or ""}
        return super().get_context_data(**{**context, **kwargs})


class SecondStep(LimitedMixin, AuthenticateView):
    """After the right password: a code or a key, where the person has one."""

    template_name = "signin/second_step.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        kinds = {factor.type for factor in factors.of(self.stage.login.user)}
        context = {
            **frame(self.request, "Second step"),
            "has_app": factors.APP in kinds,
            "has_key": factors.KEY in kinds,
        }
        return {**super().get_context_data(**kwargs), **context}
