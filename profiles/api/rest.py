"""Users, roles, assignments and pools under /api/v1/. The ways in decide; nothing here writes by itself."""

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
from profiles.api.filters import (
    AssignedRoleFilter,
    AssignedUserFilter,
    AssignmentStateFilter,
    HeldRoleFilter,
    NameFilter,
    UserIdFilter,
    UserKindFilter,
)
from profiles.api.permissions import OnlyAdministratorsChangeUsersRolesAndPools
from profiles.api.serializers import (
    AssignmentSerializer,
    Groups,
    HandedOver,
    NewAssignment,
    NewPool,
    NewRole,
    NewUser,
    PoolChange,
    PoolSerializer,
    RoleChange,
    RoleSerializer,
    RoleToAssign,
    RoleToRemove,
    Successor,
    UserChange,
    UserSerializer,
)
from profiles.models import ConfigType, Kind, Pool, Revision, Role, RoleAssignment, ServiceAccount, User

WHY = OpenApiParameter("reason", {"type": "string", "minLength": 1, "maxLength": 2_000}, required=True)


class ProfilesViewSet(mixins.ListModelMixin, RestViewSet):
    permission_classes = [IsAuthenticated, OnlyAdministratorsChangeUsersRolesAndPools]

    @property
    def shows_deleted(self) -> bool:
        """In lists, to those who see everything: the console has a filter for what was deleted."""
        return self.action == "list" and rules.reads_everything(Actor.of(self.request))


class UserViewSet(ProfilesViewSet):
    queryset = User.objects.none()
    serializer_class = UserSerializer
    section = ServiceAccount
    more_filters = (UserKindFilter, UserIdFilter, HeldRoleFilter)

    def get_queryset(self) -> QuerySet[User]:
        held = Prefetch(
            "assignments", RoleAssignment.objects.effective().select_related("role"), "effective_assignments"
        )
        known = User.objects.all() if self.shows_deleted else rules.visible_users(Actor.of(self.request))
        return known.select_related("accountable").prefetch_related(held, "groups")

    @extend_schema(request=NewUser, responses={201: UserSerializer})
    def create(self, request: Request) -> Response:
        """Makes a person (without password: an administrator sets one in the console) or a service account."""
        asked = self.asked(NewUser)
        make = User.create_person if asked.pop("kind") == Kind.PERSON else User.create_service_account
        user = make(by=Actor.of(request), **asked)
        return self.answer(user.pk, status.HTTP_201_CREATED)

    @extend_schema(request=UserChange)
    def partial_update(self, request: Request, pk: int) -> Response:
        """Changes what describes the user."""
        user: User = self.get_object()
        self.require_version()
        asked = self.asked(UserChange)
        with self.as_seen(pk):
            user.describe(by=Actor.of(request), **asked)
        return self.answer(pk)

    @extend_schema(parameters=[WHY])
    def destroy(self, request: Request, pk: int) -> Response:
        """Ends the record for good, and revokes all tokens of the user."""
        user: User = self.get_object()
        asked = self.asked(Reason, request.query_params.dict())
        with self.as_seen(pk, *_administrators()):
            user.mark_deleted(by=Actor.of(request), **asked)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=Reason)
    @action(detail=True, methods=["post"])
    def deactivate(self, request: Request, pk: int) -> Response:
        """No sign-in any more, and the user's live tokens are suspended."""
        user: User = self.get_object()
        asked = self.asked(Reason)
        with self.as_seen(pk, *_administrators()):
            user.deactivate(by=Actor.of(request), **asked)
        return self.answer(pk)

    @extend_schema(request=Reason)
    @action(detail=True, methods=["post"])
    def reactivate(self, request: Request, pk: int) -> Response:
        """The roles count again. Tokens stay suspended until each is resumed."""
        user: User = self.get_object()
        asked = self.asked(Reason)
        with self.as_seen(pk):
            user.reactivate(by=Actor.of(request), **asked)
        return self.answer(pk)

    @extend_schema(request=Groups)
    @action(detail=True, methods=["post"])
    def groups(self, request: Request, pk: int) -> Response:
        """Makes a person an operator, an auditor, both or neither."""
        user: User = self.get_object()
        asked = self.asked(Groups)
        with self.as_seen(pk):
            user.put_into_groups(asked["groups"], by=Actor.of(request))
        return self.answer(pk)

    @extend_schema(request=Successor)
    @action(detail=True, methods=["post"], url_path="hand-over")
    def hand_over(self, request: Request, pk: int) -> Response:
        """Makes another person accountable for the service account. No right changes."""
        account: User = self.get_object()
        asked = self.asked(Successor)
        with self.as_seen(pk, User.objects.filter(pk=asked["to"].pk)):
            account.hand_over(by=Actor.of(request), **asked)
        return self.answer(pk)

    @extend_schema(request=Successor, responses=HandedOver)
    @action(detail=True, methods=["post"], url_path="hand-over-accounts")
    def hand_over_accounts(self, request: Request, pk: int) -> Response:
        """Makes another person accountable for every service account that this person is accountable for."""
        person: User = self.get_object()
        count = person.hand_over_accounts(by=Actor.of(request), **self.asked(Successor))
        return Response({"count": count})

    @extend_schema(request=RoleToAssign)
    @action(detail=True, methods=["post"], url_path="assign-role")
    def assign_role(self, request: Request, pk: int) -> Response:
        """Gives the user a role, unless it is held already."""
        user: User = self.get_object()
        asked = self.asked(RoleToAssign)
        with self.as_seen(pk):
            user.assign_role(asked["role"], by=Actor.of(request))
        return self.answer(pk)

    @extend_schema(request=RoleToRemove)
    @action(detail=True, methods=["post"], url_path="remove-role")
    def remove_role(self, request: Request, pk: int) -> Response:
        """Takes the role from the user and, at once, from all of the user's tokens."""
        user: User = self.get_object()
        asked = self.asked(RoleToRemove)
        with self.as_seen(pk, *_administrators()):
            user.remove_role(by=Actor.of(request), **asked)
        return self.answer(pk)


