from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest


class PersonBackend(ModelBackend):
    """Signs in existing, active people by password. Service accounts have none, and are not found here at all."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> Any:
        return super().authenticate(request, username=username, password=password, **kwargs)

    def user_can_authenticate(self, user: Any) -> bool:
        return user.is_active and not user.is_service_account and user.deleted_at is None
