"""The console: the order of its sections, its first page, signing in, and the own password."""

from functools import wraps
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm, AdminPasswordChangeForm
from django.contrib.auth import authenticate, update_session_auth_hash
from django.contrib.auth.views import PasswordChangeView, RedirectURLMixin
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.views.generic import FormView

from osmo_portal.console import recent
from osmo_portal.console.section import Section
from osmo_portal.events.actor import Actor, Door
from osmo_portal.events.models import Event
from osmo_portal.first_page import first_page

ORDER = ["AccessToken", "ServiceAccount", "Person", "Role", "Pool", "Event"]
EVENTS_SHOWN = 8
SAFE = {"GET", "HEAD", "OPTIONS"}
NOT_FOR_YOU = (
    "You are known here, but this console is for administrators, operators and auditors. "
    "If you should be one of them, ask an administrator."
)


class SignInForm(AdminAuthenticationForm):
    error_messages = {
        "invalid_login": "The user id or the password is wrong. Small and capital letters differ in the password.",
        "inactive": "The user id or the password is wrong. Small and capital letters differ in the password.",
    }

    def confirm_login_allowed(self, user: Any) -> None:
        """Called once the password has proved right."""
        if not user.is_staff:
            raise ValidationError(NOT_FOR_YOU, code="not_staff")


class ConfirmForm(forms.Form):
    password = forms.CharField(
        strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "current-password", "autofocus": True})
    )

    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request

    def clean_password(self) -> None:
        name = self.request.user.get_username()
        if not authenticate(self.request, username=name, password=self.cleaned_data["password"]):
            raise ValidationError("The password is wrong. Small and capital letters differ.")


class Confirm(RedirectURLMixin, FormView):
    """Asks who is signed in for the password once more, and leads back to what wanted that."""

    form_class = ConfirmForm
    template_name = "registration/confirm.html"

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "request": self.request}

    def get_default_redirect_url(self) -> str:
        return reverse("admin:index")

    def form_valid(self, form: Any) -> HttpResponse:
        recent.note(self.request)
        return HttpResponseRedirect(self.get_success_url())


class OwnPassword(PasswordChangeView):
    """Django's page, but the password is set by the way in, with its event."""

    def form_valid(self, form: Any) -> HttpResponse:
        by = Actor.signed_in(self.request, Door.ADMIN)
        by.user.change_password(form.cleaned_data["new_password1"], by=by)
        update_session_auth_hash(self.request, by.user)
        return HttpResponseRedirect(self.get_success_url())


class Console(admin.AdminSite):
    site_header = "OSMO portal"
    site_title = "OSMO portal"
    index_title = "Console"
    site_url = None
    enable_nav_sidebar = False  # the sections stand in one row on top
    empty_value_display = "–"
    login_form = SignInForm
    index_template = "portal/index.html"

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """Sections only. What Django registers of its own, the groups, would let people change them past the trail."""
        if admin_class is not None and issubclass(admin_class, Section):
            super().register(model_or_iterable, admin_class, **options)

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[dict[str, Any]]:
        """One list of sections in the order in which they are needed; the apps behind them are nobody's business."""
        apps = super().get_app_list(request, app_label)
        sections = sorted((model for app in apps for model in app["models"]), key=_rank)
        if not sections:
            return []
        return [{**apps[0], "name": "Sections", "app_url": reverse("admin:index"), "models": sections}]

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """As Django's; but an auditor's unsafe request is refused before any page thinks about it."""
        inner = super().admin_view(view, cacheable)
        if view in (self.logout, self.password_change):
            return inner

        @wraps(inner)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            signed_in = request.user.is_authenticated
            if request.method not in SAFE and signed_in and Actor.signed_in(request, Door.ADMIN).changes_nothing:
                raise PermissionDenied("An auditor reads everything and changes nothing. Ask an administrator.")
            return inner(request, *args, **kwargs)

        return guarded

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        context = {**first_page(Actor.signed_in(request, Door.ADMIN)), "events": Event.objects.all()[:EVENTS_SHOWN]}
        return super().index(request, {**context, **(extra_context or {})})

    def app_index(self, request: HttpRequest, app_label: str, extra_context: dict[str, Any] | None = None) -> Any:
        return HttpResponseRedirect(reverse("admin:index"))

    def get_urls(self) -> list[URLPattern | URLResolver]:
        return [path("confirm/", self.admin_view(self.confirm), name="confirm"), *super().get_urls()]

    def confirm(self, request: HttpRequest) -> Any:
        view = Confirm.as_view(extra_context={**self.each_context(request), "title": "Is it you?"})
        return view(request)

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        view = OwnPassword.as_view(
            form_class=AdminPasswordChangeForm,
            success_url=reverse("admin:password_change_done"),
            template_name="registration/password_change_form.html",
            extra_context={**self.each_context(request), **(extra_context or {})},
        )
        return view(request)


def _rank(section: dict[str, Any]) -> int:
    name = section["object_name"]
    return ORDER.index(name) if name in ORDER else len(ORDER)
