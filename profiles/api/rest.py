"""Users, roles and pools under /api/v1/. The ways in of the models decide; nothing here writes by itself."""

import django_filters  # type: ignore[import-untyped]
from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from osmo_portal.events.actor import Actor
from osmo_portal.rest import Reason, RestViewSet
from profiles import rules
from profiles.api.permissions import OnlyAdministratorsChangeUsersRolesAndPools
from profiles.api.serializers import (
    NewPool,
    NewRole,
    NewUser,
    PoolChange,
    PoolSerializer,
    RoleChange,
    RoleSerializer,
    RoleToAssign,
    RoleToRemove,
    UserSerializer,
)
from profiles.models import Kind, Pool, Role, RoleAssignment, User
from profiles.models.user import UserQuerySet

WHY = OpenApiParameter("reason", str, required=True, description="Kept with the record.")


class ProfilesViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, RestViewSet):
    permission_classes = [IsAuthenticated, OnlyAdministratorsChangeUsersRolesAndPools]


class UserFilter(django_filters.FilterSet):  # type: ignore[misc]
    kind = django_filters.ChoiceFilter(choices=Kind.choices)
    name = django_filters.CharFilter(method="named", label="The user id, in any case.")
    role = django_filters.CharFilter(method="holding", label="Users who hold the role now.")
    state = django_filters.ChoiceFilter(method="in_state", choices=[("active", "active"), ("inactive", "inactive")])

    def named(self, users: UserQuerySet, _name: str, username: str) -> UserQuerySet:
        return users.named(username)

    def holding(self, users: UserQuerySet, _name: str, role: str) -> UserQuerySet:
        return users.holding(role)

    def in_state(self, users: UserQuerySet, _name: str, state: str) -> UserQuerySet:
        return users.filter(is_active=state == "active")


class UserViewSet(ProfilesViewSet):
    queryset = User.objects.none()
    serializer_class = UserSerializer
    filterset_class = UserFilter

    def get_queryset(self) -> QuerySet[User]:
        held = Prefetch(
            "assignments", RoleAssignment.objects.effective().select_related("role"), "effective_assignments"
        )
        return rules.visible_users(Actor.of(self.request)).select_related("accountable").prefetch_related(held)

    @extend_schema(request=NewUser, responses={201: UserSerializer})
    def create(self, request: Request) -> Response:
        """Makes a person (without password: an administrator sets one in the console) or a service account."""
        asked = self.asked(NewUser)
        make = User.create_person if asked.pop("kind") == Kind.PERSON else User.create_service_account
        user = make(by=Actor.of(request), **asked)
        return Response(self.shown(user.pk), status.HTTP_201_CREATED)

    @extend_schema(request=RoleToAssign, responses=UserSerializer)
    @action(detail=True, methods=["post"], url_path="assign-role")
    def assign_role(self, request: Request, pk: int) -> Response:
        user: User = self.get_object()
        user.assign_role(self.asked(RoleToAssign)["role"], by=Actor.of(request))
        return Response(self.shown(user.pk))

    @extend_schema(request=RoleToRemove, responses=UserSerializer)
    @action(detail=True, methods=["post"], url_path="remove-role")
    def remove_role(self, request: Request, pk: int) -> Response:
        """Takes the role from the user and, at once, from all of the user's tokens."""
        user: User = self.get_object()
        user.remove_role(by=Actor.of(request), **self.asked(RoleToRemove))
        return Response(self.shown(user.pk))


class RoleFilter(django_filters.FilterSet):  # type: ignore[misc]
    name = django_filters.CharFilter()


class RoleViewSet(ProfilesViewSet):
    queryset = Role.objects.existing()
    serializer_class = RoleSerializer
    filterset_class = RoleFilter

    @extend_schema(request=NewRole, responses={201: RoleSerializer})
    def create(self, request: Request) -> Response:
        role = Role.create(by=Actor.of(request), **self.asked(NewRole))
        return Response(self.shown(role.pk), status.HTTP_201_CREATED)

    @extend_schema(request=RoleChange, responses=RoleSerializer)
    def partial_update(self, request: Request, pk: int) -> Response:
        role: Role = self.get_object()
        role.change(by=Actor.of(request), **self.asked(RoleChange))
        return Response(self.shown(role.pk))

    @extend_schema(parameters=[WHY])
    def destroy(self, request: Request, pk: int) -> Response:
        role: Role = self.get_object()
        role.mark_deleted(by=Actor.of(request), **self.asked(Reason, request.query_params.dict()))
        return Response(status=status.HTTP_204_NO_CONTENT)


class PoolFilter(django_filters.FilterSet):  # type: ignore[misc]
    name = django_filters.CharFilter()


class PoolViewSet(ProfilesViewSet):
    queryset = Pool.objects.existing()
    serializer_class = PoolSerializer
    filterset_class = PoolFilter

    @extend_schema(request=NewPool, responses={201: PoolSerializer})
    def create(self, request: Request) -> Response:
        pool = Pool.create(by=Actor.of(request), **self.asked(NewPool))
        return Response(self.shown(pool.pk), status.HTTP_201_CREATED)

    @extend_schema(request=PoolChange, responses=PoolSerializer)
    def partial_update(self, request: Request, pk: int) -> Response:
        pool: Pool = self.get_object()
        pool.change(by=Actor.of(request), **self.asked(PoolChange))
        return Response(self.shown(pool.pk))

    @extend_schema(parameters=[WHY])
    def destroy(self, request: Request, pk: int) -> Response:
        pool: Pool = self.get_object()
        pool.mark_deleted(by=Actor.of(request), **self.asked(Reason, request.query_params.dict()))
        return Response(status=status.HTTP_204_NO_CONTENT)
