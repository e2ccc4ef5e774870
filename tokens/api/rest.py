"""Tokens under /api/v1/. What the caller may not know of is not there; the ways in of the model decide the rest."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from django.db.models import DateTimeField
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from osmo_portal import versions
from osmo_portal.compiled import Compiled, Given
from osmo_portal.console.filters import TypedFilter
from osmo_portal.events.actor import Actor
from osmo_portal.events.trail import audited
from osmo_portal.problems import Unprocessable
from osmo_portal.rest import Reason, RestViewSet
from profiles.models import User
from tokens import rules
from tokens.api.permissions import (
    AuditorsChangeNothing,
    OnlyAdministratorsAndOperatorsLookUpSecrets,
    ServiceAccountsIssueNothing,
)
from tokens.api.serializers import Found, IssuedTokenSerializer, NewToken, Pasted, Rotation, TokenSerializer
from tokens.lookup import look_up
from tokens.models import AccessToken, DoneBefore, Secret
from tokens.models.idempotency import OtherRequest
from tokens.models.keys import GivenKeys, written
from tokens.models.token_set import AccessTokenQuerySet

KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    OpenApiParameter.HEADER,
    description="Of your choice, the same at each try: what was done is not done again for 24 hours.",
)


class NameFilter(TypedFilter):
    title = "name, or a pattern with * and ?"
    parameter_name = "name"

    def narrow(self, queryset: Any, typed: str) -> Any:
        return self.narrowed(queryset, typed)

    @staticmethod
    def narrowed(tokens: AccessTokenQuerySet, typed: str) -> AccessTokenQuerySet:
        return tokens.named_like(typed) if {"*", "?"} & {*typed} else tokens.filter(name=typed)


class End(NamedTuple):
    """What is shown of a Secret."""

    hint: str


_NOW: Any = Given("now", DateTimeField())
_ENDS = Compiled(lambda: Secret.objects.live(_NOW).filter(token__in=GivenKeys()).values_list("token", "hint"))


class TokenViewSet(mixins.ListModelMixin, RestViewSet):
    permission_classes = [IsAuthenticated, AuditorsChangeNothing, ServiceAccountsIssueNothing]
    queryset = AccessToken.objects.none()
    serializer_class = TokenSerializer
    section = AccessToken
    more_filters = (NameFilter,)
    orderings = {"name": "name", "expires_at": "expires_at", "issued_at": "issued_at"}
    unversioned = frozenset({"last_used_at"})

    def get_queryset(self) -> AccessTokenQuerySet:
        """What is changed goes to its way in, which asks for all that it needs."""
        visible = rules.visible_tokens(Actor.of(self.request))
        return visible.in_brief() if self.action == "list" else visible

    def paginate_queryset(self, queryset: Any) -> Any:
        return _with_ends(super().paginate_queryset(queryset) or ())

    def record(self, pk: int) -> Any:
        found = self.get_queryset().in_brief().filter(pk=pk)
        return next(iter(_with_ends(found)), None)

    @extend_schema(request=NewToken, parameters=[KEY], responses={201: IssuedTokenSerializer})
    def create(self, request: Request) -> Response:
        """Issues a token. Its secret is in this answer and nowhere else. A token of that name: 409 with its number."""

        def issue() -> AccessToken:
            asked = self.asked(NewToken)
            return AccessToken.issue(by=Actor.of(request), expires=asked.pop("expires_at"), **asked)

        return self._with_secret(self._once("issue", issue), status.HTTP_201_CREATED)

    @extend_schema(request=Rotation, parameters=[KEY], responses=IssuedTokenSerializer)
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, pk: int) -> Response:
        """Gives the token a new secret, which is in this answer and nowhere else; the old one ends with the grace."""
        token: AccessToken = self.get_object()

        def rotate() -> AccessToken:
            with self._as_seen(token):
                return token.rotate(by=Actor.of(request), **self.asked(Rotation))

        return self._with_secret(self._once(f"rotate {pk}", rotate), status.HTTP_200_OK)

    @extend_schema(request=Reason)
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, pk: int) -> Response:
        """Ends the token for good; its JWTs are refused here at once."""
        return self._changed(AccessToken.revoke)

    @extend_schema(request=Reason)
    @action(detail=True, methods=["post"])
    def suspend(self, request: Request, pk: int) -> Response:
        """Stops the token until it is resumed."""
        return self._changed(AccessToken.suspend)

    @extend_schema(request=Reason)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: int) -> Response:
        """Lets a suspended token work again."""
        return self._changed(AccessToken.resume)

    @extend_schema(request=Pasted, responses=Found)
    @action(
        detail=False,
        methods=["post"],
        permission_classes=[IsAuthenticated, OnlyAdministratorsAndOperatorsLookUpSecrets],
    )
    @sensitive_variables()
    def find(self, request: Request) -> Response:
        """Whose secret is this? Takes the secret or its SHA-256; that somebody asked is kept in the events."""
        secret, purged = look_up(self.asked(Pasted)["secret"], by=Actor.of(request))
        token = self.record(secret.token_id) if secret else None
        shown = Found({"token": token, "which": secret, "purged": purged}, context=self.get_serializer_context()).data
        return Response(shown, headers={"Cache-Control": "no-store"})

    def _changed(self, change: Callable[..., None]) -> Response:
        token: AccessToken = self.get_object()
        asked = self.asked(Reason)
        with self._as_seen(token):
            change(token, by=Actor.of(self.request), **asked)
        return self.answer(token.pk)

    def _as_seen(self, token: AccessToken) -> Any:
        return self.as_seen(token.pk, User.objects.filter(pk=token.owner_id))

    def _once(self, what: str, change: Callable[[], AccessToken]) -> AccessToken:
        """Does it, unless the same was done with the request's `Idempotency-Key`."""
        key = self.request.headers.get("Idempotency-Key")
        if key is None:
            return change()
        with audited(), _told_apart():
            claimed = DoneBefore.claim(Actor.of(self.request).user, key, what, self.request.data)
            token = change()
            claimed.done(token.pk)
        return token

    @sensitive_variables()
    def _with_secret(self, token: AccessToken, code: int) -> Response:
        fresh = self.record(token.pk)
        fresh.plaintext = token.plaintext
        shown = IssuedTokenSerializer(fresh, context=self.get_serializer_context()).data
        tag = versions.etag(shown, self.unversioned | {"secret"})
        return Response(shown, code, headers={"Cache-Control": "no-store", "ETag": tag})


def _with_ends(tokens: Iterable[Any]) -> list[Any]:
    """With the ends of their live secrets as rows, which takes one query: a record of each would cost three times as
    much."""
    tokens = list(tokens)
    ends: dict[int, list[End]] = defaultdict(list)
    for token, hint in _ENDS.rows(keys=written(token.pk for token in tokens), now=timezone.now()):
        ends[token].append(End(hint))
    for token in tokens:
        token.live_secrets = ends[token.pk]
    return tokens


@contextmanager
def _told_apart() -> Iterator[None]:
    try:
        yield
    except OtherRequest as error:
        raise Unprocessable(error.messages[0]) from None
