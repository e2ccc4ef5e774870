"""`osmo token`: make, list and delete access tokens."""

import re
import time
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

import typer

from osmo_cli.arguments import FormatOption, SeveralValues
from osmo_cli.errors import OsmoError, errors_as
from osmo_cli.output import SECRET, Format, say, say_json, table
from osmo_cli.users import USERS, UserOption, role_lines
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
    user: UserOption = None,
    roles: Roles = None,
    format_type: FormatOption = "text",
) -> None:
    """Make a token and show its secret, this once."""
    with errors_as(format_type):
        _check_roles(service, user, roles)
        expiry = (expires_at or _default_expiry()).isoformat()
        wishes = {"expires_at": expiry, "description": description, "roles": roles}
        params = {key: value for key, value in wishes.items() if value}
        _show_secret(Portal().post(_path(service, user, name), str, params=params), format_type)
        if format_type == "text":
            _show_whose(user, roles)


def _check_roles(service: bool, user: str | None, roles: list[str] | None) -> None:
    if service and not roles:
        raise OsmoError("Roles are required for service tokens.")
    if roles and not service and not user:
        raise OsmoError("Assigning roles to user access tokens is not supported.")


def _default_expiry() -> date:
    return datetime.now(UTC).date() + DEFAULT_LIFE


def _show_secret(secret: str, format_type: Format) -> None:
    if format_type == "json":
        say_json({"token": secret}, indent=None)
    else:
        say("Note: Save the token in a secure location as it will not be shown again")
        say(f"Access token: {secret}")


def _show_whose(user: str | None, roles: list[str] | None) -> None:
    """As clients of 6.2 and later say it, who alone know --user."""
    if user:
        say(f"Created for user: {user}")
        if roles:
            say(f"Roles: {', '.join(roles)}")


@app.command("list")
def list_tokens(service: Service = False, user: UserOption = None, format_type: FormatOption = "text") -> None:
    """List your tokens, those of a user, or with --service those of service accounts."""
    with errors_as(format_type):
        tokens = Portal().get(_path(service, user), list)
        if not tokens:
            say(f"No tokens found for user {user}" if user else "No tokens found")
        elif format_type == "json":
            say_json(tokens)
        else:
            if user:
                say(f"Tokens for user: {user}\n")
            say(table([HEADER], [_row(token) for token in tokens]) + "\n")


@app.command("delete")
def delete_token(name: Name, service: Service = False, user: UserOption = None) -> None:
    """End a token now."""
    Portal().delete(_path(service, user, name))
    say(f"Access token {name} deleted" + (f" for user {user}" if user else ""))


@app.command("roles")
def show_roles(name: Name, format_type: FormatOption = "text") -> None:
    """Show which roles a token of yours carries."""
    with errors_as(format_type):
        answer = Portal().get(f"/api/auth/access_token/{name}/roles", dict)
        if format_type == "json":
            say_json(answer)
            return
        say(f"Token: {answer.get('token_name', name)}")
        say(f"Owner: {answer.get('user_name', '-')}\n")
        say("\n".join(role_lines(answer.get("roles") or [])))


def _path(service: bool, user: str | None, *name: str) -> str:
    """Of 6.0 for the own tokens and those of --service, of 6.2 for those of a user."""
    if service and user:
        raise OsmoError("Give either --service or --user, not both.")
    if user:
        return "/".join([USERS, user, "access_token", *name])
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
