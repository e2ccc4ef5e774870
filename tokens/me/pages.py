"""What signed-in people see of their own tokens, and of the service accounts they are accountable for."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.generic import TemplateView

from osmo_portal.console.change import Change
from osmo_portal.console.timeline import timeline
from osmo_portal.events.actor import Actor, Door
from osmo_portal.signin import factors
from profiles.models import User
from profiles.rules import visible_users
from tokens import rules
from tokens.admin.lifecycle import Resume, Revoke, Rotate, Suspend
from tokens.models import AccessToken, TerminalSignIn
from tokens.models.token_set import AccessTokenQuerySet

View = Callable[..., HttpResponseBase]
SAFE = {"GET", "HEAD", "OPTIONS"}
TOKENS_SHOWN = 50
ACCOUNTS_SHOWN = 20
TERMINALS_SHOWN = 20
CHANGES: list[type[Change]] = [Rotate, Suspend, Resume, Revoke]


def own_tokens(by: Actor) -> AccessTokenQuerySet:
    return rules.visible_tokens(by).owned_by(by.user)


def own_accounts(by: Actor) -> Any:
    return visible_users(by).service_accounts().filter(accountable=by.user)


class Own:
    """The place of these pages, as a section of the console is the place of its own. What belongs to somebody else is
    not there, not even for an administrator: that is the console's business."""

    door = Door.MY_TOKENS
    admin_site = admin.site
    opts = AccessToken._meta
    heading = "My tokens"

    def get_object(self, request: HttpRequest, object_id: str) -> AccessToken | None:
        by = Actor.signed_in(request, self.door)
        mine = Q(owner=by.user) | Q(owner__accountable=by.user)
        return rules.visible_tokens(by).filter(mine, pk=object_id).with_state().select_related("created_by").first()

    def address(self, slug: str, *args: Any) -> str:
        names = {"changelist": "my_tokens", "change": "my_token"}
        return reverse(names.get(slug, f"my_token_{slug}"), args=args)


PLACE = Own()


def for_people(view: View) -> View:
    """For whoever is signed in, by a session: a token or a JWT makes none. Who must add a second factor first, and an
    auditor's unsafe request, are turned away before any page thinks about it."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if way := factors.ask(request):
            return way
        if request.method not in SAFE and Actor.signed_in(request, PLACE.door).changes_nothing:
            raise PermissionDenied("An auditor reads everything and changes nothing. Ask an administrator.")
        return view(request, *args, **kwargs)

    return never_cache(login_required(guarded))


class Page(TemplateView):
    http_method_names = ["get", "head", "options"]
    heading = PLACE.heading

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        self.by = Actor.signed_in(self.request, PLACE.door)
        frame = {**PLACE.admin_site.each_context(self.request), "title": self.heading, "opts": PLACE.opts}
        return {**super().get_context_data(**kwargs), **frame, **self.shown()}

    def shown(self) -> dict[str, Any]:
        raise NotImplementedError

    def older(self, tokens: AccessTokenQuerySet) -> dict[str, Any]:
        """So many of the tokens, the newest first, and where the next page begins; no count, at any depth."""
        before = self.request.GET.get("before", "")
        if before.isdecimal():
            tokens = tokens.filter(pk__lt=int(before))
        found = [*tokens.with_state().order_by("-pk")[: TOKENS_SHOWN + 1]]
        shown = found[:TOKENS_SHOWN]
        return {"tokens": shown, "before": shown[-1].pk if len(found) > TOKENS_SHOWN else None, "deeper": bool(before)}


class MyTokens(Page):
    template_name = "me/tokens.html"

    def shown(self) -> dict[str, Any]:
        revoked = self.request.GET.get("state") == "revoked"
        mine = own_tokens(self.by)
        return {
            **self.older(mine.in_state("revoked") if revoked else mine.listed()),
            "revoked": revoked,
            "may_issue": not self.by.changes_nothing,
            **({} if revoked else {**self._accounts(), **self._terminals()}),
        }

    def _terminals(self) -> dict[str, Any]:
        """Nothing about them where nobody may sign one in, nor an auditor."""
        if not settings.TERMINAL_DAYS or self.by.changes_nothing:
            return {}
        mine = TerminalSignIn.objects.live().of(self.by.user).with_last_renewal()
        found = [*mine.order_by("-pk")[: TERMINALS_SHOWN + 1]]
        return {"terminals": found[:TERMINALS_SHOWN], "more_terminals": len(found) > TERMINALS_SHOWN}

    def _accounts(self) -> dict[str, Any]:
        """A page of accounts, each with its newest tokens; all of those by one query."""
        after = self.request.GET.get("after", "")
        found = [*own_accounts(self.by).filter(username__gt=after).order_by("username")[: ACCOUNTS_SHOWN + 1]]
        accounts = found[:ACCOUNTS_SHOWN]
        theirs = rules.visible_tokens(self.by).listed().filter(owner__in=accounts)
        newest = [*theirs.with_state().order_by("-pk")[: TOKENS_SHOWN + 1]]
        tokens = {account.pk: [t for t in newest[:TOKENS_SHOWN] if t.owner_id == account.pk] for account in accounts}
        return {
            "accounts": [(account, tokens[account.pk]) for account in accounts],
            "more_tokens": len(newest) > TOKENS_SHOWN,
            "next_account": accounts[-1].username if len(found) > ACCOUNTS_SHOWN else "",
        }


class MyAccount(Page):
    template_name = "me/account.html"

    def shown(self) -> dict[str, Any]:
        account: User | None = own_accounts(self.by).filter(pk=self.kwargs["pk"]).first()
        if account is None:
            raise Http404
        return {
            **self.older(rules.visible_tokens(self.by).owned_by(account)),
            "title": str(account),
            "account": account,
            "section_url": PLACE.address("changelist"),
            "section_title": PLACE.heading,
        }


class MyToken(Page):
    template_name = "me/token.html"

    def shown(self) -> dict[str, Any]:
        token = PLACE.get_object(self.request, str(self.kwargs["pk"]))
        if token is None:
            raise Http404
        return {
            "title": token.name,
            "token": token,
            "buttons": [
                {"label": change.label, "url": PLACE.address(change.slug, token.pk), "danger": change.danger}
                for change in CHANGES
                if change.fits(token) and change.permits(self.by, token)
            ],
            "retiring": token.secrets.retiring().defer("digest").first(),
            "timeline": timeline(token),
            "section_url": PLACE.address("changelist"),
            "section_title": PLACE.heading,
        }
