"""ETag and If-Match under /api/v1/: nobody's change is lost, and nothing is done to what nobody saw."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from osmo_portal.events.models import Event
from profiles.models import Role
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast
from tests.rest import Rest, refused
from tokens.models import AccessToken, LastUse

pytestmark = pytest.mark.django_db

STALE = '"0123456789abcdef0123456789abcdef"'
# What is asked of each record with a version that is right, wrong, or none.
CHANGES: list[tuple[str, str, Any]] = [
    ("PATCH", "users/{robot}", {"purpose": "Nightly"}),
    ("POST", "users/{robot}/assign-role", {"role": "osmo-user"}),
    ("POST", "users/{robot}/remove-role", {"role": PLAIN_ROLE, "reason": "x"}),
    ("POST", "users/{robot}/hand-over", {"to": "mallory", "reason": "x"}),
    ("POST", "users/{robot}/deactivate", {"reason": "x"}),
    ("POST", "users/{ada}/groups", {"groups": ["auditors"]}),
    ("DELETE", "users/{robot}?reason=x", None),
    ("PATCH", "roles/{role}", {"description": "x"}),
    ("DELETE", "roles/{role}?reason=x", None),
    ("PATCH", "pools/{pool}", {"description": "x"}),
    ("DELETE", "pools/{pool}?reason=x", None),
    ("DELETE", "assignments/{assignment}?reason=x", None),
    ("POST", "tokens/{token}/rotate", {}),
    ("POST", "tokens/{token}/suspend", {"reason": "x"}),
    ("POST", "tokens/{token}/revoke", {"reason": "x"}),
]


def at(cast: Cast, path: str) -> str:
    numbers = {"ada": cast.ada.pk, "robot": cast.robot.pk, "pool": cast.pool.pk}
    numbers["role"] = Role.objects.get(name=POOL_ROLE).pk
    numbers["assignment"] = cast.robot.assignments.get(role__name=POOL_ROLE).pk
    if "{token}" in path:
        numbers["token"] = cast.service_token(days=20).pk
    return path.format(**numbers)


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
def test_a_change_is_made_to_the_version_that_was_seen_or_not_at_all(cast: Cast, method: str, path: str, body: Any):
    rest, address = Rest(person="grace"), at(cast, path)
    record = "/".join(address.partition("?")[0].split("/")[:2])
    tag, before = rest.get(record)["ETag"], Event.objects.count()

    for wrong in (STALE, f"W/{tag}", "nonsense", ""):
        refused(rest.call(method, address, body, if_match=wrong), 412, "Read it again")
    assert rest.get(record)["ETag"] == tag
    assert Event.objects.count() == before

    answer = rest.call(method, address, body, if_match=f"{STALE}, {tag}")
    assert answer.status_code in {200, 204}
    assert Event.objects.count() > before
    if answer.status_code == 200:
        assert answer["ETag"] == rest.get(record)["ETag"] != tag


@pytest.mark.parametrize("path", ["users/{robot}", "roles/{role}", "pools/{pool}"])
def test_what_overwrites_says_which_version_it_means(cast: Cast, path: str):
    refused(Rest(person="grace").call("PATCH", at(cast, path), {"description": "x"}), 428, "If-Match")


def test_a_role_that_somebody_changed_meanwhile_is_not_overwritten(cast: Cast):
    role = Role.objects.get(name=PLAIN_ROLE)
    rest = Rest(person="grace")
    tag = rest.get(f"roles/{role.pk}")["ETag"]
    role.change(by=cast.by("grace"), policies=[])

    refused(rest.patch(f"roles/{role.pk}", {"description": "x"}, if_match=tag), 412)
    assert Role.objects.get(pk=role.pk).description == ""


VISIBLE: dict[str, Callable[[Cast, AccessToken], Any]] = {
    "suspended": lambda cast, token: token.suspend(by=cast.by("grace"), reason="x"),
    "rotated": lambda cast, token: token.rotate(by=cast.by("grace")),
    "lost a role": lambda cast, token: cast.robot.remove_role(POOL_ROLE, by=cast.by("grace")),
    "shortened": lambda cast, token: AccessToken.objects.filter(pk=token.pk).expire(
        by=cast.by("grace"), at=timezone.now() + timedelta(days=1), reason="x"
    ),
}


@pytest.mark.parametrize("what", VISIBLE)
def test_every_visible_change_is_another_version(cast: Cast, what: str):
    token, rest = cast.service_token(), Rest(person="grace")
    tag = rest.get(f"tokens/{token.pk}")["ETag"]

    VISIBLE[what](cast, token)

    assert rest.get(f"tokens/{token.pk}")["ETag"] != tag


def test_that_a_token_is_used_is_no_other_version(cast: Cast):
    """Else the token that works hardest could be changed last."""
    token, rest = cast.service_token(), Rest(person="grace")
    tag = rest.get(f"tokens/{token.pk}")["ETag"]
    LastUse.objects.filter(token=token).update(at=timezone.now())

    assert rest.get(f"tokens/{token.pk}")["ETag"] == tag


def test_a_version_tells_nothing_of_what_is_foreign(cast: Cast):
    token = cast.service_token()

    refused(Rest(person="mallory").post(f"tokens/{token.pk}/revoke", {"reason": "x"}, if_match=STALE), 404)
