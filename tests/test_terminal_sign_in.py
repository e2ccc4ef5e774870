"""Signing a terminal in: RFC 8628 with the limits of S53, and what a person who is signed in so may do."""

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.core.exceptions import PermissionDenied, ValidationError
from django.test import Client

from osmo_portal.events.actor import Actor, Door
from osmo_portal.events.models import Event
from osmo_portal.signin import factors
from tests.cast import POOL_ROLE, Cast, in_days
from tests.console import last_event
from tests.terminal import ASK, DEVICE_CODE, TOKEN, Terminal, error, form
from tests.wire import Wire
from tokens import jwt
from tokens.models import AccessToken, RefreshToken, SigningKey, SignInRequest, TerminalSignIn

pytestmark = pytest.mark.django_db

PROFILE = "/api/profile/settings"
LETTERS = set("BCDFGHJKLMNPQRSTVWXZ")


def browser(cast: Cast, name: str = "ada") -> Actor:
    return cast.by(name, Door.MY_TOKENS)


def first_use() -> datetime:
    used = RefreshToken.objects.get(generation=0).used_at
    assert used is not None
    return used


def claims(terminal: Terminal) -> dict[str, Any]:
    return jwt.verify(terminal.tokens["id_token"], jwt.TERMINAL_TYPE)[0]


# Asking.


def test_the_login_information_names_both_addresses(client: Client, settings: Any) -> None:
    settings.PORTAL_URL = "https://osmo.example.org"

    answer = client.get("/api/auth/login").json()

    assert answer == {
        "device_endpoint": f"https://osmo.example.org{ASK}",
        "device_client_id": "osmo-cli",
        "browser_endpoint": None,
        "browser_client_id": None,
        "token_endpoint": f"https://osmo.example.org{TOKEN}",
        "logout_endpoint": None,
    }


def test_a_terminal_gets_codes_that_live_for_minutes(cast: Cast, settings: Any) -> None:
    settings.PORTAL_URL = "https://osmo.example.org"

    codes = Terminal().codes

    page = "https://osmo.example.org/me/device/"
    assert codes["verification_uri"] == page
    assert codes["verification_uri_complete"] == f"{page}?user_code={codes['user_code']}"
    assert set(codes["user_code"].replace("-", "")) <= LETTERS
    assert re.fullmatch("[A-Z]{4}-[A-Z]{4}", codes["user_code"])
    assert codes["expires_in"] <= 15 * 60
    assert codes["interval"] == 5
    assert re.fullmatch("osmod_[0-9A-Za-z]{49}", codes["device_code"])


def test_the_codes_never_come_twice(cast: Cast) -> None:
    several = [Terminal().codes for _ in range(5)]

    assert len({codes["device_code"] for codes in several} | {codes["user_code"] for codes in several}) == 10


@pytest.mark.parametrize(
    ("path", "fields", "said"),
    [
        (ASK, {}, "invalid_request"),
        (ASK, {"client_id": "somebody-else"}, "invalid_client"),
        (TOKEN, {}, "invalid_request"),
        (TOKEN, {"grant_type": "client_credentials", "client_id": "osmo-cli"}, "unsupported_grant_type"),
        (TOKEN, {"grant_type": DEVICE_CODE, "client_id": "osmo-cli"}, "invalid_request"),
        (TOKEN, {"grant_type": DEVICE_CODE, "device_code": "x", "client_id": "osmo-cli"}, "invalid_request"),
        (TOKEN, {"grant_type": DEVICE_CODE, "device_code": "x"}, "invalid_client"),
        (TOKEN, {"grant_type": DEVICE_CODE, "device_code": "osmod_" + "x" * 49, "client_id": "no"}, "invalid_client"),
        (TOKEN, {"grant_type": "refresh_token", "client_id": "osmo-cli"}, "invalid_request"),
        (TOKEN, {"grant_type": "refresh_token", "refresh_token": "%00%FF", "client_id": "osmo-cli"}, "invalid_grant"),
        (TOKEN, {"grant_type": "refresh_token", "refresh_token": "x", "client_id": "no"}, "invalid_client"),
    ],
)
def test_what_is_wrong_with_a_request_is_told(cast: Cast, path: str, fields: dict[str, str], said: str) -> None:
    before = Event.objects.count()

    assert error(form(path, fields)) == said

    assert not SignInRequest.objects.exists()
    assert Event.objects.count() == before


