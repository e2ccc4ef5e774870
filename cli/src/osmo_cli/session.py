"""The saved login: a file that the released clients read and write as well."""

import base64
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import yaml

from osmo_cli.errors import OsmoError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

JWT_FORM = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
SECONDS_TO_SPARE = 3


@dataclass
class Session:
    """Keys that this client does not know are kept: another client may need them."""

    saved: dict[str, Any]

    @classmethod
    def begin(cls, url: str, secret: str, jwt: str, refresh_url: str) -> Self:
        login = {"id_token": jwt, "refresh_token": secret, "refresh_url": refresh_url, "client_id": None}
        return cls({"url": url, "name": _name(jwt), "osmo_token": True, "token_login": login})

    @classmethod
    def of_person(cls, url: str, jwt: str, *, refresh_token: str, refresh_url: str, client_id: str) -> Self:
        """A login by the browser. Its refresh token works once; each renewal brings another."""
        login = {"id_token": jwt, "refresh_token": refresh_token, "refresh_url": refresh_url, "client_id": client_id}
        return cls({"url": url, "name": _name(jwt), "osmo_token": False, "token_login": login})

    @classmethod
    def load(cls) -> Self:
        """Raises OsmoError when nobody is logged in or the file is not a login."""
        try:
            saved = yaml.safe_load(login_file().read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise OsmoError('Must login first with "login" command') from None
        except (OSError, ValueError, yaml.YAMLError):
            saved = None
        if not isinstance(saved, dict) or not isinstance(saved.get("url"), str):
            raise OsmoError(f'Cannot read {login_file()}. Please re-login with "osmo login"')
        return cls(saved)

    def save(self) -> None:
        """The file is complete or untouched, and never readable by others, not even for a moment."""
        target = login_file()
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=target.parent, encoding="utf-8", delete=False) as file:
            temporary = Path(file.name)
            try:
                yaml.safe_dump(self.saved, file, sort_keys=False)
                file.flush()
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)

    @property
    def url(self) -> str:
        return str(self.saved["url"]).rstrip("/")

    @property
    def name(self) -> str:
        return str(self.saved.get("name") or "")

    @property
    def jwt(self) -> str:
        """The saved JWT; empty when there is none or it has not the form of one."""
        jwt = self._token_login.get("id_token")
        return jwt if isinstance(jwt, str) and is_jwt(jwt) else ""

    @jwt.setter
    def jwt(self, jwt: str) -> None:
        self.saved["token_login"]["id_token"] = jwt

    @property
    def secret(self) -> str:
        """The access token, also where the 6.0 clients put it: in the refresh URL. Empty for other logins."""
        if not self.saved.get("osmo_token"):
            return ""
        login = self._token_login
        return str(login.get("refresh_token") or "") or secret_in(str(login.get("refresh_url") or ""))

    @property
    def refresh_form(self) -> dict[str, str]:
        """What renews a login by the browser; empty for other logins."""
        login = self._token_login
        fields = {key: login.get(key) for key in ("refresh_token", "client_id")}
        whole = all(isinstance(value, str) and value for value in (*fields.values(), login.get("refresh_url")))
        if self.saved.get("osmo_token") or not whole:
            return {}
        return {"grant_type": "refresh_token", **{key: str(value) for key, value in fields.items()}}

    @property
    def refresh_url(self) -> str:
        return str(self._token_login.get("refresh_url") or "")

    def renewed(self, jwt: str, refresh_token: str) -> None:
        self.saved["token_login"] |= {"id_token": jwt, "refresh_token": refresh_token}

    @property
    def is_stale(self) -> bool:
        expiry = claims(self.jwt).get("exp")
        return not isinstance(expiry, int | float) or expiry - SECONDS_TO_SPARE < time.time()

    @property
    def _token_login(self) -> dict[str, Any]:
        login = self.saved.get("token_login")
        return login if isinstance(login, dict) else {}


def login_file() -> Path:
    own, shared = os.environ.get("OSMO_CONFIG_FILE_DIR"), os.environ.get("XDG_CONFIG_HOME")
    if own:
        return Path(own) / "login.yaml"
    return (Path(shared) if shared else Path.home() / ".config") / "osmo" / "login.yaml"


@contextmanager
def alone() -> Iterator[None]:
    """No other process of this login renews it meanwhile. Where the system knows no such locks, nobody waits."""
    if fcntl is None or not login_file().parent.is_dir():
        yield
        return
    place = os.open(login_file().parent, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)


def is_jwt(text: str) -> bool:
    return JWT_FORM.fullmatch(text) is not None


def claims(jwt: str) -> dict[str, Any]:
    """Read without verification: the portal verifies, the client only wants `exp` and `name`."""
    try:
        payload = jwt.split(".")[1]
        decoded = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError):
        return {}
    return decoded if isinstance(decoded, dict) else {}


def _name(jwt: str) -> str:
    return str(claims(jwt).get("name") or "")


def secret_in(text: str) -> str:
    """The secret of a token file or a refresh URL: a bare word, or the value of `access_token`; or empty."""
    text = text.strip()
    if "://" in text:
        text = parse_qs(urlsplit(text).query).get("access_token", [""])[-1]
    return text if re.fullmatch(r"[!-~]+", text) else ""
