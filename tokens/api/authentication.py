"""Who calls: a JWT of ours, or for the console's own use under /api/v1/ a browser session with CSRF.

Either way `request.user` is the user and `request.auth` the Actor: the powers in force for this request.
"""

from django.http import HttpRequest
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import authentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from osmo_portal.events.actor import Actor, Door, facts
from osmo_portal.signin import factors
from profiles.models import User
from tokens import jwt, standing
from tokens.models import AccessToken

ADD_A_FACTOR = "Add a second factor to your sign-in first, in the console."


class JwtAuthentication(authentication.BaseAuthentication):
    """`x-osmo-auth: <jwt>` of 6.0 and 6.1, `Authorization: Bearer <jwt>` of 6.2 and later.

    The token or the terminal sign-in is looked up again, so that its end acts at once. What the JWT says of roles is
    not read.
    """

    def authenticate(self, request: Request) -> tuple[User, Actor] | None:
        text = credential(request)
        if text is None:
            return None
        actor = actor_of(text, request._request)
        return actor.user, actor

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="osmo"'


class ConsoleAuthentication(authentication.SessionAuthentication):
    """The browser session of a person who may use the console. It does not open the released clients' wire."""

    def authenticate(self, request: Request) -> tuple[User, Actor] | None:
        if Door.of_api(request.path_info) != Door.REST:
            return None
        signed_in = super().authenticate(request)
        if signed_in and factors.must_add_one(signed_in[0]):
            raise PermissionDenied(ADD_A_FACTOR)
        return (signed_in[0], Actor.signed_in(request._request, Door.REST)) if signed_in else None


class JwtScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = JwtAuthentication
    name = "jwt"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


class ConsoleScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = ConsoleAuthentication
    name = "session"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}


def actor_of(text: str, request: HttpRequest) -> Actor:
    """Who sent that JWT, with the powers that it has now. Raises AuthenticationFailed, and PermissionDenied where a
    person at a terminal lacks the second factor that is asked for."""
    if jwt.is_of_terminal(text):
        return _at_terminal(text, request)
    now = _standing(text)
    return Actor(
        door=Door.of_api(request.path_info),
        user=now.owner,
        roles=frozenset(now.roles),
        token=AccessToken(pk=now.token_id, owner=now.owner, name=now.token_name, expires_at=now.expires_at),
        until=now.dead_at,
        **facts(request),
    )


def bearer(request: Request | HttpRequest) -> str | None:
    """What follows `Bearer` in the Authorization header, if there is such a header."""
    scheme, _, value = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    return value.strip() or None if scheme.lower() == "bearer" else None


def credential(request: Request | HttpRequest) -> str | None:
    """What the caller proves to be somebody with. Raises AuthenticationFailed where that is two things."""
    found = {text for text in (request.META.get("HTTP_X_OSMO_AUTH"), bearer(request)) if text}
    if len(found) > 1:
        raise AuthenticationFailed("x-osmo-auth and Authorization hold different credentials. Send one.")
    return found.pop() if found else None


def _standing(text: str) -> standing.Standing:
    try:
        claims, kid = jwt.verify(text)
    except jwt.BadToken as error:
        raise AuthenticationFailed(str(error)) from None
    now = standing.of_jwt(token_id=claims["osmo_token_id"], secret_id=claims["osmo_secret_id"], kid=kid)
    if now is None or claims["sub"] != str(now.owner.pk):
        raise AuthenticationFailed("Jwt verification fails")
    if now.refusal:
        raise AuthenticationFailed(now.refusal.label)
    return now


def _at_terminal(text: str, request: HttpRequest) -> Actor:
    """A person, with the roles held now. Groups count in the console alone, where a recent sign-in can be asked for."""
    try:
        claims, kid = jwt.verify(text, jwt.TERMINAL_TYPE)
    except jwt.BadToken as error:
        raise AuthenticationFailed(str(error)) from None
    sign_in = standing.of_terminal(terminal_id=claims["osmo_terminal_id"], kid=kid)
    if sign_in is None or claims["sub"] != str(sign_in.owner.pk):
        raise AuthenticationFailed("This terminal is not signed in any more. Sign in again with osmo login.")
    person = sign_in.owner
    if factors.must_add_one(person):
        raise PermissionDenied(ADD_A_FACTOR)
    door = Door.of_api(request.path_info)
    return Actor(door=door, user=person, roles=person.held_role_names, terminal=sign_in, **facts(request))
