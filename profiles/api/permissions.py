"""Permission classes, each named for the rule that it mirrors."""

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from osmo_portal.events.actor import Actor
from profiles.rules import reads_everything


class ServiceAccountsReadTheirProfile(BasePermission):
    """A service token without an administrator's roles reads; an administrator or a person changes (D1)."""

    message = "A service account reads its profile. Ask an administrator to change it."

    def has_permission(self, request: Request, view: APIView) -> bool:
        if request.method in SAFE_METHODS or not request.auth:
            return True
        by = Actor.of(request)
        return by.is_administrator or not by.user.is_service_account


class OnlyAdministratorsChangeUsersRolesAndPools(BasePermission):
    message = "Only an administrator may change users, roles and pools."

    def has_permission(self, request: Request, view: APIView) -> bool:
        if request.method in SAFE_METHODS or not request.auth:
            return True
        return Actor.of(request).is_administrator


class OnlyAdministratorsHandleUsers(BasePermission):
    message = "Only an administrator may list, create, change and delete users."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return bool(request.auth) and Actor.of(request).is_administrator


class OnlyTheConsolesPeopleSee(BasePermission):
    """Sets of tokens and the events are for who may open the console, and for programs of an administrator."""

    message = "Only administrators, operators and auditors may see this."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return bool(request.auth) and reads_everything(Actor.of(request))


class OnlyAdministratorsAndAuditorsSee(BasePermission):
    message = "Only administrators and auditors may see this."

    def has_permission(self, request: Request, view: APIView) -> bool:
        by = Actor.of(request) if request.auth else None
        return bool(by and (by.is_administrator or by.is_auditor))


class OnlyAdministratorsConfigure(BasePermission):
    """Reading, too: a pool's templates may hold what is nobody else's to see (D1)."""

    message = "Only an administrator may read and change the configuration."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return bool(request.auth) and Actor.of(request).is_administrator
