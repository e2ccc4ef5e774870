"""Permission classes, each named for the rule that it mirrors. The ways in check the same again."""

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from osmo_portal.events.actor import Actor


class OnlyAdministratorsHandleServiceTokens(BasePermission):
    """Service accounts and service tokens are an administrator's through the CLI (R2)."""

    message = "Only an administrator may list, issue and delete service tokens."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return bool(request.auth) and Actor.of(request).is_administrator


class ServiceAccountsIssueNothing(BasePermission):
    """A service token without an administrator's roles reads what is its own, and changes nothing (D1)."""

    message = "A service account issues and deletes no tokens. Ask an administrator."

    def has_permission(self, request: Request, view: APIView) -> bool:
        if request.method in SAFE_METHODS or not request.auth:
            return True
        by = Actor.of(request)
        return by.is_administrator or not by.user.is_service_account


class AuditorsChangeNothing(BasePermission):
    message = "An auditor reads everything and changes nothing."

    def has_permission(self, request: Request, view: APIView) -> bool:
        if request.method in SAFE_METHODS or not request.auth:
            return True
        return not Actor.of(request).changes_nothing


class OnlyAdministratorsAndOperatorsLookUpSecrets(BasePermission):
    message = "Only administrators and operators may look up whose secret something is."

    def has_permission(self, request: Request, view: APIView) -> bool:
        by = Actor.of(request) if request.auth else None
        return bool(by and (by.is_administrator or by.is_operator))
