from django.apps import AppConfig


class SignInConfig(AppConfig):
    name = "osmo_portal.signin"
