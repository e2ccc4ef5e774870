"""Signing in, in the portal's face."""

from typing import Any

from allauth.account.utils import get_next_redirect_url, perform_login
from allauth.account.views import LoginView
from allauth.core import ratelimit
from allauth.mfa.base.views import AuthenticateView
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.views import GenerateRecoveryCodesView
from allauth.mfa.totp.views import ActivateTOTPView, DeactivateTOTPView
from allauth.mfa.webauthn.internal.auth import begin_authentication
from allauth.mfa.webauthn.views import AddWebAuthnView, RemoveWebAuthnView
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth import logout
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import INTERNAL_RESET_SESSION_TOKEN, PasswordResetConfirmView, RedirectURLMixin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.generic import FormView, TemplateView, View

from osmo_portal.console import recent
from osmo_portal.events.actor import Actor, Door
from osmo_portal.events.trail import audited
from osmo_portal.signin import factors, mail, oidc
from osmo_portal.signin.adapter import TOO_MANY, home_of
from osmo_portal.signin.forms import (
    AddAppForm,
    ConfirmByCodeForm,
    ConfirmByKeyForm,
    ConfirmForm,
    ForgottenForm,
    SignInForm,
)
from osmo_portal.signin.limits import told_to_wait
from osmo_portal.signin.models import ProviderSubject
from profiles.backends import PersonBackend

NOT_FOR_YOU = (
    "You are known here, but this console is for administrators, operators and auditors. "
    "If you should be one of them, ask an administrator."
)
SOMEBODY_ELSE = "At {} you signed in as somebody else. You are still who you were here."
ASKED_TOO_OFTEN = "Links were asked for too often. Wait 15 minutes, then ask again."
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
        return told_to_wait(response) if tried_too_often(form) else response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = {**_site(self.request, "Sign in"), "next": self.get_next_url() or ""}
        return super().get_context_data(**{**context, **kwargs})


def _site(request: HttpRequest, title: str) -> dict[str, Any]:
    return {
        **admin.site.each_context(request),
        "title": title,
        "sends_mail": settings.SENDS_MAIL,
        "provider": settings.OIDC_NAME if oidc.is_on() else "",
    }


class SingleSignOn(View):
    """To the identity provider. It changes nothing here, so a link leads to it; the CSP lets no form go elsewhere."""

    def get(self, request: HttpRequest) -> HttpResponse:
        if not oidc.is_on():
            raise Http404
        back = get_next_redirect_url(request) or ""
        try:
            return HttpResponseRedirect(oidc.begin(request, back=back, again=request.user.is_authenticated))
        except oidc.Refused as refused:
            return _turned_away(request, str(refused), back)


class SingleSignOnBack(View):
    """From the identity provider."""

    def get(self, request: HttpRequest) -> HttpResponse:
        if not oidc.is_on():
            raise Http404
        back = oidc.leads_to(request)
        try:
            claims, kept = oidc.finish(request)
        except oidc.Refused as refused:
            return _turned_away(request, str(refused), back)
        try:
            person = oidc.person_of(request, claims)
        except oidc.Refused as refused:
            oidc.record_refusal(request, claims)
            return _turned_away(request, str(refused), back)
        if request.user == person:
            recent.note(request)
            return HttpResponseRedirect(back or home_of(person))
        if request.user.is_authenticated and kept["again"]:
            return _turned_away(request, SOMEBODY_ELSE.format(settings.OIDC_NAME), back)
        if request.user.is_authenticated:
            logout(request)
        return perform_login(request, person, redirect_url=back or None)


def _turned_away(request: HttpRequest, sentence: str, back: str) -> HttpResponse:
    """To where the person came from, and may try another way to the same page."""
    messages.error(request, sentence)
    page = reverse("admin:confirm" if request.user.is_authenticated else "admin:login")
    return HttpResponseRedirect(f"{page}?{urlencode({'next': back})}" if back else page)


