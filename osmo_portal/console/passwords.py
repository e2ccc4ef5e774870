from typing import Any

from django.contrib.auth.forms import SetPasswordForm


class NewPasswordForm(SetPasswordForm):
    """Django's, but what is wrong with a password is told beside it, and not beside its repetition."""

    def validate_password_for_user(self, user: Any, password_field_name: str = "") -> None:
        super().validate_password_for_user(user, "new_password1")
