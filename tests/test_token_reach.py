"""What a token may do in each pool: allows of the roles it carries, denies of all that its owner holds."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from profiles.models import Pool, Role
from profiles.policies import Operation
from profiles.rules import DEFAULT_ROLE
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tokens import reach, standing
from tokens.exchange import Refused, exchange
from tokens.models import AccessToken
from tokens.standing import Refusal

ALL = ["submit", "exec", "port-forward"]


def role(cast: Cast, name: str, effect: str, action: str, resource: str, *, held: bool = True) -> Role:
    policies = [{"effect": effect, "actions": [action], "resources": [resource]}]
    made = Role.create(by=cast.by("grace"), name=name, policies=policies)
    if held:
        cast.robot.assign_role(name, by=cast.by("grace"))
    return made


def operations(token: AccessToken, pool: str = "my_pool") -> list[str]:
    (row,) = reach.access(AccessToken.objects.with_state().get(pk=token.pk), [pool])
    return row.operations


def reason(token: AccessToken, operation: Operation, pool: str = "my_pool") -> str:
    (row,) = reach.access(token, [pool])
    return row.decisions[operation].reason


def test_the_roles_on_the_token_allow(cast: Cast) -> None:
    token = cast.service_token(roles=[POOL_ROLE])

    assert operations(token) == ALL
    assert operations(token, "elsewhere") == []
    assert reason(token, Operation.EXEC) == "Role osmo-my_pool allows workflow:* on pool/my_pool*."


def test_a_role_that_only_the_owner_holds_gives_nothing(cast: Cast) -> None:
    token = cast.service_token(roles=[PLAIN_ROLE])

    assert POOL_ROLE in cast.robot.held_role_names
    assert operations(token) == []
    assert reason(token, Operation.SUBMIT) == "No role allows it."


def test_a_deny_of_a_role_that_only_the_owner_holds_counts(cast: Cast) -> None:
    token = cast.service_token(roles=[POOL_ROLE])
    role(cast, "no-forward", "Deny", "workflow:PortForward", "pool/*")

    assert operations(token) == ["submit", "exec"]
    assert reason(token, Operation.PORT_FORWARD).startswith("Role no-forward denies")


def test_a_deny_that_the_owner_does_not_hold_any_more_counts_no_longer(cast: Cast) -> None:
    token = cast.service_token(roles=[POOL_ROLE])
    role(cast, "no-forward", "Deny", "workflow:PortForward", "pool/*")
    role(cast, "no-submit", "Deny", "workflow:Create", "pool/*").mark_deleted(by=cast.by("grace"), reason="x")
    cast.robot.remove_role("no-forward", by=cast.by("grace"))

    assert operations(token) == ALL


def test_a_deny_of_osmo_default_counts_for_everybody(cast: Cast) -> None:
    token = cast.service_token(roles=[POOL_ROLE])
    denies = [{"effect": "Deny", "actions": ["workflow:Create"], "resources": ["pool/my_pool"]}]
    Role.objects.get(name=DEFAULT_ROLE).change(by=cast.by("grace"), policies=denies)

    assert operations(token) == ["exec", "port-forward"]


def test_a_role_that_is_lost_gives_nothing_and_given_again_nothing_either(cast: Cast) -> None:
    token = cast.service_token(roles=[POOL_ROLE, PLAIN_ROLE])
    cast.robot.remove_role(POOL_ROLE, by=cast.by("grace"))
    lost = operations(token)

    cast.robot.assign_role(POOL_ROLE, by=cast.by("grace"))

    assert lost == []
    assert operations(token) == []


def test_a_deleted_role_gives_nothing(cast: Cast) -> None:
    token = cast.service_token(roles=[POOL_ROLE, PLAIN_ROLE])

    Role.objects.get(name=POOL_ROLE).mark_deleted(by=cast.by("grace"), reason="x")

    assert operations(token) == []


def test_a_user_token_reaches_no_pool(cast: Cast) -> None:
    cast.ada.assign_role(POOL_ROLE, by=cast.by("grace"))

    assert operations(cast.user_token("ada")) == []


def test_what_is_foretold_is_what_comes(cast: Cast) -> None:
    role(cast, "no-forward", "Deny", "workflow:PortForward", "pool/my_pool")
    pools = ["my_pool", "my_pool-2", "elsewhere"]
    chosen = [Role.objects.get(name=POOL_ROLE)]

    foretold = reach.would_access(cast.robot, chosen, pools)

    assert foretold == reach.access(cast.service_token(roles=[POOL_ROLE]), pools)
    assert [row.operations for row in foretold] == [["submit", "exec"], ALL, []]


@pytest.mark.parametrize("many", [1, 30])
def test_it_costs_one_query_however_many_pools_and_roles(cast: Cast, many: int) -> None:
    names = [f"r{number}" for number in range(many)]
    for number, name in enumerate(names):
        role(cast, name, "Allow", "workflow:*", f"pool/p{number}")
        Pool.create(by=cast.by("grace"), name=f"p{number}")
    made = cast.service_token(roles=names)
    token = AccessToken.objects.with_state().get(pk=made.pk)

    with CaptureQueriesContext(connection) as seen:
        rows = reach.access(token, [f"p{number}" for number in range(many)])

    assert [row.operations for row in rows] == [ALL] * many
    assert ["profiles_role" in query["sql"] for query in seen] == [True]  # the roles of the owner, with osmo-default


# Whether it may do anything at all.


def expire(cast: Cast, token: AccessToken) -> None:
    AccessToken.objects.filter(pk=token.pk).expire(by=cast.by("grace"), reason="over")


def revoke(cast: Cast, token: AccessToken) -> None:
    token.revoke(by=cast.by("grace"), reason="over")


def suspend(cast: Cast, token: AccessToken) -> None:
    token.suspend(by=cast.by("grace"), reason="wait")


def deactivate(cast: Cast, token: AccessToken) -> None:
    cast.robot.deactivate(by=cast.by("grace"), reason="left")


def take_its_role(cast: Cast, token: AccessToken) -> None:
    cast.robot.remove_role(POOL_ROLE, by=cast.by("grace"))


@pytest.mark.parametrize(
    ("done", "why"),
    [
        (expire, Refusal.EXPIRED),
        (revoke, Refusal.REVOKED),
        (suspend, Refusal.SUSPENDED),
        (deactivate, Refusal.OWNER_INACTIVE),
        (take_its_role, Refusal.NO_ROLE_LEFT),
    ],
)
def test_the_page_and_the_exchange_refuse_for_the_same_reason(cast: Cast, done: Any, why: Refusal) -> None:
    token = cast.service_token()
    secret = token.plaintext
    works = standing.of_token(token)

    done(cast, token)

    with pytest.raises(Refused, match=why.label):
        exchange(secret)
    assert works is None
    assert standing.of_token(AccessToken.objects.with_state().get()) == why


def test_a_lowered_maximum_counts_before_the_tokens_are_shortened(cast: Cast, time_machine: Any, settings: Any) -> None:
    token = cast.service_token(days=31)
    settings.MAX_TOKEN_DAYS = 10
    time_machine.move_to(token.issued_at + timedelta(days=10), tick=False)

    assert token.expires_at > timezone.now()
    assert token.expires_at.date() > in_days(1)
    assert standing.of_token(token) == Refusal.EXPIRED
