"""Every command of our client as a process, against the portal itself."""

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from pytest_django.live_server_helper import LiveServer

from osmo_cli.main import app
from osmo_portal.events.actor import Door
from profiles.models import Pool, Role
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tests.cli.conftest import Osmo
from tokens.models import AccessToken, RefreshToken, SignInRequest, TerminalSignIn
from tokens.models import sign_in_request as waiting

pytestmark = pytest.mark.django_db(transaction=True)
SECRET = re.compile(r"Access token: (osmo_\w+)")
SignIn = Callable[[str], None]


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    return Cast()


@pytest.fixture
def sign_in(cast: Cast, osmo: Osmo, live_server: LiveServer, settings: Any, monkeypatch: Any) -> SignIn:
    """Logs in by the browser; somebody approves as soon as the request is there."""
    settings.PORTAL_URL = live_server.url
    monkeypatch.setattr(waiting, "PATIENCE", 10)
    monkeypatch.setattr("tokens.terminal.AskForCodes.INTERVAL", 0)
    ask = SignInRequest.ask.__func__  # type: ignore[attr-defined]

    def signing_in(name: str) -> None:
        def approved(**asked: Any) -> SignInRequest:
            request: SignInRequest = ask(SignInRequest, **asked)
            request.approve(by=cast.by(name, Door.MY_TOKENS))
            return request

        monkeypatch.setattr(SignInRequest, "ask", approved)
        assert osmo("login", live_server.url).returncode == 0

    return signing_in


def said(osmo: Osmo, *words: str) -> str:
    result = osmo(*words)
    assert (result.stderr, result.returncode) == ("", 0), result.stdout
    return result.stdout


def test_a_person_works_at_a_terminal(osmo: Osmo, sign_in: SignIn) -> None:
    sign_in("ada")

    assert "name: Ada L." in said(osmo, "profile", "list")
    assert said(osmo, "profile", "set", "pool", "my_pool") == "Profile Set\n"
    assert said(osmo, "profile", "set", "bucket", "osmo") == "Profile Set\n"
    assert said(osmo, "profile", "set", "notifications", "slack") == "Profile Set\n"
    assert "my_pool" in said(osmo, "pool", "list")
    assert "service version: 6." in said(osmo, "version")
    assert SECRET.search(said(osmo, "token", "set", "laptop", "-d", "mine"))
    assert "laptop  mine" in said(osmo, "token", "list")
    assert "- osmo-user (assigned by ada on" in said(osmo, "token", "roles", "laptop")
    assert said(osmo, "token", "delete", "laptop") == "Access token laptop deleted\n"
    assert osmo("user", "list").returncode == 2
    assert said(osmo, "logout") == "Successfully logged out.\n"


def test_an_administrator_works_at_a_terminal(osmo: Osmo, sign_in: SignIn) -> None:
    sign_in("grace")

    assert said(osmo, "user", "create", "nightly", "-r", POOL_ROLE) == (
        f"User created: nightly\nRoles assigned: {POOL_ROLE}\n"
    )
    assert said(osmo, "user", "update", "nightly", "-a", PLAIN_ROLE) == f"Added role: {PLAIN_ROLE}\n"
    assert f"- {PLAIN_ROLE} (assigned by grace on" in said(osmo, "user", "get", "nightly")
    assert "nightly" in said(osmo, "user", "list", "--roles", PLAIN_ROLE)
    made = said(osmo, "token", "set", "reader", "--user", "nightly", "--roles", PLAIN_ROLE)
    assert made.endswith(f"Created for user: nightly\nRoles: {PLAIN_ROLE}\n")
    assert PLAIN_ROLE in said(osmo, "token", "list", "--user", "nightly")
    assert said(osmo, "token", "delete", "reader", "--user", "nightly").endswith("deleted for user nightly\n")
    assert said(osmo, "user", "update", "nightly", "-r", PLAIN_ROLE) == f"Removed role: {PLAIN_ROLE}\n"
    assert said(osmo, "user", "delete", "nightly", "--force") == "User deleted: nightly\n"
    assert SECRET.search(said(osmo, "token", "set", "trainer", "--service", "--roles", POOL_ROLE))
    assert "trainer" in said(osmo, "token", "list", "--service")
    assert said(osmo, "token", "delete", "trainer", "--service") == "Access token trainer deleted\n"


def examples(section: str) -> list[str]:
    """The commands under that heading of docs/cli.md; tests/test_docs_cli.py has those of the released clients."""
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    return re.findall(r"^\$ osmo (.+)$", page.partition(f"\n## {section}\n")[2].partition("\n## ")[0], re.MULTILINE)


