"""The audit trail in the console: read, and nothing else."""

from typing import Any

import pytest
from django.urls import reverse

from osmo_portal.console import words
from osmo_portal.events.models import Event
from tests.cast import PLAIN_ROLE, Cast
from tests.console import address, text, visitor
from tokens.models import AccessToken

LIST = "admin:events_event_changelist"


def listed(**query: Any) -> list[str]:
    page = visitor("audrey").get(reverse(LIST), query)
    return [event.action for event in page.context["cl"].result_list]


def test_events_are_filtered_by_action_door_and_actor(cast: Cast) -> None:
    cast.service_token()

    assert listed(action="token.issued") == ["token.issued"]
    assert listed(action="nothing") == []
    assert set(listed(actor="grace")) == {"user.created", "role.assigned", "token.issued"}
    assert "pool.created" in listed(via="command")
    assert "token.issued" not in listed(via="command")
    assert listed(via="admin", action="token.issued", actor="olive") == []


def test_an_event_is_shown_in_full(cast: Cast) -> None:
    cast.robot.remove_role(PLAIN_ROLE, by=cast.by("grace"), reason="was for a week")
    event = Event.objects.get(action="role.removed")

    page = visitor("audrey").get(address(event))

    assert "was for a week" in text(page)
    assert event.hash in text(page)
    assert event.previous_hash in text(page)
    assert page.context["buttons"] == []


def test_an_event_leads_to_what_it_is_about(cast: Cast) -> None:
    token = cast.service_token()
    issued = Event.objects.get(action="token.issued")
    created = Event.objects.get(action="user.created", object_label="robot")
    pool = Event.objects.get(action="pool.created")
    client = visitor("audrey")

    assert address(token) in text(client.get(address(issued)))
    assert reverse("admin:profiles_person_whoever", args=[cast.robot.pk]) in text(client.get(address(created)))
    assert address(cast.pool) in text(client.get(address(pool)))


def test_a_batch_lists_its_lines(cast: Cast) -> None:
    for number in range(3):
        cast.service_token(f"t{number}")
    AccessToken.objects.all().revoke(by=cast.by("grace"), reason="all of them")

    page = text(visitor("audrey").get(address(Event.objects.get(action="tokens.revoked"))))

    assert page.count("robot/t") == 3
    assert "More lines" not in page


def test_a_large_batch_is_cut_and_says_so(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osmo_portal.events.admin.LINES_SHOWN", 2)
    for number in range(3):
        cast.service_token(f"t{number}")
    AccessToken.objects.all().revoke(by=cast.by("grace"), reason="all of them")

    page = text(visitor("audrey").get(address(Event.objects.get(action="tokens.revoked"))))

    assert page.count("robot/t") == 2
    assert "More lines" in page


# Words.


def event(action: str, **changes: Any) -> Event:
    return Event(action=action, changes=changes)


def test_a_change_is_told_as_before_and_after() -> None:
    told = words.changes(event("role.changed", description=["", "Reads"], max_token_days=[None, 7]))

    assert told == [("description", "nothing → Reads"), ("max token days", "nothing → 7")]


def test_what_stayed_the_same_or_says_nothing_is_left_out() -> None:
    assert words.changes(event("token.rotated", expires_at=["x", "x"], note=None, roles=[])) == []


def test_a_list_of_a_new_record_is_no_before_and_after() -> None:
    assert words.changes(event("token.issued", roles=["a", "b"])) == [("roles", "a, b")]


def test_instants_booleans_and_policies_are_readable() -> None:
    told = words.changes(
        event(
            "pool.changed",
            online=[False, True],
            expires_at=["2026-01-02T00:00:00+00:00", "2026-02-03T00:00:00+00:00"],
            policies=[[{"effect": "Allow"}], []],
            count=3,
        )
    )

    assert told == [
        ("online", "no → yes"),
        ("expires at", "2026-01-02 00:00 UTC → 2026-02-03 00:00 UTC"),
        ("policies", '[{"effect": "Allow"}] → nothing'),
        ("count", "3"),
    ]


def test_actions_are_spoken() -> None:
    assert words.spoken("user.password_changed") == "user password changed"
    assert words.spoken("signin.failed") == "sign-in failed"
