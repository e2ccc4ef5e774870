"""Idempotency-Key on what makes a secret: sent again, it is not done again, and no secret is told again."""

from typing import Any

import pytest

from osmo_portal.events.models import Event
from tests.cast import POOL_ROLE, Cast, in_days
from tests.rest import Rest, refused
from tokens.models import AccessToken, DoneBefore, Secret
from tokens.models.idempotency import KEPT

pytestmark = pytest.mark.django_db

KEY = "3f1c-nightly"


def asked(**changes: Any) -> dict[str, Any]:
    return {"owner": "robot", "name": "nightly", "expires_at": str(in_days(31)), "roles": [POOL_ROLE], **changes}


def test_an_issue_sent_again_is_a_conflict_that_names_the_token_and_tells_no_secret(cast: Cast):
    rest = Rest(person="grace")
    issued = rest.post("tokens", asked(), idempotency_key=KEY).json()
    AccessToken.objects.get(pk=issued["id"]).revoke(by=cast.by("grace"), reason="x")  # the name is free again

    again = rest.post("tokens", asked(), idempotency_key=KEY)

    refused(again, 409, "Idempotency-Key")
    assert again.json()["token"] == issued["id"]
    assert issued["secret"] not in again.content.decode()
    assert AccessToken.objects.count() == 1


def test_a_rotation_sent_again_makes_no_second_secret(cast: Cast):
    token, rest = cast.service_token(), Rest(person="grace")
    assert rest.post(f"tokens/{token.pk}/rotate", {}, idempotency_key=KEY).status_code == 200

    again = rest.post(f"tokens/{token.pk}/rotate", {}, idempotency_key=KEY)

    refused(again, 409)
    assert again.json()["token"] == token.pk
    assert Secret.objects.filter(token=token).count() == 2
    assert rest.post(f"tokens/{token.pk}/rotate", {"grace_seconds": 0}, idempotency_key="another").status_code == 200


def test_a_key_is_for_one_request(cast: Cast):
    token, rest = cast.service_token(), Rest(person="grace")
    rest.post("tokens", asked(), idempotency_key=KEY)
    before = Event.objects.count()

    refused(rest.post("tokens", asked(name="other"), idempotency_key=KEY), 422, "another request")
    refused(rest.post(f"tokens/{token.pk}/rotate", asked(), idempotency_key=KEY), 422, "another request")
    assert Event.objects.count() == before


def test_a_key_is_the_callers_own(cast: Cast):
    Rest(person="grace").post("tokens", asked(), idempotency_key=KEY)

    own = {"owner": "ada", "name": "laptop", "expires_at": str(in_days(31))}

    assert Rest(person="ada").post("tokens", own, idempotency_key=KEY).status_code == 201


def test_what_was_refused_may_be_corrected_under_its_key(cast: Cast):
    rest = Rest(person="grace")

    refused(rest.post("tokens", asked(roles=["no-such-role"]), idempotency_key=KEY), 400)
    assert not DoneBefore.objects.exists()
    assert rest.post("tokens", asked(), idempotency_key=KEY).status_code == 201


def test_keys_are_forgotten_after_a_day(cast: Cast, time_machine: Any):
    Rest(person="grace").post("tokens", asked(), idempotency_key=KEY)
    Rest(person="ada").post("tokens", {**asked(), "owner": "ada", "roles": []}, idempotency_key=KEY)
    first = DoneBefore.objects.get(user=cast.grace)
    DoneBefore.objects.update(at=first.at - KEPT)

    assert Rest(person="grace").post("tokens", asked(name="other"), idempotency_key=KEY).status_code == 201
    assert DoneBefore.objects.get().user == cast.grace


def test_neither_key_nor_body_is_kept(cast: Cast):
    secret = str(cast.service_token().plaintext)
    Rest(person="grace").post("tokens", asked(description="words of the body"), idempotency_key=secret)

    kept = str(DoneBefore.objects.values().get())

    assert secret not in kept
    assert "nightly" not in kept
    assert "words" not in kept


@pytest.mark.parametrize("key", ["", " ", "two words", "x" * 256, "é"])
def test_a_key_that_is_none_is_refused(cast: Cast, key: str):
    refused(Rest(person="grace").post("tokens", asked(), idempotency_key=key), 400, "Idempotency-Key")
    assert not AccessToken.objects.exists()
