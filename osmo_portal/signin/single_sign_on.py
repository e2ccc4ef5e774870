"""The ways to the identity provider and back."""

from allauth.account.utils import get_next_redirect_url, perform_login
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.generic import View

from osmo_portal.console import recent
from osmo_portal.console.onward import with_next
from osmo_portal.signin import oidc
from osmo_portal.signin.adapter import home_of

SOMEBODY_ELSE = "At {} you signed in as somebody else. You are still who you were here."


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
    return HttpResponseRedirect(with_next(page, back))
