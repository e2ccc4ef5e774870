"""Every row of tests/conformance.py, as each line of the released clients sends it."""

import re
from collections import defaultdict
from typing import Any
from urllib.parse import parse_qsl

import pytest
from django.utils import timezone

from osmo_portal.events.actor import Door
from osmo_portal.events.models import Event
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast
from tests.conformance import ALL, CONFIGS, LINES, MALFORMED, NEWER, NOBODY, ROWS, TERMINALS, Row, filled
from tests.snapshot import scene
from tests.terminal import Terminal, error, form
from tests.wire import Wire, refused
from tokens.models import AccessToken, SignInRequest, TerminalSignIn

pytestmark = pytest.mark.django_db


def cases(rows: list[Row]) -> list[Any]:
    return [pytest.param(line, row, id=f"{line} {row}") for row in rows for line in row.lines]


CASES, FORMS = cases([row for row in ROWS if row not in TERMINALS]), cases(TERMINALS)


class Stage:
    """ada with two tokens; robot with ci; trainer, a service token of 6.0; mallory with theirs; root-bot, which
    administers. Where the calls are about no tokens, there is only that of whoever calls."""

    def __init__(self, cast: Cast, caller: str = "") -> None:
        self.cast = cast
        self.secrets: dict[str, Any] = scene(f"conformance {caller}", lambda: self._furnish(cast, caller))

    def _furnish(self, cast: Cast, caller: str) -> dict[str, Any]:
        makers: dict[str, Any] = {
            "ada": cast.user_token,
            "robot": cast.service_token,
            "root-bot": cast.administrator_token,
        }
        if caller:
            return {caller: makers[caller]().plaintext} if caller in makers else {}
        by = cast.by("grace")
        secrets = {
            "ada": cast.user_token(days=60).plaintext,
            "robot": cast.service_token(days=60).plaintext,
        }
        cast.user_token(name="spare", days=60, description="for later")
        cast.user_token(owner="mallory", name="theirs")
        for name, role in (("trainer", PLAIN_ROLE), ("root-bot", "osmo-admin")):
            expires = AccessToken.objects.get(name="spare").expires_at.date()
            token = AccessToken.issue_with_account(by=by, name=name, expires=expires, roles=[role])
            secrets[name] = token.plaintext
        return secrets

    def of_terminal(self, state: str) -> str:
        """The device code of a terminal in that state, or the refresh token of one that is signed in."""
        terminal, by = Terminal(), self.cast.by("ada", Door.MY_TOKENS)
        if state in {"refresh", "used", "ended"}:
            first = terminal.signed_in(self.cast).tokens["refresh_token"]
            if state == "used":
                terminal.refresh()
                terminal.refresh()
            if state == "ended":
                TerminalSignIn.objects.get().end(by=by, reason="conformance")
            return first
        if state in {"approved", "denied"}:
            terminal.request.approve(by=by) if state == "approved" else terminal.request.deny(by=by)
        if state == "polled":
            terminal.poll()
        if state == "over":
            SignInRequest.objects.update(expires_at=timezone.now())
        return terminal.codes["device_code"]

    def expired(self) -> str:
        token = self.cast.service_token("expired")
        AccessToken.objects.filter(pk=token.pk).expire(by=self.cast.by("grace"), reason="conformance")
        return token.plaintext


@pytest.fixture
def stage(cast: Cast, request: pytest.FixtureRequest) -> Stage:
    row = request.node.callspec.params.get("row") if hasattr(request.node, "callspec") else None
    return Stage(cast, row.who if row in CONFIGS else "")


def client(stage: Stage, line: str, who: str) -> Wire:
    header = "authorization" if line in NEWER else "x-osmo-auth"
    wire = Wire(stage.secrets.get(who), header=header)
    wire.headers |= {"x-osmo-client-version": LINES[line], "user-agent": f"osmo-cli/{LINES[line]}"}
    if who == MALFORMED:
        wire.headers[header] = "Bearer a.b.c" if line in NEWER else "a.b.c"
    return wire


def sent_form(stage: Stage, line: str, row: Row) -> Any:
    """A form, as `requests` sends it, with the codes and refresh tokens that the row speaks of."""
    text = re.sub(r"{(\w+)}", lambda found: stage.of_terminal(found[1]), row.body)
    return form(row.request.split(" ", 1)[1], dict(parse_qsl(text)), agent=f"osmo-cli/{LINES[line]}")


@pytest.mark.parametrize(("line", "row"), FORMS)
def test_the_released_clients_sign_terminals_in(stage: Stage, line: str, row: Row) -> None:
    answer = sent_form(stage, line, row)

    assert answer["content-type"] == "application/json"
    if row.status == 200:
        assert answer.status_code == 200, answer.content
        assert answer.json() == row.answer
    else:
        assert error(answer, row.status) == row.answer


def with_secrets(value: Any, stage: Stage) -> Any:
    if isinstance(value, dict):
        return {name: with_secrets(inner, stage) for name, inner in value.items()}
    if isinstance(value, str) and (found := re.search("{(secret|expired)}", value)):
        secret = stage.secrets["ada"] if found[1] == "secret" else stage.expired()
        return value.replace(found[0], str(secret))
    return value


@pytest.mark.parametrize(("line", "row"), CASES)
def test_the_released_clients_are_answered_as_they_expect(stage: Stage, line: str, row: Row) -> None:
    method, path = filled(with_secrets(row.request, stage)).split(" ", 1)
    body = with_secrets(row.body, stage)
    wire = client(stage, line, row.who)
    before = Event.objects.count()

    answer = wire.call(method, path, body)

    if row.status == 200:
        assert answer.status_code == 200, answer.content
        assert answer.json() == filled(row.answer)
    elif isinstance(row.answer, dict):
        assert (answer.status_code, answer.json()) == (row.status, row.answer)
    else:
        refused(answer, filled(row.answer), row.status)
    if row.status != 200:
        assert Event.objects.exclude(action__startswith="exchange.refused").count() == before
    assert answer["content-type"] == "application/json"


def test_each_line_has_success_error_and_malformed_input_of_each_call() -> None:
    """Or what stands for malformed input where there is none: no credential, or a route that is not there."""
    kinds = defaultdict(set)
    for row in ROWS:
        for line in row.lines:
            kinds[line, row.call].add("success" if row.status == 200 else "refused")

    assert {line for line, _ in kinds} == set(ALL)
    assert {call for (_, call), found in kinds.items() if found == {"refused"}} == {"login by password"}
    assert all(found >= {"refused"} for found in kinds.values())
    assert len(CASES + FORMS) == len({case.id for case in CASES + FORMS}) > 300


def test_the_stage_is_what_the_rows_believe(stage: Stage) -> None:
    assert stage.cast.robot.held_role_names == {POOL_ROLE, PLAIN_ROLE}
    assert client(stage, "6.0", NOBODY).get("/api/auth/access_token").status_code == 401
