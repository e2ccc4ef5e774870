"""What docs/cli.md says of the 6.2 and 6.3 clients: each example is tried, as they send it (wire.md 6 and 7)."""

import re
from pathlib import Path

import pytest

from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tests.conformance import ROWS
from tests.wire import Wire

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "cli.md").read_text()
TOKENS, USERS = "/api/auth/access_token", "/api/auth/user"
ADMINISTRATORS = {
    f"osmo user create nightly --roles {POOL_ROLE}": f'POST {USERS} {{"id": "nightly", "roles": ["{POOL_ROLE}"]}}',
    "osmo token set nightly-token --user nightly": f"POST {USERS}/nightly/access_token/nightly-token?expires_at=DAY",
    "osmo token list --user nightly": f"GET {USERS}/nightly/access_token",
    "osmo user get nightly": f"GET {USERS}/nightly",
    f"osmo user update nightly --add-roles {PLAIN_ROLE}": f'POST {USERS}/nightly/roles {{"role_name": "{PLAIN_ROLE}"}}',
    f"osmo token set reader --user nightly --roles {PLAIN_ROLE}": (
        f"POST {USERS}/nightly/access_token/reader?expires_at=DAY&roles={PLAIN_ROLE}"
    ),
    f"osmo user update nightly --remove-roles {PLAIN_ROLE}": f"DELETE {USERS}/nightly/roles/{PLAIN_ROLE}",
    f"osmo user list --roles {POOL_ROLE}": f"GET {USERS}?count=100&roles={POOL_ROLE}",
    "osmo token delete nightly-token --user nightly": f"DELETE {USERS}/nightly/access_token/nightly-token",
    "osmo user delete nightly --force": f"DELETE {USERS}/nightly",
}
EVERYBODYS = {
    "osmo token set laptop": f"POST {TOKENS}/laptop?expires_at=DAY",
    "osmo token roles laptop": f"GET {TOKENS}/laptop/roles",
    "osmo token list": f"GET {TOKENS}",
    "osmo token delete laptop": f"DELETE {TOKENS}/laptop",
}


def test_the_page_has_these_examples_and_no_other() -> None:
    section = PAGE.partition("## Tokens and users with 6.2 and 6.3")[2].partition("## ")[0]

    assert re.findall(r"^\$ (.+)$", section, re.MULTILINE) == [*ADMINISTRATORS, *EVERYBODYS]


@pytest.mark.parametrize("who", ["administrator", "everybody"])
def test_each_example_does_what_it_says(cast: Cast, who: str) -> None:
    token = cast.administrator_token() if who == "administrator" else cast.user_token()
    wire = Wire(token.plaintext, header="authorization")
    for example, request in (ADMINISTRATORS if who == "administrator" else EVERYBODYS).items():
        method, path, *body = request.replace("DAY", str(in_days(31))).split(" ", 2)

        answer = wire.call(method, path, body[0].encode() if body else None)

        assert answer.status_code == 200, (example, answer.content)


CONFIGURES = [
    *["show role", "show roles", "show pools", "set role", "update roles", "set pool", "update pool", "update pools"],
    *["delete role", "delete pool", "history", "history with data", "delete revision", "rollback", "diff", "tag"],
]
# What stands behind each line of the table, by the calls of tests/conformance.py: those of 6.0 and 6.1, of 6.2 and 6.3.
BEHIND = {
    "login` (by the browser)": (["ask for codes", "poll", "refresh"], ["ask for codes", "poll", "refresh"]),
    "login --method": (["version", "login information", "GET exchange"], ["version", "POST exchange"]),
    "token set`": (
        ["create user token", "list own tokens of 6.0", "delete user token"],
        ["create own token", "list own tokens", "delete own token"],
    ),
    "token set --service": (["create service token", "list service tokens", "delete service token"], []),
    "token set --user": (
        [],
        ["create a user's token", "list a user's tokens", "delete a user's token", "roles of own token"],
    ),
    "user list": ([], ["list users", "create user", "get user", "add role", "remove role", "delete user"]),
    "profile list": (["read profile", "set profile"], ["read profile", "set profile"]),
    "pool list": (["pool list"], ["pool list"]),
    "config show": (CONFIGURES, CONFIGURES),
}


def test_the_table_says_what_the_rows_of_the_wire_show() -> None:
    section = PAGE.partition("## What works with which client")[2].partition("## ")[0]
    lines = re.findall(r"^\| `(.+?) \| (.+?) \| (.+?) \|$", section, re.MULTILINE)
    answered = {(row.call, line) for row in ROWS for line in row.lines if row.status == 200}

    assert len(lines) == len(BEHIND)
    for (command, *said), (begins, calls) in zip(lines, BEHIND.items(), strict=True):
        assert command.startswith(begins)
        for yes, needed, clients in zip(said, calls, [("6.0", "6.1"), ("6.2", "6.3")], strict=True):
            assert (yes == "yes") == bool(needed), command
            assert {(call, line) for call in needed for line in clients} <= answered
