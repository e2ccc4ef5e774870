"""manage.py recover_admin, and the commands of Django's that it takes the place of."""

import io

import pytest
from django.contrib.auth import authenticate
from django.core.management import CommandError, call_command

from osmo_portal.events.models import Event
from profiles.models import User
from tests.cast import PASSWORD, Cast

pytestmark = pytest.mark.django_db


def recover(username: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("recover_admin", username, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_a_person_becomes_administrator_with_a_new_password(cast: Cast):
    out, err = recover("ada")

    password = out.removesuffix("\n")
    assert authenticate(username="ada", password=password) == cast.ada
    assert authenticate(username="ada", password=PASSWORD) is None
    assert User.objects.get(username="ada").is_administrator
    assert password not in err


def test_an_administrator_who_was_deactivated_comes_back(cast: Cast):
    recover("ada")
    cast.grace.deactivate(by=cast.by("ada"), reason="left")

    password = recover("grace")[0].strip()

    assert authenticate(username="grace", password=password)
    assert Event.objects.get(action="user.reactivated").reason == "recovered from the shell"


def test_the_events_tell_of_it_without_the_password(cast: Cast):
    password = recover("ada")[0].strip()

    events = Event.objects.filter(object_id=cast.ada.pk, actor__startswith="system:", via="command")
    assert {"user.recovered", "role.assigned", "user.password_changed"} <= {event.action for event in events}
    assert not any(password in str([event.changes, event.reason]) for event in events)


def test_an_administrator_is_recovered_with_an_event_too(cast: Cast):
    recover("grace")

    assert Event.objects.filter(action="user.recovered", object_id=cast.grace.pk).exists()


@pytest.mark.parametrize(
    ("username", "text"), [("robot", "service account"), ("nobody", "no user 'nobody'"), ("", "no user")]
)
def test_only_an_existing_person_is_recovered(cast: Cast, username: str, text: str):
    before = Event.objects.count()

    with pytest.raises(CommandError, match=text):
        recover(username)

    assert Event.objects.count() == before


def test_a_deleted_person_is_not_recovered(cast: Cast):
    cast.mallory.mark_deleted(by=cast.by("grace"), reason="left")

    with pytest.raises(CommandError, match="no user 'mallory'"):
        recover("mallory")


@pytest.mark.parametrize(
    "args", [["createsuperuser"], ["createsuperuser", "--noinput", "--username=eve"], ["changepassword", "grace"]]
)
def test_djangos_own_ways_are_refused_with_a_hint(cast: Cast, args: list[str]):
    before = Event.objects.count(), User.objects.count()

    with pytest.raises(CommandError, match="recover_admin USER"):
        call_command(*args, stdout=io.StringIO(), stderr=io.StringIO())

    assert (Event.objects.count(), User.objects.count()) == before
    assert authenticate(username="grace", password=PASSWORD)
