"""Links that set a password, sent by mail: to who forgot it, and to who is invited."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.tokens import default_token_generator
from django.core.exceptions import ValidationError
from django.core.mail import send_mail
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from osmo_portal.events.actor import Actor, Door
from osmo_portal.events.trail import audited, record
from profiles.backends import PersonBackend
from profiles.models import User
from profiles.rules import require_administrator

AT_MOST = 5  # mails for one request: several people may share an address


class AfterwardsRedirect(HttpResponseRedirect):
    """Does something once the answer was sent, so that how long it takes tells nobody what was found."""

    def __init__(self, address: str, afterwards: Callable[[], None]) -> None:
        super().__init__(address)
        self._afterwards = afterwards

    def close(self) -> None:
        afterwards, self._afterwards = self._afterwards, _nothing
        try:
            afterwards()
        finally:
            super().close()


def _nothing() -> None:
    pass


def remind(request: HttpRequest, typed: str, address: str) -> HttpResponse:
    """Leads to `address`, and sends a link to whoever has this user id or mail address and a password to forget."""
    by = Actor.nobody(request, Door.ADMIN)

    def send() -> None:
        for person in _known_as(typed):
            _send(person, "signin/mail/forgotten", by=by)

    return AfterwardsRedirect(address, send)


def invite(person: User, *, by: Actor) -> None:
    """Sends a person a link that sets the first password, or another one."""
    require_administrator(by, "invite people")
    if not person.email:
        raise ValidationError(f"{person} has no e-mail address. Give one first.")
    if not PersonBackend().user_can_authenticate(person):
        raise ValidationError(f"{person} cannot sign in, so there is nothing to invite to.")
    _send(person, "signin/mail/invited", by=by)


def _known_as(typed: str) -> list[User]:
    """Who has no password signs in another way, and gets one by an administrator's invitation alone."""
    people = User.objects.people().active().exclude(email="")
    named = people.filter(pk__in=User.objects.named(typed).values("pk"))
    found = (named | people.filter(email__iexact=typed)).order_by("pk") if "@" in typed else named
    return [person for person in found[:AT_MOST] if person.has_usable_password()]


def _send(person: User, name: str, *, by: Actor) -> None:
    number = urlsafe_base64_encode(force_bytes(person.pk))
    token = default_token_generator.make_token(person)
    # In the query, which no log of ours keeps.
    link = f"{settings.PORTAL_URL}{reverse('new_password', args=[number])}?key={token}"
    hours = settings.PASSWORD_RESET_TIMEOUT // 3600
    context: dict[str, Any] = {"person": person, "link": link, "hours": hours, "portal": settings.PORTAL_URL}
    subject, _, text = render_to_string(f"{name}.txt", context).partition("\n\n")
    with audited():
        record("user.password_link_made", by, person)
    send_mail(subject.strip(), text, None, [person.email])  # outside: a slow server would hold the transaction
