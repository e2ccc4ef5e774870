"""The audit trail under /api/v1/: read by who may open the console, as there."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from osmo_portal.events import chain, verification
from osmo_portal.events.models import Event, EventLine
from osmo_portal.rest import RestViewSet
from profiles.api.permissions import OnlyAdministratorsAndAuditorsSee, OnlyTheConsolesPeopleSee


class EventSerializer(serializers.ModelSerializer[Event]):
    """One change, or one batch: what a batch did to each record is in its lines."""

    changes = serializers.DictField(read_only=True)

    class Meta:
        model = Event
        fields = [
            "id",
            "at",
            "actor",
            "actor_id",
            "token_id",
            "via",
            "request_id",
            "ip",
            "action",
            "object_type",
            "object_id",
            "object_label",
            "reason",
            "changes",
            "previous_hash",
            "hash",
        ]
        read_only_fields = fields


class LineSerializer(serializers.ModelSerializer[EventLine]):
    class Meta:
        model = EventLine
        fields = ["id", "object_id", "object_label", "before", "after"]
        read_only_fields = fields


class Verified(serializers.ModelSerializer[Event]):
    """The event in which a verification was kept, and what it found."""

    first = serializers.IntegerField(source="changes.first")
    last = serializers.IntegerField(source="changes.last")
    faults = serializers.IntegerField(source="changes.faults")

    class Meta:
        model = Event
        fields = ["id", "at", "actor", "first", "last", "faults"]
        read_only_fields = fields


class ChainSerializer(serializers.Serializer[Any]):
    """The head of the chain, to be kept outside as a checkpoint, and when the chain was verified last."""

    count = serializers.IntegerField(help_text="Events there are; the number of the last.")
    hash = serializers.CharField(help_text="Of the last event.")
    whole = Verified(allow_null=True, help_text="The last time that all was verified.")
    tail = Verified(allow_null=True, help_text="The last time that the newest events were verified.")


class EventViewSet(mixins.ListModelMixin, RestViewSet):
    permission_classes = [IsAuthenticated, OnlyTheConsolesPeopleSee]
    queryset = Event.objects.all()
    serializer_class = EventSerializer
    section = Event
    default_order = "-pk"

    @extend_schema(responses=LineSerializer(many=True), filters=False)
    @action(detail=True, filter_backends=[])
    def lines(self, request: Request, pk: int) -> Response:
        """What a batch did to each record."""
        event: Event = self.get_object()
        self.default_order = "pk"
        page = self.paginate_queryset(event.lines.all())
        return self.get_paginated_response(LineSerializer(page, many=True).data)

    @extend_schema(responses=ChainSerializer, filters=False)
    @action(detail=False, pagination_class=None, permission_classes=[IsAuthenticated, OnlyAdministratorsAndAuditorsSee])
    def chain(self, request: Request) -> Response:
        """How many events there are and the hash of the last, and what the last verifications found."""
        count, head = chain.head()
        whole, tail = verification.latest(verification.WHOLE), verification.latest(verification.TAIL)
        return Response(ChainSerializer({"count": count, "hash": head, "whole": whole, "tail": tail}).data)
