"""`osmo config`: roles and pools, and the history of what they were. For administrators."""

import difflib
import json
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from osmo_cli.arguments import FormatOption, SeveralValues
from osmo_cli.errors import OsmoError, errors_as
from osmo_cli.output import printable, say, say_json, table
from osmo_cli.wire import Portal

CONFIGS = "/api/configs"
HISTORY = f"{CONFIGS}/history"
TYPES = ("ROLE", "POOL")
NAME = r"[a-zA-Z0-9]([\w@:-]|[./](?![./]))*"  # no part of an address that a server would resolve
HEADER = ["Config Type", "Name", "Revision", "Username", "Created At", "Description", "Tags"]
EDITOR_HINT = """
# Please enter the description for your changes. Lines starting
# with '#' will be ignored, and an empty description aborts the change.
"""

app = typer.Typer(help="Roles and pools, and their history; for administrators.")

Kind = Annotated[str, typer.Argument(metavar="CONFIG_TYPE", help="ROLE or POOL.")]
KindAndRevision = Annotated[str, typer.Argument(metavar="CONFIG_TYPE[:REVISION]", help="ROLE, POOL, or ROLE:3.")]
OptionalName = Annotated[str | None, typer.Argument(metavar="[NAME]")]
Description = Annotated[str | None, typer.Option("-d", "--description", help="Why; an editor asks if not given.")]
Tags = Annotated[list[str] | None, typer.Option("-t", "--tags", metavar="TAG...")]


def config_type(text: str) -> str:
    if text not in TYPES:
        raise OsmoError(f'Invalid config type "{text}". Available types: {", ".join(TYPES)}')
    return text


def with_revision(text: str) -> tuple[str, int | None]:
    """`ROLE` or `ROLE:3`."""
    kind, colon, revision = text.partition(":")
    if colon and not re.fullmatch("[1-9][0-9]{0,8}", revision):
        raise OsmoError(f'Invalid revision "{text}". Write {kind or "ROLE"}:3, for example.')
    return config_type(kind), int(revision) if colon else None


def revision_of(text: str) -> tuple[str, int]:
    kind, revision = with_revision(text)
    if revision is None:
        raise OsmoError(f'"{text}" names no revision. Write {kind}:3, for example.')
    return kind, revision


def path_of(kind: str, name: str | None = None) -> str:
    """Names are part of addresses; a role's may hold slashes."""
    if name is not None and not re.fullmatch(NAME, name, re.ASCII):
        raise OsmoError(f'"{name}" is not the name of a {kind.lower()}.')
    return "/".join([CONFIGS, kind.lower(), *([name] if name else [])])


# Reading.


@app.command("list")
def list_configs(format_type: FormatOption = "text") -> None:
    """Show the current revision of roles and of pools."""
    with errors_as(format_type):
        now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"
        entries = _entries(Portal(), omit_data="True", at_timestamp=now)
        if format_type == "json":
            say_json({"configs": entries})
            return
        rows = [_row(entry) for entry in sorted(entries, key=lambda entry: str(entry.get("config_type")))]
        say(table([[HEADER[0], *HEADER[2:5]]], [[row[0], *row[2:5]] for row in rows]) + "\n")


@app.command("show")
def show_config(
    config: KindAndRevision,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="A name, then keys within.")] = None,
) -> None:
    """Show roles or pools, one of them, or what they were at a revision."""
    kind, revision = with_revision(config)
    say(json.dumps(_picked(_data(Portal(), kind, revision), names or []), indent=2))


def _data(portal: Portal, kind: str, revision: int | None = None) -> Any:
    if revision is None:
        return portal.get(path_of(kind), object)
    entries = _entries(portal, config_types=kind, omit_data="False", revision=revision)
    if not entries:
        raise OsmoError("No config found matching the specified criteria")
    return entries[0].get("data")


