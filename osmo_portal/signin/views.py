"""Signing in, in the portal's face."""

from typing import Any

from allauth.account.views import LoginView
from allauth.core import ratelimit
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import INTERNAL_RESET_SESSION_TOKEN, PasswordResetConfirmView
from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.generic import FormView, TemplateView, View

from osmo_portal.events.actor import Actor, Door
from osmo_portal.signin import mail
from osmo_portal.signin.adapter import TOO_MANY
from osmo_portal.signin.forms import ForgottenForm, SignInForm
from profiles.backends import PersonBackend

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
        context = {**_site(self.request, "Sign in"), "next": self.get_next_url() or ""}
        return super().get_context_data(**{**context, **kwargs})


def _site(request: HttpRequest, title: str) -> dict[str, Any]:
    return {**admin.site.each_context(request), "title": title, "sends_mail": settings.SENDS_MAIL}


def too_many(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return render(request, "portal/error.html", {"status": 429, "message": TOO_MANY}, status=429)


class OwnSignIn(LoginRequiredMixin, TemplateView):
    """How the person who looks signs in."""

    template_name = "signin/own.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**{**_site(self.request, "Your sign-in"), **kwargs})


class MailPage(View):
    """There is no such page where the portal sends no mail."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not settings.SENDS_MAIL:
            raise Http404
        return super().dispatch(request, *args, **kwargs)


class Forgotten(MailPage, FormView):
    form_class = ForgottenForm
    template_name = "signin/forgotten.html"

    def form_valid(self, form: Any) -> HttpResponse:
        typed = form.cleaned_data["typed"]
        if not ratelimit.consume(self.request, action="reset_password", key=typed.lower()):
            return too_many(self.request)
        return mail.remind(self.request, typed, reverse("forgotten_sent"))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**{**_site(self.request, "Password forgotten"), **kwargs})


class ForgottenSent(MailPage, TemplateView):
    template_name = "signin/sent.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = {**_site(self.request, "Look at your mail"), "hours": settings.PASSWORD_RESET_TIMEOUT // 3600}
        return super().get_context_data(**{**context, **kwargs})


class NewPassword(PasswordResetConfirmView):
    """Django moves the key of the link into the session, so that no Referer carries it on. A used one is void,
    because it was made from the old password."""

    template_name = "signin/new_password.html"
    title = "New password"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        key = request.GET.get("key") or self.reset_url_token
        return super().dispatch(request, *args, token=key, **kwargs)

    def get_user(self, uidb64: str) -> Any:
        user = super().get_user(uidb64)
        return user if user and PersonBackend().user_can_authenticate(user) else None

    def form_valid(self, form: Any) -> HttpResponse:
        by = Actor.signed_in(self.request, Door.ADMIN, self.user)
        self.user.change_password(form.cleaned_data["new_password1"], by=by)
        self.request.session.pop(INTERNAL_RESET_SESSION_TOKEN, None)
        messages.success(self.request, "Your password is set. Sign in with it.")
        return HttpResponseRedirect(reverse("admin:login"))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**{**_site(self.request, self.title), **kwargs})
