from typing import Any

from allauth.account.adapter import get_adapter
from allauth.account.forms import LoginForm
from allauth.core import context
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.totp.forms import ActivateTOTPForm
from allauth.mfa.totp.internal.auth import SECRET_SESSION_KEY
from allauth.mfa.webauthn.forms import AddWebAuthnForm, AuthenticateWebAuthnForm, ReauthenticateWebAuthnForm
from django import forms
from django.contrib.admin.forms import AdminPasswordChangeForm
from django.core.cache import cache
from django.core.exceptions import ValidationError

from osmo_portal.console.passwords import NewPasswordForm
from osmo_portal.signin import factors
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
        if self.is_bound and self.data.get("username"):  # what is to be typed again is the password
            del self.fields["username"].widget.attrs["autofocus"]
            self.fields["password"].widget.attrs["autofocus"] = True

    def clean(self) -> Any:
        self.cleaned_data["login"] = self.cleaned_data.get("username", "")
        return super().clean()


class ForgottenForm(forms.Form):
    typed = forms.CharField(
        label="User id or e-mail address",
        max_length=names.MAX_LENGTH,
        widget=forms.TextInput(attrs={"autocomplete": "username", "autocapitalize": "none", "autofocus": True}),
    )


def prove(user: Any, password: str) -> None:
    """Raises ValidationError unless it is the person's password. Failures are counted as those of the sign-in are."""
    if not get_adapter().authenticate(context.request, username=user.username, password=password):
        raise ValidationError("The password is wrong. Small and capital letters differ.")


class OwnPasswordForm(NewPasswordForm, AdminPasswordChangeForm):
    """Django's, but whoever found a session open cannot guess the old password without end."""

    def clean_old_password(self) -> str:
        password: str = self.cleaned_data["old_password"]
        prove(self.user, password)
        return password


class ConfirmForm(forms.Form):
    """The password once more."""

    password = forms.CharField(
        strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "current-password", "autofocus": True})
    )

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_password(self) -> None:
        prove(self.user, self.cleaned_data["password"])

    def save(self) -> None:
        """There is nothing to save."""


class CodeInput(forms.PasswordInput):
    """Is read as it is typed, but comes empty with an error: the next code is another one."""

    input_type = "text"


def _fit_for_a_code(field: Any, *, autofocus: bool) -> None:
    field.widget = CodeInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"})
    field.widget.is_required = field.required
    if autofocus:
        field.widget.attrs["autofocus"] = True


class OnceMixin:
    """A code of the app counts once, also while it and its neighbours are still good."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _fit_for_a_code(self.fields["code"], autofocus=True)  # type: ignore[attr-defined]

    def clean_code(self) -> str:
        code: str = super().clean_code()  # type: ignore[misc]
        used = f"second-factor:{self.user.pk}:{code}"  # type: ignore[attr-defined]
        if self.authenticator.type == factors.APP and not cache.add(used, "yes", timeout=120):  # type: ignore[attr-defined]
            raise factors.FactorAdapter().validation_error("incorrect_code")
        return code


class SecondStepForm(OnceMixin, AuthenticateForm):
    pass


class ConfirmByCodeForm(OnceMixin, ReauthenticateForm):
    pass


class AddAppForm(ActivateTOTPForm):
    """allauth's; but the secret that waits to be confirmed is kept encrypted in the session."""

    KEPT = "app_to_add"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        session, adapter = context.request.session, factors.FactorAdapter()
        if self.KEPT in session:
            session[SECRET_SESSION_KEY] = adapter.decrypt(session[self.KEPT])
        super().__init__(*args, **kwargs)
        _fit_for_a_code(self.fields["code"], autofocus=self.is_bound)  # at first there is something to scan
        session.pop(SECRET_SESSION_KEY, None)
        session[self.KEPT] = adapter.encrypt(self.secret)


# What a made-up answer of a key can raise where the libraries take it apart.
NONSENSE = (AttributeError, IndexError, KeyError, TypeError, ValueError)


class KeyMixin:
    def clean_credential(self) -> Any:
        try:
            return super().clean_credential()  # type: ignore[misc]
        except NONSENSE:
            raise factors.FactorAdapter().validation_error("incorrect_code") from None


class SecondStepKeyForm(KeyMixin, AuthenticateWebAuthnForm):
    pass


class ConfirmByKeyForm(KeyMixin, ReauthenticateWebAuthnForm):
    pass


class AddKeyForm(AddWebAuthnForm):
    name = forms.CharField(label="Name of the key", max_length=60, required=False)

    def clean_name(self) -> str:
        return names.clean_text(super().clean_name(), field="name", limit=60)

    def clean(self) -> Any:
        try:
            return super().clean()
        except NONSENSE:
            raise factors.FactorAdapter().validation_error("incorrect_code") from None
