"""Logging in by the browser: the portal gives a code, a person approves it there, and this waits (RFC 8628)."""

import time
from dataclasses import dataclass
from typing import Any, Self

import httpx

from osmo_cli.errors import OsmoError, unavailable
from osmo_cli.output import hide, say
from osmo_cli.session import Session, is_jwt
from osmo_cli.wire import read, send

LOGIN = "/api/auth/login"
GRANT = "urn:ietf:params:oauth:grant-type:device_code"
SCOPE = "openid offline_access profile"
INTERVAL = 5  # seconds; also by how much a portal that wants fewer questions is asked less often
NOT_OFFERED = "This portal offers no login by the browser. Use --method token with an access token."


@dataclass
class Login:
    """One that was begun and waits for a person."""

    url: str
    token_endpoint: str
    client_id: str
    codes: dict[str, Any]

    @classmethod
    def begin(cls, url: str) -> Self:
        offered = read(send("GET", url + LOGIN), dict)
        device, token, client = (
            str(offered.get(key) or "") for key in ("device_endpoint", "token_endpoint", "device_client_id")
        )
        if not device or not token:
            raise OsmoError(NOT_OFFERED)
        codes = read(send("POST", device, data={"client_id": client, "scope": SCOPE}), dict)
        if not isinstance(codes.get("device_code"), str) or not (codes.get("user_code") and _page(codes)):
            raise unavailable("The portal's answer to the login holds no codes.")
        return cls(url, token, client, codes)

    def invite(self) -> str:
        """What the person has to do, in the words of the released clients."""
        if self.codes.get("message"):
            return str(self.codes["message"])
        if self.codes.get("verification_uri_complete"):
            return f"Visit {self.codes['verification_uri_complete']} and complete authentication."
        return f"Visit {_page(self.codes)} and enter the following code: {self.codes['user_code']}"

    def wait(self) -> Session:
        """Asks until the person has decided. Raises OsmoError where that is a no, or the code is over."""
        interval = _seconds(self.codes.get("interval"), INTERVAL)
        deadline = time.monotonic() + _seconds(self.codes.get("expires_in"), 900)
        while time.monotonic() < deadline:
            time.sleep(interval)
            answer = self._poll()
            if answer.status_code == 200:
                return self._session(read(answer, dict, self.codes["device_code"]))
            error = _error(answer)
            if error == "slow_down":
                interval += INTERVAL
            elif error != "authorization_pending":
                raise self._failed(answer)
        message = "Failed to log in: nobody completed the authentication in time."
        raise unavailable(message, text=message)

    def _poll(self) -> httpx.Response:
        fields = {"grant_type": GRANT, "device_code": self.codes["device_code"], "client_id": self.client_id}
        return send("POST", self.token_endpoint, expected={200, 400}, data=fields)

    def _session(self, answer: dict[str, Any]) -> Session:
        jwt, refresh_token = answer.get("id_token"), answer.get("refresh_token")
        if not isinstance(jwt, str) or not is_jwt(jwt) or not isinstance(refresh_token, str):
            raise unavailable("The portal's answer to the login holds no id_token or no refresh_token.")
        return Session.of_person(
            self.url, jwt, refresh_token=refresh_token, refresh_url=self.token_endpoint, client_id=self.client_id
        )

    def _failed(self, answer: httpx.Response) -> OsmoError:
        message = f"Failed to log in: {hide(answer.text, self.codes['device_code'])}"
        return unavailable(message, code=answer.status_code, text=message)


def sign_in(url: str) -> Session:
    login = Login.begin(url)
    say(login.invite())
    return login.wait()


def _page(codes: dict[str, Any]) -> Any:
    return codes.get("verification_uri") or codes.get("verification_url")


def _seconds(value: Any, default: int) -> float:
    return value if isinstance(value, int | float) and 0 <= value <= 3600 else default


def _error(answer: httpx.Response) -> str:
    try:
        body = answer.json()
    except ValueError:
        return ""
    return str(body.get("error")) if isinstance(body, dict) else ""
