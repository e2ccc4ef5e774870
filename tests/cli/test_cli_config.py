import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.cli.conftest import Osmo, Portal

ROLES, POOLS, HISTORY = "/api/configs/role", "/api/configs/pool", "/api/configs/history"
ROLE = {"name": "osmo-a", "description": "", "policies": [{"effect": "Allow", "actions": ["a:B"], "resources": []}]}
POOL = {"name": "p", "backend": "b", "platforms": {"x": {"allowed_mounts": ["/m"]}}}


def entry(revision: int, **changes: Any) -> dict[str, Any]:
    return {
        "config_type": "ROLE",
        "name": "osmo-a",
        "revision": revision,
        "username": "grace",
        "created_at": "2026-11-23T17:45:15.315689",
        "description": "team a",
        "tags": ["y", "x"],
        "data": None,
    } | changes


def sent(portal: Portal) -> list[tuple[str, Any]]:
    return [(asked.line, json.loads(asked.body)) for asked in portal.asked if asked.body]


def asked_by(portal: Portal) -> dict[str, list[str]]:
    return parse_qs(urlsplit(portal.asked[0].target).query)


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["ROLE"], [ROLE]),
        (["ROLE", "osmo-a"], ROLE),
        (["ROLE", "osmo-a", "policies", "0", "actions"], ["a:B"]),
        (["POOL", "p", "platforms", "x"], POOL["platforms"]["x"]),  # type: ignore[index]
        (["ROLE:3", "osmo-a", "name"], "osmo-a"),
    ],
)
def test_configs_are_shown_whole_or_in_part(osmo: Osmo, logged_in: Portal, arguments: list[str], shown: Any) -> None:
    logged_in.on(f"GET {ROLES}", [ROLE])
    logged_in.on(f"GET {POOLS}", {"pools": {"p": POOL}})
    logged_in.on(f"GET {HISTORY}", {"configs": [entry(3, data=[ROLE])]})

    result = osmo("config", "show", *arguments)

    assert (json.loads(result.stdout), result.returncode) == (shown, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "ROLE", "nope"], 'There is no "nope" in it.'),
        (["show", "ROLE", "osmo-a", "policies", "7"], 'There is no "7" in it.'),
        (["show", "BACKEND"], 'Invalid config type "BACKEND". Available types: ROLE, POOL'),
        (["show", "ROLE:x"], 'Invalid revision "ROLE:x". Write ROLE:3, for example.'),
        (["rollback", "ROLE", "-d", "x"], '"ROLE" names no revision. Write ROLE:3, for example.'),
        (["set", "ROLE", "team", "pool", "-d", "x"], 'Pool role name must start with "osmo-"'),
        (["set", "ROLE", "osmo-a", "pool", "--field", "b", "-d", "x"], "Pool name must be specified in the role name"),
        (["set", "ROLE", "r", "backend", "-d", "x"], "Backend name is required for backend role"),
        (["set", "ROLE", "r", "other", "-d", "x"], '"other" is no type of a role. Write pool or backend.'),
        (["set", "POOL", "p", "pool", "-d", "x"], "Setting of POOL config is not supported"),
        (["delete", "ROLE", "-d", "x"], "Name is required when deleting a config"),
        (["diff", "ROLE:2", "POOL:3"], "Config type mismatch: POOL != ROLE. Must diff the same config type."),
        (["history", "--at-timestamp", "soon"], "soon is not a time; write YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS."),
        (
            ["history", "--at-timestamp", "2026-01-01", "--created-after", "2026-01-01"],
            "Cannot specify --created-after and --at-timestamp together",
        ),
        (["update", "ROLE", "osmo-a", "-f", "/nowhere/x.json", "-d", "x"], "Cannot read the file."),
    ],
)
def test_what_is_asked_wrongly_changes_nothing(
    osmo: Osmo, logged_in: Portal, arguments: list[str], message: str
) -> None:
    logged_in.on(f"GET {ROLES}", [ROLE])

    result = osmo("config", *arguments)

    assert (result.stdout, result.returncode) == (f"Error message: {message}\nError code: 1\n", 2)
    assert sent(logged_in) == []


