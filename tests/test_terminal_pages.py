"""The pages on which a person signs a terminal in, sees the own terminals, and ends them."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from osmo_portal.console import recent
from osmo_portal.events.models import Event
from osmo_portal.events.trail import audited, record
from tests.cast import PASSWORD, Cast
from tests.console import Answer, form_errors, last_event, text, visitor
from tests.terminal import Terminal, error
from tests.test_admin_xss import DANGEROUS, HOSTILE
from tokens.models import RefreshToken, SignInRequest, TerminalSignIn

pytestmark = pytest.mark.django_db

CODE, DECIDE, MINE = "/me/device/", "/me/device/decide/", "/me/"


def typed(client: Client, code: str) -> Answer:
    return client.post(CODE, {"code": code})


def decided(client: Client, terminal: Terminal, decision: str = "approve") -> Answer:
    assert typed(client, terminal.codes["user_code"])["location"] == DECIDE
    return client.post(DECIDE, {"decision": decision})


# The code.


def test_a_person_types_the_code_sees_what_asks_and_approves(cast: Cast) -> None:
    client, terminal = visitor("ada"), Terminal()

    assert typed(client, terminal.codes["user_code"])["location"] == DECIDE
    page = text(client.get(DECIDE))
    done = client.post(DECIDE, {"decision": "approve"})

    for told in ("osmo command line", "osmo-cli/6.3.1", "127.0.0.1", "sent you the code", "30 days", "ada"):
        assert told in page
    assert "The terminal is signed in" in text(done)
    assert terminal.poll().status_code == 200


def test_a_person_says_no(cast: Cast) -> None:
    terminal = Terminal()

    answer = decided(visitor("ada"), terminal, "deny")

    assert "You said no" in text(answer)
    assert error(terminal.poll()) == "access_denied"


@pytest.mark.parametrize(
    "write", [str.lower, lambda code: code.replace("-", ""), lambda code: f" {code[:2]} {code[2:]} "]
)
def test_the_code_may_be_typed_in_any_way(cast: Cast, write: Any) -> None:
    assert typed(visitor("ada"), write(Terminal().codes["user_code"]))["location"] == DECIDE


@pytest.mark.parametrize("code", ["", "BCDF", "AEIOUAEI", "BCDF-GHJ1", "BCDFGHJKL", "\x00" * 8, "ß" * 8, "x" * 41])
def test_what_is_no_code_is_refused_by_the_form(cast: Cast, code: str) -> None:
    Terminal()

    assert "code" in form_errors(typed(visitor("ada"), code))


def test_an_unknown_code_and_one_that_is_over_look_alike(cast: Cast, time_machine: Any) -> None:
    client, terminal = visitor("ada"), Terminal()
    unknown = form_errors(typed(client, "BCDF-GHJK"))
    time_machine.move_to(terminal.request.expires_at)

    assert form_errors(typed(visitor("ada"), terminal.codes["user_code"])) == unknown


def test_an_address_with_the_code_fills_it_in_and_does_no_more(cast: Cast) -> None:
    client, terminal = visitor("ada"), Terminal()
    before = Event.objects.count()

    page = text(client.get(terminal.codes["verification_uri_complete"].removeprefix("http://127.0.0.1:8000")))

    assert f'value="{terminal.codes["user_code"]}"' in page
    assert client.get(DECIDE)["location"] == CODE
    assert Event.objects.count() == before
    assert error(terminal.poll()) == "authorization_pending"


@pytest.mark.parametrize("payload", HOSTILE)
def test_hostile_texts_come_out_as_text(cast: Cast, payload: str) -> None:
    client, terminal = visitor("ada"), Terminal()
    SignInRequest.objects.update(agent=payload)
    typed(client, terminal.codes["user_code"])
    pages = [text(client.get(DECIDE)), text(client.get(CODE, {"user_code": payload})), text(typed(client, payload))]
    terminal.signed_in(cast)
    with audited():
        TerminalSignIn.objects.update(agent=payload)
        record("terminal.planted", cast.by("ada"), cast.ada)
    pages += [text(client.get(MINE))]

    assert not [dangerous for page in pages for dangerous in DANGEROUS if dangerous in page]
    assert "14{%" not in "".join(pages)


# Limits.


def test_tries_are_limited_for_a_person_whatever_the_address_and_browser(cast: Cast) -> None:
    terminal = Terminal()
    for number in range(10):
        client = visitor("mallory", REMOTE_ADDR=f"192.0.2.{number}")
        assert typed(client, "BCDF-GHJK").status_code == 200

    refused = typed(visitor("mallory"), terminal.codes["user_code"])

    assert refused.status_code == 429
    assert "too many wrong tries" in text(refused)
    assert typed(visitor("ada"), terminal.codes["user_code"])["location"] == DECIDE


def test_tries_are_limited_for_an_address_whoever_tries(cast: Cast, settings: Any) -> None:
    settings.ACCOUNT_RATE_LIMITS = {**settings.ACCOUNT_RATE_LIMITS, "terminal_code": "3/15m/ip,10/15m/user"}
    for name in ("ada", "mallory", "grace"):
        assert typed(visitor(name), "BCDF-GHJK").status_code == 200

    assert typed(visitor("olive"), "BCDF-GHJK").status_code == 429


# Who decides.


def test_only_who_typed_the_code_sees_what_asks(cast: Cast) -> None:
    terminal = Terminal()
    typed(visitor("ada"), terminal.codes["user_code"])
    other = visitor("ada")

    assert other.get(DECIDE)["location"] == CODE
    assert other.post(DECIDE, {"decision": "approve"})["location"] == CODE
    assert error(terminal.poll()) == "authorization_pending"


def test_a_decision_is_made_once(cast: Cast) -> None:
    client, other, terminal = visitor("ada"), visitor("mallory"), Terminal()
    typed(other, terminal.codes["user_code"])

    decided(client, terminal)

    assert client.post(DECIDE, {"decision": "approve"})["location"] == CODE
    assert other.post(DECIDE, {"decision": "approve"})["location"] == CODE
    terminal.poll()
    assert TerminalSignIn.objects.get().owner == cast.ada


@pytest.mark.parametrize("decision", ["", "maybe"])
def test_neither_yes_nor_no_is_neither(cast: Cast, decision: str) -> None:
    client, terminal = visitor("ada"), Terminal()

    assert form_errors(decided(client, terminal, decision))
    assert error(terminal.poll()) == "authorization_pending"


def test_both_pages_want_a_recent_sign_in(cast: Cast, time_machine: Any) -> None:
    client, terminal = visitor("ada"), Terminal()
    typed(client, terminal.codes["user_code"])
    time_machine.move_to(timezone.now() + recent.WINDOW - timedelta(minutes=6))
    session = client.session
    session[recent.KEY] = (timezone.now() - recent.WINDOW).isoformat()
    session.save()

    for path in (CODE, DECIDE):
        assert client.get(path)["location"].startswith("/admin/confirm/?next=%2Fme%2Fdevice")
        assert client.post(path, {"decision": "approve"})["location"].startswith("/admin/confirm/")
    client.post("/admin/confirm/", {"password": PASSWORD, "next": DECIDE})

    assert client.get(DECIDE).status_code == 200


@pytest.mark.parametrize("path", [CODE, DECIDE])
def test_a_form_needs_its_csrf_token(cast: Cast, path: str) -> None:
    client, terminal = visitor("ada", enforce_csrf_checks=True), Terminal()
    session = client.session
    session["terminal_to_decide"] = terminal.request.pk
    session.save()

    assert client.post(path, {"code": terminal.codes["user_code"], "decision": "approve"}).status_code == 403
    assert error(terminal.poll()) == "authorization_pending"


def test_an_auditor_signs_no_terminal_in(cast: Cast) -> None:
    assert visitor("audrey").get(CODE).status_code == 403
    assert "Your terminals" not in text(visitor("audrey").get(MINE))


def test_who_must_have_a_second_factor_is_led_to_add_one(cast: Cast, settings: Any) -> None:
    settings.REQUIRE_MFA = "administrators"

    assert visitor("grace").get(CODE)["location"] == "/admin/own/?next=%2Fme%2Fdevice%2F"
    assert visitor("ada").get(CODE).status_code == 200


def test_where_it_is_switched_off_the_pages_say_so(cast: Cast, settings: Any) -> None:
    settings.TERMINAL_DAYS = 0

    answer = visitor("ada").get(CODE)

    assert answer.status_code == 403
    assert "signs no terminals in" in text(answer)
    assert "Your terminals" not in text(visitor("ada").get(MINE))


def test_an_address_other_than_the_browsers_is_pointed_out(cast: Cast) -> None:
    client, terminal = visitor("ada", REMOTE_ADDR="2001:db8::5"), Terminal()
    typed(client, terminal.codes["user_code"])

    page = text(client.get(DECIDE))

    assert "It asks from 127.0.0.1" in page
    assert "2001:db8::5" in page


# The own terminals.


def test_a_person_sees_the_own_terminals_and_ends_one(cast: Cast) -> None:
    terminal = Terminal().signed_in(cast)
    Terminal().signed_in(cast, "mallory")
    client = visitor("ada")
    page = client.get(MINE)
    (mine,) = page.context["terminals"]

    assert "osmo-cli/6.3.1" in text(page)
    assert client.get(f"/me/terminals/{mine.pk}/end/").status_code == 200
    client.post(f"/me/terminals/{mine.pk}/end/")

    assert error(terminal.refresh()) == "invalid_grant"
    assert client.get(MINE).context["terminals"] == []
    assert (last_event().action, last_event().reason, last_event().via) == (
        "terminal.ended",
        "Ended by the person.",
        "my-tokens",
    )


@pytest.mark.parametrize("name", ["mallory", "grace"])
def test_the_terminal_of_another_is_not_there(cast: Cast, name: str) -> None:
    Terminal().signed_in(cast)

    for method in ("get", "post"):
        assert (
            getattr(visitor(name), method)(f"/me/terminals/{TerminalSignIn.objects.get().pk}/end/").status_code == 404
        )
    assert TerminalSignIn.objects.live().exists()


# The console.


def test_an_administrator_sees_a_persons_terminals_and_signs_them_out(cast: Cast) -> None:
    terminal = Terminal().signed_in(cast)
    client, page = visitor("grace"), f"/admin/profiles/person/{cast.ada.pk}/"

    assert "osmo-cli/6.3.1" in text(client.get(f"{page}change/"))
    client.post(f"{page}end-terminals/", {"reason": "lost laptop"})

    assert error(terminal.refresh()) == "invalid_grant"
    assert (last_event().action, last_event().actor, last_event().reason) == ("terminal.ended", "grace", "lost laptop")
    assert "Terminals" not in text(client.get(f"{page}change/"))


@pytest.mark.parametrize("name", ["olive", "audrey", "ada"])
def test_nobody_else_signs_them_out(cast: Cast, name: str) -> None:
    Terminal().signed_in(cast, "mallory")

    answer = visitor(name).post(f"/admin/profiles/person/{cast.mallory.pk}/end-terminals/", {"reason": "spite"})

    assert answer.status_code in {302, 403}
    assert TerminalSignIn.objects.live().exists()


def test_what_is_over_is_forgotten_by_the_nightly_command(cast: Cast) -> None:
    kept, ended = Terminal().signed_in(cast), Terminal().signed_in(cast)
    ended.refresh()
    TerminalSignIn.objects.latest("pk").end(by=cast.by("ada"), reason="done")

    call_command("clearsessions")

    assert RefreshToken.objects.count() == 1
    assert TerminalSignIn.objects.count() == 2
    assert kept.refresh().status_code == 200
