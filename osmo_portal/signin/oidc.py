"""Single sign-on by OpenID Connect: the code flow with PKCE, and an ID token that is believed when all of it fits."""

import base64
import hashlib
import logging
import secrets
import ssl
import time
from functools import cache
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import jwt
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.urls import reverse
from django.utils.crypto import constant_time_compare
from django.views.decorators.debug import sensitive_variables

from osmo_portal.console import recent
from osmo_portal.events.actor import AUDITORS, OPERATORS, Actor, Door
from osmo_portal.events.trail import audited, record
from osmo_portal.signin.models import ProviderSubject
from profiles.models import User

logger = logging.getLogger(__name__)
KEPT = "single_sign_on"
ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]
LEEWAY = 60  # seconds that the two clocks may differ
TIMEOUT = 5
GROUPS = {OPERATORS, AUDITORS}


class Refused(Exception):
    """Its text is for the person."""


def is_on() -> bool:
    return bool(settings.OIDC_ISSUER and settings.OIDC_CLIENT_ID)


def begin(request: HttpRequest, *, back: str, again: bool) -> str:
    """The provider's address to go to. `again` asks for the credentials there although a session lives."""
    state, nonce, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48)
    request.session[KEPT] = {"state": state, "nonce": nonce, "verifier": verifier, "back": back, "again": again}
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
    query = {
        "response_type": "code",
        "client_id": settings.OIDC_CLIENT_ID,
        "redirect_uri": _return_address(),
        "scope": settings.OIDC_SCOPE,
        "state": state,
        "nonce": nonce,
        "code_challenge": challenge.decode(),
        "code_challenge_method": "S256",
        **({"prompt": "login", "max_age": "0"} if again else {}),
    }
    address: str = _discover()["authorization_endpoint"]
    return f"{address}{'&' if urlsplit(address).query else '?'}{urlencode(query)}"


def leads_to(request: HttpRequest) -> str:
    """The page that `begin` was told to lead back to, before `finish` forgets it; empty where none is known."""
    return str(request.session.get(KEPT, {}).get("back", ""))


@sensitive_variables()
def finish(request: HttpRequest) -> tuple[dict[str, Any], dict[str, Any]]:
    """The claims of who came back, and what `begin` kept. Each state is good for one return."""
    kept = request.session.pop(KEPT, None)
    if not kept or not constant_time_compare(request.GET.get("state", ""), kept["state"]):
        raise Refused("This sign-in was begun elsewhere, or too long ago. Begin again.")
    if "code" not in request.GET:
        raise Refused(f"The sign-in at {settings.OIDC_NAME} was given up, or refused there.")
    claims = _redeem(request.GET["code"], kept["verifier"])
    if not constant_time_compare(str(claims.get("nonce", "")), kept["nonce"]):
        raise Refused(UNBELIEVABLE)
    if kept["again"] and not time.time() - recent.WINDOW.total_seconds() < claims.get("auth_time", 0):
        raise Refused(f"{settings.OIDC_NAME} did not ask you again. Sign out there, then begin again.")
    return claims, kept


UNBELIEVABLE = "What the provider answered cannot be believed. Tell an administrator."
AWAY = "{} does not answer. Try again in a moment, or use your password if you have one."
NOT_GIVEN = "{} did not complete the sign-in. Begin again; if that does not help, tell an administrator."


@sensitive_variables()
def _redeem(code: str, verifier: str) -> dict[str, Any]:
    config = _discover()
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": _return_address(),
        "client_id": settings.OIDC_CLIENT_ID,
        "client_secret": settings.OIDC_CLIENT_SECRET,
        "code_verifier": verifier,
    }
    answer = _ask("POST", config["token_endpoint"], data=form)
    return _believe(str(answer.get("id_token", "")), _ask("GET", config["jwks_uri"]))


@sensitive_variables()
def _believe(token: str, keys: dict[str, Any]) -> dict[str, Any]:
    """The claims of an ID token that is signed by the provider, for us, and not too old."""
    try:
        header = jwt.get_unverified_header(token)
        fitting = [key for key in jwt.PyJWKSet.from_dict(keys).keys if key.key_id == header.get("kid")]
        claims: dict[str, Any] = jwt.decode(
            token,
            fitting[0],
            algorithms=ALGORITHMS,
            audience=settings.OIDC_CLIENT_ID,
            issuer=settings.OIDC_ISSUER,
            leeway=LEEWAY,
            options={"require": ["exp", "iat", "iss", "aud", "sub", "nonce"]},
        )
    except (jwt.PyJWTError, IndexError):
        raise Refused(UNBELIEVABLE) from None
    if claims.get("azp", settings.OIDC_CLIENT_ID) != settings.OIDC_CLIENT_ID:
        raise Refused(UNBELIEVABLE)
    return claims