def _picked(data: Any, names: list[str]) -> Any:
    found = _by_name(data) if names else data
    for name in names:
        if isinstance(found, dict) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        else:
            raise OsmoError(f'There is no "{name}" in it.')
    return found


def _by_name(data: Any) -> Any:
    if isinstance(data, list):
        return {str(item.get("name")): item for item in data if isinstance(item, dict)}
    return data.get("pools", data) if isinstance(data, dict) else data


@app.command("history", cls=SeveralValues)
def show_history(
    config: Annotated[str | None, typer.Argument(metavar="[CONFIG_TYPE]")] = None,
    offset: Annotated[int, typer.Option("-o", "--offset", min=0)] = 0,
    count: Annotated[int, typer.Option("-c", "--count", min=1, max=1000)] = 20,
    order: Annotated[Literal["asc", "desc"], typer.Option("--order")] = "asc",
    name: Annotated[str | None, typer.Option("-n", "--name", help="Changes of this role or pool.")] = None,
    revision: Annotated[int | None, typer.Option("-r", "--revision", min=1)] = None,
    tags: Annotated[list[str] | None, typer.Option("--tags", metavar="TAG...")] = None,
    at_timestamp: Annotated[str | None, typer.Option("--at-timestamp", metavar="TIME", help="What held then.")] = None,
    created_before: Annotated[str | None, typer.Option("--created-before", metavar="TIME")] = None,
    created_after: Annotated[str | None, typer.Option("--created-after", metavar="TIME")] = None,
    format_type: FormatOption = "text",
) -> None:
    """List changes. Times are YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS, in your time zone."""
    with errors_as(format_type):
        if at_timestamp and (created_before or created_after):
            one = "created-before" if created_before else "created-after"
            raise OsmoError(f"Cannot specify --{one} and --at-timestamp together")
        times = {"at_timestamp": at_timestamp, "created_before": created_before, "created_after": created_after}
        wishes = {
            "config_types": config and config_type(config),
            "name": name,
            "revision": revision,
            "tags": tags,
            **{key: _in_utc(text) for key, text in times.items() if text},
        }
        wishes = {key: value for key, value in wishes.items() if value}
        entries = _entries(Portal(), omit_data="True", offset=offset, limit=count, order=order.upper(), **wishes)
        if format_type == "json":
            say_json({"configs": entries})
        else:
            say(table([HEADER], [_row(entry) for entry in entries]) + "\n")


def _entries(portal: Portal, **params: Any) -> list[dict[str, Any]]:
    found = portal.get(HISTORY, dict, params=params).get("configs")
    return [entry for entry in found or [] if isinstance(entry, dict)]


def _in_utc(text: str) -> str:
    for form in ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"):
        try:
            return f"{datetime.strptime(text, form).astimezone(UTC):%Y-%m-%d %H:%M:%S}"
        except (ValueError, OverflowError):
            continue
    raise OsmoError(f"{text} is not a time; write YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS.")


def _row(entry: dict[str, Any]) -> list[str]:
    tags = ", ".join(sorted(map(str, entry.get("tags") or []))) or "-"
    texts = [str(entry.get(key, "-")) for key in ("config_type", "name", "revision", "username")]
    return [texts[0], texts[1] or "-", *texts[2:], _local(entry), str(entry.get("description", "-")), tags]


def _local(entry: dict[str, Any]) -> str:
    text = str(entry.get("created_at", "-"))
    try:
        return f"{datetime.fromisoformat(text).replace(tzinfo=UTC).astimezone():%b %d, %Y %H:%M %Z}"
    except ValueError:
        return text


