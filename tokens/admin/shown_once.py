"""The one page that shows a secret."""

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render

from osmo_portal.console.change import Change
from tokens import kubernetes
from tokens.models import AccessToken


def show_secret(view: Change, token: AccessToken, heading: str, note: str = "") -> HttpResponse:
    """The answer to the very POST that made the secret: it is kept nowhere that a second request could read."""
    section = view.section
    context = {
        **section.admin_site.each_context(view.request),
        "title": heading,
        "opts": section.opts,
        "section_url": section.address("changelist"),
        "section_title": section.heading,
        "token_url": section.address("change", token.pk),
        "token": token,
        "secret": str(token.plaintext),
        "login": f"osmo login {settings.PORTAL_URL} --method token --token {token.plaintext}",
        "manifest": kubernetes.manifest(token),
        "note": note,
    }
    response = render(view.request, "portal/secret.html", context)
    response["Cache-Control"] = "no-store"
    response["Referrer-Policy"] = "no-referrer"
    return response
