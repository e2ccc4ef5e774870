"""Signing in to the console, and the own password."""

import pytest
from django.test import Client
from django.urls import reverse

from osmo_portal.events.models import Event
from profiles.models import User
from tests.cast import PASSWORD, Cast
from tests.console import Answer, form_errors, last_event, text, visitor

LOGIN = reverse("admin:login")
INDEX = reverse("admin:index")
PAGE = reverse("admin:password_change")
NEW = "a long enough phrase"


def sign_in(username: str, password: str = PASSWORD, client: Client | None = None, **more: str) -> Answer:
    return (client or Client()).post(LOGIN, {"username": username, "password": password, **more})


@pytest.mark.parametrize("name", ["grace", "olive", "audrey"])
def test_who_may_use_the_console_signs_in(cast: Cast, name: str) -> None:
    client = Client()

    answer = sign_in(name, client=client, next=INDEX)

    assert answer["Location"] == INDEX
    assert client.get(INDEX).status_code == 200
    assert (last_event().action, last_event().actor) == ("signin.succeeded", name)


def test_anybody_else_signs_in_too_and_is_led_to_the_own_page(cast: Cast) -> None:
    client = Client()

    answer = sign_in("ada", client=client)

    assert answer["Location"] == client.get("/")["Location"] != INDEX
    assert client.get(answer["Location"]).status_code == 200
    assert (last_event().action, last_event().actor) == ("signin.succeeded", "ada")


def test_the_console_tells_anybody_else_in_a_plain_sentence_and_without_a_loop(cast: Cast) -> None:
    client = Client()

    answer = client.post(LOGIN, {"username": "ada", "password": PASSWORD, "next": INDEX}, follow=True)

    assert [address for address, _ in answer.redirect_chain] == [INDEX, f"{LOGIN}?next={INDEX}"]
    assert answer.status_code == 403
    assert "this console is for administrators, operators and auditors" in text(answer)


def test_anybody_signs_out(cast: Cast) -> None:
    client = visitor("ada")

    assert "You are signed out." in text(client.post(reverse("admin:logout")))
    assert "_auth_user_id" not in client.session


def test_signing_in_changes_the_key_of_the_session(cast: Cast) -> None:
    client = Client()
    client.cookies["sessionid"] = fixed = client.session.session_key or "x" * 32

    sign_in("grace", client=client)

    assert client.cookies["sessionid"].value != fixed


@pytest.mark.parametrize("page", ["/admin/login/", "/admin/signup/", "/admin/own/email/", "/accounts/login/"])
def test_nobody_signs_up_and_no_page_of_the_library_shows(cast: Cast, page: str) -> None:
    answer = Client().get(page)

    assert answer.status_code in (200, 302, 404)
    assert "allauth" not in text(answer).lower()
    assert "sign up" not in text(answer).lower()


@pytest.mark.parametrize(
    ("username", "password"),
    [("grace", "wrong"), ("nobody", PASSWORD), ("robot", ""), ("robot", PASSWORD), ("mallory", "wrong")],
)
def test_a_wrong_password_and_an_unknown_name_look_the_same(cast: Cast, username: str, password: str) -> None:
    answer = sign_in(username, password)

    errors = form_errors(answer)
    assert set(errors) <= {"__all__", "password"}
    if password:
        assert errors["__all__"][0].startswith("The user id or the password is wrong.")


def test_an_inactive_person_looks_like_a_stranger(cast: Cast) -> None:
    cast.olive.deactivate(by=cast.by("grace"), reason="left")

    answer = sign_in("olive")

    assert form_errors(answer)["__all__"][0].startswith("The user id or the password is wrong.")


def test_a_failed_sign_in_is_an_event_that_names_whom_it_was_tried_for(cast: Cast) -> None:
    sign_in("GRACE", "wrong")

    event = last_event()
    assert (event.action, event.object_label, event.object_id) == ("signin.failed", "grace", cast.grace.pk)
    assert (event.actor, event.actor_id, event.ip) == ("(not signed in)", None, "127.0.0.1")
    assert event.request_id


def test_what_was_typed_into_the_wrong_field_is_not_kept(cast: Cast) -> None:
    secret = str(cast.service_token().plaintext)

    sign_in(secret, "x")
    sign_in("correct horse battery", "x")

    labels = [event.object_label for event in Event.objects.filter(action="signin.failed")]
    assert labels == ["corr…", "osmo…"]


@pytest.mark.parametrize(
    "username", ["x" * 5_000, "nul\0", "\x1b[31m", "", "'; --", "\N{KEY}", "<script>alert(1)</script>"]
)
def test_a_bad_user_id_breaks_nothing(cast: Cast, username: str) -> None:
    answer = sign_in(username, "x")

    assert form_errors(answer)
    assert "<script>alert" not in text(answer)


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "\\\\evil.example"]
)
def test_signing_in_stays_on_this_host(cast: Cast, target: str) -> None:
    answer = sign_in("grace", next=target)

    assert "evil" not in answer["Location"]
    assert not answer["Location"].startswith("javascript")


def test_the_sign_in_page_asks_for_the_csrf_token(cast: Cast) -> None:
    answer = sign_in("grace", client=Client(enforce_csrf_checks=True))

    assert answer.status_code == 403


def test_who_is_signed_in_already_is_led_on(cast: Cast) -> None:
    assert visitor("grace").get(LOGIN)["Location"] == INDEX


def test_signing_out_needs_a_post_and_ends_the_session(cast: Cast) -> None:
    client = visitor("grace")

    assert client.get(reverse("admin:logout")).status_code == 405
    assert "You are signed out." in text(client.post(reverse("admin:logout")))
    assert client.get(INDEX).status_code == 302


# The own password.


def test_a_person_changes_the_own_password_with_an_event(cast: Cast) -> None:
    client, elsewhere = visitor("audrey"), visitor("audrey")

    answer = client.post(PAGE, {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW})

    assert answer["Location"] == reverse("admin:password_change_done")
    assert User.objects.get(username="audrey").check_password(NEW)
    assert (last_event().action, last_event().actor) == ("user.password_changed", "audrey")
    assert client.get(INDEX).status_code == 200
    assert elsewhere.get(INDEX).status_code == 302
    assert "Your password is changed." in text(client.get(reverse("admin:password_change_done")))


@pytest.mark.parametrize(
    ("old", "first", "second", "field"),
    [
        ("wrong", NEW, NEW, "old_password"),
        (PASSWORD, NEW, "another phrase", "new_password2"),
        (PASSWORD, "short", "short", "new_password1"),
        (PASSWORD, "", "", "new_password1"),
    ],
)
def test_a_bad_change_of_password_changes_nothing(cast: Cast, old: str, first: str, second: str, field: str) -> None:
    answer = visitor("grace").post(PAGE, {"old_password": old, "new_password1": first, "new_password2": second})

    assert field in form_errors(answer)
    assert User.objects.get(username="grace").check_password(PASSWORD)


def test_everybody_has_the_page_of_the_own_password(cast: Cast) -> None:
    client = visitor("ada")

    answer = client.post(PAGE, {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW})

    assert answer["Location"] == reverse("admin:password_change_done")
    assert User.objects.get(username="ada").check_password(NEW)


def test_the_page_of_the_own_password_wants_somebody_who_is_signed_in(cast: Cast) -> None:
    assert Client().get(PAGE)["Location"].startswith(LOGIN)


def test_an_apps_own_index_leads_to_the_first_page(cast: Cast) -> None:
    assert visitor("grace").get(reverse("admin:app_list", args=["tokens"]))["Location"] == INDEX