@app.command("diff")
def diff_revisions(
    first: KindAndRevision,
    second: Annotated[str | None, typer.Argument(metavar="[CONFIG_TYPE[:REVISION]]")] = None,
) -> None:
    """Show what changed between two revisions; one that is not named is the current one."""
    kind, one = with_revision(first)
    other_kind, other = with_revision(second or kind)
    if other_kind != kind:
        raise OsmoError(f"Config type mismatch: {other_kind} != {kind}. Must diff the same config type.")
    portal = Portal()
    numbers = [number or _current(portal, kind) for number in (one, other)]
    params = {"config_type": kind, "first_revision": numbers[0], "second_revision": numbers[1]}
    answer = portal.get(f"{CONFIGS}/diff", dict, params=params)
    before, after = (json.dumps(answer.get(key), indent=2).splitlines() for key in ("first_data", "second_data"))
    labels = [f"{kind}-r{number}" for number in numbers]
    lines = [*difflib.unified_diff(before, after, labels[0], labels[1], lineterm="")]
    say("\n".join(lines) if lines else "No differences were found between the two revisions")


def _current(portal: Portal, kind: str) -> int:
    entries = _entries(portal, config_types=kind, order="DESC", limit=1)
    if not entries:
        raise OsmoError(f"No config history entries found for type {kind}")
    return int(entries[0]["revision"])


# Changing.


