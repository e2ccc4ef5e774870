"""What the portal is measured against, served beside it through the same middleware: the empty view, the least that an
exchange takes, the exchange as one writes it first, the exchange as one tunes it, and the profile as one tunes it.

All ask the same and answer the same; what differs is how.
"""

import json
import time
from datetime import timedelta
from typing import Any, cast

import jwt as pyjwt
from cryptography.hazmat.primitives.asymmetric import rsa
from django.db import connection
from django.db.models import Prefetch, Q
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from osmo_portal.urls import urlpatterns as portal
from profiles.models import Pool, Role, RoleAssignment, Settings, User
from profiles.policies import Operation, reachable_pools
from profiles.rules import DEFAULT_ROLE
from tokens import jwt, secrets, standing
from tokens.models import LastUse, Secret, SigningKey, TokenRole


@csrf_exempt
def empty(request: HttpRequest) -> HttpResponse:
    return HttpResponse("yes")


@csrf_exempt
def least(request: HttpRequest) -> HttpResponse:
    """What no exchange can do without: body, query, signature. Nobody is refused, nothing is counted."""
    secret = json.loads(request.body)["token"]
    row = standing._OF_SECRET.rows(digest=secrets.digest(secret), now=timezone.now())[0]
    now = int(time.time())
    said = {"sub": str(row[0]), "iat": now, "exp": now + 300, "roles": [row[-4]]}
    return JsonResponse({"token": jwt._signer(row[-1]).sign(said, jwt.TYPE), "expires_at": now + 300, "error": None})


class Credential(serializers.Serializer[Any]):
    token = serializers.CharField(max_length=200)


class Answer(serializers.Serializer[Any]):
    token = serializers.CharField()
    expires_at = serializers.IntegerField()


def roles_of(secret: Secret, roles: list[TokenRole]) -> list[str]:
    """R4 and what else must be looked at, as the portal does."""
    now, token = timezone.now(), secret.token
    days = min([365, *(one.assignment.role.max_token_days or 365 for one in roles)])
    held = [one.assignment for one in roles if not one.assignment.removed_at and not one.assignment.role.deleted_at]
    works = (
        held
        and not token.ended_at
        and not token.suspended_at
        and now < min(token.expires_at, token.issued_at + timedelta(days=days))
        and secret.slot is not None
        and not (secret.retires_at and now >= secret.retires_at)
        and token.owner.is_active
        and not token.owner.deleted_at
    )
    if not works:
        raise AuthenticationFailed("Access Token is invalid")
    return sorted(assignment.role.name for assignment in held)


def claims(secret: Secret, roles: list[str]) -> dict[str, Any]:
    now = int(time.time())
    return {
        "iss": "osmo",
        "aud": "osmo",
        "iat": now,
        "nbf": now,
        "exp": now + 300,
        "sub": str(secret.token.owner_id),
        "jti": "0123456789012345678901",
        "unique_name": secret.token.owner.username,
        "roles": roles,
        "osmo_token_name": secret.token.name,
        "osmo_token_id": secret.token_id,
        "osmo_secret_id": secret.pk,
    }


class Exchange(APIView):
    authentication_classes: list[Any] = []
    permission_classes: list[Any] = []

    def secret(self, request: Request) -> str:
        asked = Credential(data=request.data)
        asked.is_valid(raise_exception=True)
        return str(asked.validated_data["token"])


RSA = rsa.generate_private_key(65537, 2048)


class Naive(Exchange):
    """The relations are followed as they come, the use is written each time, RS256, a connection for each request."""

    def post(self, request: Request) -> Response:
        found = Secret.objects.filter(digest=secrets.digest(self.secret(request))).first()
        if found is None:
            raise AuthenticationFailed("Access Token is invalid")
        roles = roles_of(found, list(found.token.roles.all()))
        used = LastUse.objects.get(token=found.token)
        used.at, used.ip, used.agent = timezone.now(), request.META["REMOTE_ADDR"], request.META["HTTP_USER_AGENT"]
        used.save()
        said = claims(found, roles)
        text = pyjwt.encode(said, RSA, "RS256", headers={"kid": "x", "typ": "at+jwt"})
        answer = Response(Answer({"token": text, "expires_at": said["exp"]}).data)
        connection.close()
        return answer


