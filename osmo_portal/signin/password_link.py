"""The pages around a link that sets a password: asking for one, and where it leads."""

from typing import Any

from allauth.core import ratelimit
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.views import INTERNAL_RESET_SESSION_TOKEN, PasswordResetConfirmView
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.views.generic import FormView, TemplateView, View

from osmo_portal.console.passwords import NewPasswordForm
from osmo_portal.events.actor import Actor, Door
from osmo_portal.signin import mail
from osmo_portal.signin.forms import ForgottenForm
from osmo_portal.signin.frame import frame
from osmo_portal.signin.limits import told_to_wait
from profiles.backends import PersonBackend

ASKED_TOO_OFTEN = "Links were asked for too often. Wait 15 minutes, then ask again."


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
        return super().get_context_data(**{**frame(self.request, "Password forgotten"), **kwargs})


class ForgottenSent(MailPage, TemplateView):
    template_name = "signin/sent.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = {**frame(self.request, "Look at your mail"), "hours": settings.PASSWORD_RESET_TIMEOUT // 3600}
        return super().get_context_data(**{**context, **kwargs})


class NewPassword(PasswordResetConfirmView):
    """Django moves the key of the link into the session, so that no Referer carries it on. A used one is void,
    because it was made from the old password."""

    template_name = "signin/new_password.html"
    form_class = NewPasswordForm
    title = "New password"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        key = request.GET.get("key") or self.reset_url_token
        return super().dispatch(request, *args, token=key, **kwargs)

    def get_user(self, uidb64: str) -> Any:
        user = super().get_user(uidb64)
        return user if user and PersonBackend().user_can_authenticate(user) else None

    def get_form(self, form_class: Any = None) -> Any:
        form = super().get_form(form_class)
        form.fields["new_password1"].widget.attrs["autofocus"] = True
        return form

    def form_valid(self, form: Any) -> HttpResponse:
        by = Actor.signed_in(self.request, Door.ADMIN, self.user)
        self.user.change_password(form.cleaned_data["new_password1"], by=by)
        self.request.session.pop(INTERNAL_RESET_SESSION_TOKEN, None)
        messages.success(self.request, "Your password is set. Sign in with it.")
        return HttpResponseRedirect(reverse("admin:login"))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {**super().get_context_data(**kwargs), **frame(self.request, self.title)}
