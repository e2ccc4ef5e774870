"""Every route of the portal."""

from django.contrib import admin
from django.urls import include, path

from osmo_portal import probes, views

urlpatterns = [
    path("", include("tokens.api.urls")),
    path("health", probes.health),
    path("ready", probes.ready),
    path("metrics", probes.metrics),
    path("me/", include("tokens.me.urls")),
    path("", include("profiles.api.urls")),
    path("admin/", include("osmo_portal.signin.urls")),
    path("admin/", admin.site.urls),
    path("", views.home, name="home"),
]

handler400 = "osmo_portal.views.bad_request"
handler403 = "osmo_portal.views.forbidden"
handler404 = "osmo_portal.views.not_found"
handler429 = "osmo_portal.views.too_many"  # allauth asks for it
handler500 = "osmo_portal.views.server_error"
