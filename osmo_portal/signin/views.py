"""Signing in, in the portal's face."""

from typing import Any

from allauth.account.views import LoginView
from django.contrib import admin
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.generic import TemplateView

from osmo_portal.signin.adapter import TOO_MANY
from osmo_portal.signin.forms import SignInForm

NOT_FOR_YOU = (
    "You are known here, but this console is for administrators, operators and auditors. "
    "If you should be one of them, ask an administrator."
)
OWN_PAGES = ("mfa_index", "admin:password_change", "admin:confirm")


class SignIn(LoginView):
    form_class = SignInForm
    template_name = "admin/login.html"

    def get_authenticated_redirect_url(self) -> str:
        """Where to go on; else whom the console sends here would be sent back and forth."""
        url: str = super().get_authenticated_redirect_url()
        own = tuple(reverse(page) for page in OWN_PAGES)
        if url.startswith(reverse("admin:index")) and not url.startswith(own) and not self.request.user.is_staff:
            raise PermissionDenied(NOT_FOR_YOU)
        return url

    def form_invalid(self, form: Any) -> HttpResponse:
        response: HttpResponse = super().form_invalid(form)
        if form.has_error(NON_FIELD_ERRORS, "too_many_login_attempts"):
            response.status_code = 429
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = {**admin.site.each_context(self.request), "next": self.get_next_url() or ""}
        return super().get_context_data(**{**context, **kwargs})


def too_many(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return render(request, "portal/error.html", {"status": 429, "message": TOO_MANY}, status=429)


class OwnSignIn(LoginRequiredMixin, TemplateView):
    """How the person who looks signs in."""

    template_name = "signin/own.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = {**admin.site.each_context(self.request), "title": "Your sign-in"}
        return super().get_context_data(**{**context, **kwargs})
