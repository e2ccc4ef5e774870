"""manage.py bootstrap: the first administrator, once, and what is printed of it."""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth import authenticate
from django.core.management import CommandError, call_command

from osmo_portal.events.actor import Actor
from osmo_portal.events.models import Event
from profiles.models import Kind, User
from tests.cast import Cast, in_days
from tests.rest import Rest
from tokens import exchange
from tokens.models import AccessToken

pytestmark = pytest.mark.django_db


def bootstrap(*args: str) -> tuple[str, str]:
    """What it printed on stdout and on stderr."""
    out, err = io.StringIO(), io.StringIO()
    call_command("bootstrap", *args, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def bootstrapped() -> dict[str, Any]:
    made: dict[str, Any] = json.loads(bootstrap("--json")[0])
    return made


def test_the_first_run_makes_an_administrator_who_can_sign_in():
    made = bootstrapped()

    admin = User.objects.get(username="admin")
    assert admin.kind == Kind.PERSON
    assert admin.is_administrator
    assert authenticate(username="admin", password=made["password"]) == admin
    assert Rest(person="admin").get("users").status_code == 200


def test_the_token_is_an_administrators_service_token_for_a_day():
    made = bootstrapped()

    token = AccessToken.objects.get()
    assert (token.owner.username, token.name, token.role_names) == ("bootstrap", "bootstrap", ["osmo-admin"])
    assert token.owner.kind == Kind.SERVICE
    assert token.owner.accountable == User.objects.get(username="admin")
    assert timedelta(hours=1) <= token.expires_at - datetime.now(UTC) <= timedelta(hours=25)
    assert Rest(made["token"]).post("pools", {"name": "x"}).status_code == 201


def test_the_text_has_address_name_password_and_a_line_to_paste():
    out, err = bootstrap()

    lines = out.splitlines()
    assert settings.PORTAL_URL in lines[0]
    assert lines[1].split() == ["User:", "admin"]
    password = lines[2].removeprefix("Password:").strip()
    assert authenticate(username="admin", password=password)
    login = lines[-1]
    command, rest = login.split(" ", 1)
    assert Path(command).name == "osmo"
    assert command == "osmo" or Path(command).exists()  # by its place where the PATH does not have it
    assert rest.startswith(f"login {settings.PORTAL_URL} --method token --token osmo_")
    assert exchange.exchange(login.split()[-1])
    assert "osmo_" not in err
    assert password not in err


def test_the_json_holds_the_same():
    made = bootstrapped()

    assert set(made) == {"created", "portal", "username", "password", "token", "expires_at", "login"}
    assert made["created"] is True
    assert made["login"].endswith(f"osmo login {made['portal']} --method token --token {made['token']}")


def test_a_second_run_makes_nothing_and_prints_no_secret():
    first = bootstrapped()
    before = User.objects.count(), AccessToken.objects.count(), Event.objects.count()

    out, err = bootstrap()

    assert out == ""
    assert err == "There is an administrator already; nothing was done.\n"
    assert json.loads(bootstrap("--json")[0]) == {"created": False}
    assert (User.objects.count(), AccessToken.objects.count(), Event.objects.count()) == before
    assert authenticate(username="admin", password=first["password"])


def test_it_does_nothing_where_an_administrator_exists(cast: Cast):
    assert bootstrap("--username", "eve")[0] == ""
    assert not User.objects.filter(username="eve").exists()


def test_another_name_may_be_given():
    assert "the-boss" in bootstrap("--username", "the-boss")[0]
    assert User.objects.get(username="the-boss").is_administrator


@pytest.mark.parametrize("name", ["", "a b", "x" * 255, "bootstrap", "BOOTSTRAP"])
def test_a_name_that_cannot_be_makes_nothing_at_all(name: str):
    before = User.objects.count(), Event.objects.count()

    with pytest.raises(CommandError):
        bootstrap("--username", name)

    assert (User.objects.count(), Event.objects.count()) == before


def test_a_name_that_is_taken_is_refused_with_the_way_back_in():
    User.create_person(by=Actor.bootstrap(), username="admin")

    with pytest.raises(CommandError, match=r"User admin already exists.*recover_admin"):
        bootstrap()

    assert not AccessToken.objects.exists()


def test_the_events_tell_of_it_and_hold_no_secret():
    made = bootstrapped()

    events = Event.objects.order_by("pk")
    assert {event.action for event in events} == {"user.created", "role.assigned", "token.issued"}
    assert {event.via for event in events} == {"command"}
    assert events[0].actor.startswith("system:")
    assert events.get(action="token.issued").actor == "admin"
    told = json.dumps([[event.object_label, event.reason, event.changes] for event in events])
    assert made["password"] not in told
    assert made["token"][5:] not in told


@pytest.mark.parametrize(("clock", "day"), [("00:00", 1), ("22:59", 1), ("23:01", 2), ("23:59", 2)])
def test_the_day_leaves_at_least_an_hour(time_machine, clock: str, day: int):
    time_machine.move_to(datetime.fromisoformat(f"{in_days(1)}T{clock}:00+00:00"), tick=True)

    made = bootstrapped()

    assert made["expires_at"] == str(in_days(day))


def test_the_portals_maximum_counts_near_midnight_too(time_machine, settings):
    settings.MAX_TOKEN_DAYS = 1
    time_machine.move_to(datetime.fromisoformat(f"{in_days(1)}T23:30:00+00:00"), tick=True)

    assert bootstrapped()["expires_at"] == str(in_days(1))
