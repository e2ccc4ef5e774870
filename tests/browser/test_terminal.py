"""The whole way: a command line that asks, a person who approves in the browser, a command line that is signed in."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from tests.browser.looks import DESK, TELEPHONE, faults
from tests.cast import PASSWORD, Cast
from tokens.models import TerminalSignIn

SOURCE = Path(__file__).parents[2] / "cli" / "src"
VISIT = re.compile(r"Visit (\S+) and complete authentication\.\n")
Osmo = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def osmo(tmp_path: Path, live_server: LiveServer, settings: Any) -> Iterator[Osmo]:
    """Starts `osmo` with a home of its own; its standard output is read line by line."""
    settings.PORTAL_URL = live_server.url
    own = {"HOME": str(tmp_path), "OSMO_CONFIG_FILE_DIR": str(tmp_path), "PYTHONPATH": str(SOURCE)}
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-u", "-m", "osmo_cli", *arguments]
        environment = {"PATH": os.environ["PATH"], "PYTHONUTF8": "1", **own}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, encoding="utf-8")
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def read(process: "subprocess.Popen[str]") -> str:
    output, _ = process.communicate(timeout=60)
    return output


def asks(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    found = VISIT.fullmatch(process.stdout.readline())
    assert found
    return found[1]


def sign_in(page: Page, name: str) -> None:
    page.get_by_label("User id").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def test_a_terminal_is_signed_in_by_the_browser(stage: Cast, page: Page, osmo: Osmo, live_server: LiveServer) -> None:
    login = osmo("login", live_server.url)

    page.goto(asks(login))
    sign_in(page, "ada")
    assert not [*faults(page, [DESK, TELEPHONE])]
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", name="Is this your terminal?")).to_be_visible()
    expect(page.get_by_text("which says to be osmo-cli/")).to_be_visible()
    assert not [*faults(page, [DESK, TELEPHONE])]
    page.get_by_role("button", name="Yes, sign it in").click()
    expect(page.get_by_role("heading", name="The terminal is signed in")).to_be_visible()
    assert not [*faults(page, [DESK, TELEPHONE])]

    assert read(login) == "Successfully logged in. Welcome Ada L..\n"
    assert "email: ada" in read(osmo("profile", "list"))
    page.get_by_role("link", name="To your terminals and tokens").click()
    page.get_by_role("region", name="Your terminals").get_by_role("link", name="End").click()
    page.get_by_role("button", name="End it").click()
    expect(page.get_by_text("The terminal is signed out.")).to_be_visible()
    assert "This terminal is not signed in any more" in read(osmo("profile", "list"))


def test_a_person_who_did_not_ask_says_no(stage: Cast, page: Page, osmo: Osmo, live_server: LiveServer) -> None:
    login = osmo("login", live_server.url)
    code = asks(login).partition("user_code=")[2]

    page.goto("/me/device/")
    sign_in(page, "ada")
    page.get_by_label("Code").fill(code.lower().replace("-", " "))
    page.keyboard.press("Enter")
    page.get_by_role("button", name="No, refuse it").click()

    expect(page.get_by_role("heading", name="You said no")).to_be_visible()
    assert "access_denied" in read(login)
    assert login.returncode == 10
    assert not TerminalSignIn.objects.exists()