@app.command("set", cls=SeveralValues)
def set_config(
    config: Annotated[str, typer.Argument(metavar="ROLE")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the role, for example osmo-my_pool.")],
    kind: Annotated[str, typer.Argument(metavar="pool|backend")],
    field: Annotated[str | None, typer.Option("--field", help="Name of the backend.")] = None,
    description: Annotated[str | None, typer.Option("-d", "--description")] = None,
    tags: Tags = None,
) -> None:
    """Make the role of a pool (osmo-POOL), or of a backend."""
    if config_type(config) != "ROLE":
        raise OsmoError(f"Setting of {config} config is not supported")
    role = _generated(name, kind.lower(), field)
    account = _described("set", description, tags)
    with _wrapped("setting config"):
        Portal().put(path_of("ROLE", name), json={"configs": role, **account})
        say(f'Successfully set ROLE config "{name}"')


def _generated(name: str, kind: str, field: str | None) -> dict[str, Any]:
    if kind == "pool":
        if field:
            raise OsmoError("Pool name must be specified in the role name")
        if not name.startswith("osmo-") or name == "osmo-":
            raise OsmoError('Pool role name must start with "osmo-"')
        about, policies = name.removeprefix("osmo-"), [(["workflow:*"], f"pool/{name.removeprefix('osmo-')}*")]
    elif kind == "backend":
        if not field:
            raise OsmoError("Backend name is required for backend role")
        about, policies = field, [(["internal:Operator", "pool:List", "config:Read"], f"backend/{field}")]
    else:
        raise OsmoError(f'"{kind}" is no type of a role. Write pool or backend.')
    return {
        "name": name,
        "description": f"Generated Role for {kind} {about}",
        "policies": [{"effect": "Allow", "actions": actions, "resources": [on]} for actions, on in policies],
    }


@app.command("update", cls=SeveralValues)
def update_config(
    config: Kind,
    name: OptionalName = None,
    file: Annotated[Path | None, typer.Option("-f", "--file", help="JSON as `config show` prints it.")] = None,
    description: Description = None,
    tags: Tags = None,
) -> None:
    """Change one role or pool, or all that the file holds; without a file in your editor."""
    portal, kind = Portal(), config_type(config)
    now = _data(portal, kind)
    if name:
        now = _picked(now, [name])
    wanted = _wanted(now, file)
    if wanted == now:
        say("No changes were made to the config.")
        return
    account = _described("update", description, tags)
    with _wrapped("updating config"):
        _send(portal, kind, name, wanted, account)
        say(f"Successfully updated {kind} config")


def _send(portal: Portal, kind: str, name: str | None, wanted: Any, account: dict[str, Any]) -> None:
    if kind == "POOL" and not name:
        pools = wanted.get("pools") if isinstance(wanted, dict) else None
        if not isinstance(pools, dict):
            raise OsmoError('The file must hold {"pools": {...}}, as `osmo config show POOL` prints it.')
        wanted = pools
    # A whole pool is sent, not what differs of it: only so can something be taken out.
    portal.put(path_of(kind, name), json={"configs": wanted, **account})


def _wanted(now: Any, file: Path | None) -> Any:
    try:
        text = file.read_text(encoding="utf-8") if file else _edited(json.dumps(now, indent=2), ".json")
    except (OSError, ValueError):
        raise OsmoError("Cannot read the file.") from None
    try:
        return json.loads(text)
    except ValueError as error:
        raise OsmoError(f"Invalid JSON: {error}") from None


@app.command("delete", cls=SeveralValues)
def delete_config(
    config: KindAndRevision, name: OptionalName = None, description: Description = None, tags: Tags = None
) -> None:
    """End a role or a pool, or hide a revision of the history."""
    kind, revision = with_revision(config)
    if revision is not None:
        with _wrapped("deleting config revision"):
            Portal().delete(f"{HISTORY}/{kind.lower()}/revision/{revision}")
            say(f"Successfully deleted revision {revision} of {kind} config")
        return
    if not name:
        raise OsmoError("Name is required when deleting a config")
    account = _described("delete", description, tags)
    with _wrapped("deleting config"):
        Portal().delete(path_of(kind, name), json=account)
        say(f'Successfully deleted {kind} config "{name}"')


@app.command("rollback", cls=SeveralValues)
def roll_back(
    revision: Annotated[str, typer.Argument(metavar="CONFIG_TYPE:REVISION", help="For example ROLE:3.")],
    description: Annotated[str | None, typer.Option("-d", "--description")] = None,
    tags: Tags = None,
) -> None:
    """Make all roles, or all pools, what they were at a revision."""
    kind, number = revision_of(revision)
    asked = {"revision": number, "config_type": kind, **_described("rollback", description, tags)}
    Portal().post(f"{HISTORY}/rollback", object, json=asked)
    say(f"Successfully rolled back {kind} to revision {number}.")


@app.command("tag", cls=SeveralValues)
def tag_revision(
    config: KindAndRevision,
    add: Annotated[list[str] | None, typer.Option("-s", "--set", metavar="TAG...")] = None,
    remove: Annotated[list[str] | None, typer.Option("-d", "--delete", metavar="TAG...")] = None,
) -> None:
    """Set tags on a revision and take them off; the current one if none is named."""
    kind, revision = with_revision(config)
    portal = Portal()
    number = revision or _current(portal, kind)
    asked = {key: tags for key, tags in (("set_tags", add), ("delete_tags", remove)) if tags}
    with _wrapped("updating tags"):
        portal.post(f"{HISTORY}/{kind.lower()}/revision/{number}/tags", object, json=asked)
        say(f"Successfully updated tags for {config}")


def _described(what: str, description: str | None, tags: list[str] | None) -> dict[str, Any]:
    """What is said with a change. Without a text nothing is changed, and that is no error."""
    text = description or "\n".join(
        line for line in _edited(EDITOR_HINT, ".txt").splitlines() if not line.startswith("#")
    )
    if not text.strip():
        say(f"Aborting {what} due to empty description.")
        raise typer.Exit(0)
    return {"description": text.strip(), **({"tags": tags} if tags else {})}


@contextmanager
def _wrapped(what: str) -> Iterator[None]:
    try:
        yield
    except OsmoError as error:
        raise OsmoError(f"Error {what}: {error.message}") from None


def _edited(text: str, suffix: str) -> str:
    """What is left in the user's editor."""
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"config{suffix}"
        path.write_text(text, encoding="utf-8")
        try:
            subprocess.run([*editor, str(path)], check=True)  # noqa: S603 - the user's own choice
        except (OSError, subprocess.CalledProcessError) as error:
            raise OsmoError(f"The editor failed: {printable(str(error))}") from None
        return path.read_text(encoding="utf-8")