def tuned_secret(**which: Any) -> tuple[Secret, list[str]]:
    """Two queries: one for what is one, one for the roles."""
    roles = Prefetch("token__roles", TokenRole.objects.select_related("assignment__role"))
    found = Secret.objects.select_related("token__owner", "token__last_use").prefetch_related(roles).filter(**which)
    secret = found.first()
    if secret is None:
        raise AuthenticationFailed("Access Token is invalid")
    return secret, roles_of(secret, list(secret.token.roles.all()))


class Tuned(Exchange):
    """Relations fetched together, the use written once a minute, ES256, the connection kept, the key cached."""

    key: Any = None

    def post(self, request: Request) -> Response:
        secret, roles = tuned_secret(digest=secrets.digest(self.secret(request)))
        now, used = timezone.now(), secret.token.last_use
        if used.at is None or now - used.at >= timedelta(minutes=1):
            LastUse.objects.filter(pk=used.pk).update(at=now, ip=request.META["REMOTE_ADDR"])
        if Tuned.key is None:
            current = SigningKey.current_or_first()
            Tuned.key = (current.kid, current.load())
        kid, key = Tuned.key
        said = claims(secret, roles)
        text = pyjwt.encode(said, key, "ES256", headers={"kid": kid, "typ": "at+jwt"})
        return Response(Answer({"token": text, "expires_at": said["exp"]}).data)


class TunedAuthentication(BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[Any, Any]:
        text = request.META["HTTP_AUTHORIZATION"].removeprefix("Bearer ")
        kid = pyjwt.get_unverified_header(text)["kid"]
        key = jwt._known(kid).public
        said = pyjwt.decode(text, key, algorithms=["ES256"], audience="osmo", issuer="osmo")
        secret, roles = tuned_secret(pk=said["osmo_secret_id"], token_id=said["osmo_token_id"])
        if not SigningKey.objects.published().filter(kid=kid).exists():
            raise AuthenticationFailed("Jwt verification fails")
        return secret.token.owner, (secret.token, roles)


class SettingsOf(serializers.ModelSerializer[Settings]):
    username = serializers.CharField(source="user.username")

    class Meta:
        model = Settings
        fields = ("username", "email_notification", "slack_notification", "bucket", "pool")


class TunedProfile(APIView):
    authentication_classes = [TunedAuthentication]
    permission_classes = [IsAuthenticated]

    def get(self, request: Request) -> Response:
        (token, roles), user = cast(Any, request.auth), cast(User, request.user)
        mine = Settings.objects.filter(user=user).first() or Settings(user=user)
        held = RoleAssignment.objects.effective().filter(user=user).values("role")
        roles_held = Role.objects.existing().filter(Q(pk__in=held) | Q(name=DEFAULT_ROLE))
        policies = [role.parsed for role in roles_held]
        names = Pool.objects.existing().order_by("name").values_list("name", flat=True)
        pools = reachable_pools(names, Operation.SUBMIT, allow=policies, deny=policies)
        token = {"name": token.name, "expires_at": token.expires_at.strftime("%Y-%m-%dT%H:%M:%S")}
        return Response({"profile": SettingsOf(mine).data, "roles": roles, "pools": pools, "token": token})


urlpatterns = [
    path("api/bench/empty", empty),
    path("api/bench/least", least),
    path("api/bench/naive", Naive.as_view()),
    path("api/bench/tuned", Tuned.as_view()),
    path("api/bench/profile", TunedProfile.as_view()),
    *portal,
]
