"""A terminal as it signs in: the calls of the released clients, and the person who approves in a browser."""

from typing import Any

from django.test import Client

from osmo_portal.events.actor import Door
from tests.cast import Cast
from tests.wire import Wire
from tokens.models import SignInRequest

ASK, TOKEN = "/api/auth/login/device", "/api/auth/login/token"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
SCOPE = "openid offline_access profile"
AGENT = "osmo-cli/6.3.1"


def form(path: str, fields: dict[str, Any], agent: str = AGENT, **defaults: Any) -> Any:
    """As `requests` sends a form; no CSRF token, no cookie."""
    client = Client(enforce_csrf_checks=True, **defaults)
    body = "&".join(f"{name}={value}" for name, value in fields.items())
    return client.generic(
        "POST", path, body.encode(), content_type="application/x-www-form-urlencoded", headers={"user-agent": agent}
    )


class Terminal:
    """One that has asked. `codes` is what it was answered, `tokens` what it holds once it is signed in."""

    def __init__(self) -> None:
        self.codes = form(ASK, {"client_id": "osmo-cli", "scope": SCOPE}).json()
        self.tokens: dict[str, Any] = {}

    def poll(self) -> Any:
        answer = form(
            TOKEN, {"grant_type": DEVICE_CODE, "device_code": self.codes["device_code"], "client_id": "osmo-cli"}
        )
        if answer.status_code == 200:
            self.tokens = answer.json()
        return answer

    @property
    def request(self) -> SignInRequest:
        return SignInRequest.objects.with_code(self.codes["user_code"]).get()

    def signed_in(self, cast: Cast, name: str = "ada") -> "Terminal":
        self.request.approve(by=cast.by(name, Door.MY_TOKENS))
        assert self.poll().status_code == 200
        return self

    def refresh(self, refresh_token: str | None = None) -> Any:
        """With the refresh token that it holds, which it replaces, or with an older one."""
        sent = refresh_token or self.tokens["refresh_token"]
        answer = form(TOKEN, {"grant_type": "refresh_token", "refresh_token": sent, "client_id": "osmo-cli"})
        if answer.status_code == 200 and refresh_token is None:
            self.tokens = answer.json()
        return answer

    def wire(self, header: str = "authorization") -> Wire:
        wire, jwt = Wire(), self.tokens["id_token"]
        wire.headers[header] = f"Bearer {jwt}" if header == "authorization" else jwt
        return wire


def error(answer: Any, status: int = 400) -> str:
    """The code of an OAuth error, for programs."""
    assert answer.status_code == status, answer.content
    assert answer["content-type"] == "application/json"
    return str(answer.json()["error"])
