"""R7: a caller signed in by a token gets no token, and no secret, that outlives the one used."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import RequestFactory
from rest_framework.request import Request

from osmo_portal.events.actor import Actor
from profiles.models import Role
from tests import dump
from tests.cast import PLAIN_ROLE, Cast, in_days
from tokens import exchange
from tokens.api.authentication import JwtAuthentication
from tokens.models import AccessToken


def signed_in_with(secret: str) -> Actor:
    """The actor of a request that carries a JWT of this secret."""
    text, _ = exchange.exchange(secret)
    plain: Any = RequestFactory().get("/api/profile/settings", headers={"x-osmo-auth": text})
    plain.address, plain.id = "192.0.2.1", "r1"
    found = JwtAuthentication().authenticate(Request(plain))
    assert found
    return found[1]


def test_a_user_token_issues_none_that_outlives_it(cast: Cast) -> None:
    by = cast.with_token(cast.user_token(days=10))
    before = dump.tables()

    with pytest.raises(ValidationError, match="cannot outlast the one you are signed in with") as refusal:
        AccessToken.issue(by=by, owner=cast.ada, name="longer", expires=in_days(11))

    assert f"Choose {in_days(10)} or earlier" in refusal.value.messages[0]
    assert dump.tables() == before


@pytest.mark.parametrize("days", [1, 10])
def test_a_user_token_issues_one_that_ends_with_it_or_before(cast: Cast, days: int) -> None:
    by = cast.with_token(cast.user_token(days=10))

    token = AccessToken.issue(by=by, owner=cast.ada, name="shorter", expires=in_days(days))

    assert token.expires_at.date() == in_days(days)


def test_a_chain_of_tokens_ends_with_the_first(cast: Cast) -> None:
    first = cast.with_token(cast.user_token(days=10))
    second = cast.with_token(AccessToken.issue(by=first, owner=cast.ada, name="second", expires=in_days(10)))

    with pytest.raises(ValidationError, match="cannot outlast"):
        AccessToken.issue(by=second, owner=cast.ada, name="third", expires=in_days(11))


@pytest.mark.parametrize("arguments", [{}, {"expires": in_days(2)}, {"grace": timedelta(0)}], ids=str)
def test_a_user_token_gets_no_secret_of_a_longer_lived_one(cast: Cast, arguments: dict[str, Any]) -> None:
    longer = cast.user_token(name="longer", days=30)
    by = cast.with_token(cast.user_token(days=10))
    before = dump.tables()

    with pytest.raises(ValidationError, match="cannot outlast"):
        longer.rotate(by=by, **arguments)

    assert dump.tables() == before


def test_a_user_token_resumes_no_longer_lived_one(cast: Cast) -> None:
    longer = cast.user_token(name="longer", days=30)
    longer.suspend(by=cast.by("ada"), reason="holiday")

    with pytest.raises(ValidationError, match="cannot outlast"):
        longer.resume(by=cast.with_token(cast.user_token(days=10)), reason="back")


def test_a_user_token_rotates_itself_and_keeps_its_end(cast: Cast) -> None:
    token = cast.user_token(days=10)

    rotated = token.rotate(by=cast.with_token(token))

    assert rotated.expires_at.date() == in_days(10)


def test_a_user_token_cannot_lengthen_itself(cast: Cast) -> None:
    token = cast.user_token(days=10)

    with pytest.raises(ValidationError, match="cannot outlast"):
        token.rotate(by=cast.with_token(token), expires=in_days(11))


def test_an_administrators_user_token_is_bound_like_any_other(cast: Cast) -> None:
    by = cast.with_token(cast.user_token("grace", days=10))

    with pytest.raises(ValidationError, match="cannot outlast"):
        AccessToken.issue(by=by, owner=cast.grace, name="longer", expires=in_days(11))


def test_a_service_token_with_osmo_admin_in_force_is_not_bound(cast: Cast) -> None:
    by = cast.with_token(cast.administrator_token())

    token = AccessToken.issue(by=by, owner=cast.robot, name="x", expires=in_days(300), roles=[PLAIN_ROLE])

    assert token.expires_at.date() == in_days(300)


def test_a_browser_session_is_not_bound(cast: Cast) -> None:
    cast.user_token(days=10)

    assert AccessToken.issue(by=cast.by("ada"), owner=cast.ada, name="longer", expires=in_days(300))


def test_the_end_that_counts_is_the_one_at_use(cast: Cast, time_machine: Any, settings: Any) -> None:
    """A maximum that was lowered since ends the token before its date, and what it makes too."""
    noon = datetime.combine(in_days(1), time(12), UTC)
    time_machine.move_to(noon, tick=False)
    token = cast.user_token(days=300)
    time_machine.move_to(noon + timedelta(days=5), tick=False)
    settings.MAX_TOKEN_DAYS = 10  # ends the token at noon, in five days from here
    last = in_days(5)

    by = signed_in_with(token.plaintext)

    with pytest.raises(ValidationError, match=f"Choose {last} or earlier"):
        AccessToken.issue(by=by, owner=cast.ada, name="longer", expires=last + timedelta(days=1))
    assert AccessToken.issue(by=by, owner=cast.ada, name="shorter", expires=last)


def test_an_old_secret_in_its_grace_makes_nothing_that_outlives_the_grace(cast: Cast) -> None:
    """Who rotates because a secret leaked must not find tokens later that the leaked one made."""
    token = cast.user_token(days=30)
    rotated = token.rotate(by=cast.by("ada"), grace=timedelta(days=2))

    old, new = signed_in_with(token.plaintext), signed_in_with(rotated.plaintext)

    with pytest.raises(ValidationError, match="cannot outlast"):
        AccessToken.issue(by=old, owner=cast.ada, name="persists", expires=in_days(20))
    with pytest.raises(ValidationError, match="cannot outlast"):
        rotated.rotate(by=old, grace=timedelta(0))
    assert AccessToken.issue(by=new, owner=cast.ada, name="fine", expires=in_days(20))


def test_a_role_maximum_that_was_lowered_binds_too(cast: Cast) -> None:
    token = cast.user_token(days=300)
    Role.objects.get(name="osmo-user").change(by=cast.by("grace"), max_token_days=3)

    by = signed_in_with(token.plaintext)

    assert by.token.expires_at <= AccessToken.objects.get(pk=token.pk).issued_at + timedelta(days=3)
