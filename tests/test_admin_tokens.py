"""Tokens in the console: found, rotated, suspended, resumed and revoked, never edited or deleted."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from osmo_portal.events.models import Event
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tests.console import Answer, address, form_errors, last_event, text, visitor
from tokens import secrets
from tokens.models import AccessToken, Secret

SECRET = re.compile(r"osmo_[0-9A-Za-z]{49}")


def rotate(client: Client, token: AccessToken, **changed: Any) -> Answer:
    return client.post(address(token, "rotate"), {"grace": "86400", "rotations": token.rotations, **changed})


def act(name: str, token: AccessToken, slug: str, reason: str = "it leaked") -> Answer:
    return visitor(name).post(address(token, slug), {"reason": reason})


def buttons(name: str, token: AccessToken) -> list[str]:
    page = visitor(name).get(address(token))
    return [button["label"] for button in page.context["buttons"]]


# Rotating.


def test_rotating_shows_a_new_secret_once_and_the_old_one_lives_on(cast: Cast) -> None:
    token = cast.service_token()

    answer = rotate(visitor("grace"), token)

    (shown,) = set(SECRET.findall(text(answer)))
    assert "no-store" in answer["Cache-Control"]
    assert answer["Referrer-Policy"] == "no-referrer"
    assert "The old secret works until" in text(answer)
    new, old = Secret.objects.filter(token=token).order_by("-pk")
    assert new.digest == secrets.digest(shown)
    assert old.retires_at is not None
    assert timedelta(hours=23) < old.retires_at - timezone.now() <= timedelta(hours=24)


def test_rotating_without_grace_kills_the_old_secret(cast: Cast) -> None:
    token = cast.service_token()

    answer = rotate(visitor("grace"), token, grace="0")

    assert "The old secret is dead." in text(answer)
    assert [s.slot for s in Secret.objects.filter(token=token).order_by("-pk")] == [0, None]


def test_a_rotation_that_is_sent_twice_happens_once(cast: Cast) -> None:
    token = cast.service_token()
    client = visitor("grace")
    shown = SECRET.findall(text(rotate(client, token)))[0]

    again = rotate(client, token)

    assert AccessToken.objects.get().rotations == 1
    assert Secret.objects.count() == 2
    assert shown not in text(again)
    assert not SECRET.search(text(again))
    assert "not again" in form_errors(again)["__all__"][0]


def test_a_rotation_from_an_old_page_is_refused(cast: Cast) -> None:
    token = cast.service_token()
    token.rotate(by=cast.by("grace"), grace=timedelta(0))

    answer = rotate(visitor("grace"), token, rotations=0)

    assert "rotated since this page was opened" in form_errors(answer)["__all__"][0]
    assert Secret.objects.filter(slot__isnull=False).count() == 1


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"grace": ""}, "grace"),
        ({"grace": "5"}, "grace"),
        ({"grace": "-1"}, "grace"),
        ({"grace": "nul\0"}, "grace"),
        ({"rotations": "x"}, "rotations"),
        ({"rotations": "-1"}, "rotations"),
        ({"rotations": ""}, "rotations"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"expires_at": "2020-01-01"}, "expires_at"),
        ({"expires_at": "9999-12-31"}, "expires_at"),
    ],
)
def test_a_bad_rotation_changes_nothing(cast: Cast, changed: dict[str, str], field: str) -> None:
    token = cast.service_token()

    answer = rotate(visitor("grace"), token, **changed)

    assert set(form_errors(answer)) == {field}
    assert Secret.objects.count() == 1


def test_a_third_live_secret_is_refused_in_words(cast: Cast) -> None:
    token = cast.service_token()
    token = token.rotate(by=cast.by("grace"))

    answer = rotate(visitor("grace"), token)

    assert "Two secrets live already" in form_errors(answer)["__all__"][0]
    assert not SECRET.search(text(answer))


def test_while_two_secrets_live_only_to_end_both_is_offered(cast: Cast) -> None:
    token = cast.service_token().rotate(by=cast.by("grace"))
    client = visitor("grace")

    page = client.get(address(token, "rotate"))
    answer = rotate(client, token, grace=page.context["form"]["grace"].value())

    assert "ends both at once" in text(page)
    assert [grace.data["value"] for grace in page.context["form"]["grace"]] == ["0"]
    assert SECRET.search(text(answer))
    assert Secret.objects.live().count() == 1


def test_rotating_may_set_a_new_last_day(cast: Cast) -> None:
    token = cast.service_token()

    rotate(visitor("grace"), token, expires_at=in_days(60).isoformat())

    assert AccessToken.objects.get().expires_at.date() == in_days(60)


def test_an_operator_rotates_a_plain_token_and_no_other(cast: Cast) -> None:
    plain, powerful = cast.service_token("plain", [PLAIN_ROLE]), cast.service_token("powerful", [POOL_ROLE])
    client = visitor("olive")

    allowed, refused = rotate(client, plain), rotate(client, powerful)

    assert SECRET.search(text(allowed))
    assert refused.status_code == 403
    assert Secret.objects.filter(token=powerful).count() == 1


# Suspending, resuming, revoking.


@pytest.mark.parametrize("slug", ["suspend", "resume", "revoke"])
@pytest.mark.parametrize("reason", ["", "   ", "nul\0", "x" * 2_001, "\x1b[31m"])
def test_no_reason_or_a_bad_one_changes_nothing(cast: Cast, slug: str, reason: str) -> None:
    token = cast.service_token()
    if slug == "resume":
        token.suspend(by=cast.by("grace"), reason="wait")
    events = Event.objects.exclude(action__startswith="signin").count()

    answer = act("grace", token, slug, reason)

    assert set(form_errors(answer)) == {"reason"}
    assert Event.objects.exclude(action__startswith="signin").count() == events


def test_a_token_is_suspended_and_resumed(cast: Cast) -> None:
    token = cast.service_token()

    act("grace", token, "suspend")
    assert AccessToken.objects.get().state() == "suspended"

    answer = act("grace", token, "resume", "found its user")
    assert answer["Location"] == address(token)
    assert AccessToken.objects.get().state() == "active"
    assert (last_event().action, last_event().reason) == ("token.resumed", "found its user")


def test_a_token_is_revoked_for_good_with_its_reason(cast: Cast) -> None:
    token = cast.service_token()

    answer = act("olive", token, "revoke", "found in a repository")

    assert answer["Location"] == address(token)
    revoked = AccessToken.objects.get()
    assert (revoked.state(), revoked.end_reason, revoked.ended_by) == ("revoked", "found in a repository", cast.olive)
    assert buttons("grace", token) == []
    assert "found in a repository" in text(visitor("grace").get(address(token)))


@pytest.mark.parametrize("slug", ["revoke", "suspend", "resume", "rotate"])
def test_nothing_is_done_to_a_revoked_token(cast: Cast, slug: str) -> None:
    token = cast.service_token()
    token.revoke(by=cast.by("grace"), reason="gone")
    client = visitor("grace")
    events = Event.objects.count()

    answer = client.post(address(token, slug), {"reason": "again", "grace": "0", "rotations": 0}, follow=True)

    assert "Nothing was changed." in text(answer)
    assert Event.objects.count() == events


def test_what_a_way_in_refuses_at_the_last_moment_is_a_form_error(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page still believes in the token; somebody else revoked it a moment ago."""
    from tokens.admin.lifecycle import Revoke

    token = cast.service_token()
    token.revoke(by=cast.by("grace"), reason="first")
    monkeypatch.setattr(Revoke, "fits", classmethod(lambda cls, record: True))

    answer = act("grace", token, "revoke", "second")

    assert form_errors(answer) == {"__all__": ["The token has been revoked already."]}
    assert "for good." not in "".join(str(message) for message in answer.context["messages"])
    assert AccessToken.objects.get().end_reason == "first"