@pytest.mark.parametrize("path", [ASK, TOKEN])
def test_the_form_of_a_request_is_bounded(cast: Cast, client: Client, path: str) -> None:
    as_json = client.post(path, {"client_id": "osmo-cli"}, content_type="application/json")
    twice = form(path, {"client_id": "osmo-cli", "scope": "a&scope=b"})
    large = form(path, {"client_id": "osmo-cli", "scope": "x" * 5_000})

    assert (error(as_json), error(twice), error(large, 413)) == ("invalid_request",) * 3
    assert client.get(path).status_code == 405
    assert not SignInRequest.objects.exists()


def test_nothing_is_taken_from_the_address(cast: Cast) -> None:
    terminal = Terminal()
    terminal.request.approve(by=browser(cast))
    query = f"grant_type={DEVICE_CODE}&client_id=osmo-cli&device_code={terminal.codes['device_code']}"

    assert error(form(f"{TOKEN}?{query}", {"x": "y"})) == "unsupported_grant_type"
    assert not TerminalSignIn.objects.exists()


@pytest.mark.parametrize("username", ["ada", "nobody"])
def test_a_password_is_refused_in_a_sentence_that_names_the_other_ways(cast: Cast, username: str) -> None:
    fields = {"grant_type": "password", "username": username, "password": "correct+horse+battery"}

    answer = form(TOKEN, {**fields, "client_id": "osmo-cli", "scope": "openid"})

    assert error(answer) == "unsupported_grant_type"
    assert "takes no passwords" in answer.json()["error_description"]
    assert "osmo login URL" in answer.json()["error_description"]
    assert "--method token" in answer.json()["error_description"]


def test_asking_from_one_address_is_limited(cast: Cast) -> None:
    for _ in range(60):
        assert form(ASK, {"client_id": "osmo-cli"}).status_code == 200

    refused = form(ASK, {"client_id": "osmo-cli"})
    assert error(refused, 429) == "temporarily_unavailable"
    assert refused["Retry-After"] == "900"
    assert form(ASK, {"client_id": "osmo-cli"}, REMOTE_ADDR="192.0.2.9").status_code == 200


def test_requests_that_are_long_over_are_forgotten(cast: Cast, time_machine_days: Any) -> None:
    Terminal()
    time_machine_days(1)

    Terminal()

    assert SignInRequest.objects.count() == 1


def test_zero_days_switch_it_off(cast: Cast, client: Client, settings: Any) -> None:
    terminal = Terminal().signed_in(cast)
    settings.TERMINAL_DAYS = 0

    assert set(client.get("/api/auth/login").json().values()) == {None}
    assert error(form(ASK, {"client_id": "osmo-cli"})) == "unauthorized_client"
    assert error(terminal.refresh()) == "unauthorized_client"
    assert terminal.wire().get(PROFILE).status_code == 401


# Waiting.


def test_until_somebody_decides_the_terminal_waits(cast: Cast) -> None:
    assert error(Terminal().poll()) == "authorization_pending"


def test_who_asks_too_often_has_to_slow_down(cast: Cast, time_machine: Any) -> None:
    terminal = Terminal()
    now = terminal.request.asked_at
    answers = []

    for seconds in (0, 5, 6, 13, 23):
        time_machine.move_to(now + timedelta(seconds=seconds), tick=False)
        answers.append(error(terminal.poll()))

    pending, slow_down = "authorization_pending", "slow_down"
    assert answers == [pending, pending, slow_down, slow_down, slow_down]
    time_machine.move_to(now + timedelta(seconds=43), tick=False)
    assert error(terminal.poll()) == pending