def _discover() -> dict[str, Any]:
    config = _ask("GET", f"{settings.OIDC_ISSUER.rstrip('/')}/.well-known/openid-configuration")
    if config.get("issuer") != settings.OIDC_ISSUER:
        raise Refused(UNBELIEVABLE)
    return config


@sensitive_variables()
def _ask(method: str, address: str, **more: Any) -> dict[str, Any]:
    try:
        answer = httpx.request(method, address, timeout=TIMEOUT, verify=_trusted(), **more).raise_for_status().json()
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        logger.warning("single sign-on: %s answered %s", address, status)
        raise Refused((AWAY if status >= 500 else NOT_GIVEN).format(settings.OIDC_NAME)) from None
    except (httpx.HTTPError, ValueError) as error:
        logger.warning("single sign-on: %s gave no answer (%s)", address, type(error).__name__)
        raise Refused(AWAY.format(settings.OIDC_NAME)) from None
    if not isinstance(answer, dict):
        raise Refused(UNBELIEVABLE)
    return answer


@cache
def _trusted() -> ssl.SSLContext:
    """Whom this machine believes, read once: it takes longer than all else of a sign-in."""
    return httpx.create_ssl_context()


def _return_address() -> str:
    return f"{settings.PORTAL_URL}{reverse('sso_back')}"


def person_of(request: HttpRequest, claims: dict[str, Any]) -> User:
    """The person bound to the subject, made where that is allowed, with the roles that the claim maps to."""
    by = Actor.provider(request, settings.OIDC_ISSUER)
    with audited():
        person = ProviderSubject.person(settings.OIDC_ISSUER, claims["sub"]) or _made(claims, by)
        if person.is_active and person.deleted_at is None and settings.OIDC_ROLE_CLAIM:
            _fit_roles(person, claims, by)
    fresh: User = User.objects.get(pk=person.pk)
    return fresh


def record_refusal(request: HttpRequest, claims: dict[str, Any]) -> None:
    with audited():
        label = f"subject {claims['sub'][:100]}"
        record("signin.failed", Actor.nobody(request, Door.ADMIN), User(), label=label, step="single sign-on")


def _made(claims: dict[str, Any], by: Actor) -> User:
    if not settings.OIDC_CREATE_PEOPLE:
        raise Refused(f"{settings.OIDC_NAME} knows you, this portal does not. Ask an administrator to bind you.")
    texts = {"display_name": str(claims.get("name", "")), "email": str(claims.get("email", ""))}
    try:
        person = User.create_person(by=by, username=str(claims.get(settings.OIDC_USER_CLAIM, "")), **texts)
        ProviderSubject.bind(person, issuer=settings.OIDC_ISSUER, subject=claims["sub"], by=by)
    except ValidationError:
        # Also where the user id exists: whoever has it here is not known to be the person there.
        raise Refused("Your user id there cannot be taken here. Ask an administrator to bind you.") from None
    return person


def _fit_roles(person: User, claims: dict[str, Any], by: Actor) -> None:
    """Gives and takes what the map speaks of, and nothing else."""
    claimed = claims.get(settings.OIDC_ROLE_CLAIM, [])
    values = {str(value) for value in (claimed if isinstance(claimed, list) else [claimed])}
    managed = set(settings.OIDC_ROLE_MAP.values())
    wanted = {role for value, role in settings.OIDC_ROLE_MAP.items() if value in values}
    for role in sorted((wanted - GROUPS) - person.held_role_names):
        person.assign_role(role, by=by)
    for role in sorted((managed - wanted - GROUPS) & person.held_role_names):
        _take(person, role, by)
    before = set(person.groups.values_list("name", flat=True))
    after = (before - managed) | (wanted & GROUPS)
    if after != before:
        person.put_into_groups(after, by=by)


def _take(person: User, role: str, by: Actor) -> None:
    try:
        person.remove_role(role, by=by, reason="not claimed at the sign-in")
    except ValidationError as error:
        if error.code != "last":  # the last administrator stays one
            raise
