"""Below /admin/. Of allauth only the pages that the portal needs are here: no sign-up, no e-mail management."""

from django.urls import path

from osmo_portal.signin.views import Forgotten, ForgottenSent, NewPassword, OwnSignIn, SignIn

urlpatterns = [
    path("login/", SignIn.as_view(), name="account_login"),
    path("login/forgotten/", Forgotten.as_view(), name="forgotten"),
    path("login/forgotten/sent/", ForgottenSent.as_view(), name="forgotten_sent"),
    path("login/new-password/<uidb64>/", NewPassword.as_view(), name="new_password"),
    path("own/", OwnSignIn.as_view(), name="mfa_index"),
]