def test_a_code_that_is_over_is_over_for_both(cast: Cast, time_machine: Any) -> None:
    terminal = Terminal()
    asking = terminal.request
    time_machine.move_to(asking.expires_at)

    assert error(terminal.poll()) == "expired_token"
    with pytest.raises(ValidationError, match="its time is over"):
        asking.approve(by=browser(cast))
    assert not TerminalSignIn.objects.exists()


def test_an_approval_that_is_fetched_too_late_gives_nothing(cast: Cast, time_machine: Any) -> None:
    terminal = Terminal()
    terminal.request.approve(by=browser(cast))
    time_machine.move_to(terminal.request.expires_at)

    assert error(terminal.poll()) == "expired_token"
    assert not TerminalSignIn.objects.exists()


def test_a_terminal_that_was_refused_is_told_so_and_gets_nothing(cast: Cast) -> None:
    terminal = Terminal()

    terminal.request.deny(by=browser(cast))

    assert error(terminal.poll()) == "access_denied"
    assert (last_event().action, last_event().actor, last_event().object_label) == ("terminal.denied", "ada", "ada")
    assert not TerminalSignIn.objects.exists()


# Deciding.


def test_an_approval_is_given_once(cast: Cast) -> None:
    terminal = Terminal()
    asking = terminal.request
    asking.approve(by=browser(cast))

    for decide in (asking.approve, asking.deny):
        with pytest.raises(ValidationError, match="not known here"):
            decide(by=browser(cast, "mallory"))

    assert terminal.poll().status_code == 200
    assert claims(terminal)["unique_name"] == "ada"


@pytest.mark.parametrize("who", ["service account", "user token", "terminal", "auditor"])
def test_only_a_person_in_a_browser_may_approve(cast: Cast, who: str) -> None:
    by = {
        "service account": Actor.acting_as(cast.robot, Door.MY_TOKENS),
        "user token": cast.with_token(cast.user_token(), Door.MY_TOKENS),
        "terminal": cast.by("ada", Door.CLI),
        "auditor": browser(cast, "audrey"),
    }[who]
    terminal = Terminal()

    with pytest.raises(PermissionDenied):
        terminal.request.approve(by=by)
    assert error(terminal.poll()) == "authorization_pending"


def test_who_must_have_a_second_factor_approves_nothing_without_one(cast: Cast, settings: Any) -> None:
    settings.REQUIRE_MFA = "administrators"
    terminal = Terminal()

    with pytest.raises(PermissionDenied, match="second factor"):
        terminal.request.approve(by=browser(cast, "grace"))
    terminal.request.approve(by=browser(cast, "ada"))


def test_the_events_say_who_what_and_from_where(cast: Cast) -> None:
    terminal = Terminal()
    terminal.request.approve(by=browser(cast))
    approved = last_event()
    terminal.poll()
    signed_in = Event.objects.get(action="terminal.signed_in")

    assert (approved.action, approved.via, approved.actor) == ("terminal.approved", "my-tokens", "ada")
    assert approved.changes == {"client": "osmo-cli", "agent": "osmo-cli/6.3.1", "asked_from": "127.0.0.1"}
    assert (signed_in.action, signed_in.via, signed_in.actor, signed_in.ip) == (
        "terminal.signed_in",
        "cli",
        "ada",
        "127.0.0.1",
    )
    assert signed_in.changes["terminal"] == TerminalSignIn.objects.get().pk


def test_whoever_is_deactivated_in_the_meantime_is_not_signed_in(cast: Cast) -> None:
    terminal = Terminal()
    terminal.request.approve(by=browser(cast))
    cast.ada.deactivate(by=cast.by("grace"), reason="left")
    cast.ada.reactivate(by=cast.by("grace"), reason="back")

    assert error(terminal.poll()) == "invalid_request"
    assert not TerminalSignIn.objects.exists()


# What the terminal gets, and may do.


