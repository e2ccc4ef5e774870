"""A password by mail: for who forgot it, and for who is invited."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.tokens import default_token_generator
from django.core import mail
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from osmo_portal.events.models import Event
from osmo_portal.signin.mail import remind
from profiles.models import User
from tests.cast import PASSWORD, Cast
from tests.console import Answer, address, form_errors, last_event, text, visitor

LOGIN = reverse("admin:login")
FORGOTTEN = reverse("forgotten")
SENT = reverse("forgotten_sent")
NEW = "a long enough phrase"
CHOSEN = {"new_password1": NEW, "new_password2": NEW}


@pytest.fixture(autouse=True)
def sends_mail(settings: Any) -> None:
    settings.SENDS_MAIL = True


def ask(typed: str, client: Client | None = None) -> Answer:
    return (client or Client()).post(FORGOTTEN, {"typed": typed})


def link() -> str:
    """The address in the last mail, without the host."""
    (found,) = re.findall(r"http://127\.0\.0\.1:8000(/admin/login/\S+)", str(mail.outbox[-1].body))
    return str(found)


def open_form(at: str, client: Client) -> str:
    """Where the form is that the link leads to."""
    return str(client.get(at)["Location"])


@pytest.mark.parametrize("typed", ["ada", "ADA", "ada@example.com", "ADA@Example.com"])
def test_who_forgot_the_password_sets_another_by_a_link(cast: Cast, typed: str) -> None:
    client, elsewhere = Client(), visitor("ada")

    assert ask(typed)["Location"] == SENT
    form = open_form(link(), client)
    answer = client.post(form, CHOSEN)

    assert mail.outbox[0].to == ["ada@example.com"]
    assert answer["Location"] == LOGIN
    assert "Your password is set" in text(client.get(LOGIN))
    assert User.objects.get(username="ada").check_password(NEW)
    assert (last_event().action, last_event().actor) == ("user.password_changed", "ada")
    assert "_auth_user_id" not in client.session
    assert elsewhere.get(reverse("mfa_index")).status_code == 302


@pytest.mark.parametrize("typed", ["nobody", "nobody@example.com", "robot", "left", "keyless", "x@", "'; --", "%"])
def test_the_answer_is_the_same_where_nothing_is_sent(cast: Cast, typed: str) -> None:
    by = cast.by("grace")
    left = User.create_person(by=by, username="left", email="left@example.com", password=PASSWORD)
    left.deactivate(by=by, reason="left")
    User.create_person(by=by, username="keyless", email="keyless@example.com")
    events = Event.objects.count()

    known, unknown = ask("ada"), ask(typed)

    assert [message.to for message in mail.outbox] == [["ada@example.com"]]
    assert (known.status_code, known["Location"]) == (unknown.status_code, unknown["Location"])
    assert text(known) == text(unknown)
    assert Event.objects.count() == events + 1


def test_nothing_is_looked_up_before_the_answer_is_sent(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def note(typed: str) -> list[User]:
        looked.append(typed)
        return []

    monkeypatch.setattr("osmo_portal.signin.mail._known_as", note)
    answer = remind(RequestFactory().post(FORGOTTEN), "ada", SENT)
    assert not looked
    answer.close()
    assert looked == ["ada"]


def test_people_who_share_an_address_get_a_mail_each(cast: Cast) -> None:
    User.create_person(by=cast.by("grace"), username="twin", email="ada@example.com", password=PASSWORD)

    ask("ada@example.com")

    assert sorted("twin" in str(message.body) for message in mail.outbox) == [False, True]


def test_a_link_works_once(cast: Cast) -> None:
    ask("ada")
    used = link()
    client = Client()
    client.post(open_form(used, client), CHOSEN)

    assert "This link was used already, or it has ended." in text(Client().get(used))


def test_a_link_ends_after_a_day(cast: Cast, time_machine_days: Callable[[float], None]) -> None:
    ask("ada")
    late = link()
    time_machine_days(1.01)

    assert "This link was used already, or it has ended." in text(Client().get(late))


@pytest.mark.parametrize("end", ["deactivate", "mark_deleted"])
def test_a_link_of_who_may_not_sign_in_any_more_is_void(cast: Cast, end: str) -> None:
    ask("ada")
    client = Client()
    form = open_form(link(), client)
    getattr(cast.ada, end)(by=cast.by("grace"), reason="left")

    answer = client.post(form, CHOSEN)

    assert "This link was used already, or it has ended." in text(answer)
    assert User.objects.get(pk=cast.ada.pk).check_password(PASSWORD)


def test_a_service_account_gets_no_password_by_any_link(cast: Cast) -> None:
    token = default_token_generator.make_token(cast.robot)
    page = reverse("new_password", args=[urlsafe_base64_encode(force_bytes(cast.robot.pk))])

    assert "This link was used already" in text(Client().get(page, {"key": token}))


def test_the_page_that_is_shown_has_no_token_in_its_address(cast: Cast) -> None:
    ask("ada")
    client = Client()
    token = link().rpartition("=")[2]

    answer = client.get(link(), follow=True)

    assert [answer.status_code, len(answer.redirect_chain)] == [200, 1]
    assert token not in answer.redirect_chain[-1][0] + text(answer)
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Cache-Control"]


@pytest.mark.parametrize("key", ["", "x", "set-password", "0-0", "nul%00"])
def test_a_made_up_key_opens_nothing(cast: Cast, key: str) -> None:
    ask("ada")
    page = link().partition("?")[0]

    answer = Client().get(f"{page}?key={key}")

    assert answer.status_code in (200, 400)
    assert "new_password1" not in text(answer)


def test_a_bad_choice_changes_nothing(cast: Cast) -> None:
    ask("ada")
    client = Client()

    answer = client.post(open_form(link(), client), {"new_password1": "short", "new_password2": "short"})

    assert list(form_errors(answer)) == ["new_password1"]
    assert User.objects.get(username="ada").check_password(PASSWORD)


def test_too_many_requests_are_refused(cast: Cast) -> None:
    answers = [ask("ada") for _ in range(4)]

    assert [answer.status_code for answer in answers] == [302, 302, 302, 429]
    assert answers[-1]["Retry-After"] == "900"
    assert "Links were asked for too often." in text(answers[-1])
    assert "Send the link" in text(answers[-1])
    assert len(mail.outbox) == 3


def test_the_event_of_a_link_holds_no_token(cast: Cast) -> None:
    ask("ada")

    event = last_event()
    assert (event.action, event.object_label, event.actor) == ("user.password_link_made", "ada", "(not signed in)")
    assert link().rpartition("=")[2] not in repr(Event.objects.filter(pk=event.pk).values())


def test_an_administrator_invites_who_has_no_password(cast: Cast) -> None:
    newcomer = User.create_person(by=cast.by("grace"), username="new", email="new@example.com")
    client = Client()

    visitor("grace").post(address(newcomer, "invite"))
    client.post(open_form(link(), client), CHOSEN)

    assert client.post(LOGIN, {"username": "new", "password": NEW}).status_code == 302
    actions = Event.objects.filter(object_label="new").values_list("action", "actor")
    assert ("user.password_link_made", "grace") in actions


def test_nobody_else_invites(cast: Cast) -> None:
    for name in ("olive", "audrey"):
        assert visitor(name).post(address(cast.ada, "invite")).status_code == 403
    assert not mail.outbox


def test_without_mail_there_is_no_link_by_mail(cast: Cast, settings: Any) -> None:
    assert FORGOTTEN in text(Client().get(LOGIN))
    settings.SENDS_MAIL = False

    assert FORGOTTEN not in text(Client().get(LOGIN))
    assert Client().get(FORGOTTEN).status_code == ask("ada").status_code == 404
    assert "invitation" not in text(visitor("grace").get(address(cast.ada)))
