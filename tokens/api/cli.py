"""The exchange and the caller's tokens, as the released clients call them. Statuses, bodies and texts are theirs.

6.0 and 6.1 know user tokens and service tokens under two addresses. From 6.2 on there is one for the own tokens of
whoever calls; those of other users are in cli_users.
"""

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods, require_safe
from rest_framework.exceptions import Throttled
from rest_framework.permissions import SAFE_METHODS, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from osmo_portal.api import WireView, json_object
from osmo_portal.events.actor import Actor, facts
from osmo_portal.middleware import problem
from osmo_portal.problems import Unprocessable, code_of
from profiles.api.cli_users import name_of
from profiles.models import Kind, User
from tokens import exchange, jwt, rules
from tokens.api.authentication import bearer
from tokens.api.permissions import (
    AuditorsChangeNothing,
    OnlyAdministratorsHandleServiceTokens,
    ServiceAccountsIssueNothing,
)
from tokens.models import AccessToken
from tokens.models.token_set import AccessTokenQuerySet

MAX_SECRET = 200  # characters; nothing longer is even looked at
BY_QUERY_IS_OFF = "This portal does not take secrets in the address. Use a client that sends them in the body."


@csrf_exempt
@require_safe
def keys(request: HttpRequest) -> JsonResponse:
    return JsonResponse(jwt.key_set(), headers={"Cache-Control": f"public, max-age={jwt.KEYS_LAST}"})


@csrf_exempt
@require_http_methods(["GET", "POST"])
@sensitive_variables("secret")
@sensitive_post_parameters()
def exchange_secret(request: HttpRequest) -> JsonResponse:
    """A plain view, since it is called by every job: no serializer, no session, no DRF."""
    try:
        secret = _secret_of(request)
    except Unprocessable as error:
        return problem(422, str(error))
    agent = request.META.get("HTTP_USER_AGENT", "")
    try:
        token, expires = exchange.exchange(secret, agent=agent, **facts(request))
    except exchange.Refused as refusal:
        if refusal.wait:
            return problem(429, str(refusal), headers={"retry-after": str(refusal.wait)})
        return problem(400, str(refusal))
    return JsonResponse({"token": token, "expires_at": expires, "error": None})


@sensitive_variables()
def _secret_of(request: HttpRequest) -> str:
    """From the body (6.2 and later), the Authorization header, or the address (6.0 and 6.1). Raises Unprocessable."""
    if request.method == "POST":
        secret = json_object(request.body).get("token", bearer(request))
    elif "access_token" in request.GET:
        if not settings.EXCHANGE_BY_QUERY:
            raise Unprocessable(BY_QUERY_IS_OFF)
        secret = request.GET["access_token"]
    else:
        secret = bearer(request)
    if not isinstance(secret, str):
        raise Unprocessable('Send the secret as {"token": "..."} in the body, as text.')
    return secret[:MAX_SECRET]


def listed(tokens: AccessTokenQuerySet) -> list[dict[str, Any]]:
    return [_element(token) for token in tokens.listed().in_brief().order_by("name", "owner__username")]


def _element(token: AccessToken) -> dict[str, Any]:
    """One shape for all clients: 6.0 needs `access_type`, 6.2 ignores it."""
    service = token.owner.kind == Kind.SERVICE
    return {
        "user_name": token.owner.username,
        "token_name": token.name,
        "expires_at": token.expires_at.strftime("%Y-%m-%dT%H:%M:%S"),
        "description": token.description,
        "access_type": "SERVICE" if service else "USER",
        "roles": token.role_names,
    }


class OwnTokens(WireView):
    """Without `access_token` the list of 6.2; with it what 6.0 asks after a login by token: the token of a secret."""

    def get(self, request: Request) -> Response:
        if "access_token" in request.GET:
            return Response(self._token_of_secret(request))
        return Response(listed(AccessToken.objects.owned_by(Actor.of(request).user)))

    @sensitive_variables()
    def _token_of_secret(self, request: Request) -> dict[str, Any]:
        if not settings.EXCHANGE_BY_QUERY:
            raise Unprocessable(BY_QUERY_IS_OFF)
        try:
            standing = exchange.proven(request.GET["access_token"][:MAX_SECRET], **facts(request._request))
        except exchange.Refused as refusal:
            if refusal.wait:
                raise Throttled(refusal.wait, str(refusal)) from None
            raise ValidationError(str(refusal)) from None
        return _element(AccessToken.objects.with_state().get(pk=standing.token_id))


class NewerTokenView(WireView):
    """Says what 6.2 and later say of a refused token, where it differs."""

    def handle_exception(self, exc: Exception) -> Response:
        return super().handle_exception(_in_newer_words(exc))


