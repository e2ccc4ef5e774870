from typing import Any

from django.contrib.auth.backends import ModelBackend


class PersonBackend(ModelBackend):
    """Signs in existing, active people by password. Service accounts have none, and are not found here at all.

    Power comes from roles and groups by name, never from permissions in Django's tables.
    """

    def user_can_authenticate(self, user: Any) -> bool:
        return user.is_active and not user.is_service_account and user.deleted_at is None

    def get_user_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        return set()

    def get_group_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        return set()