def too_many(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return told_to_wait(render(request, "portal/error.html", {"status": 429, "message": TOO_MANY}))


def tried_too_often(form: Any) -> bool:
    codes = {error.code for errors in form.errors.as_data().values() for error in errors}
    return not codes.isdisjoint({"too_many_login_attempts", "rate_limited"})


class SecondStep(AuthenticateView):
    """After the right password: a code or a key, where the person has one."""

    template_name = "signin/second_step.html"

    def form_invalid(self, form: Any) -> HttpResponse:
        response = super().form_invalid(form)
        return told_to_wait(response) if tried_too_often(form) else response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        kinds = {factor.type for factor in factors.of(self.stage.login.user)}
        context = {
            **_site(self.request, "Second step"),
            "has_app": factors.APP in kinds,
            "has_key": factors.KEY in kinds,
        }
        return {**super().get_context_data(**kwargs), **context}


class OwnPage(LoginRequiredMixin):
    """A page about the sign-in of whoever looks at it. What changes something there wants a recent sign-in."""

    title = ""
    wants_recent = True

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return self.handle_no_permission()
        return (self.wants_recent and recent.ask(request)) or super().dispatch(request, *args, **kwargs)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {**super().get_context_data(**kwargs), **_site(self.request, self.title)}  # type: ignore[misc, attr-defined]


class OwnSignIn(OwnPage, TemplateView):
    template_name = "signin/own.html"
    title = "Your sign-in"
    wants_recent = False

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        user = self.request.user
        codes = Authenticator.objects.filter(user=user, type=factors.CODES).first()
        context = {
            "factors": factors.of(user),
            "has_app": factors.of(user).filter(type=factors.APP).exists(),
            "codes_left": len(codes.wrap().get_unused_codes()) if codes else 0,
            "must_add_one": factors.must_add_one(user),
            "is_bound": oidc.is_on() and ProviderSubject.is_bound(user, settings.OIDC_ISSUER),
        }
        return {**super().get_context_data(**kwargs), **context}


class OwnFactorMixin(OwnPage):
    """`action` is recorded together with the change; new recovery codes are shown in the answer, this once."""

    action = ""
    kind = ""
    done = ""
    request: HttpRequest

    def get_success_url(self) -> str:
        return reverse("mfa_index")

    def form_valid(self, form: Any) -> HttpResponse:
        with audited():
            response: HttpResponse = super().form_valid(form)  # type: ignore[misc]
            factors.note(self.action, self.request, self.kind)
        self.request.session.pop(AddAppForm.KEPT, None)
        if getattr(self, "did_generate_recovery_codes", False):
            return codes_shown(self.request)
        messages.success(self.request, self.done)
        return response

    def form_invalid(self, form: Any) -> HttpResponse:
        response: HttpResponse = super().form_invalid(form)  # type: ignore[misc]
        return told_to_wait(response) if tried_too_often(form) else response


class AddApp(OwnFactorMixin, ActivateTOTPView):
    action, kind, done = "factor.added", factors.APP, "Your authenticator app is added."
    template_name = "signin/add_app.html"
    title = "Add an authenticator app"


class RemoveApp(OwnFactorMixin, DeactivateTOTPView):
    action, kind, done = "factor.removed", factors.APP, "Your authenticator app is removed."
    template_name = "signin/remove.html"
    title = "Remove the authenticator app"


class AddKey(OwnFactorMixin, AddWebAuthnView):
    action, kind, done = "factor.added", factors.KEY, "Your security key is added."
    template_name = "signin/add_key.html"
    title = "Add a security key"


class RemoveKey(OwnFactorMixin, RemoveWebAuthnView):
    action, kind, done = "factor.removed", factors.KEY, "Your security key is removed."
    template_name = "signin/remove.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {**super().get_context_data(**kwargs), "title": f"Remove {self.object.wrap().name}"}


class NewCodes(OwnFactorMixin, GenerateRecoveryCodesView):
    action, kind = "factor.added", factors.CODES
    template_name = "signin/new_codes.html"
    title = "New recovery codes"
    did_generate_recovery_codes = True


def codes_shown(request: HttpRequest) -> HttpResponse:
    codes = Authenticator.objects.get(user=request.user, type=factors.CODES).wrap().get_unused_codes()
    return render(request, "signin/codes.html", {**_site(request, "Your recovery codes"), "codes": "\n".join(codes)})


class Confirm(OwnPage, RedirectURLMixin, FormView):
    """Asks once more whether it is the person who is signed in, and leads back to what wanted that."""

    template_name = "registration/confirm.html"
    title = "Is it you?"
    wants_recent = False

    def get_form_class(self) -> Any:
        asked = {"code": ConfirmByCodeForm, "credential": ConfirmByKeyForm}
        return next((form for name, form in asked.items() if name in self.request.POST), ConfirmForm)

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "user": self.request.user}

    def get_default_redirect_url(self) -> str:
        return home_of(self.request.user)

    def form_valid(self, form: Any) -> HttpResponse:
        form.save()
        recent.note(self.request)
        return HttpResponseRedirect(self.get_success_url())

    def form_invalid(self, form: Any) -> HttpResponse:
        response = super().form_invalid(form)
        return told_to_wait(response) if tried_too_often(form) else response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        user, form = self.request.user, context["form"]
        context["next"] = self.get_redirect_url()
        context["is_bound"] = oidc.is_on() and ProviderSubject.is_bound(user, settings.OIDC_ISSUER)
        kinds = {factor.type for factor in factors.of(user)}
        context["password_form"] = form if isinstance(form, ConfirmForm) else ConfirmForm(user=user)
        if factors.APP in kinds:
            context["code_form"] = form if isinstance(form, ConfirmByCodeForm) else ConfirmByCodeForm(user=user)
        if factors.KEY in kinds:
            context["js_data"] = {"request_options": begin_authentication(user)}
        return context


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
            form.add_error(None, ASKED_TOO_OFTEN)
            return told_to_wait(self.form_invalid(form))
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
        return {**super().get_context_data(**kwargs), **_site(self.request, self.title)}
