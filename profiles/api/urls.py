from django.urls import path

from profiles.api import cli

urlpatterns = [
    path("api/version", cli.version),
    path("client/version", cli.client_version),
    path("api/auth/login", cli.login_information),
    path("api/profile/settings", cli.ProfileSettings.as_view()),
    path("api/pool_quota", cli.PoolQuota.as_view()),
    path("api/pool", cli.Pools.as_view()),
]
