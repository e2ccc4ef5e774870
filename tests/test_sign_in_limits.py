"""Failures are counted, of an address and of a user id; nobody locks the holder out for good."""

from collections.abc import Callable

import pytest
from allauth.core.ratelimit import respond_429
from django.core.cache import caches
from django.test import Client, RequestFactory
from django.urls import reverse

from osmo_portal.events.models import Event
from osmo_portal.signin.models import CacheEntry
from profiles.models import User
from tests.cast import PASSWORD, Cast
from tests.console import Answer, text, visitor

LOGIN = reverse("admin:login")
CONFIRM = reverse("admin:confirm")
CHANGE = reverse("admin:password_change")
OF_A_NAME, OF_AN_ADDRESS = 10, 30


def attempt(name: str, password: str = "wrong", client: Client | None = None, address: str = "192.0.2.1") -> Answer:
    client = client or Client()
    return client.post(LOGIN, {"username": name, "password": password}, REMOTE_ADDR=address)


def flood(name: str = "grace", times: int = OF_A_NAME) -> list[int]:
    """Wrong passwords for one name, each from another address."""
    return [attempt(name, address=f"198.51.100.{number}").status_code for number in range(times)]


def test_too_many_failures_for_a_name_are_refused_from_every_address(cast: Cast) -> None:
    assert flood() == [200] * OF_A_NAME

    answer = attempt("GRACE", PASSWORD)

    assert (answer.status_code, answer["Retry-After"]) == (429, "900")
    assert "There were too many wrong tries. Wait 15 minutes" in text(answer)
    assert attempt("olive", PASSWORD).status_code == 302


def test_a_name_that_nobody_has_is_limited_alike(cast: Cast) -> None:
    flood("nobody")

    assert text(attempt("nobody")).count("too many wrong tries") == 1


def test_too_many_failures_from_an_address_are_refused_whatever_the_name(cast: Cast) -> None:
    for number in range(OF_AN_ADDRESS):
        assert attempt(f"name-{number}").status_code == 200

    assert attempt("grace", PASSWORD).status_code == 429
    assert attempt("grace", PASSWORD, address="192.0.2.2").status_code == 302


def test_the_holder_still_gets_in_from_a_browser_that_was_used_before(cast: Cast) -> None:
    known = Client()
    attempt("grace", PASSWORD, client=known)
    known.post(reverse("admin:logout"))
    flood()

    assert attempt("grace", PASSWORD, client=known).status_code == 302
    assert attempt("grace", PASSWORD).status_code == 429


def test_the_holder_still_gets_in_while_somebody_guesses_from_the_same_address(cast: Cast) -> None:
    known = Client()
    attempt("grace", PASSWORD, client=known)
    known.post(reverse("admin:logout"))
    for number in range(OF_AN_ADDRESS + 1):
        attempt(f"name-{number}")

    assert attempt("mallory", PASSWORD, client=known).status_code == 429
    assert attempt("grace", PASSWORD).status_code == 429
    assert attempt("grace", PASSWORD, client=known).status_code == 302


def test_a_browser_known_to_one_person_helps_against_nobody_else(cast: Cast) -> None:
    known = Client()
    attempt("mallory", PASSWORD, client=known)
    known.post(reverse("admin:logout"))
    flood()

    assert attempt("grace", PASSWORD, client=known).status_code == 429


@pytest.mark.parametrize("forged", ["x", ".", "a.b", "a." + "0" * 64])
def test_a_forged_cookie_makes_no_browser_known(cast: Cast, forged: str) -> None:
    client = Client()
    client.cookies["known_browser"] = forged
    flood()

    assert attempt("grace", PASSWORD, client=client).status_code == 429


def test_a_known_browser_has_a_limit_too(cast: Cast) -> None:
    known = Client()
    attempt("grace", PASSWORD, client=known)
    known.post(reverse("admin:logout"))
    for _ in range(OF_A_NAME):
        attempt("grace", client=known)

    assert attempt("grace", PASSWORD, client=known).status_code == 429


def test_it_ends_after_a_quarter_of_an_hour(cast: Cast, time_machine_days: Callable[[float], None]) -> None:
    flood()
    time_machine_days(0.011)

    assert attempt("grace", PASSWORD).status_code == 302


def test_successes_are_not_counted(cast: Cast) -> None:
    for _ in range(OF_A_NAME + 2):
        assert attempt("grace", PASSWORD).status_code == 302


def test_what_is_refused_by_a_limit_writes_no_event(cast: Cast) -> None:
    flood()
    before = Event.objects.count()

    attempt("grace")

    assert before >= OF_A_NAME
    assert Event.objects.count() == before


def test_the_step_that_asks_again_counts_failures_too(cast: Cast) -> None:
    client = visitor("grace")
    for _ in range(OF_A_NAME):
        assert "The password is wrong" in text(client.post(CONFIRM, {"password": "wrong"}))

    answer = client.post(CONFIRM, {"password": PASSWORD})
    assert (answer.status_code, answer["Retry-After"]) == (429, "900")
    assert "too many wrong tries" in text(answer)


def test_who_found_a_session_open_cannot_guess_the_old_password(cast: Cast) -> None:
    client, new = visitor("grace"), {"new_password1": "a long enough phrase", "new_password2": "a long enough phrase"}
    for _ in range(OF_A_NAME):
        assert client.post(CHANGE, {"old_password": "wrong", **new}).status_code == 200

    answer = client.post(CHANGE, {"old_password": PASSWORD, **new})

    assert (answer.status_code, answer["Retry-After"]) == (429, "900")
    assert "too many wrong tries" in text(answer)
    assert User.objects.get(username="grace").check_password(PASSWORD)


def test_what_is_limited_before_any_form_is_read_is_told_alike(rf: RequestFactory) -> None:
    answer = respond_429(rf.get(LOGIN))

    assert (answer.status_code, answer["Retry-After"]) == (429, "900")
    assert "There were too many wrong tries. Wait 15 minutes" in text(answer)


def test_the_counts_are_in_the_database_where_all_processes_see_them(cast: Cast) -> None:
    caches["default"].set("seen", "by all")

    assert CacheEntry.objects.filter(cache_key__endswith="seen").exists()


def test_a_limit_that_cannot_count_refuses(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock of the count is held by somebody who does not give it back: slower, and not open."""
    monkeypatch.setattr("allauth.core.internal.ratelimit.CACHE_LOCK_WAIT_TIMEOUT", 0.01)
    monkeypatch.setattr("django.core.cache.backends.db.DatabaseCache.add", lambda *args, **kwargs: False)

    assert attempt("grace", PASSWORD).status_code == 429
