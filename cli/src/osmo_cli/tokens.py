"""`osmo token`: make, list and delete access tokens."""

import re
import time
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

import typer

from osmo_cli.arguments import FormatOption, SeveralValues
from osmo_cli.errors import OsmoError, errors_as
from osmo_cli.output import SECRET, Format, say, say_json, table
from osmo_cli.wire import Portal

NAME = r"^[a-zA-Z]([a-zA-Z0-9_-]*[a-zA-Z0-9])?$"
DEFAULT_LIFE = timedelta(days=31)
HEADER = ["Name", "Description", "Roles", "Active", "Expires At (UTC)"]

app = typer.Typer(help="Access tokens for programs and scripts.")


def token_name(text: str) -> str:
    """Names are part of addresses, so a secret pasted in the place of one must not pass."""
    if re.fullmatch(SECRET, text):
        raise typer.BadParameter("This looks like a secret; give the name of the token.")
    if not re.fullmatch(NAME, text):
        raise typer.BadParameter(f"Token name {text} must match regex {NAME}")
    return text


def expiry_date(text: str) -> date:
    try:
        return date(*time.strptime(text, "%Y-%m-%d")[:3])
    except ValueError:
        raise typer.BadParameter(f"{text} is not a date; write YYYY-MM-DD, for example 2027-03-31.") from None


Name = Annotated[str, typer.Argument(metavar="NAME", parser=token_name, help="Name of the token.")]
Service = Annotated[bool, typer.Option("-s", "--service", help="Service tokens; for administrators.")]
Expiry = Annotated[
    date | None,
    typer.Option("-e", "--expires-at", metavar="YYYY-MM-DD", parser=expiry_date, help="In 31 days if not given."),
]
Roles = Annotated[list[str] | None, typer.Option("-r", "--roles", metavar="ROLE...", help="Roles of a service token.")]


@app.command("set", cls=SeveralValues)
def set_token(
    name: Name,
    expires_at: Expiry = None,
    description: Annotated[str | None, typer.Option("-d", "--description")] = None,
    service: Service = False,
    roles: Roles = None,
    format_type: FormatOption = "text",
) -> None:
    """Make a token and show its secret, this once."""
    with errors_as(format_type):
        _check_roles(service, roles)
        expiry = (expires_at or _default_expiry()).isoformat()
        wishes = {"expires_at": expiry, "description": description, "roles": roles}
        params = {key: value for key, value in wishes.items() if value}
        _show_secret(Portal().post(_path(service, name), str, params=params), format_type)


def _check_roles(service: bool, roles: list[str] | None) -> None:
    if service and not roles:
        raise OsmoError("Roles are required for service tokens.")
    if roles and not service:
        raise OsmoError("Assigning roles to user access tokens is not supported.")


def _default_expiry() -> date:
    return datetime.now(UTC).date() + DEFAULT_LIFE


def _show_secret(secret: str, format_type: Format) -> None:
    if format_type == "json":
        say_json({"token": secret}, indent=None)
    else:
        say("Note: Save the token in a secure location as it will not be shown again")
        say(f"Access token: {secret}")


@app.command("list")
def list_tokens(service: Service = False, format_type: FormatOption = "text") -> None:
    """List your tokens, or with --service those of service accounts."""
    with errors_as(format_type):
        tokens = Portal().get(_path(service), list)
        if not tokens:
            say("No tokens found")
        elif format_type == "json":
            say_json(tokens)
        else:
            say(table([HEADER], [_row(token) for token in tokens]) + "\n")


@app.command("delete")
def delete_token(name: Name, service: Service = False) -> None:
    """End a token now."""
    Portal().delete(_path(service, name))
    say(f"Access token {name} deleted")


def _path(service: bool, *name: str) -> str:
    return "/".join(["/api/auth/access_token", "service" if service else "user", *name])


def _row(token: dict[str, Any]) -> list[str]:
    expires_at = str(token.get("expires_at", "-")).split("T")[0]
    expired = expires_at <= datetime.now(UTC).date().isoformat()
    return [
        str(token.get("token_name", "-")),
        str(token.get("description", "-")),
        ", ".join(map(str, token.get("roles", []))),
        "Expired" if expired else "Active",
        expires_at,
    ]
