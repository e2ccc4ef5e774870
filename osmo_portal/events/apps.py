from django.apps import AppConfig


class EventsConfig(AppConfig):
    name = "osmo_portal.events"
    label = "events"
    verbose_name = "Audit trail"
