"""Your sign-in: the page about it, and those that add and remove second factors."""

from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.views import GenerateRecoveryCodesView
from allauth.mfa.totp.views import ActivateTOTPView, DeactivateTOTPView
from allauth.mfa.webauthn.views import AddWebAuthnView, RemoveWebAuthnView
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import RedirectURLMixin
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.views.generic import TemplateView

from osmo_portal.console import recent
from osmo_portal.console.onward import with_next
from osmo_portal.events.trail import audited
from osmo_portal.signin import factors, oidc
from osmo_portal.signin.adapter import home_of
from osmo_portal.signin.forms import AddAppForm
from osmo_portal.signin.frame import frame
from osmo_portal.signin.limits import LimitedMixin
from osmo_portal.signin.models import ProviderSubject


class OwnPage(LoginRequiredMixin, RedirectURLMixin):
    """A page about the sign-in of whoever looks at it. What changes something there wants a recent sign-in.

    It may have been stepped into on the way to another page: its address knows to which, as `next`.
    """

    title = ""
    wants_recent = True

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return self.handle_no_permission()
        return (self.wants_recent and recent.ask(request)) or super().dispatch(request, *args, **kwargs)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = {**super().get_context_data(**kwargs), **frame(self.request, self.title)}  # type: ignore[misc, attr-defined]
        closed = factors.must_add_one(self.request.user)  # type: ignore[attr-defined]
        return context | {"must_add_one": closed, "has_permission": context["has_permission"] and not closed}


class OwnSignIn(OwnPage, TemplateView):
    template_name = "signin/own.html"
    title = "Your sign-in"
    wants_recent = False

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        user = self.request.user
        codes = Authenticator.objects.filter(user=user, type=factors.CODES).first()
        context = super().get_context_data(**kwargs)
        onward = (self.get_redirect_url() or home_of(user)) if context["must_add_one"] else ""
        return context | {
            "factors": factors.of(user),
            "has_app": factors.of(user).filter(type=factors.APP).exists(),
            "codes_left": len(codes.wrap().get_unused_codes()) if codes else 0,
            "on_the_way": with_next("", onward),
            "is_bound": oidc.is_on() and ProviderSubject.is_bound(user, settings.OIDC_ISSUER),
        }


class OwnFactorMixin(OwnPage, LimitedMixin):
    """`action` is recorded together with the change; new recovery codes are shown in the answer, this once."""

    action = ""
    kind = ""
    done = ""
    request: HttpRequest

    def get_default_redirect_url(self) -> str:
        return reverse("mfa_index")

    def form_valid(self, form: Any) -> HttpResponse:
        with audited():
            response: HttpResponse = super().form_valid(form)  # type: ignore[misc]
            factors.note(self.action, self.request, self.kind)
        self.request.session.pop(AddAppForm.KEPT, None)
        if getattr(self, "did_generate_recovery_codes", False):
            return self.codes_shown()
        messages.success(self.request, self.done)
        return response

    def codes_shown(self) -> HttpResponse:
        codes = Authenticator.objects.get(user=self.request.user, type=factors.CODES).wrap().get_unused_codes()
        context = {"codes": "\n".join(codes), "onward": self.get_success_url()}
        return render(self.request, "signin/codes.html", {**frame(self.request, "Your recovery codes"), **context})

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {**super().get_context_data(**kwargs), "on_the_way": with_next("", self.get_redirect_url())}


class AddApp(OwnFactorMixin, ActivateTOTPView):
    action, kind, done = "factor.added", factors.APP, "Your authenticator app is added."
    template_name = "signin/add_app.html"
    title = "Add an authenticator app"


class RemoveMixin(OwnFactorMixin):
    action = "factor.removed"
    template_name = "signin/remove.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        user = self.request.user
        closes = factors.are_asked_of(user) and factors.of(user).count() == 1
        return {**super().get_context_data(**kwargs), "closes": closes}


class RemoveApp(RemoveMixin, DeactivateTOTPView):
    kind, done = factors.APP, "Your authenticator app is removed."
    title = "Remove the authenticator app"


class AddKey(OwnFactorMixin, AddWebAuthnView):
    action, kind, done = "factor.added", factors.KEY, "Your security key is added."
    template_name = "signin/add_key.html"
    title = "Add a security key"


class RemoveKey(RemoveMixin, RemoveWebAuthnView):
    kind, done = factors.KEY, "Your security key is removed."

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {**super().get_context_data(**kwargs), "title": f"Remove {self.object.wrap().name}"}


class NewCodes(OwnFactorMixin, GenerateRecoveryCodesView):
    action, kind = "factor.added", factors.CODES
    template_name = "signin/new_codes.html"
    title = "New recovery codes"
    did_generate_recovery_codes = True
