"""A recent sign-in: what ends many tokens, and what leaves the portal as a file, asks for one."""

from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.signals import user_logged_in
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone

from osmo_portal.console.onward import with_next

WINDOW = timedelta(minutes=15)
KEY = "signed_in_at"


def is_recent(request: HttpRequest) -> bool:
    """Whether whoever sends the request proved within WINDOW to be the person of the session."""
    stamp = request.session.get(KEY)
    return stamp is not None and timezone.now() - datetime.fromisoformat(stamp) < WINDOW


def ask(request: HttpRequest, back: str = "") -> HttpResponseRedirect | None:
    """None where the sign-in is recent; else the way to the page that asks for it again and leads to `back`.

    `back` is an address of this host, by default the one that was asked for.
    """
    if is_recent(request):
        return None
    return HttpResponseRedirect(with_next(reverse("admin:confirm"), back or request.get_full_path()))


def note(request: HttpRequest) -> None:
    """Keeps in the session that its person has proved just now to be there."""
    request.session[KEY] = timezone.now().isoformat()


@receiver(user_logged_in)
def _note_sign_in(sender: Any, request: HttpRequest, **kwargs: Any) -> None:
    note(request)
