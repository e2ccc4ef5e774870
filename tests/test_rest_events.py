"""The audit trail under /api/v1/, and whose secret something is."""

from typing import Any

import pytest

from osmo_portal.events import verification
from osmo_portal.events.models import Event
from tests.bulk import many_tokens
from tests.cast import Cast
from tests.rest import Rest, refused
from tests.test_secret_hunt import dump, found
from tokens.models import AccessToken
from tokens.secrets import digest

pytestmark = pytest.mark.django_db

ROUTES = ["events", "events/1", "events/1/lines", "events/chain"]


@pytest.mark.parametrize(
    ("who", "sees"), [("grace", ROUTES), ("audrey", ROUTES), ("olive", ROUTES[:3]), ("ada", []), ("mallory", [])]
)
def test_the_trail_is_for_who_may_open_the_console(cast: Cast, who: str, sees: list[str]):
    rest = Rest(person=who)

    for route in ROUTES:
        assert rest.get(route).status_code == (200 if route in sees else 403), route


def test_groups_count_for_nothing_by_token(cast: Cast):
    for who in ("olive", "audrey", "grace"):
        refused(Rest(cast.user_token(who).plaintext).get("events"), 403)
    assert Rest(cast.administrator_token().plaintext).get("events").status_code == 200


def test_an_event_is_shown_whole_and_the_newest_first(cast: Cast):
    token = cast.service_token()
    token.revoke(by=cast.by("olive"), reason="leaked")

    shown = Rest(person="audrey").get("events?action=token.revoked").json()["results"][0]

    event = Event.objects.get(action="token.revoked")
    assert (shown["id"], shown["actor"], shown["object_label"]) == (event.pk, "olive", "robot/ci")
    assert (shown["reason"], shown["hash"], shown["previous_hash"]) == ("leaked", event.hash, event.previous_hash)
    numbers = [one["id"] for one in Rest(person="audrey").get("events").json()["results"]]
    assert numbers == sorted(numbers, reverse=True)


@pytest.mark.parametrize(
    ("query", "actions"),
    [
        ("actor=olive&kind=accesstoken", {"token.revoked"}),
        ("about=robot/ci", {"token.issued", "token.revoked"}),
        ("via=rest", set()),
        ("from=2999-01-01", set()),
        ("to=2001-01-01", set()),
        ("days=1&action=token.issued", {"token.issued"}),
        ("q=no-such-request", set()),
    ],
)
def test_events_are_filtered_as_in_the_console(cast: Cast, query: str, actions: set[str]):
    cast.service_token().revoke(by=cast.by("olive"), reason="leaked")

    assert Rest(person="audrey").names(f"events?{query}", "action") == actions


def test_what_a_batch_did_to_each_record_is_read_page_by_page(cast: Cast):
    tokens = many_tokens(cast.robot, 5)
    AccessToken.objects.all().revoke(by=cast.by("grace"), reason="x")
    event = Event.objects.get(action="tokens.revoked")
    rest = Rest(person="audrey")

    first = rest.get(f"events/{event.pk}/lines?page_size=3").json()
    second = rest.get(first["next"]).json()

    assert [one["object_id"] for one in first["results"] + second["results"]] == [token.pk for token in tokens]
    assert second["next"] is None


def test_the_state_of_the_chain_is_its_head_and_what_was_verified(cast: Cast):
    verification.verify_tail(by=cast.by("grace"))
    rest = Rest(person="audrey")

    shown = rest.get("events/chain").json()

    head = Event.objects.first()
    assert head
    assert (shown["count"], shown["hash"]) == (head.pk, head.hash)
    assert shown["whole"] is None
    assert (shown["tail"]["actor"], shown["tail"]["faults"]) == ("grace", 0)


# Whose secret something is.


@pytest.mark.parametrize("person", ["grace", "olive"])
def test_a_secret_or_its_digest_finds_its_token_and_is_kept_nowhere(cast: Cast, person: str, caplog: Any):
    token, rest = cast.service_token(), Rest(person=person)
    secret = str(token.plaintext)

    for pasted in (secret, f"OSMO_TOKEN={secret} # leaked", digest(secret).hex()):
        answer = rest.post("tokens/find", {"secret": pasted})
        assert answer.status_code == 200
        assert answer.json()["token"]["id"] == token.pk
        assert answer.json()["which"]["hint"] == secret[-4:]
        assert secret not in answer.content.decode()
        assert answer["cache-control"] == "no-store"
    assert Event.objects.filter(action="secret.looked_up", via="rest").count() == 3
    assert not found(secret, dump(), caplog.text)


def test_what_nobody_has_finds_nothing(cast: Cast):
    answer = Rest(person="grace").post("tokens/find", {"secret": "osmo_" + "x" * 49})

    assert answer.json() == {"token": None, "which": None, "purged": None}


@pytest.mark.parametrize("person", ["audrey", "ada", "mallory"])
def test_others_look_up_no_secret_not_even_their_own(cast: Cast, person: str):
    rest = Rest(person=person)

    refused(rest.post("tokens/find", {"secret": "osmo_" + "x" * 49}), 403, "Only administrators and operators")
