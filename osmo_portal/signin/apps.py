from django.apps import AppConfig


class SignInConfig(AppConfig):
    name = "osmo_portal.signin"

    def ready(self) -> None:
        from osmo_portal.signin import factors  # noqa: F401  (connects the receivers)
