from typing import Any

from allauth.account.forms import LoginForm
from django import forms

from profiles import names


class SignInForm(LoginForm):
    """The limits and the steps are allauth's; the fields have our names."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields = {
            "username": forms.CharField(
                label="User id",
                max_length=names.MAX_LENGTH,
                widget=forms.TextInput(attrs={"autocomplete": "username", "autocapitalize": "none", "autofocus": True}),
            ),
            "password": forms.CharField(
                strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
            ),
        }

    def clean(self) -> Any:
        self.cleaned_data["login"] = self.cleaned_data.get("username", "")
        return super().clean()


class ForgottenForm(forms.Form):
    typed = forms.CharField(
        label="User id or e-mail address",
        max_length=names.MAX_LENGTH,
        widget=forms.TextInput(attrs={"autocomplete": "username", "autocapitalize": "none", "autofocus": True}),
    )
