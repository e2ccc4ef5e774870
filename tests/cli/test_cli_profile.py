import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.conftest import Osmo, Portal

SETTINGS = "/api/profile/settings"
PAGE = """\
user:
  email: testuser
notifications:
  email: False
  slack: True
bucket:
  default: osmo
pool:
  default: my_pool
  accessible:
  - my_pool
token roles:
  name: my-token
  expires_at: 2026-12-24
  roles: user
"""


def settings(**changes: Any) -> dict[str, Any]:
    profile = {
        "username": "testuser",
        "email_notification": False,
        "slack_notification": True,
        "bucket": "osmo",
        "pool": "my_pool",
    }
    token = {"name": "my-token", "expires_at": "2026-12-24T00:00:00"}
    return {"profile": profile, "roles": ["user"], "pools": ["my_pool"], "token": token} | changes


def test_the_profile_is_printed_as_the_documentation_page_shows_it(osmo: Osmo, logged_in: Portal) -> None:
    logged_in.on(f"GET {SETTINGS}", settings())

    result = osmo("profile", "list")

    assert (result.stdout, result.stderr, result.returncode) == (PAGE, "", 0)
    assert logged_in.lines() == [f"GET {SETTINGS}"]


def test_a_new_profile_with_a_name_and_several_roles_is_printed(
    osmo: Osmo, portal: Portal, secret: str, make_jwt: Callable[..., str]
) -> None:
    portal.grants(make_jwt(name="Ada"))
    osmo("login", portal.url, "--method", "token", "--token", secret)
    empty = {
        "username": "ada",
        "email_notification": False,
        "slack_notification": False,
        "bucket": None,
        "pool": None,
    }
    portal.on(f"GET {SETTINGS}", settings(profile=empty, roles=["osmo-my-pool", "osmo-user"], pools=[]))

    result = osmo("profile", "list")

    assert result.stdout.splitlines() == [
        "user:",
        "  name: Ada",
        "  email: ada",
        "notifications:",
        "  email: False",
        "  slack: False",
        "bucket:",
        "  default: None",
        "pool:",
        "  default: None",
        "  accessible:",
        "token roles:",
        "  name: my-token",
        "  expires_at: 2026-12-24",
        "  roles: osmo-my-pool, osmo-user",
    ]


@pytest.mark.parametrize("answer", [settings(token=None), {key: settings()[key] for key in ("profile", "pools")}])
def test_a_profile_without_a_token_has_no_token_block(osmo: Osmo, logged_in: Portal, answer: dict[str, Any]) -> None:
    logged_in.on(f"GET {SETTINGS}", answer)

    result = osmo("profile", "list")

    assert result.stdout == PAGE.partition("token roles:")[0]


def test_the_profile_as_json_is_the_portals_answer(osmo: Osmo, logged_in: Portal) -> None:
    logged_in.on(f"GET {SETTINGS}", settings())

    result = osmo("profile", "list", "-t", "json")

    assert result.stdout == json.dumps(settings(), indent=2) + "\n"


@pytest.mark.parametrize(
    ("arguments", "body", "printed"),
    [
        (["bucket", "osmo"], {"bucket": "osmo"}, "Profile Set\n"),
        (["pool", "my_pool"], {"pool": "my_pool"}, "Profile Set\n"),
        (["notifications", "email"], {"email_notification": True}, "Profile Set\n"),
        (["notifications", "email", "true"], {"email_notification": True}, "Profile Set\n"),
        (
            ["notifications", "email", "false"],
            {"email_notification": False},
            "Disabling email notifications\nProfile Set\n",
        ),
        (["notifications", "slack"], {"slack_notification": True}, "Profile Set\n"),
        (["notifications", "slack", "false"], {"slack_notification": False}, "Profile Set\n"),
    ],
)
def test_a_setting_is_changed(
    osmo: Osmo, logged_in: Portal, arguments: list[str], body: dict[str, Any], printed: str
) -> None:
    logged_in.on(f"POST {SETTINGS}", None)

    result = osmo("profile", "set", *arguments)

    assert (result.stdout, result.stderr, result.returncode) == (printed, "", 0)
    assert logged_in.lines() == [f"POST {SETTINGS}"]
    assert json.loads(logged_in.asked[0].body) == body


def test_an_unknown_pool_is_told(osmo: Osmo, logged_in: Portal) -> None:
    logged_in.on(f"POST {SETTINGS}", {"message": "Pool nosuch not found.", "error_code": "USER"}, status=400)

    result = osmo("profile", "set", "pool", "nosuch")

    assert (result.stdout, result.returncode) == (
        "Error message: Pool nosuch not found.\nError code: 400\n",
        2,
    )


def test_there_are_two_kinds_of_notifications(osmo: Osmo, logged_in: Portal) -> None:
    result = osmo("profile", "set", "notifications", "fax", "true")

    assert result.stdout == "Invalid type of notification: fax. Must be slack or email.\n"
    assert result.returncode == 2
    assert logged_in.asked == []


def test_a_switch_is_true_or_false(osmo: Osmo, logged_in: Portal) -> None:
    result = osmo("profile", "set", "notifications", "email", "perhaps")

    assert "perhaps" in result.stderr
    assert result.returncode == 2
    assert logged_in.asked == []
