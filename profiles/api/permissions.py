"""Permission classes, each named for the rule that it mirrors."""

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView


class ServiceAccountsReadTheirProfile(BasePermission):
    """A service token without an administrator's roles reads; an administrator or a person changes (D1)."""

    message = "A service account reads its profile. Ask an administrator to change it."

    def has_permission(self, request: Request, view: APIView) -> bool:
        if request.method in SAFE_METHODS or not request.auth:
            return True
        return request.auth.is_administrator or not request.auth.user.is_service_account
