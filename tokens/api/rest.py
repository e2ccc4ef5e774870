"""Tokens under /api/v1/. What the caller may not know of is not there; the ways in of the model decide the rest."""

from datetime import UTC, date, datetime, time

import django_filters  # type: ignore[import-untyped]
from django.db.models import Prefetch
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from osmo_portal.events.actor import Actor
from osmo_portal.rest import Reason, RestViewSet
from profiles.models import Kind
from tokens import rules
from tokens.api.permissions import AuditorsChangeNothing, ServiceAccountsIssueNothing
from tokens.api.serializers import IssuedTokenSerializer, NewToken, Rotation, TokenSerializer
from tokens.models import AccessToken, Secret
from tokens.models.token_set import AccessTokenQuerySet, State


class TokenFilter(django_filters.FilterSet):  # type: ignore[misc]
    state = django_filters.ChoiceFilter(method="in_state", choices=State.choices)
    owner = django_filters.CharFilter(field_name="owner__username")
    kind = django_filters.ChoiceFilter(method="of_kind", choices=Kind.choices)
    role = django_filters.CharFilter(method="carrying", label="Tokens on which the role was put.")
    pool = django_filters.CharFilter(method="reaching", label="Tokens with a role that reaches the pool.")
    name = django_filters.CharFilter(method="named_like", label="A name, or a pattern with * and ?.")
    unused_since = django_filters.DateFilter(method="unused", label="Not used since 00:00 UTC of the day.")

    def in_state(self, tokens: AccessTokenQuerySet, _name: str, state: str) -> AccessTokenQuerySet:
        return tokens.in_state(state)

    def of_kind(self, tokens: AccessTokenQuerySet, _name: str, kind: str) -> AccessTokenQuerySet:
        return tokens.of_kind(kind)

    def carrying(self, tokens: AccessTokenQuerySet, _name: str, role: str) -> AccessTokenQuerySet:
        return tokens.carrying([role])

    def reaching(self, tokens: AccessTokenQuerySet, _name: str, pool: str) -> AccessTokenQuerySet:
        return tokens.reaching(pool)

    def named_like(self, tokens: AccessTokenQuerySet, _name: str, glob: str) -> AccessTokenQuerySet:
        return tokens.named_like(glob)

    def unused(self, tokens: AccessTokenQuerySet, _name: str, day: date) -> AccessTokenQuerySet:
        return tokens.unused_since(datetime.combine(day, time.min, UTC))


class TokenViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, RestViewSet):
    permission_classes = [IsAuthenticated, AuditorsChangeNothing, ServiceAccountsIssueNothing]
    queryset = AccessToken.objects.none()
    serializer_class = TokenSerializer
    filterset_class = TokenFilter

    def get_queryset(self) -> AccessTokenQuerySet:
        """Three queries, however many tokens: tokens with their users, roles, secrets without their digests."""
        live = Prefetch("secrets", Secret.objects.live(timezone.now()).defer("digest"), "live_secrets")
        visible = rules.visible_tokens(Actor.of(self.request)).with_state()
        return visible.select_related("created_by", "ended_by").prefetch_related(live)

    @extend_schema(request=NewToken, responses={201: IssuedTokenSerializer})
    def create(self, request: Request) -> Response:
        """Issues a token. Its secret is in this answer and nowhere else. A token of that name: 409 with its number."""
        asked = self.asked(NewToken)
        token = AccessToken.issue(by=Actor.of(request), expires=asked.pop("expires_at"), **asked)
        return self._with_secret(token, status.HTTP_201_CREATED)

    @extend_schema(request=Rotation, responses=IssuedTokenSerializer)
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, pk: int) -> Response:
        """Gives the token a new secret, which is in this answer and nowhere else; the old one ends with the grace."""
        token: AccessToken = self.get_object()
        return self._with_secret(token.rotate(by=Actor.of(request), **self.asked(Rotation)), status.HTTP_200_OK)

    @extend_schema(request=Reason, responses=TokenSerializer)
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, pk: int) -> Response:
        """Ends the token for good; its JWTs are refused here at once."""
        token: AccessToken = self.get_object()
        token.revoke(by=Actor.of(request), **self.asked(Reason))
        return Response(self.shown(token.pk))

    @extend_schema(request=Reason, responses=TokenSerializer)
    @action(detail=True, methods=["post"])
    def suspend(self, request: Request, pk: int) -> Response:
        token: AccessToken = self.get_object()
        token.suspend(by=Actor.of(request), **self.asked(Reason))
        return Response(self.shown(token.pk))

    @extend_schema(request=Reason, responses=TokenSerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: int) -> Response:
        token: AccessToken = self.get_object()
        token.resume(by=Actor.of(request), **self.asked(Reason))
        return Response(self.shown(token.pk))

    @sensitive_variables()
    def _with_secret(self, token: AccessToken, code: int) -> Response:
        fresh = self.get_queryset().get(pk=token.pk)
        fresh.plaintext = token.plaintext
        shown = IssuedTokenSerializer(fresh, context=self.get_serializer_context()).data
        return Response(shown, code, headers={"Cache-Control": "no-store"})
