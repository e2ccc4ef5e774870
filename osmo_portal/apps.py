from django.apps import AppConfig
from django.contrib import admin
from django.contrib.admin.apps import SimpleAdminConfig
from django.db.backends.signals import connection_created


class PortalConfig(AppConfig):
    name = "osmo_portal"
    verbose_name = "OSMO portal"

    def ready(self) -> None:
        from osmo_portal import checks, postgresql  # noqa: F401  (checks registers them)

        connection_created.connect(postgresql.read_instants)


class ConsoleConfig(SimpleAdminConfig):
    """Django's admin with our site as the default one."""

    default_site = "osmo_portal.site.Console"

    def ready(self) -> None:
        super().ready()
        admin.autodiscover()