def test_history_is_a_table(osmo: Osmo, logged_in: Portal) -> None:
    logged_in.on(f"GET {HISTORY}", {"configs": [entry(1, name="", tags=None), entry(2)]})

    text = osmo("config", "history", "ROLE", "--tags", "x", "y", "-c", "5", "--created-after", "2026-11-01", TZ="UTC")

    assert text.stdout.splitlines()[:1] + text.stdout.splitlines()[2:4] == [
        "Config Type  Name    Revision  Username  Created At              Description  Tags",
        "ROLE         -       1         grace     Nov 23, 2026 17:45 UTC  team a       -",
        "ROLE         osmo-a  2         grace     Nov 23, 2026 17:45 UTC  team a       x, y",
    ]
    assert asked_by(logged_in) == {
        "omit_data": ["True"],
        "offset": ["0"],
        "limit": ["5"],
        "order": ["ASC"],
        "config_types": ["ROLE"],
        "tags": ["x", "y"],
        "created_after": ["2026-11-01 00:00:00"],
    }
    as_json = osmo("config", "history", "-t", "json")
    assert [one["revision"] for one in json.loads(as_json.stdout)["configs"]] == [1, 2]


def test_the_list_is_what_holds_now(osmo: Osmo, logged_in: Portal) -> None:
    logged_in.on(f"GET {HISTORY}", {"configs": [entry(7), entry(2, config_type="POOL")]})

    result = osmo("config", "list", TZ="UTC")

    assert [line.split()[:3] for line in result.stdout.splitlines()[2:4]] == [
        ["POOL", "2", "grace"],
        ["ROLE", "7", "grace"],
    ]
    assert set(asked_by(logged_in)) == {"omit_data", "at_timestamp"}


def test_the_role_of_a_pool_is_made(osmo: Osmo, logged_in: Portal) -> None:
    logged_in.on(f"PUT {ROLES}/osmo-team-a", None)

    result = osmo("config", "set", "ROLE", "osmo-team-a", "pool", "-d", "for team a", "-t", "x", "y")

    assert (result.stdout, result.returncode) == ('Successfully set ROLE config "osmo-team-a"\n', 0)
    role = {
        "name": "osmo-team-a",
        "description": "Generated Role for pool team-a",
        "policies": [{"effect": "Allow", "actions": ["workflow:*"], "resources": ["pool/team-a*"]}],
    }
    assert sent(logged_in) == [
        (f"PUT {ROLES}/osmo-team-a", {"configs": role, "description": "for team a", "tags": ["x", "y"]})
    ]


@pytest.mark.parametrize(
    ("arguments", "path", "configs"),
    [
        (["ROLE", "osmo-a"], f"{ROLES}/osmo-a", {**ROLE, "description": "new"}),
        (["ROLE"], ROLES, [{**ROLE, "description": "new"}]),
        (["POOL", "p"], f"{POOLS}/p", {**POOL, "backend": "c"}),
        (["POOL"], POOLS, {"p": {**POOL, "backend": "c"}}),
    ],
)
def test_what_was_shown_is_changed_in_a_file_and_sent(
    osmo: Osmo, logged_in: Portal, tmp_path: Any, arguments: list[str], path: str, configs: Any
) -> None:
    logged_in.on(f"GET {ROLES}", [ROLE])
    logged_in.on(f"GET {POOLS}", {"pools": {"p": POOL}})
    logged_in.on(f"PUT {path}", None)
    file = tmp_path / "config.json"
    file.write_text(osmo("config", "show", *arguments).stdout)

    same = osmo("config", "update", *arguments, "--file", str(file), "-d", "why")
    file.write_text(json.dumps({"pools": configs} if arguments == ["POOL"] else configs))
    changed = osmo("config", "update", *arguments, "-f", str(file), "-d", "why")

    assert same.stdout == "No changes were made to the config.\n"
    assert changed.stdout == f"Successfully updated {arguments[0]} config\n"
    assert sent(logged_in) == [(f"PUT {path}", {"configs": configs, "description": "why"})]


