"""Requests to the portal, and what each kind of answer means."""

import base64
import ipaddress
import os
from collections.abc import Container
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from osmo_cli import __version__
from osmo_cli.errors import MISUSED, REFUSED, TOO_MANY, OsmoError, unavailable
from osmo_cli.output import hide, warn
from osmo_cli.session import Session, alone, is_jwt

# An attempt to connect is given up sooner than an answer, because it is repeated.
TIMEOUT = httpx.Timeout(60, connect=10)
CONNECT_RETRIES = 5
EXCHANGE = "/api/auth/jwt/access_token"
MISUSE = {"USAGE", "RESOURCE"}

Answer = TypeVar("Answer")


class Portal:
    """The portal of the saved login, asked in the name of its token."""

    def __init__(self) -> None:
        self.session = Session.load()

    def get(self, path: str, kind: type[Answer], params: dict[str, Any] | None = None) -> Answer:
        return self._ask("GET", path, kind, params=params)

    def post(self, path: str, kind: type[Answer], **content: Any) -> Answer:
        return self._ask("POST", path, kind, **content)

    def put(self, path: str, **content: Any) -> None:
        self._ask("PUT", path, object, **content)

    def patch(self, path: str, **content: Any) -> None:
        self._ask("PATCH", path, object, **content)

    def delete(self, path: str, **content: Any) -> None:
        self._ask("DELETE", path, object, **content)

    def _ask(self, method: str, path: str, kind: type[Answer], **content: Any) -> Answer:
        session = self.session
        if session.is_stale:
            renew(session)
        headers = {"Authorization": f"Bearer {session.jwt}", "x-osmo-client-version": __version__}
        response = send(method, session.url + path, headers=headers, **content)
        return read(response, kind, session.secret, session.jwt, session.refresh_form.get("refresh_token", ""))


def renew(session: Session) -> None:
    """A fresh JWT, kept for the next command where the login file can be written."""
    if session.refresh_form:
        with alone():
            _renew_by_refresh_token(session)
        return
    if not session.secret:
        message = 'This login cannot be renewed by this client.\nPlease re-login with "osmo login"'
        raise unavailable(message, text=message)
    session.jwt = exchange(session.url, session.secret)
    _keep(session)


def _renew_by_refresh_token(session: Session) -> None:
    """A refresh token works once: so the login is read again, since another process may have renewed it meanwhile."""
    session.saved = Session.load().saved
    if not session.is_stale or not session.refresh_form:
        return
    old = session.refresh_form["refresh_token"]
    response = send("POST", session.refresh_url, data=session.refresh_form)
    if response.status_code >= 300:
        raise _exchange_refused(response, old)
    answer = read(response, dict, old)
    jwt, fresh = answer.get("id_token"), answer.get("refresh_token", old)
    if not isinstance(jwt, str) or not is_jwt(jwt) or not isinstance(fresh, str):
        raise unavailable("The portal's answer to the renewal of the login holds no id_token.")
    session.renewed(jwt, fresh)
    _keep(session)


def _keep(session: Session) -> None:
    try:
        session.save()
    except OSError as error:
        warn(f"The renewed login could not be saved: {error}")


def exchange(url: str, secret: str) -> str:
    """The JWT for a secret, which travels in the body: addresses end up in logs."""
    response = send("POST", url + EXCHANGE, json={"token": secret})
    if response.status_code >= 300:
        raise _exchange_refused(response, secret)
    jwt = read(response, dict, secret).get("token")
    if not isinstance(jwt, str) or not is_jwt(jwt):
        raise unavailable("The portal's answer to the login holds no JWT.")
    return jwt


def _exchange_refused(response: httpx.Response, secret: str) -> OsmoError:
    status = response.status_code
    message = (
        f"Unable to refresh login token (status code {status}): {hide(response.text, secret)}\n"
        'Please re-login with "osmo login"'
    )
    return unavailable(message, code=status, text=message)


def send(
    method: str, url: str, *, headers: dict[str, str] | None = None, expected: Container[int] = (200,), **content: Any
) -> httpx.Response:
    """Never follows a redirect: it could carry the credentials to another host."""
    agent = {"User-Agent": f"osmo-cli/{__version__}"}
    try:
        with httpx.Client(transport=_transport(url), timeout=TIMEOUT, follow_redirects=False) as client:
            response = client.request(method, url, headers={**agent, **(headers or {})}, **content)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:  # also a bad proxy or CA file
        reason = hide(str(error) or type(error).__name__)
        message = f"Cannot connect to OSMO service, with error:\n{reason}"
        raise unavailable(message, text=message) from None
    if response.status_code not in expected:
        warn(f"Server responded with status code {response.status_code}")
    _pass_on_warning(response)
    return response


def _transport(url: str) -> httpx.HTTPTransport:
    """Repeats only what never reached the portal: a repeated POST could make a second token."""
    host, scheme = urlsplit(url).hostname or "", urlsplit(url).scheme
    direct = is_loopback(host) or proxy_bypass(host)
    proxy = None if direct else getproxies().get(scheme)
    return httpx.HTTPTransport(retries=_retries(), proxy=proxy)


def _retries() -> int:
    wanted = os.environ.get("OSMO_CONNECT_RETRIES", "")
    return int(wanted) if wanted.isdecimal() else CONNECT_RETRIES


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read(response: httpx.Response, kind: type[Answer], *secrets: str) -> Answer:
    """The answer's JSON as `kind`, or OsmoError; `secrets` are blotted out of what a failure tells."""
    if response.status_code >= 300:
        raise _refusal(response, *secrets)
    try:
        answer = response.json()
    except ValueError as error:
        raise unavailable(f"Error decoding JSON of the portal's answer: {error}") from None
    if not isinstance(answer, kind):
        raise unavailable(f"The portal's answer is not a {kind.__name__}, as was expected.")
    return answer


def _pass_on_warning(response: httpx.Response) -> None:
    try:
        text = base64.b64decode(response.headers.get("x-osmo-warning", ""), validate=True).decode()
    except ValueError:
        return
    if text:
        warn(text)


def _refusal(response: httpx.Response, *secrets: str) -> OsmoError:
    status = response.status_code
    if status < 400:
        place = hide(response.headers.get("location", ""), *secrets)
        return unavailable(f"The portal redirects to {place}, which is not followed.", code=status)
    if status >= 500:
        return unavailable(hide(_dump(response), *secrets), code=status)
    message, error_code = _told(response)
    exit_code = TOO_MANY if status == 429 else MISUSED if error_code in MISUSE else REFUSED
    if message is None:
        body = hide(response.text, *secrets)
        return OsmoError(body, code=status, exit_code=exit_code, text=f"Error message: {body}")
    return OsmoError(hide(message, *secrets), code=status, exit_code=exit_code)


def _dump(response: httpx.Response) -> str:
    headers = [f"  {name}: {value}" for name, value in response.headers.items()]
    return "\n".join([f"Status Code: {response.status_code}", "Header:", *headers, "Body:", response.text])


def _told(response: httpx.Response) -> tuple[str | None, str]:
    """Message and error code of a handled error; no message when the body is anything else."""
    try:
        body = response.json()
    except ValueError:
        return None, ""
    if not isinstance(body, dict) or "error_code" not in body:
        return None, ""
    message = body.get("message")
    return (None if message is None else str(message)), str(body["error_code"])
