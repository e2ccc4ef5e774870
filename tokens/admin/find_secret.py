"""The search box of the tokens, sent by POST: text goes on to the list, a secret is looked up here and nowhere else."""

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.admin.views.main import SEARCH_VAR
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from osmo_portal.console.listing import SECRETS
from osmo_portal.events import chain
from osmo_portal.events.actor import Actor, Door
from osmo_portal.events.models import Event, kind_of
from osmo_portal.events.trail import audited, record
from profiles.rules import reads_everything
from tokens import rules, secrets
from tokens.admin.record import secret_state
from tokens.models import AccessToken, PurgedSecret, Secret
from tokens.search import MAX_LENGTH

if TYPE_CHECKING:
    from osmo_portal.console.section import Section

# In a pasted line there may be a command around it. The shapes are those of tokens.secrets.
OURS = re.compile(r"osmo_[0-9A-Za-z]{49}")
DIGEST = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{64}(?![0-9A-Za-z])")  # or an imported secret
IMPORTED = re.compile(r"(?<![0-9A-Za-z_-])[0-9A-Za-z_-]{43}(?![0-9A-Za-z_-])")
MAX_CANDIDATES = 20
UNKNOWN_INTERVAL = timedelta(minutes=1)
NOT_FROM = {"csrfmiddlewaretoken", SEARCH_VAR}


@method_decorator([sensitive_post_parameters(), sensitive_variables()], name="dispatch")
class FindSecret(View):
    section: "Section" = None  # type: ignore[assignment]  # set by as_view
    http_method_names = ["get", "head", "post", "options"]

    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(self.section.address("changelist"))

    @sensitive_variables()
    def post(self, request: HttpRequest) -> HttpResponse:
        text = request.POST.get(SEARCH_VAR, "").strip()
        if SECRETS.search(text):
            return self._found(request, text)
        query = _other_fields(request)
        if len(text) > MAX_LENGTH or "\0" in text:
            messages.error(request, f"Search for at most {MAX_LENGTH} characters.")
        elif text:
            query[SEARCH_VAR] = text
        return HttpResponseRedirect(f"{self.section.address('changelist')}?{query.urlencode()}".rstrip("?"))

    @sensitive_variables()
    def _found(self, request: HttpRequest, text: str) -> HttpResponse:
        by = Actor.signed_in(request, Door.ADMIN)
        digests = _digests(text)
        secret = _lookup(digests, by).first()
        purged = None if secret else _lookup_purged(digests, by)
        with audited():
            if secret:
                record("secret.looked_up", by, secret.token, secret=secret.pk)
            elif purged:
                record("secret.looked_up", by, AccessToken(pk=purged.token_id), label=purged.label, purged=True)
            else:
                _record_unknown(by)
        context = self._context_of_purged(purged) if purged else self._context(by, secret)
        response = render(request, "portal/found_secret.html", {**self._around(request), **context})
        response["Cache-Control"] = "no-store"
        response["Referrer-Policy"] = "no-referrer"
        return response

    def _around(self, request: HttpRequest) -> dict[str, Any]:
        return {
            **self.section.admin_site.each_context(request),
            "opts": self.section.opts,
            "section_url": self.section.address("changelist"),
        }

    def _context_of_purged(self, purged: PurgedSecret) -> dict[str, Any]:
        about = {"about": f"#{purged.token_id}", "kind": kind_of(AccessToken)}
        events = f"{reverse('admin:events_event_changelist')}?{urlencode(about)}"
        return {"title": f"This was a secret of {purged}", "purged": purged, "events_url": events}

    def _context(self, by: Actor, secret: Secret | None) -> dict[str, Any]:
        token = secret.token if secret else None
        may_revoke = token and not token.ended_at and rules.endable_tokens(by).filter(pk=token.pk).exists()
        return {
            "title": f"This is a secret of {token}" if token else "Nobody has this secret",
            "token": token,
            "secret": secret,
            "secret_state": secret_state(secret, secret.token, timezone.now()) if secret else "",
            "revoke_url": self.section.address("revoke", token.pk) if token and may_revoke else "",
        }


def _other_fields(request: HttpRequest) -> QueryDict:
    """The filters and the order of the list that the box stood on."""
    query = request.POST.copy()
    for name in NOT_FROM:
        query.pop(name, None)
    return query


@sensitive_variables()
def _digests(text: str) -> list[bytes]:
    """Of all in the text that may be a secret or a digest."""
    hexadecimal = DIGEST.findall(text)[:MAX_CANDIDATES]
    plain = [*OURS.findall(text)[:MAX_CANDIDATES], *hexadecimal, *IMPORTED.findall(text)[:MAX_CANDIDATES]]
    return [*map(secrets.digest, plain), *map(bytes.fromhex, hexadecimal)]


@sensitive_variables()
def _lookup(digests: list[bytes], by: Actor) -> QuerySet[Secret]:
    """Those of visible tokens."""
    visible = rules.visible_tokens(by).with_state()
    mine = Secret.objects.filter(digest__in=digests, token__in=rules.visible_tokens(by))
    return mine.defer("digest").prefetch_related(_token(visible))


@sensitive_variables()
def _lookup_purged(digests: list[bytes], by: Actor) -> PurgedSecret | None:
    """Whose tokens they were is not known any more, so they are for those who see every token."""
    return PurgedSecret.objects.of(digests).defer("digest").first() if reads_everything(by) else None


def _token(visible: QuerySet) -> Any:
    return Prefetch("token", visible.select_related("owner__accountable"))


def _record_unknown(by: Actor) -> None:
    """One a minute is enough to tell that somebody is trying."""
    chain.lock()
    since = timezone.now() - UNKNOWN_INTERVAL
    if not Event.objects.filter(action="secret.not_found", actor_id=by.user.pk, at__gt=since).exists():
        record("secret.not_found", by, AccessToken(), label="a secret that nobody has")
