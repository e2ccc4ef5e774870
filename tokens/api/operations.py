"""One action on a whole set of tokens under /api/v1/: looked at, done to exactly that set, batch after batch.

As in the console: the same filters, the same way in, the same freshness of the sign-in.
"""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import QueryDict
from django.urls import reverse
from django.utils.http import urlencode
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from osmo_portal.console import recent
from osmo_portal.events.actor import Actor
from osmo_portal.rest import Nothing, Reason, RestViewSet
from profiles.api.permissions import OnlyTheConsolesPeopleSee
from tokens.admin.bulk import BIG, NO_FILTERS, SLICE, read_filters
from tokens.api.permissions import AuditorsChangeNothing
from tokens.api.rest import NameFilter
from tokens.api.serializers import Execution, NewOperation, OperationSerializer
from tokens.models import AccessToken, BulkOperation
from tokens.models.token_set import AccessTokenQuerySet

NAME = NameFilter.parameter_name


class OperationViewSet(mixins.ListModelMixin, RestViewSet):
    permission_classes = [IsAuthenticated, OnlyTheConsolesPeopleSee, AuditorsChangeNothing]
    queryset = BulkOperation.objects.select_related("created_by", "accountable")
    serializer_class = OperationSerializer
    section = BulkOperation
    default_order = "-pk"

    @extend_schema(request=NewOperation, responses={201: OperationSerializer})
    def create(self, request: Request) -> Response:
        """Looks at the set: how many tokens, whose, with which roles. Changes none; that somebody looked is kept."""
        asked = self.asked(NewOperation)
        filters = asked.pop("filters")
        operation = BulkOperation.preview(self._chosen(filters), by=Actor.of(request), filters=filters, **asked)
        return self.answer(operation.pk, status.HTTP_201_CREATED)

    @extend_schema(request=Execution)
    @action(detail=True, methods=["post"])
    def execute(self, request: Request, pk: int) -> Response:
        """Begins to do it, to exactly the set of the digest, and works for a moment. A set that changed: 409."""
        operation: BulkOperation = self.get_object()
        asked, by = self.asked(Execution), Actor.of(request)
        _require_fresh_sign_in(request, by)
        if asked.get("expect") is None and (operation.count >= BIG or not operation.filters):
            raise ValidationError({"expect": "This is a large set. Say how many will change, to say that you mean it."})
        operation.start(self._chosen(operation.filters), by=by, **asked)
        operation.run(by=by, seconds=SLICE)
        return self.answer(pk)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"], url_path="continue")
    def go_on(self, request: Request, pk: int) -> Response:
        """Works for a moment at what is left, and says how far it is. To be called until it is finished."""
        operation: BulkOperation = self.get_object()
        if request._request.body:
            self.asked(Nothing)
        operation.run(by=Actor.of(request), seconds=SLICE)
        return self.answer(pk)

    @extend_schema(request=Reason)
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, pk: int) -> Response:
        """Gives up what is left. What was done stays done."""
        operation: BulkOperation = self.get_object()
        operation.stop(by=Actor.of(request), **self.asked(Reason))
        return self.answer(pk)

    def _chosen(self, filters: dict[str, str]) -> AccessTokenQuerySet:
        """The tokens that the list shows with these filters."""
        # In an address of the console these say which page is shown. Here they would look like filters, and be none.
        if none := sorted(NO_FILTERS & filters.keys()):
            raise ValidationError({"filters": f"There is no filter “{none[0]}”."})
        section: Any = admin.site.get_model_admin(AccessToken)
        query = QueryDict(urlencode({name: value for name, value in filters.items() if name != NAME}))
        try:
            read_filters(section, query)
            found: AccessTokenQuerySet = section.filtered(self.request._request, query)
            return NameFilter.narrowed(found, filters[NAME]) if NAME in filters else found
        except ValidationError as error:
            raise ValidationError({"filters": error.messages}) from None


def _require_fresh_sign_in(request: Request, by: Actor) -> None:
    """A token's JWT is minutes old, and only an administrator's has the power. A session may be half a day old, and a
    terminal is signed in for weeks: a browser's session that comes along says nothing about who sits there."""
    if by.token:
        return
    if by.terminal:
        raise PermissionDenied(
            "A terminal is signed in for weeks, and this asks for a fresh sign-in. Do it in the console, or with an "
            "administrator's service token. Nothing was changed."
        )
    if not recent.is_recent(request._request):
        minutes = recent.WINDOW // timedelta(minutes=1)
        raise PermissionDenied(
            f"This asks for a sign-in of the last {minutes} minutes. Confirm at {reverse('admin:confirm')} that it is "
            "you, and send it again. Nothing was changed."
        )