def test_the_first_examples_of_the_page_do_what_they_say(
    cast: Cast, osmo: Osmo, sign_in: SignIn, live_server: LiveServer
) -> None:
    by_browser, by_token = [line.replace("http://127.0.0.1:8000", live_server.url) for line in examples("Log in")]
    secret = str(cast.user_token().plaintext)
    sign_in("grace")

    told = {}
    for example in [by_browser, *examples("Tokens"), *examples("Profile and pools")]:
        told[example] = said(osmo, *shlex.split(example.replace("2026-12-31", str(in_days(31)))))
    assert "Visit " in told[by_browser]
    assert told[by_browser].endswith("Successfully logged in. Welcome grace.\n")
    assert "my-token" in told["token list"]
    assert "my-robot" in told["token list --service"]
    assert len([text for text in told.values() if SECRET.search(text)]) == 2
    assert "my_pool" in told["pool list"]
    assert "default: my_pool" in said(osmo, "profile", "list")
    assert said(osmo, *shlex.split(by_token.replace("osmo_…", secret))).endswith("Welcome Ada L..\n")


def test_an_administrator_configures_as_the_page_says(osmo: Osmo, sign_in: SignIn, tmp_path: Path) -> None:
    file = tmp_path / "role.json"
    sign_in("grace")

    told = {}
    for example in examples("Roles and pools"):
        command, shown, _ = example.partition(" > role.json")
        told[command] = said(osmo, *shlex.split(command.replace("role.json", str(file))))
        if shown:
            file.write_text(told[command].replace('"description": ""', '"description": "exec as well"'))

    assert [text.splitlines()[-1] for text in told.values() if text.startswith("Successfully")] == [
        "Successfully updated ROLE config",
        'Successfully set ROLE config "osmo-team-a"',
        "Successfully updated tags for ROLE:3",
        "Successfully rolled back ROLE to revision 3.",
        'Successfully deleted POOL config "my_pool"',
        "Successfully rolled back POOL to revision 2.",
    ]
    assert "Team A begins" in told["config history ROLE --order desc"]
    assert '+    "name": "osmo-team-a",' in told["config diff ROLE:3 ROLE"].splitlines()
    assert Pool.objects.existing().filter(name="my_pool").exists()
    assert not Role.objects.existing().filter(name="osmo-team-a").exists()


def commands(group: Any, *above: str) -> Iterator[tuple[str, ...]]:
    for name, one in group.commands.items():
        yield from commands(one, *above, name) if hasattr(one, "commands") else [(*above, name)]


def test_every_command_is_run_here() -> None:
    called = re.findall(r'osmo(?:, |\()("[a-z]+"(?:, "[a-z]+")*)', Path(__file__).read_text())
    run = [[*re.findall(r"\w+", words)] for words in called]
    for section in ("Log in", "Tokens", "Profile and pools", "Roles and pools"):
        run += [shlex.split(words) for words in examples(section)]

    known = {*commands(typer.main.get_command(app))}

    assert len(known) > 20
    assert {command for command in known if not any(words[: len(command)] == [*command] for words in run)} == set()


@pytest.mark.parametrize("form", ["{secret}", "{url}/api/auth/jwt/access_token?access_token={secret}"])
def test_a_program_logs_in_by_a_token_file_of_either_form(
    cast: Cast, osmo: Osmo, live_server: LiveServer, tmp_path: Path, form: str
) -> None:
    token = AccessToken.issue(by=cast.by("grace"), owner=cast.ada, name="ci", expires=in_days(30))
    file = tmp_path / "token"
    file.write_text(form.format(secret=token.plaintext, url=live_server.url))

    login = osmo("login", live_server.url, "--method", "token", "--token-file", str(file))

    assert (login.stdout, login.returncode) == ("Successfully logged in. Welcome Ada L..\n", 0)
    assert "  name: ci" in said(osmo, "profile", "list")


def test_a_login_is_renewed_until_it_is_ended(
    cast: Cast, osmo: Osmo, sign_in: SignIn, make_jwt: Callable[..., str]
) -> None:
    sign_in("ada")
    for _ in range(2):
        age(osmo, make_jwt(-1))
        assert "Ada L." in said(osmo, "profile", "list")

    TerminalSignIn.objects.get().end(by=cast.by("ada"), reason="lost laptop")
    age(osmo, make_jwt(-1))

    ended = osmo("profile", "list")
    assert RefreshToken.objects.count() == 3
    assert ended.stdout.startswith("Unable to refresh login token (status code 400): ")
    assert 'Please re-login with "osmo login"' in ended.stdout
    assert ended.returncode == 10


def age(osmo: Osmo, jwt: str) -> None:
    """Puts a JWT that is over in place of the one that is there."""
    saved = yaml.safe_load(osmo.login_file.read_text())
    saved["token_login"]["id_token"] = jwt
    osmo.login_file.write_text(yaml.safe_dump(saved))
