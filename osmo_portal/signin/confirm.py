"""The page that asks for a recent sign-in."""

from typing import Any

from allauth.mfa.webauthn.internal.auth import begin_authentication
from django.conf import settings
from django.http import HttpResponse, HttpResponseRedirect
from django.views.generic import FormView

from osmo_portal.console import recent
from osmo_portal.signin import factors, oidc
from osmo_portal.signin.adapter import home_of
from osmo_portal.signin.forms import ConfirmByCodeForm, ConfirmByKeyForm, ConfirmForm
from osmo_portal.signin.limits import LimitedMixin
from osmo_portal.signin.models import ProviderSubject
from osmo_portal.signin.own import OwnPage


class Confirm(OwnPage, LimitedMixin, FormView):
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

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        user: Any = self.request.user
        form = context["form"]
        context["next"] = self.get_redirect_url()
        context["is_bound"] = oidc.is_on() and ProviderSubject.is_bound(user, settings.OIDC_ISSUER)
        kinds = {factor.type for factor in factors.of(user)}
        context["several"] = len(kinds) + context["is_bound"] + user.has_usable_password() > 1
        context["password_form"] = form if isinstance(form, ConfirmForm) else ConfirmForm(user=user)
        if factors.APP in kinds:
            context["code_form"] = form if isinstance(form, ConfirmByCodeForm) else ConfirmByCodeForm(user=user)
        if factors.KEY in kinds:
            context["js_data"] = {"request_options": begin_authentication(user)}
        return context
