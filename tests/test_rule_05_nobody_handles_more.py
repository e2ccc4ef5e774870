"""R5: nobody handles a token more powerful than what he could grant; ending one is open to more."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from osmo_portal.events.actor import Actor, Door
from profiles.models import Role
from tests import dump
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast
from tokens import rules
from tokens.models import AccessToken

WEAKER: dict[str, Callable[[Cast], Actor]] = {
    "an operator": lambda cast: cast.by("olive"),
    "the accountable person": lambda cast: cast.by("ada"),
    "the accountable person by token": lambda cast: cast.with_token(cast.user_token("ada")),
    "an auditor": lambda cast: cast.by("audrey"),
    "a stranger": lambda cast: cast.by("mallory"),
    "an administrator by user token": lambda cast: cast.with_token(cast.user_token("grace")),
    "the account by another token": lambda cast: cast.with_token(cast.service_token("other")),
    "the account itself": lambda cast: cast.by("robot"),
    "the shell": lambda cast: Actor.shell(),
    "nobody": lambda cast: Actor.nobody(HttpRequest(), Door.ADMIN),
}


@pytest.mark.parametrize("caller", WEAKER.values(), ids=WEAKER.keys())
def test_a_token_with_a_pool_role_is_rotated_and_resumed_by_administrators_alone(
    cast: Cast, caller: Callable[[Cast], Actor]
) -> None:
    live, stopped = cast.service_token("live"), cast.service_token("stopped")
    stopped.suspend(by=cast.by("grace"), reason="holiday")
    by = caller(cast)
    before = dump.tables()

    for attempt in (
        lambda: live.rotate(by=by),
        lambda: live.rotate(by=by, grace=timedelta(0)),
        lambda: live.rotate(by=by, expires="2020-01-01"),
        lambda: stopped.resume(by=by, reason="back"),
    ):
        with pytest.raises(PermissionDenied):
            attempt()

    assert dump.tables() == before
    assert not rules.manageable_tokens(by).filter(pk__in=[live.pk, stopped.pk]).exists()


def test_a_token_cannot_rotate_itself_where_it_belongs_to_a_service_account(cast: Cast) -> None:
    token = cast.service_token(roles=[PLAIN_ROLE])

    with pytest.raises(PermissionDenied):
        token.rotate(by=cast.with_token(token))


@pytest.mark.parametrize("thief", ["olive", "audrey", "mallory", "robot"])
def test_nobody_but_its_owner_and_administrators_handles_a_user_token(cast: Cast, thief: str) -> None:
    token = cast.user_token()

    with pytest.raises(PermissionDenied):
        token.rotate(by=cast.by(thief))


@pytest.mark.parametrize("holder", ["ada", "grace"])
def test_its_owner_and_administrators_rotate_a_user_token(cast: Cast, holder: str) -> None:
    assert cast.user_token().rotate(by=cast.by(holder)).plaintext


def test_an_operator_rotates_and_resumes_a_service_token_with_plain_roles(cast: Cast) -> None:
    token = cast.service_token(roles=[PLAIN_ROLE]).rotate(by=cast.by("olive"))
    token.suspend(by=cast.by("olive"), reason="holiday")

    token.resume(by=cast.by("olive"), reason="back")

    assert token.plaintext
    assert AccessToken.objects.live().filter(pk=token.pk).exists()


def test_an_operator_handles_no_token_that_carries_one_pool_role_among_plain_ones(cast: Cast) -> None:
    with pytest.raises(PermissionDenied):
        cast.service_token(roles=[PLAIN_ROLE, POOL_ROLE]).rotate(by=cast.by("olive"))


def test_a_role_that_becomes_a_pool_role_takes_its_tokens_out_of_an_operators_hands(cast: Cast) -> None:
    token = cast.service_token(roles=[PLAIN_ROLE])

    Role.objects.get(name=PLAIN_ROLE).change(
        by=cast.by("grace"),
        policies=[{"effect": "Allow", "actions": ["workflow:Create"], "resources": ["pool/x"]}],
    )

    with pytest.raises(PermissionDenied):
        token.rotate(by=cast.by("olive"))


@pytest.mark.parametrize("caller", ["olive", "ada", "grace"])
def test_ending_needs_no_power_over_the_roles(cast: Cast, caller: str) -> None:
    one, two = cast.service_token("one"), cast.service_token("two")

    one.suspend(by=cast.by(caller), reason="looks odd")
    two.revoke(by=cast.by(caller), reason="leaked")

    assert [AccessToken.objects.get(pk=token.pk).state() for token in (one, two)] == ["suspended", "revoked"]


@pytest.mark.parametrize(
    "caller",
    [
        lambda cast: cast.by("audrey"),
        lambda cast: cast.by("mallory"),
        lambda cast: cast.by("robot"),
        lambda cast: cast.with_token(cast.service_token("other")),
        lambda cast: cast.with_token(cast.user_token("mallory")),
        lambda cast: Actor.nobody(HttpRequest(), Door.ADMIN),
    ],
    ids=["auditor", "stranger", "account", "account's token", "stranger's token", "nobody"],
)
def test_strangers_auditors_and_programs_end_nothing(cast: Cast, caller: Callable[[Cast], Actor]) -> None:
    token, by = cast.service_token(), caller(cast)
    before = dump.tables()

    for attempt in (
        lambda: token.suspend(by=by, reason="why not"),
        lambda: token.revoke(by=by, reason="why not"),
        lambda: AccessToken.objects.all().revoke(by=by, reason="why not"),
        lambda: AccessToken.objects.all().expire(by=by, reason="why not"),
        lambda: AccessToken.objects.all().suspend(by=by, reason="why not"),
        lambda: AccessToken.objects.all().cap_lifetime(1, by=by, reason="why not"),
    ):
        with pytest.raises(PermissionDenied):
            attempt()

    assert dump.tables() == before


def test_an_auditor_changes_not_even_what_is_her_own(cast: Cast) -> None:
    token = cast.user_token("audrey")

    for attempt in (
        lambda: token.revoke(by=cast.by("audrey"), reason="mine"),
        lambda: token.rotate(by=cast.by("audrey")),
        lambda: AccessToken.issue(by=cast.by("audrey"), owner=cast.audrey, name="x", expires="2030-01-01"),
    ):
        with pytest.raises(PermissionDenied):
            attempt()


def test_who_sees_which_tokens(cast: Cast) -> None:
    service, mine, other = cast.service_token(), cast.user_token("ada"), cast.user_token("mallory")
    everything = {service, mine, other}

    def seen(by: Actor) -> set[AccessToken]:
        return set(rules.visible_tokens(by))

    assert seen(cast.by("grace")) == seen(cast.by("olive")) == seen(cast.by("audrey")) == everything
    assert seen(Actor.shell()) == everything
    assert seen(cast.by("ada")) == seen(cast.with_token(mine)) == {service, mine}
    assert seen(cast.by("mallory")) == {other}
    assert seen(cast.with_token(service)) == seen(cast.by("robot")) == {service}
    assert seen(cast.with_token(cast.user_token("grace", "own"))) == {AccessToken.objects.get(name="own")}
