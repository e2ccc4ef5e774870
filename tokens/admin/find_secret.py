"""The search box of the tokens, sent by POST: text goes on to the list, a secret is looked up here and nowhere else."""

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.admin.views.main import SEARCH_VAR
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from osmo_portal.console.listing import SECRETS
from osmo_portal.events import chain
from osmo_portal.events.actor import Actor, Door
from osmo_portal.events.models import Event
from osmo_portal.events.trail import audited, record
from tokens import rules, secrets
from tokens.admin.record import secret_state
from tokens.models import AccessToken, Secret
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
        secret = _lookup(text, by).first()
        with audited():
            if secret:
                record("secret.looked_up", by, secret.token, secret=secret.pk)
            else:
                _record_unknown(by)
        response = render(request, "portal/found_secret.html", self._context(request, by, secret))
        response["Cache-Control"] = "no-store"
        response["Referrer-Policy"] = "no-referrer"
        return response

    def _context(self, request: HttpRequest, by: Actor, secret: Secret | None) -> dict[str, Any]:
        token = secret.token if secret else None
        may_revoke = token and not token.ended_at and rules.endable_tokens(by).filter(pk=token.pk).exists()
        return {
            **self.section.admin_site.each_context(request),
            "title": f"This is a secret of {token}" if token else "Nobody has this secret",
            "opts": self.section.opts,
            "section_url": self.section.address("changelist"),
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
def _lookup(text: str, by: Actor) -> QuerySet[Secret]:
    """The secrets among those of visible tokens whose plaintext or digest is in the text."""
    hexadecimal = DIGEST.findall(text)[:MAX_CANDIDATES]
    plain = [*OURS.findall(text)[:MAX_CANDIDATES], *hexadecimal, *IMPORTED.findall(text)[:MAX_CANDIDATES]]
    digests = [*map(secrets.digest, plain), *map(bytes.fromhex, hexadecimal)]
    visible = rules.visible_tokens(by).with_state()
    mine = Secret.objects.filter(digest__in=digests, token__in=rules.visible_tokens(by))
    return mine.defer("digest").prefetch_related(_token(visible))


def _token(visible: QuerySet) -> Any:
    return Prefetch("token", visible.select_related("owner__accountable"))


def _record_unknown(by: Actor) -> None:
    """One a minute is enough to tell that somebody is trying."""
    chain.lock()
    since = timezone.now() - UNKNOWN_INTERVAL
    if not Event.objects.filter(action="secret.not_found", actor_id=by.user.pk, at__gt=since).exists():
        record("secret.not_found", by, AccessToken(), label="a secret that nobody has")
