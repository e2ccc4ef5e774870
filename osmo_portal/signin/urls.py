"""Below /admin/. Of allauth only the pages that the portal needs are here: no sign-up, no e-mail management."""

from django.urls import path

from osmo_portal.signin.views import OwnSignIn, SignIn

urlpatterns = [
    path("login/", SignIn.as_view(), name="account_login"),
    path("own/", OwnSignIn.as_view(), name="mfa_index"),
]