# Buttons.


def test_buttons_appear_where_they_may_be_used(cast: Cast) -> None:
    plain, powerful = cast.service_token("plain", [PLAIN_ROLE]), cast.service_token("powerful", [POOL_ROLE])

    assert buttons("grace", powerful) == ["Rotate", "Suspend", "Revoke"]
    assert buttons("olive", plain) == ["Rotate", "Suspend", "Revoke"]
    assert buttons("olive", powerful) == ["Suspend", "Revoke"]
    assert buttons("audrey", plain) == []


def test_a_suspended_token_can_be_resumed_or_revoked(cast: Cast) -> None:
    token = cast.service_token()
    token.suspend(by=cast.by("grace"), reason="wait")

    assert buttons("grace", token) == ["Resume", "Revoke"]
    assert buttons("olive", token) == ["Revoke"]


# The page of a token.


def test_the_page_tells_which_roles_are_lost(cast: Cast) -> None:
    token = cast.service_token(roles=[POOL_ROLE, PLAIN_ROLE])
    cast.robot.remove_role(POOL_ROLE, by=cast.by("grace"), reason="too much")

    page = text(visitor("audrey").get(address(token)))

    assert "robot lost it" in page
    assert page.count('<span class="badge badge-lost">') == 1


def test_the_page_tells_of_each_secret_and_shows_its_last_characters_alone(cast: Cast) -> None:
    token = cast.service_token()
    first = token.plaintext
    second = token.rotate(by=cast.by("grace")).plaintext

    page = text(visitor("grace").get(address(token)))

    assert f"…{first[-4:]}" in page
    assert f"…{second[-4:]}" in page
    assert "in its grace" in page
    assert first[-8:] not in page
    assert second[-8:] not in page


def test_the_timeline_holds_the_tokens_own_events_and_its_lines_of_batches(cast: Cast) -> None:
    token, other = cast.service_token(), cast.service_token("other")
    soon = timezone.now() + timedelta(days=10)
    AccessToken.objects.filter(pk=token.pk).expire(by=cast.by("grace"), at=soon, reason="shorter lives")

    page = visitor("grace").get(address(token))

    assert [entry.event.action for entry in page.context["timeline"]] == ["tokens.expired", "token.issued"]
    assert "shorter lives" in text(page)
    assert [e.event.action for e in visitor("grace").get(address(other)).context["timeline"]] == ["token.issued"]


def test_the_history_is_the_trail(cast: Cast) -> None:
    token = cast.service_token()
    act("grace", token, "suspend", "looks odd")

    page = text(visitor("audrey").get(address(token, "history")))

    assert "token suspended" in page
    assert "looks odd" in page
