"""The console: the order of its sections, its first page, signing in, and the own password."""

from functools import wraps
from typing import Any

from django.contrib import admin
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect

from osmo_portal.console.section import Section
from osmo_portal.events.actor import Actor, Door
from osmo_portal.events.models import Event
from osmo_portal.first_page import first_page
from osmo_portal.signin import factors
from osmo_portal.signin.confirm import Confirm
from osmo_portal.signin.entrance import SignIn
from osmo_portal.signin.forms import OwnPasswordForm
from osmo_portal.signin.limits import LimitedMixin

ORDER = ["AccessToken", "ServiceAccount", "Person", "Role", "Pool", "Event"]
EVENTS_SHOWN = 8
SAFE = {"GET", "HEAD", "OPTIONS"}


class OwnPassword(LimitedMixin, PasswordChangeView):
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
        """As Django's; but what is refused is refused here, before any page thinks about it."""
        if view == self.logout:
            return csrf_protect(view)  # whoever is signed in may sign out
        if view in (self.password_change, self.password_change_done, self.confirm):
            return csrf_protect(never_cache(login_required(view)))  # the own sign-in is anybody's business
        inner = super().admin_view(view, cacheable)

        @wraps(inner)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            return self._refuse(request) or inner(request, *args, **kwargs)

        return guarded

    def _refuse(self, request: HttpRequest) -> HttpResponse | None:
        """Raises PermissionDenied where the person may not do this. Whom the console is not for is left to Django,
        which sends them to the sign-in; that tells them."""
        if not self.has_permission(request):
            return None
        if way := factors.ask(request):
            return way
        if request.method not in SAFE and Actor.signed_in(request, Door.ADMIN).changes_nothing:
            raise PermissionDenied("An auditor reads everything and changes nothing. Ask an administrator.")
        return None

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return SignIn.as_view()(request)

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        context = {**first_page(Actor.signed_in(request, Door.ADMIN)), "events": Event.objects.all()[:EVENTS_SHOWN]}
        return super().index(request, {**context, **(extra_context or {})})

    def app_index(self, request: HttpRequest, app_label: str, extra_context: dict[str, Any] | None = None) -> Any:
        return HttpResponseRedirect(reverse("admin:index"))

    def get_urls(self) -> list[URLPattern | URLResolver]:
        return [path("confirm/", self.admin_view(self.confirm), name="confirm"), *super().get_urls()]

    def confirm(self, request: HttpRequest) -> Any:
        return Confirm.as_view()(request)

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        if not Actor.signed_in(request, Door.ADMIN).user.has_usable_password():
            return HttpResponseRedirect(reverse("mfa_index"))  # there is no old one to type
        view = OwnPassword.as_view(
            form_class=OwnPasswordForm,
            success_url=reverse("admin:password_change_done"),
            template_name="registration/password_change_form.html",
            extra_context={**self.each_context(request), **(extra_context or {})},
        )
        return view(request)


def _rank(section: dict[str, Any]) -> int:
    name = section["object_name"]
    return ORDER.index(name) if name in ORDER else len(ORDER)