def _in_newer_words(error: Exception) -> Exception:
    if not isinstance(error, ValidationError):
        return error
    if code_of(error) == "too_long":
        days = error.args[2]["days"]
        return ValidationError(f"Access token expiration date cannot be more than {days}d from now")
    if code_of(error) in {"not_held", "unknown_role"}:
        reason = error.messages[0]
        return ValidationError(f"User does not have all the requested roles. Token creation failed. {reason}")
    return error


class OwnToken(NewerTokenView):
    """A token of the caller: a person's user token, or a service token of an administrators' service account."""

    permission_classes = [IsAuthenticated, AuditorsChangeNothing, ServiceAccountsIssueNothing]

    def post(self, request: Request, name: str) -> Response:
        return issue(request, Actor.of(request).user, name)

    def delete(self, request: Request, name: str) -> Response:
        mine = AccessToken.objects.owned_by(Actor.of(request).user).listed().filter(name=name)
        return delete(mine, request, f"Access token {name} does not exist.")


class RolesOfToken(WireView):
    def get(self, request: Request, name: str) -> Response:
        mine = AccessToken.objects.owned_by(Actor.of(request).user).listed().with_state()
        token = mine.select_related("created_by").filter(name=name).first()
        if token is None:
            raise ValidationError(f"Token {name} not found or does not belong to current user")
        given = {"assigned_by": name_of(token.created_by), "assigned_at": token.created_at or token.issued_at}
        roles = [{"role_name": role, **given} for role in token.role_names]
        return Response({"user_name": token.owner.username, "token_name": token.name, "roles": roles})


class UserTokens(OwnToken):
    """The list of 6.0. To 6.2, "user" would be a name like any other: it is refused for a new token."""

    def get(self, request: Request, name: str) -> Response:
        return Response(listed(AccessToken.objects.owned_by(Actor.of(request).user)))


class UserToken(WireView):
    permission_classes = [IsAuthenticated, AuditorsChangeNothing, ServiceAccountsIssueNothing]

    def post(self, request: Request, name: str) -> Response:
        by = Actor.of(request)
        if by.user.is_service_account:
            raise ValidationError("A service account has no user tokens. Create a service token instead.")
        token = AccessToken.issue(by=by, owner=by.user, name=name, **asked_for(request))
        return Response(token.plaintext)

    def delete(self, request: Request, name: str) -> Response:
        mine = AccessToken.objects.owned_by(Actor.of(request).user).listed().filter(name=name)
        return delete(mine, request, f"User access token {name} does not exist.")


class ServiceTokens(OwnToken):
    """As UserTokens."""

    def get_permissions(self) -> Any:
        if self.request.method in SAFE_METHODS:
            return [IsAuthenticated(), OnlyAdministratorsHandleServiceTokens()]
        return super().get_permissions()

    def get(self, request: Request, name: str) -> Response:
        return Response(listed(AccessToken.objects.of_kind(Kind.SERVICE)))


class ServiceToken(WireView):
    """A 6.0 service token is the token `name` of the service account `name`."""

    permission_classes = [IsAuthenticated, OnlyAdministratorsHandleServiceTokens]

    def post(self, request: Request, name: str) -> Response:
        token = AccessToken.issue_with_account(by=Actor.of(request), name=name, **asked_for(request))
        return Response(token.plaintext)

    def delete(self, request: Request, name: str) -> Response:
        tokens = AccessToken.objects.of_kind(Kind.SERVICE).listed().filter(name=name, owner__username__iexact=name)
        return delete(tokens, request, f"Service access token {name} does not exist.")


def issue(request: Request, owner: User, name: str) -> Response:
    """As 6.2 and later ask for a token: without roles, one of a service account carries all that the account holds."""
    asked = asked_for(request)
    if owner.is_service_account:
        asked["roles"] = asked["roles"] or sorted(owner.held_role_names)
    token = AccessToken.issue(by=Actor.of(request), owner=owner, name=name, **asked)
    return Response(token.plaintext)


def asked_for(request: Request) -> dict[str, Any]:
    expires = request.GET.get("expires_at")
    if expires is None:
        raise Unprocessable("expires_at is missing. Add it as YYYY-MM-DD.")
    return {
        "expires": expires,
        "roles": request.GET.getlist("roles"),
        "description": request.GET.get("description", ""),
    }


def delete(tokens: AccessTokenQuerySet, request: Request, missing: str) -> Response:
    """One answer for what is foreign and what is not there."""
    token = tokens.filter(pk__in=rules.endable_tokens(Actor.of(request))).first()
    if token is None:
        raise ValidationError(missing)
    token.revoke(by=Actor.of(request), reason="Deleted with the osmo command line.")
    return Response(None)
