from django.urls import include, path
from rest_framework.routers import SimpleRouter

from osmo_portal.openapi import Description
from profiles.api import cli, cli_configs, cli_history, cli_users, events, rest

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("users", rest.UserViewSet)
router.register("roles", rest.RoleViewSet)
router.register("assignments", rest.AssignmentViewSet)
router.register("pools", rest.PoolViewSet)
router.register("events", events.EventViewSet)

urlpatterns = [
    path("api/version", cli.version),
    path("client/version", cli.client_version),
    path("api/auth/login", cli.login_information),
    path("api/profile/settings", cli.ProfileSettings.as_view()),
    path("api/pool_quota", cli.PoolQuota.as_view()),
    path("api/pool", cli.Pools.as_view()),
    path("api/auth/user", cli_users.Users.as_view()),
    path("api/auth/user/<str:user_id>", cli_users.OneUser.as_view()),
    path("api/auth/user/<str:user_id>/roles", cli_users.RolesOfUser.as_view()),
    path("api/auth/user/<str:user_id>/roles/<path:role>", cli_users.RoleOfUser.as_view()),
    path("api/auth/roles/<path:role>/users", cli_users.UsersOfRole.as_view()),
    path("api/configs/role", cli_configs.Roles.as_view()),
    path("api/configs/role/<path:name>", cli_configs.OneRole.as_view()),
    path("api/configs/pool", cli_configs.Pools.as_view()),
    path("api/configs/pool/<str:name>", cli_configs.OnePool.as_view()),
    path("api/configs/history", cli_history.History.as_view()),
    path("api/configs/history/rollback", cli_history.Rollback.as_view()),
    path("api/configs/history/<str:kind>/revision/<int:revision>", cli_history.OneRevision.as_view()),
    path("api/configs/history/<str:kind>/revision/<int:revision>/tags", cli_history.Tags.as_view()),
    path("api/configs/diff", cli_history.Diff.as_view()),
    path("api/configs/<str:kind>", cli_configs.OtherConfigs.as_view()),
    path("api/configs/<str:kind>/<path:rest>", cli_configs.OtherConfigs.as_view()),
    path("api/v1/", include(router.urls)),
    path("api/v1/schema", Description.as_view(), name="api_schema"),
]