def _administrators() -> list[QuerySet[User]]:
    """What the ways in lock first that could take the last administrator away."""
    return [User.objects.filter(pk__in=User.objects.administrators().values("pk"))]


class AssignmentViewSet(ProfilesViewSet):
    queryset = RoleAssignment.objects.none()
    serializer_class = AssignmentSerializer
    more_filters = (AssignedUserFilter, AssignedRoleFilter, AssignmentStateFilter)

    def get_queryset(self) -> QuerySet[RoleAssignment]:
        """Those of users whom the caller may know of; to those who see everything, of deleted users as well."""
        by = Actor.of(self.request)
        known = RoleAssignment.objects.all()
        if not rules.reads_everything(by):
            known = known.filter(user__in=rules.visible_users(by).values("pk"))
        return known.select_related("user", "role", "assigned_by", "removed_by")

    @extend_schema(request=NewAssignment, responses={201: AssignmentSerializer})
    def create(self, request: Request) -> Response:
        """Gives the role. One that is held already stays as it was given."""
        asked = self.asked(NewAssignment)
        assignment = asked["user"].assign_role(asked["role"], by=Actor.of(request))
        return self.answer(assignment.pk, status.HTTP_201_CREATED)

    @extend_schema(parameters=[WHY])
    def destroy(self, request: Request, pk: int) -> Response:
        """Takes the role from the user and, at once, from all of the user's tokens. The record stays."""
        assignment: RoleAssignment = self.get_object()
        asked = self.asked(Reason, request.query_params.dict())
        with self.as_seen(pk, *_administrators()):
            assignment.end(by=Actor.of(request), **asked)
        return Response(status=status.HTTP_204_NO_CONTENT)


class RoleViewSet(ProfilesViewSet):
    queryset = Role.objects.existing()
    serializer_class = RoleSerializer
    section = Role
    more_filters = (NameFilter,)

    def get_queryset(self) -> QuerySet[Role]:
        return Role.objects.all() if self.shows_deleted else Role.objects.existing()

    @extend_schema(request=NewRole, responses={201: RoleSerializer})
    def create(self, request: Request) -> Response:
        role = Role.create(by=Actor.of(request), **self.asked(NewRole))
        return self.answer(role.pk, status.HTTP_201_CREATED)

    @extend_schema(request=RoleChange)
    def partial_update(self, request: Request, pk: int) -> Response:
        """Changes the role; tokens feel it at their next use."""
        role: Role = self.get_object()
        self.require_version()
        asked = self.asked(RoleChange)
        with self.as_seen(pk, Revision.objects.turn(ConfigType.ROLE)):
            role.change(by=Actor.of(request), **asked)
        return self.answer(pk)

    @extend_schema(parameters=[WHY])
    def destroy(self, request: Request, pk: int) -> Response:
        """Ends the role and, at once, what it gave to users and tokens."""
        role: Role = self.get_object()
        asked = self.asked(Reason, request.query_params.dict())
        with self.as_seen(pk, Revision.objects.turn(ConfigType.ROLE)):
            role.mark_deleted(by=Actor.of(request), **asked)
        return Response(status=status.HTTP_204_NO_CONTENT)


class PoolViewSet(ProfilesViewSet):
    queryset = Pool.objects.existing()
    serializer_class = PoolSerializer
    section = Pool
    more_filters = (NameFilter,)

    def get_queryset(self) -> QuerySet[Pool]:
        return Pool.objects.all() if self.shows_deleted else Pool.objects.existing()

    @extend_schema(request=NewPool, responses={201: PoolSerializer})
    def create(self, request: Request) -> Response:
        pool = Pool.create(by=Actor.of(request), **self.asked(NewPool))
        return self.answer(pool.pk, status.HTTP_201_CREATED)

    @extend_schema(request=PoolChange)
    def partial_update(self, request: Request, pk: int) -> Response:
        pool: Pool = self.get_object()
        self.require_version()
        asked = self.asked(PoolChange)
        with self.as_seen(pk, Revision.objects.turn(ConfigType.POOL)):
            pool.change(by=Actor.of(request), **asked)
        return self.answer(pk)

    @extend_schema(parameters=[WHY])
    def destroy(self, request: Request, pk: int) -> Response:
        pool: Pool = self.get_object()
        asked = self.asked(Reason, request.query_params.dict())
        with self.as_seen(pk, Revision.objects.turn(ConfigType.POOL)):
            pool.mark_deleted(by=Actor.of(request), **asked)
        return Response(status=status.HTTP_204_NO_CONTENT)
