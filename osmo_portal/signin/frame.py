"""What stands around the pages of the sign-in."""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest

from osmo_portal.signin import oidc


def frame(request: HttpRequest, title: str) -> dict[str, Any]:
    return {
        **admin.site.each_context(request),
        "title": title,
        "sends_mail": settings.SENDS_MAIL,
        "provider": settings.OIDC_NAME if oidc.is_on() else "",
    }
