"""Below /admin/. Of allauth only the pages that the portal needs are here: no sign-up, no e-mail management.

The names that begin with account_ and mfa_ are those by which allauth finds the pages.
"""

from django.urls import path

from osmo_portal.signin import views

urlpatterns = [
    path("login/", views.SignIn.as_view(), name="account_login"),
    path("login/second-step/", views.SecondStep.as_view(), name="mfa_authenticate"),
    path("login/sso/", views.SingleSignOn.as_view(), name="sso"),
    path("login/sso/back/", views.SingleSignOnBack.as_view(), name="sso_back"),
    path("login/forgotten/", views.Forgotten.as_view(), name="forgotten"),
    path("login/forgotten/sent/", views.ForgottenSent.as_view(), name="forgotten_sent"),
    path("login/new-password/<uidb64>/", views.NewPassword.as_view(), name="new_password"),
    path("own/", views.OwnSignIn.as_view(), name="mfa_index"),
    path("own/app/", views.AddApp.as_view(), name="mfa_activate_totp"),
    path("own/app/remove/", views.RemoveApp.as_view(), name="mfa_deactivate_totp"),
    path("own/key/", views.AddKey.as_view(), name="add_key"),
    path("own/key/<int:pk>/remove/", views.RemoveKey.as_view(), name="remove_key"),
    path("own/codes/", views.NewCodes.as_view(), name="new_codes"),
]
