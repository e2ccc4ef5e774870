"""The `osmo` command: login, logout and version; the other commands have modules of their own."""

import io
import re
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import typer

from osmo_cli import __version__, config, pools, profile, tokens, users
from osmo_cli.arguments import FormatOption
from osmo_cli.device import sign_in
from osmo_cli.errors import INTERRUPTED, OsmoError, errors_as
from osmo_cli.output import hide, say, say_json, warn
from osmo_cli.session import Session, login_file, secret_in
from osmo_cli.wire import EXCHANGE, exchange, is_loopback, read, send

# Tracebacks with local variables would show secrets.
app = typer.Typer(
    help="The command line of OSMO.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(tokens.app, name="token")
app.add_typer(users.app, name="user")
app.add_typer(profile.app, name="profile")
app.add_typer(pools.app, name="pool")
app.add_typer(config.app, name="config")

Method = Literal["code", "password", "dev", "token"]


def supported(method: Method) -> Method:
    if method in {"password", "dev"}:
        raise typer.BadParameter(f"Login by {method} is not supported; use --method code (the browser) or token.")
    return method


def portal_url(text: str) -> str:
    """Only an address: with a user, a query or a fragment it could carry a secret into the login file."""
    try:
        parts = urlsplit(text)
        whole = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
    if not whole or re.search(r"[?#@\s]", text) or not text.isprintable():
        raise typer.BadParameter("Bad url: give an address such as https://osmo.example.com")
    return text.rstrip("/")


@app.command()
def login(
    url: Annotated[str, typer.Argument(metavar="URL", parser=portal_url, help="Address of the portal.")],
    method: Annotated[
        Method,
        typer.Option(
            "--method", callback=supported, is_eager=True, help="code: by the browser; token: an access token."
        ),
    ] = "code",
    token: Annotated[str | None, typer.Option(help="The access token's secret.", show_default=False)] = None,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", "--token_file", help="A file that holds the secret."),
    ] = None,
    _username: Annotated[str | None, typer.Option("--username", hidden=True)] = None,
    _password: Annotated[str | None, typer.Option("--password", hidden=True)] = None,
) -> None:
    """Log in by the browser or with an access token, and remember it."""
    secret = _secret(token, token_file) if method == "token" else ""
    if urlsplit(url).scheme == "http" and not is_loopback(urlsplit(url).hostname or ""):
        warn(f"WARNING: {url} is not encrypted; others on the network can read your token.")
    if method == "token":
        session = Session.begin(url, secret, exchange(url, secret), refresh_url=url + EXCHANGE)
    elif token or token_file:
        raise OsmoError("An access token is given with --method token.")
    else:
        session = sign_in(url)
    try:
        session.save()
    except OSError as error:
        raise OsmoError(f"Cannot save the login: {error}") from None
    say(f"Successfully logged in. Welcome {session.name}.")


def _secret(token: str | None, token_file: Path | None) -> str:
    if token and token_file:
        raise OsmoError("Give either --token or --token-file, not both.")
    if not token and not token_file:
        raise OsmoError("Must provide token file with --token_file or --token")
    secret = secret_in(token_file_text(token_file) if token_file else token or "")
    if not secret:
        raise OsmoError("There is no token where one was expected: it is one word without spaces.")
    return secret


def token_file_text(path: Path) -> str:
    """The message leaves the path out: it may be a secret given by mistake."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        raise OsmoError("Cannot read the token file.") from None


@app.command()
def logout() -> None:
    """Forget the saved login."""
    login_file().unlink(missing_ok=True)
    say("Successfully logged out.")


@app.command()
def version(format_type: FormatOption = "text") -> None:
    """Show the version of this client and of the portal."""
    with errors_as(format_type):
        client = dict(zip(("major", "minor", "revision", "hash"), [*__version__.split("."), ""], strict=True))
        service = _service_version()
        if format_type == "json":
            say_json({"client": client} | ({"service": service} if service else {}), indent=4)
        else:
            _show_versions(client, service)


def _show_versions(client: dict[str, Any], service: dict[str, Any] | None) -> None:
    say(f"OSMO client version:  {_dotted(client)}")
    if service:
        say(f"OSMO service version: {_dotted(service)}")


def _service_version() -> dict[str, Any] | None:
    """None without a login or where the portal does not tell. No credentials are needed, so none are sent."""
    try:
        return read(send("GET", Session.load().url + "/api/version"), dict)
    except OsmoError as error:
        if error.code >= 500:
            raise
        return None


def _dotted(version: dict[str, Any]) -> str:
    return ".".join(str(version[key]) for key in ("major", "minor", "revision", "hash") if version.get(key))


def main() -> None:
    signal.signal(signal.SIGINT, lambda *_: sys.exit(INTERRUPTED))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(_run())


def _run() -> int:
    try:
        return app(prog_name="osmo", standalone_mode=False) or 0
    except OsmoError as error:
        say(error.text)
        return error.exit_code
    except typer.TyperException as error:
        _explain(error)
        return error.exit_code


def _explain(error: typer.TyperException) -> None:
    """The message may quote a mistyped argument, and that may be a secret."""
    context = getattr(error, "ctx", None)
    if context is not None:
        warn(f"{context.get_usage()}\nTry '{context.command_path} --help' for help.\n")
    warn(f"Error: {hide(error.format_message())}")
