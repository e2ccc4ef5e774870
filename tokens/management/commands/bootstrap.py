import json
import shutil
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone
from django.utils.crypto import get_random_string
from django.views.decorators.debug import sensitive_variables

from osmo_portal.events import chain
from osmo_portal.events.actor import Actor, Door
from osmo_portal.events.trail import audited
from profiles.management.door import DoorCommand
from profiles.models import User
from profiles.rules import ADMINISTRATOR_ROLE
from tokens import rules
from tokens.models import AccessToken

ACCOUNT = "bootstrap"
SHORTEST_LIFE = timedelta(hours=1)


class Command(DoorCommand):
    help = (
        "Makes the first administrator, and an administrator's service token for one day. Prints the password and a "
        "login line on stdout, once. While there is an active administrator it does nothing and prints no secret."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--username", default="admin", help="User id of the administrator (default: admin).")
        parser.add_argument("--json", action="store_true", help="Print a JSON object.")

    @sensitive_variables()
    def handle(self, *args: Any, username: str, json: bool, **options: Any) -> None:
        made = _bootstrap(username)
        if made is None:
            self.tell("There is an administrator already; nothing was done.")
        else:
            self.tell("Made the first administrator. What follows is shown this once; keep the password.")
        self.stdout.write(_as_json(made) if json else _as_text(made), ending="")


@sensitive_variables()
def _bootstrap(username: str) -> dict[str, str] | None:
    """What was made, for printing, or None while an administrator exists."""
    try:
        with audited():
            chain.lock()  # of two that run at the same time, one makes the administrator
            return None if User.objects.administrators().exists() else _make(username)
    except ValidationError as error:
        hint = "If it is what an earlier administrator left, use `manage.py recover_admin USER`, or another --username."
        raise CommandError(" ".join([*error.messages, hint])) from error


@sensitive_variables()
def _make(username: str) -> dict[str, str]:
    password = get_random_string(20)
    person = User.create_person(by=Actor.bootstrap(), username=username, password=password, roles=[ADMINISTRATOR_ROLE])
    by = Actor.acting_as(person, Door.COMMAND)
    account = User.create_service_account(
        by=by, username=ACCOUNT, purpose="The first login with the osmo client", roles=[ADMINISTRATOR_ROLE]
    )
    token = AccessToken.issue(by=by, owner=account, name=ACCOUNT, expires=_in_one_day(), roles=[ADMINISTRATOR_ROLE])
    return {
        "portal": settings.PORTAL_URL,
        "username": person.username,
        "password": password,
        "token": str(token.plaintext),
        "expires_at": f"{token.expires_at:%Y-%m-%d}",
        "login": f"{_osmo()} login {settings.PORTAL_URL} --method token --token {token.plaintext}",
    }


def _osmo() -> str:
    """How the client is called from here: by its place where the PATH does not have it."""
    ours = Path(sys.executable).with_name("osmo")
    if shutil.which("osmo") or not ours.exists():
        return "osmo"
    return str(ours.relative_to(Path.cwd()) if ours.is_relative_to(Path.cwd()) else ours)


def _in_one_day() -> date:
    """Tomorrow, at whose 00:00 UTC the token ends; one day later where that would leave less than an hour."""
    days = 1 if (timezone.now() + SHORTEST_LIFE).date() == timezone.now().date() else 2
    return min(timezone.now().date() + timedelta(days=days), rules.latest_expiry([]))


def _as_json(made: dict[str, str] | None) -> str:
    return json.dumps({"created": made is not None, **(made or {})}) + "\n"


def _as_text(made: dict[str, str] | None) -> str:
    if made is None:
        return ""
    lines = [f"Portal:    {made['portal']}", f"User:      {made['username']}", f"Password:  {made['password']}", ""]
    return "\n".join([*lines, f"Log in until {made['expires_at']}, 00:00 UTC:", made["login"], ""])
