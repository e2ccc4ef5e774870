"""Tokens of a user who is named, as 6.2 and later clients handle them: `osmo token … --user ID`."""

from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from osmo_portal.api import WireView
from osmo_portal.events.actor import Actor
from profiles.api.cli_users import known_user
from tokens import rules
from tokens.api.cli import NewerTokenView, delete, issue, listed
from tokens.api.permissions import AuditorsChangeNothing, ServiceAccountsIssueNothing
from tokens.models import AccessToken


class TokensOfUser(WireView):
    """For administrators, for the user, and for the person accountable for a service account."""

    def get(self, request: Request, user_id: str) -> Response:
        by = Actor.of(request)
        return Response(listed(rules.visible_tokens(by).owned_by(known_user(user_id, by=by))))


class TokenOfUser(NewerTokenView):
    permission_classes = [IsAuthenticated, AuditorsChangeNothing, ServiceAccountsIssueNothing]

    def post(self, request: Request, user_id: str, name: str) -> Response:
        return issue(request, known_user(user_id, by=Actor.of(request)), name)

    def delete(self, request: Request, user_id: str, name: str) -> Response:
        owner = known_user(user_id, by=Actor.of(request))
        tokens = AccessToken.objects.owned_by(owner).listed().filter(name=name)
        return delete(tokens, request, f"Access token {name} does not exist.")