def test_the_id_token_says_who_and_for_how_long(cast: Cast) -> None:
    terminal = Terminal().signed_in(cast, "grace")

    said = claims(terminal)

    assert said["sub"] == str(cast.grace.pk)
    assert (said["unique_name"], said["name"], said["roles"]) == ("grace", "grace", ["osmo-admin", "osmo-user"])
    assert (said["iss"], said["aud"]) == ("osmo", "osmo")
    assert said["exp"] - said["iat"] == terminal.tokens["expires_in"] == 300
    assert said["osmo_terminal_id"] == TerminalSignIn.objects.get().pk
    assert terminal.tokens["access_token"] == terminal.tokens["id_token"]
    assert claims(Terminal().signed_in(cast))["name"] == "Ada L."


@pytest.mark.parametrize("header", ["authorization", "x-osmo-auth"])
def test_the_person_has_the_roles_that_the_person_holds_now(cast: Cast, header: str) -> None:
    wire = Terminal().signed_in(cast).wire(header)
    before = wire.get(PROFILE).json()

    cast.ada.assign_role(POOL_ROLE, by=cast.by("grace"))
    after = wire.get(PROFILE).json()

    assert before == {
        "profile": {
            "username": "ada",
            "email_notification": False,
            "slack_notification": False,
            "bucket": None,
            "pool": None,
        },
        "roles": ["osmo-user"],
        "pools": [],
        "token": None,
    }
    assert (after["roles"], after["pools"]) == (["osmo-my_pool", "osmo-user"], ["my_pool"])


def test_an_administrator_is_one_at_the_terminal_until_the_role_is_lost(cast: Cast) -> None:
    wire = Terminal().signed_in(cast, "grace").wire()
    assert wire.get("/api/auth/user").status_code == 200
    cast.ada.assign_role("osmo-admin", by=cast.by("grace"))

    cast.grace.remove_role("osmo-admin", by=cast.by("ada"))

    assert wire.get("/api/auth/user").status_code == 403


def test_an_administrator_without_the_factor_that_is_asked_for_is_refused(cast: Cast, settings: Any) -> None:
    wire = Terminal().signed_in(cast, "grace").wire()

    settings.REQUIRE_MFA = "administrators"

    assert wire.get(PROFILE).status_code == 403
    assert Terminal().signed_in(cast, "ada").wire().get(PROFILE).status_code == 200


def test_groups_give_nothing_at_a_terminal(cast: Cast) -> None:
    cast.service_token()

    wire = Terminal().signed_in(cast, "olive").wire()

    assert wire.get("/api/v1/tokens").json()["results"] == []
    known = wire.get("/api/v1/whoami").json()
    assert (known["signed_in_by"], known["groups"], known["powers"]) == ("terminal", [], [])


def test_a_token_made_at_a_terminal_may_outlast_the_sign_in(cast: Cast) -> None:
    """It is a person's sign-in, like that of a browser, and no token that would make a longer-lived one."""
    wire = Terminal().signed_in(cast).wire()

    assert wire.post(f"/api/auth/access_token/laptop?expires_at={in_days(300)}").status_code == 200
    assert AccessToken.objects.get().owner == cast.ada
    event = last_event()
    assert (event.action, event.token_id, event.changes["terminal"]) == (
        "token.issued",
        None,
        TerminalSignIn.objects.get().pk,
    )


def test_the_jwt_opens_no_page_and_makes_no_session(cast: Cast) -> None:
    terminal = Terminal().signed_in(cast, "grace")

    for path in ("/admin/", "/me/", "/me/device/"):
        answer = terminal.wire().get(path)
        assert answer.status_code == 302
        assert not answer.cookies


# What is taken for what.


def test_neither_kind_of_jwt_is_taken_for_the_other(cast: Cast) -> None:
    terminal = Terminal().signed_in(cast)
    of_token = Wire(cast.user_token().plaintext).headers["x-osmo-auth"]

    for text, kind in ((terminal.tokens["id_token"], jwt.TYPE), (of_token, jwt.TERMINAL_TYPE)):
        with pytest.raises(jwt.BadToken):
            jwt.verify(text, kind)


