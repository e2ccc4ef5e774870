"""The search box of the tokens, sent by POST: text goes on to the list, a secret is looked up here and nowhere else."""

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.admin.views.main import SEARCH_VAR
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from osmo_portal.console.listing import SECRETS
from osmo_portal.events.actor import Actor, Door
from osmo_portal.events.models import kind_of
from tokens import rules
from tokens.admin.record import secret_state
from tokens.lookup import look_up
from tokens.models import AccessToken, PurgedSecret, Secret
from tokens.search import MAX_LENGTH

if TYPE_CHECKING:
    from osmo_portal.console.section import Section

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
        secret, purged = look_up(text, by=by)
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
