"""Below /admin/. Of allauth only the pages that the portal needs are here: no sign-up, no e-mail management.

The names that begin with account_ and mfa_ are those by which allauth finds the pages.
"""

from django.urls import path

from osmo_portal.signin import entrance, own, password_link, single_sign_on

urlpatterns = [
    path("login/", entrance.SignIn.as_view(), name="account_login"),
    path("login/second-step/", entrance.SecondStep.as_view(), name="mfa_authenticate"),
    path("login/sso/", single_sign_on.SingleSignOn.as_view(), name="sso"),
    path("login/sso/back/", single_sign_on.SingleSignOnBack.as_view(), name="sso_back"),
    path("login/forgotten/", password_link.Forgotten.as_view(), name="forgotten"),
    path("login/forgotten/sent/", password_link.ForgottenSent.as_view(), name="forgotten_sent"),
    path("login/new-password/<uidb64>/", password_link.NewPassword.as_view(), name="new_password"),
    path("own/", own.OwnSignIn.as_view(), name="mfa_index"),
    path("own/app/", own.AddApp.as_view(), name="mfa_activate_totp"),
    path("own/app/remove/", own.RemoveApp.as_view(), name="mfa_deactivate_totp"),
    path("own/key/", own.AddKey.as_view(), name="add_key"),
    path("own/key/<int:pk>/remove/", own.RemoveKey.as_view(), name="remove_key"),
    path("own/codes/", own.NewCodes.as_view(), name="new_codes"),
]