@pytest.mark.parametrize("which", ["refresh_token", "device_code"])
def test_neither_code_is_a_credential_or_a_secret(cast: Cast, which: str) -> None:
    terminal = Terminal()
    secret = terminal.codes["device_code"]
    terminal.signed_in(cast)
    secret = terminal.tokens["refresh_token"] if which == "refresh_token" else secret

    assert Wire().get(PROFILE, authorization=f"Bearer {secret}").status_code == 401
    assert Wire().post("/api/auth/jwt/access_token", {"token": secret}).status_code == 400


def test_a_secret_and_an_id_token_renew_nothing(cast: Cast) -> None:
    terminal = Terminal().signed_in(cast)

    for sent in (str(cast.user_token().plaintext), terminal.tokens["id_token"], terminal.codes["device_code"]):
        assert error(terminal.refresh(sent)) == "invalid_grant"
    assert terminal.refresh().status_code == 200


# Renewing.


def test_each_refresh_token_works_once_and_gives_another(cast: Cast) -> None:
    terminal = Terminal().signed_in(cast)
    seen = {terminal.tokens["refresh_token"]}
    before = Event.objects.count()

    for _ in range(3):
        assert terminal.refresh().status_code == 200
        seen.add(terminal.tokens["refresh_token"])

    assert len(seen) == 4
    assert all(re.fullmatch("osmor_[0-9A-Za-z]{49}", secret) for secret in seen)
    assert terminal.wire().get(PROFILE).status_code == 200
    assert Event.objects.count() == before


def test_an_answer_that_was_lost_is_given_again_for_a_moment(cast: Cast, time_machine: Any) -> None:
    terminal = Terminal().signed_in(cast)
    old = terminal.tokens["refresh_token"]
    first = terminal.refresh(old).json()
    time_machine.move_to(first_use() + timedelta(seconds=30), tick=False)

    again = terminal.refresh(old)

    assert again.status_code == 200
    assert again.json()["refresh_token"] != first["refresh_token"]
    assert terminal.refresh(again.json()["refresh_token"]).status_code == 200


@pytest.mark.parametrize("seconds", [31, 3600])
def test_a_refresh_token_used_again_later_ends_the_sign_in(cast: Cast, time_machine: Any, seconds: int) -> None:
    terminal = Terminal().signed_in(cast)
    old = terminal.tokens["refresh_token"]
    terminal.refresh()
    time_machine.move_to(first_use() + timedelta(seconds=seconds), tick=False)

    assert error(terminal.refresh(old)) == "invalid_grant"

    assert error(terminal.refresh()) == "invalid_grant"
    assert last_event().action == "terminal.reuse_detected"
    assert Event.objects.filter(action="terminal.reuse_detected").count() == 1


@pytest.mark.parametrize("which", ["the used one", "the other answer"])
def test_the_grace_ends_when_a_successor_is_used(cast: Cast, which: str) -> None:
    terminal = Terminal().signed_in(cast)
    old = terminal.tokens["refresh_token"]
    one, other = terminal.refresh(old).json(), terminal.refresh(old).json()
    assert terminal.refresh(one["refresh_token"]).status_code == 200

    assert error(terminal.refresh(old if which == "the used one" else other["refresh_token"])) == "invalid_grant"

    assert last_event().action == "terminal.reuse_detected"
    assert not TerminalSignIn.objects.live().exists()


def test_a_device_code_used_again_ends_the_sign_in(cast: Cast) -> None:
    terminal = Terminal().signed_in(cast)

    assert error(terminal.poll()) == "invalid_grant"

    assert terminal.wire().get(PROFILE).status_code == 401
    assert (last_event().action, last_event().object_label) == ("terminal.reuse_detected", "ada")


def test_a_sign_in_that_nobody_renews_is_over(cast: Cast, time_machine_days: Any) -> None:
    terminal = Terminal().signed_in(cast)
    time_machine_days(13)
    assert terminal.refresh().status_code == 200
    time_machine_days(14)

    assert error(terminal.refresh()) == "invalid_grant"


