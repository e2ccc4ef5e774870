"""Paths without trailing slash, as the released clients write them.

GET on `user` and `service` is a list of 6.0; POST and DELETE one level deeper are its tokens. 6.2 has one segment for
the caller's tokens, so both fit beside each other, except that no new token may be called "user" or "service".
"""

from django.urls import include, path, re_path
from rest_framework.routers import SimpleRouter

from tokens.api import access, authz, cli, cli_users, operations, rest, terminal

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("tokens", rest.TokenViewSet)
router.register("token-operations", operations.OperationViewSet)

urlpatterns = [
    # First what is asked most.
    path("api/auth/jwt/access_token", cli.exchange_secret, name="exchange"),
    path("api/authz", authz.told_by_headers),
    re_path("^api/authz/", authz.told_by_address),
    path("api/auth/keys", cli.keys),
    # Below an address that a gateway in front of the released servers lets pass without a credential.
    path("api/auth/login/device", terminal.ask_for_codes, name="device_authorization"),
    path("api/auth/login/token", terminal.give_tokens, name="token_endpoint"),
    path("api/auth/access_token", cli.OwnTokens.as_view()),
    path("api/auth/access_token/user", cli.UserTokens.as_view(), {"name": "user"}),
    path("api/auth/access_token/service", cli.ServiceTokens.as_view(), {"name": "service"}),
    path("api/auth/access_token/user/<str:name>", cli.UserToken.as_view()),
    path("api/auth/access_token/service/<str:name>", cli.ServiceToken.as_view()),
    path("api/auth/access_token/<str:name>", cli.OwnToken.as_view()),
    path("api/auth/access_token/<str:name>/roles", cli.RolesOfToken.as_view()),
    path("api/auth/user/<str:user_id>/access_token", cli_users.TokensOfUser.as_view()),
    path("api/auth/user/<str:user_id>/access_token/<str:name>", cli_users.TokenOfUser.as_view()),
    path("api/v1/whoami", access.WhoAmI.as_view()),
    path("api/v1/access/check", access.AccessCheck.as_view()),
    path("api/v1/", include(router.urls)),
]
