"""Signing terminals in by OAuth's device flow (RFC 8628). The protocol is Authlib's; what is decided is ours.

There is one client, the command line, which holds no secret of its own: so who approves is told what asks and from
where, and everything else hangs on the codes.
"""

from typing import Any

from authlib.common.errors import AuthlibHTTPError
from authlib.integrations.django_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, OAuth2Request
from authlib.oauth2.rfc6749.errors import InvalidGrantError, UnsupportedGrantTypeError
from authlib.oauth2.rfc6749.grants import BaseGrant, RefreshTokenGrant, TokenEndpointMixin
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc8628 import DEVICE_CODE_GRANT_TYPE, DeviceAuthorizationEndpoint, DeviceCodeGrant
from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from osmo_portal.events.actor import facts
from tokens import jwt, secrets
from tokens.models import RefreshToken, SignInRequest, TerminalSignIn
from tokens.models.sign_in_request import INTERVAL, LIFETIME
from tokens.models.terminal_sign_in import Refused

CLIENT_ID = "osmo-cli"
CLIENT_NAME = "the osmo command line"
SCOPE = "openid offline_access profile"
NO_PASSWORDS = (
    "This portal takes no passwords from programs. Use `osmo login URL`, which signs you in by the browser, "
    "or `osmo login URL --method token --token-file FILE` with an access token."
)


class CommandLine(ClientMixin):  # type: ignore[misc]
    """The one client. It is public: whoever knows its name may begin."""

    def get_client_id(self) -> str:
        return CLIENT_ID

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "none"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in {DEVICE_CODE_GRANT_TYPE, RefreshTokenGrant.GRANT_TYPE}


class FormRequest(OAuth2Request):  # type: ignore[misc]
    """What Authlib reads of a request: the form alone, since addresses end up in logs. PORTAL_URL says whether the
    portal is reached over TLS."""

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request.method or "", settings.PORTAL_URL + request.path, headers=request.headers)
        self.django = request
        self.payload = BasicOAuth2Payload(request.POST.dict())

    @property
    def form(self) -> Any:
        return self.payload.data

    @property
    def agent(self) -> str:
        return str(self.django.META.get("HTTP_USER_AGENT", ""))


class Server(AuthorizationServer):  # type: ignore[misc]
    def query_client(self, client_id: str) -> CommandLine | None:
        return CommandLine() if client_id == CLIENT_ID else None

    def create_oauth2_request(self, request: HttpRequest) -> FormRequest:
        return FormRequest(request)

    def save_token(self, token: Any, request: FormRequest) -> None:
        """The grants have saved what there is to keep."""

    def refuse(self, error: AuthlibHTTPError) -> Any:
        return self.handle_error_response(None, error)


class AskForCodes(DeviceAuthorizationEndpoint):  # type: ignore[misc]
    CLIENT_AUTH_METHODS = ["none"]
    EXPIRES_IN = int(LIFETIME.total_seconds())
    INTERVAL = INTERVAL

    def __call__(self, request: FormRequest) -> Any:
        """The server has one of these for all threads; each request is answered by one of its own."""
        mine = AskForCodes(self.server)
        mine.asking = request
        return mine.create_endpoint_response(request)

    def generate_device_code(self) -> str:
        return secrets.generate(secrets.DEVICE_PREFIX)

    def get_verification_uri(self) -> str:
        return f"{settings.PORTAL_URL}{reverse('sign_in_terminal')}"

    def save_device_credential(self, client_id: str, scope: str, data: dict[str, Any]) -> None:
        asking = self.asking
        SignInRequest.ask(
            device_code=data["device_code"],
            user_code=data["user_code"],
            client=client_id,
            agent=asking.agent,
            address=facts(asking.django)["address"],
        )


class DeviceCode(DeviceCodeGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = ["none"]

    def query_device_credential(self, device_code: str) -> SignInRequest | None:
        return SignInRequest.presented(device_code)

    def validate_device_credential(self, credential: SignInRequest) -> Any:
        if credential.sign_in:
            credential.sign_in.end_as_stolen(
                reason="Its device code was used again: somebody else may have it.", **facts(self.request.django)
            )
            raise InvalidGrantError("This code was used before. The sign-in has ended.")
        self.asked_for = credential
        return super().validate_device_credential(credential)

    def query_user_grant(self, user_code: str) -> tuple[Any, bool] | None:
        return self.asked_for.verdict

    def should_slow_down(self, credential: SignInRequest) -> bool:
        return credential.is_too_early()

    def generate_token(self, **_: Any) -> dict[str, Any]:
        try:
            return _answer(*self.request.credential.redeem(agent=self.request.agent, **facts(self.request.django)))
        except Refused as refusal:
            raise InvalidGrantError(str(refusal)) from None


class Refresh(RefreshTokenGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = ["none"]

    def authenticate_refresh_token(self, refresh_token: str) -> "Presented | None":
        found = RefreshToken.presented(refresh_token)
        return Presented(found) if found else None

    def authenticate_user(self, refresh_token: "Presented") -> Any:
        return refresh_token.row.sign_in.owner

    def issue_token(self, user: Any, refresh_token: "Presented") -> dict[str, Any]:
        row = refresh_token.row
        try:
            return _answer(row.sign_in, row.renew(**facts(self.request.django)))
        except Refused as refusal:
            raise InvalidGrantError(str(refusal)) from None

    def revoke_old_credential(self, refresh_token: "Presented") -> None:
        """It was used up when its successor was made."""


class Presented:
    """A refresh token as Authlib asks about it."""

    def __init__(self, row: RefreshToken) -> None:
        self.row = row

    def check_client(self, client: CommandLine) -> bool:
        return self.row.sign_in.client == client.get_client_id()

    def get_scope(self) -> str:
        return SCOPE


class NoPasswords(BaseGrant, TokenEndpointMixin):  # type: ignore[misc]
    """A password in a program's hands knows no second factor."""

    GRANT_TYPE = "password"

    def validate_token_request(self) -> None:
        error = UnsupportedGrantTypeError(self.GRANT_TYPE)
        error.description = NO_PASSWORDS
        raise error


def _answer(sign_in: TerminalSignIn, refresh_token: secrets.Plaintext) -> dict[str, Any]:
    """The ID token is also what the API takes; the released clients send that one."""
    text, expires_in = jwt.issue_to_terminal(sign_in)
    return {
        "token_type": "Bearer",
        "access_token": text,
        "id_token": text,
        "expires_in": expires_in,
        "refresh_token": str(refresh_token),
        "scope": SCOPE,
    }


server = Server(None, None)
server.register_endpoint(AskForCodes)
for grant in (DeviceCode, Refresh, NoPasswords):
    server.register_grant(grant)