def test_a_sign_in_lasts_no_longer_than_the_setting_says(cast: Cast, settings: Any, time_machine_days: Any) -> None:
    terminal, other = Terminal().signed_in(cast), Terminal().signed_in(cast, "mallory")
    for _ in range(2):
        time_machine_days(10)
        assert terminal.refresh().status_code == other.refresh().status_code == 200
    settings.TERMINAL_DAYS = 15
    assert error(other.refresh()) == "invalid_grant"
    settings.TERMINAL_DAYS = 60
    time_machine_days(11)

    assert error(terminal.refresh()) == "invalid_grant"


def test_a_jwt_does_not_outlive_the_sign_in(cast: Cast) -> None:
    terminal = Terminal().signed_in(cast)
    sign_in = TerminalSignIn.objects.get()
    sign_in.expires_at = sign_in.started_at + timedelta(seconds=60)

    text, seconds = jwt.issue_to_terminal(sign_in)

    assert seconds <= 60
    assert jwt.verify(text, jwt.TERMINAL_TYPE)[0]["exp"] == int(sign_in.expires_at.timestamp())
    assert terminal.tokens["expires_in"] == 300


# What ends it.

ENDS = {
    "the person": lambda cast, one: one.end(by=cast.by("ada"), reason="lost laptop"),
    "an administrator": lambda cast, one: one.end(by=cast.by("grace"), reason="lost laptop"),
    "deactivation": lambda cast, one: cast.ada.deactivate(by=cast.by("grace"), reason="left"),
    "deletion": lambda cast, one: cast.ada.mark_deleted(by=cast.by("grace"), reason="left"),
    "a new password": lambda cast, one: cast.ada.change_password("another horse", by=cast.by("ada")),
    "factors that were reset": lambda cast, one: reset_factors(cast),
}


def reset_factors(cast: Cast) -> None:
    Authenticator.objects.create(user=cast.ada, type=factors.CODES, data={})
    factors.reset(cast.ada, by=cast.by("grace"), reason="lost telephone")


@pytest.mark.parametrize("end", ENDS)
def test_what_ends_a_sign_in_ends_it_at_once_and_for_good(cast: Cast, end: str) -> None:
    terminal = Terminal().signed_in(cast)

    ENDS[end](cast, TerminalSignIn.objects.get())

    assert terminal.wire().get(PROFILE).status_code == 401
    assert error(terminal.refresh()) == "invalid_grant"
    told = Event.objects.get(action="terminal.ended")
    assert (told.object_label, told.changes["client"]) == ("ada", "osmo-cli")
    if end == "deactivation":
        cast.ada.reactivate(by=cast.by("grace"), reason="back")
        assert terminal.wire().get(PROFILE).status_code == 401
        assert error(terminal.refresh()) == "invalid_grant"


def test_a_void_signing_key_voids_the_jwt_and_not_the_sign_in(cast: Cast) -> None:
    terminal = Terminal().signed_in(cast)
    SigningKey.rotate(by=cast.by("grace"), void=True)
    jwt.forget_keys()

    assert terminal.wire().get(PROFILE).status_code == 401
    assert terminal.refresh().status_code == 200
    assert terminal.wire().get(PROFILE).status_code == 200


def test_nobody_else_ends_a_sign_in(cast: Cast) -> None:
    Terminal().signed_in(cast)

    for name in ("mallory", "olive", "audrey"):
        with pytest.raises(PermissionDenied):
            TerminalSignIn.objects.get().end(by=cast.by(name), reason="spite")
    assert TerminalSignIn.objects.live().exists()


def test_an_ended_sign_in_stays_as_a_record(cast: Cast) -> None:
    Terminal().signed_in(cast)
    TerminalSignIn.objects.get().end(by=cast.by("ada"), reason="lost laptop")

    kept = TerminalSignIn.objects.get()

    assert (kept.ended_by, kept.end_reason) == (cast.ada, "lost laptop")
    assert TerminalSignIn.objects.all().end(by=cast.by("ada"), reason="again") == 0
