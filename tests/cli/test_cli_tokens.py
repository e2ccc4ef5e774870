import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.cli.conftest import Osmo, Portal

NEW_SECRET = "osmo_" + "Zy9" * 16 + "b"
USER_TOKENS = "/api/auth/access_token/user"
SERVICE_TOKENS = "/api/auth/access_token/service"


def sent(portal: Portal) -> dict[str, list[str]]:
    return parse_qs(urlsplit(portal.asked[0].target).query, keep_blank_values=True)


def test_a_user_token_is_made_for_31_days_and_its_secret_shown_once(osmo: Osmo, logged_in: Portal) -> None:
    logged_in.on(f"POST {USER_TOKENS}/nightly", NEW_SECRET)
    before = datetime.now(UTC).date()

    result = osmo("token", "set", "nightly")

    after = datetime.now(UTC).date()
    assert result.stdout == (
        f"Note: Save the token in a secure location as it will not be shown again\nAccess token: {NEW_SECRET}\n"
    )
    assert (result.stderr, result.returncode) == ("", 0)
    days = {(day + timedelta(days=31)).isoformat() for day in (before, after)}
    assert sent(logged_in).keys() == {"expires_at"}
    assert sent(logged_in)["expires_at"][0] in days
    assert logged_in.asked[0].body == ""


@pytest.mark.parametrize(("flag", "about"), [("-e", "-d"), ("--expires-at", "--description")])
def test_expiry_and_description_are_sent(osmo: Osmo, logged_in: Portal, flag: str, about: str) -> None:
    logged_in.on(f"POST {USER_TOKENS}/nightly", NEW_SECRET)

    result = osmo("token", "set", "nightly", flag, "2027-1-5", about, "für Läufe & mehr", "-t", "json")

    assert result.stdout == f'{{"token": "{NEW_SECRET}"}}\n'
    assert sent(logged_in) == {"expires_at": ["2027-01-05"], "description": ["für Läufe & mehr"]}


@pytest.mark.parametrize(
    "roles",
    [
        ["--roles", "osmo-user", "osmo-my-pool"],
        ["-r", "osmo-user", "osmo-my-pool"],
        ["-r", "osmo-user", "-r", "osmo-my-pool"],
        ["--roles=osmo-user", "--roles", "osmo-my-pool"],
        ["--roles", "osmo-user", "osmo-my-pool", "-e", "2027-01-05"],
        ["--roles", "osmo-user", "-e", "2027-01-05", "--roles", "osmo-my-pool"],
    ],
)
def test_roles_are_several_words_or_a_repeated_flag(osmo: Osmo, logged_in: Portal, roles: list[str]) -> None:
    logged_in.on(f"POST {SERVICE_TOKENS}/trainer", NEW_SECRET)

    result = osmo("token", "set", "trainer", "--service", *roles)

    assert result.returncode == 0, result.stderr
    assert sent(logged_in)["roles"] == ["osmo-user", "osmo-my-pool"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--service"], "Roles are required for service tokens."),
        (["-r", "osmo-user"], "Assigning roles to user access tokens is not supported."),
    ],
)
def test_roles_belong_to_service_tokens_and_nothing_is_sent_otherwise(
    osmo: Osmo, logged_in: Portal, arguments: list[str], message: str
) -> None:
    text = osmo("token", "set", "nightly", *arguments)
    as_json = osmo("token", "set", "nightly", *arguments, "-t", "json")

    assert text.stdout == f"Error message: {message}\nError code: 1\n"
    assert json.loads(as_json.stdout) == {"message": message, "code": 1}
    assert (text.returncode, as_json.returncode) == (2, 2)
    assert logged_in.asked == []


@pytest.mark.parametrize(
    ("command", "name"),
    [("set", name) for name in ("9bad", "bad-", "a b", "a/b", "..", "", "ä", "a\n")] + [("delete", "a?x=1")],
)
def test_a_bad_name_is_refused_before_any_request(osmo: Osmo, logged_in: Portal, command: str, name: str) -> None:
    result = osmo("token", command, name)

    assert "must match regex ^[a-zA-Z]([a-zA-Z0-9_-]*[a-zA-Z0-9])?$" in result.stderr
    assert result.returncode == 2
    assert logged_in.asked == []


