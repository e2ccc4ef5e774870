from django.urls import include, path
from drf_spectacular.views import SpectacularJSONAPIView
from rest_framework.permissions import IsAuthenticated
from rest_framework.routers import SimpleRouter

from profiles.api import cli, cli_users, events, rest

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
    path("api/v1/", include(router.urls)),
    path("api/v1/schema", SpectacularJSONAPIView.as_view(permission_classes=[IsAuthenticated])),
]
