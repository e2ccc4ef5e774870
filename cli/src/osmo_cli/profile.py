"""`osmo profile`: who the portal takes you for, and your settings."""

from typing import Annotated, Any, Literal

import typer

from osmo_cli.arguments import FormatOption
from osmo_cli.errors import OsmoError, errors_as
from osmo_cli.output import say, say_json
from osmo_cli.wire import Portal

SETTINGS = "/api/profile/settings"

app = typer.Typer(help="Your profile and settings.")
setting = typer.Typer(help="Change a setting.")
app.add_typer(setting, name="set")


@app.command("list")
def list_profile(format_type: FormatOption = "text") -> None:
    """Show who you are, your settings, and the token in use."""
    with errors_as(format_type):
        portal = Portal()
        settings = portal.get(SETTINGS, dict)
        if format_type == "json":
            say_json(settings)
        else:
            say("\n".join(_lines(settings, portal.session.name)))


def _lines(settings: dict[str, Any], name: str) -> list[str]:
    profile = settings.get("profile") or {}
    return [
        "user:",
        *([f"  name: {name}"] if name else []),
        f"  email: {profile.get('username')}",
        "notifications:",
        f"  email: {profile.get('email_notification')}",
        f"  slack: {profile.get('slack_notification')}",
        "bucket:",
        f"  default: {profile.get('bucket')}",
        "pool:",
        f"  default: {profile.get('pool')}",
        "  accessible:",
        *(f"  - {pool}" for pool in settings.get("pools") or []),
        *_token_lines(settings),
    ]


def _token_lines(settings: dict[str, Any]) -> list[str]:
    """Of the token that this login uses; a portal that tells none leaves the block out."""
    token = settings.get("token")
    if not isinstance(token, dict):
        return []
    return [
        "token roles:",
        f"  name: {token.get('name')}",
        f"  expires_at: {str(token.get('expires_at')).split('T')[0]}",
        f"  roles: {', '.join(map(str, settings.get('roles') or []))}",
    ]


@setting.command("bucket")
def set_bucket(bucket: Annotated[str, typer.Argument(metavar="BUCKET")]) -> None:
    """Set the default bucket."""
    _store(bucket=bucket)


@setting.command("pool")
def set_pool(pool: Annotated[str, typer.Argument(metavar="POOL")]) -> None:
    """Set the default pool."""
    _store(pool=pool)


@setting.command("notifications")
def set_notifications(
    kind: Annotated[str, typer.Argument(metavar="email|slack")],
    switch: Annotated[Literal["true", "false"], typer.Argument(show_default=False)] = "true",
) -> None:
    """Switch notifications on, or off with false."""
    if kind not in {"email", "slack"}:
        message = f"Invalid type of notification: {kind}. Must be slack or email."
        raise OsmoError(message, text=message)
    if kind == "email" and switch == "false":
        say("Disabling email notifications")
    _store(**{f"{kind}_notification": switch == "true"})


def _store(**settings: str | bool) -> None:
    Portal().post(SETTINGS, object, json=settings)
    say("Profile Set")