@pytest.mark.parametrize("command", ["set", "delete"])
def test_a_secret_in_the_place_of_a_name_goes_nowhere(osmo: Osmo, logged_in: Portal, secret: str, command: str) -> None:
    ours, older = osmo("token", command, secret), osmo("token", command, "ab" * 32)

    assert "looks like a secret" in ours.stderr
    assert "looks like a secret" in older.stderr
    assert logged_in.asked == []


@pytest.mark.parametrize("day", ["tomorrow", "2027-02-30", "2027-01-05T00:00", "05.01.2027", ""])
def test_a_bad_date_is_refused_before_any_request(osmo: Osmo, logged_in: Portal, day: str) -> None:
    result = osmo("token", "set", "nightly", "-e", day)

    assert "is not a date; write YYYY-MM-DD" in result.stderr
    assert result.returncode == 2
    assert logged_in.asked == []


def token(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "user_name": "ada",
        "token_name": name,
        "expires_at": "2999-12-24T00:00:00",
        "description": "",
        "access_type": "USER",
        "roles": ["osmo-user"],
    } | changes


def test_tokens_are_listed_in_a_table(osmo: Osmo, logged_in: Portal) -> None:
    old = token("old", expires_at="2020-01-01T00:00:00", description="was\x1b[1m\nhere", roles=["osmo-user", "b"])
    today = token("today", expires_at=datetime.now(UTC).date().isoformat() + "T00:00:00")
    undescribed = token("quiet")
    del undescribed["description"]
    logged_in.on(f"GET {USER_TOKENS}", [token("nightly"), old, today, undescribed])

    result = osmo("token", "list")

    day = datetime.now(UTC).date().isoformat()
    assert result.stdout.splitlines() == [
        "Name     Description       Roles         Active   Expires At (UTC)",
        "==================================================================",
        "nightly                    osmo-user     Active   2999-12-24",
        "old      was\\x1b[1m\\nhere  osmo-user, b  Expired  2020-01-01",
        f"today                      osmo-user     Expired  {day}",
        "quiet    -                 osmo-user     Active   2999-12-24",
        "",
    ]


@pytest.mark.parametrize("flag", ["-s", "--service"])
def test_service_tokens_are_listed_as_the_portal_sent_them(osmo: Osmo, logged_in: Portal, flag: str) -> None:
    tokens = [token("trainer", access_type="SERVICE", user_name="trainer")]
    logged_in.on(f"GET {SERVICE_TOKENS}", tokens)

    result = osmo("token", "list", flag, "-t", "json")

    assert result.stdout == json.dumps(tokens, indent=2) + "\n"


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_empty_list_says_so(osmo: Osmo, logged_in: Portal, form: str) -> None:
    logged_in.on(f"GET {USER_TOKENS}", [])

    assert osmo("token", "list", "-t", form).stdout == "No tokens found\n"


@pytest.mark.parametrize(
    ("flags", "path"), [([], USER_TOKENS), (["-s"], SERVICE_TOKENS), (["--service"], SERVICE_TOKENS)]
)
def test_a_token_is_deleted(osmo: Osmo, logged_in: Portal, flags: list[str], path: str) -> None:
    logged_in.on(f"DELETE {path}/nightly", None)

    result = osmo("token", "delete", "nightly", *flags)

    assert (result.stdout, result.returncode) == ("Access token nightly deleted\n", 0)
    assert logged_in.lines() == [f"DELETE {path}/nightly"]


def test_a_token_that_is_not_there_cannot_be_deleted(osmo: Osmo, logged_in: Portal) -> None:
    message = "User access token nope does not exist."
    logged_in.on(f"DELETE {USER_TOKENS}/nope", {"message": message, "error_code": "USER"}, status=400)

    result = osmo("token", "delete", "nope")

    assert (result.stdout, result.returncode) == (f"Error message: {message}\nError code: 400\n", 2)
