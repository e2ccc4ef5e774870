"""`osmo user`: who there is, and which roles they hold. For administrators."""

import re
from typing import Annotated, Any

import typer

from osmo_cli.arguments import FormatOption, SeveralValues
from osmo_cli.errors import OsmoError, errors_as
from osmo_cli.output import SECRET, say, say_json, table
from osmo_cli.wire import Portal

USERS = "/api/auth/user"
USER_ID = r"^[a-zA-Z0-9]([a-zA-Z0-9_.@-]*[a-zA-Z0-9])?$"

app = typer.Typer(help="Users and their roles; for administrators.")


def user_id(text: str) -> str:
    """Ids are part of addresses, so a secret pasted in the place of one must not pass."""
    if re.fullmatch(SECRET, text):
        raise typer.BadParameter("This looks like a secret; give the id of the user.")
    if not re.fullmatch(USER_ID, text):
        raise typer.BadParameter(f"Username {text} must match regex {USER_ID}")
    return text


Id = Annotated[str, typer.Argument(metavar="ID", parser=user_id, help="Id of the user.")]
UserOption = Annotated[
    str | None,
    typer.Option("-u", "--user", metavar="USER", parser=user_id, help="Of this user, most often a service account."),
]


@app.command("list", cls=SeveralValues)
def list_users(
    id_prefix: Annotated[str | None, typer.Option("-p", "--id-prefix", help="Only ids that begin so.")] = None,
    roles: Annotated[list[str] | None, typer.Option("-r", "--roles", metavar="ROLE...", help="Only holders.")] = None,
    count: Annotated[int, typer.Option("-c", "--count", min=1, max=1000, help="At most so many.")] = 100,
    format_type: FormatOption = "text",
) -> None:
    """List users, the newest first."""
    with errors_as(format_type):
        wishes = {"count": count, "id_prefix": id_prefix, "roles": roles}
        answer = Portal().get(USERS, dict, params={key: value for key, value in wishes.items() if value})
        users = answer.get("users") or []
        if not users:
            say("No users found")
        elif format_type == "json":
            say_json(answer)
        else:
            say(f"Total users: {answer.get('total_results', len(users))}\n")
            say(
                table(
                    [["User ID", "Created At"]], [[str(user.get("id", "-")), day(user, "created_at")] for user in users]
                )
            )


@app.command("create", cls=SeveralValues)
def create_user(
    user: Id,
    roles: Annotated[list[str] | None, typer.Option("-r", "--roles", metavar="ROLE...", help="Roles to hold.")] = None,
    format_type: FormatOption = "text",
) -> None:
    """Make a service account, or a person if the id is that of one."""
    with errors_as(format_type):
        answer = Portal().post(USERS, dict, json={"id": user} | ({"roles": roles} if roles else {}))
        if format_type == "json":
            say_json(answer)
            return
        say(f"User created: {answer.get('id', user)}")
        if roles:
            say(f"Roles assigned: {', '.join(roles)}")


@app.command("get")
def get_user(user: Id, format_type: FormatOption = "text") -> None:
    """Show a user and the roles that it holds."""
    with errors_as(format_type):
        answer = Portal().get(f"{USERS}/{user}", dict)
        if format_type == "json":
            say_json(answer)
            return
        say(f"User ID: {answer.get('id', user)}")
        say(f"Created At: {day(answer, 'created_at')}")
        say(f"Created By: {answer.get('created_by') or '-'}\n")
        say("\n".join(role_lines(answer.get("roles") or [])))


@app.command("update", cls=SeveralValues)
def update_user(
    user: Id,
    add_roles: Annotated[list[str] | None, typer.Option("-a", "--add-roles", metavar="ROLE...")] = None,
    remove_roles: Annotated[list[str] | None, typer.Option("-r", "--remove-roles", metavar="ROLE...")] = None,
    format_type: FormatOption = "text",
) -> None:
    """Give roles to a user, and take them; one after the other."""
    with errors_as(format_type):
        if not add_roles and not remove_roles:
            say("No updates specified. Use --add-roles or --remove-roles.")
            return
        portal = Portal()
        for role in add_roles or []:
            portal.post(f"{USERS}/{user}/roles", dict, json={"role_name": role})
            say(f"Added role: {role}")
        for role in remove_roles or []:
            portal.delete(f"{USERS}/{user}/roles/{role_in_address(role)}")
            say(f"Removed role: {role}")
        if format_type == "json":
            say_json(portal.get(f"{USERS}/{user}", dict))


@app.command("delete")
def delete_user(user: Id, force: Annotated[bool, typer.Option("-f", "--force", help="Do not ask.")] = False) -> None:
    """End a user, with all its tokens and roles."""
    if not force and not _agreed(user):
        say("Cancelled")
        return
    Portal().delete(f"{USERS}/{user}")
    say(f"User deleted: {user}")


def _agreed(user: str) -> bool:
    question = (
        f'Are you sure you want to delete user "{user}"? This will delete all associated tokens, roles, and profile.'
    )
    try:
        return typer.confirm(question)
    except typer.Abort:
        raise OsmoError("Nobody answered. Use --force where nobody can.") from None


def role_in_address(role: str) -> str:
    """Names of roles have no pattern that the client knows; what would lead elsewhere is no role."""
    if not re.fullmatch(r"[\w.@:/-]+", role, re.ASCII) or ".." in role or "//" in role:
        raise OsmoError(f"Role {role} does not exist")
    return role


def role_lines(roles: list[dict[str, Any]]) -> list[str]:
    """Which roles, by whom and since when."""
    if not roles:
        return ["Roles: None"]
    given = [f"  - {r.get('role_name')} (assigned by {r.get('assigned_by')} on {day(r, 'assigned_at')})" for r in roles]
    return ["Roles:", *given]


def day(source: dict[str, Any], key: str) -> str:
    return str(source.get(key) or "-").split("T")[0]