def test_an_editor_changes_it_and_asks_why(osmo: Osmo, logged_in: Portal, tmp_path: Any) -> None:
    logged_in.on(f"GET {ROLES}", [ROLE])
    logged_in.on(f"PUT {ROLES}/osmo-a", None)
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/a:B/a:C/; 1s/^$/because/' \"$1\"\n")
    editor.chmod(0o700)

    done = osmo("config", "update", "ROLE", "osmo-a", EDITOR=str(editor))
    silent = osmo("config", "rollback", "ROLE:2", EDITOR="true")

    assert done.stdout == "Successfully updated ROLE config\n"
    ((_, body),) = sent(logged_in)
    assert (body["configs"]["policies"][0]["actions"], body["description"]) == (["a:C"], "because")
    assert (silent.stdout, silent.returncode) == ("Aborting rollback due to empty description.\n", 0)


def test_configs_and_revisions_are_deleted(osmo: Osmo, logged_in: Portal) -> None:
    logged_in.on(f"DELETE {POOLS}/p", None)
    logged_in.on(f"DELETE {HISTORY}/role/revision/3", None)

    config = osmo("config", "delete", "POOL", "p", "-d", "sold")
    revision = osmo("config", "delete", "ROLE:3")

    assert config.stdout == 'Successfully deleted POOL config "p"\n'
    assert revision.stdout == "Successfully deleted revision 3 of ROLE config\n"
    assert sent(logged_in) == [(f"DELETE {POOLS}/p", {"description": "sold"})]


def test_tags_go_to_the_current_revision_or_to_the_one_named(osmo: Osmo, logged_in: Portal) -> None:
    logged_in.on(f"GET {HISTORY}", {"configs": [entry(9)]})
    logged_in.on(f"POST {HISTORY}/role/revision/9/tags", None)
    logged_in.on(f"POST {HISTORY}/role/revision/3/tags", None)

    assert osmo("config", "tag", "ROLE", "--set", "a", "b").stdout == "Successfully updated tags for ROLE\n"
    assert osmo("config", "tag", "ROLE:3", "-d", "c").stdout == "Successfully updated tags for ROLE:3\n"

    assert [body for _, body in sent(logged_in)] == [{"set_tags": ["a", "b"]}, {"delete_tags": ["c"]}]


def test_a_rollback_and_a_difference(osmo: Osmo, logged_in: Portal) -> None:
    logged_in.on(f"POST {HISTORY}/rollback", None)
    logged_in.on(f"GET {HISTORY}", {"configs": [entry(9)]})
    logged_in.on("GET /api/configs/diff", {"first_data": ["a"], "second_data": ["b\x1b[1m"]})

    back = osmo("config", "rollback", "ROLE:3", "--description", "a mistake")
    diff = osmo("config", "diff", "ROLE:2")
    logged_in.on("GET /api/configs/diff", {"first_data": [], "second_data": []})
    none = osmo("config", "diff", "ROLE:2", "ROLE:3")

    assert back.stdout == "Successfully rolled back ROLE to revision 3.\n"
    assert sent(logged_in)[0][1] == {"revision": 3, "config_type": "ROLE", "description": "a mistake"}
    assert diff.stdout.splitlines()[:2] == ["--- ROLE-r2", "+++ ROLE-r9"]
    assert {'-  "a"', '+  "b\\u001b[1m"'} <= set(diff.stdout.splitlines())
    assert none.stdout == "No differences were found between the two revisions\n"


@pytest.mark.parametrize("name", ["../../x", "a b", "a?x=1", "ä"])
def test_a_name_that_is_none_goes_nowhere(osmo: Osmo, logged_in: Portal, name: str) -> None:
    result = osmo("config", "delete", "ROLE", name, "-d", "x")

    assert result.returncode == 2
    assert sent(logged_in) == []


def test_a_refusal_says_what_was_tried(osmo: Osmo, logged_in: Portal) -> None:
    message = "osmo-admin cannot be deleted: the portal stands on it."
    logged_in.on(f"DELETE {ROLES}/osmo-admin", {"message": message, "error_code": "USER"}, status=400)

    result = osmo("config", "delete", "ROLE", "osmo-admin", "-d", "x")

    assert result.stdout == f"Error message: Error deleting config: {message}\nError code: 1\n"
    assert result.returncode == 2
