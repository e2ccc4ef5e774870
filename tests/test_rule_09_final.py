"""R9: revoked and expired are final. No path revives a token."""

import contextlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from profiles.models import Role, User
from tests.cast import POOL_ROLE, Cast, in_days
from tokens import exchange
from tokens.models import AccessToken


def _revoked(cast: Cast, time_machine: Any) -> AccessToken:
    token = cast.service_token()
    token.revoke(by=cast.by("grace"), reason="leaked")
    return token


def _revoked_in_bulk(cast: Cast, time_machine: Any) -> AccessToken:
    token = cast.service_token()
    AccessToken.objects.owned_by(cast.robot).revoke(by=cast.by("olive"), reason="spring")
    return token


def _expired_by_time(cast: Cast, time_machine: Any) -> AccessToken:
    token = cast.service_token(days=31)
    time_machine.move_to(token.expires_at)
    return token


def _expired_in_bulk(cast: Cast, time_machine: Any) -> AccessToken:
    token = cast.service_token()
    time_machine.move_to(token.issued_at + timedelta(days=1))
    AccessToken.objects.owned_by(cast.robot).expire(by=cast.by("olive"), reason="spring")
    return token


def _expired_by_a_lowered_maximum(cast: Cast, time_machine: Any) -> AccessToken:
    token = cast.service_token()
    time_machine.move_to(token.issued_at + timedelta(days=10))
    Role.objects.get(name=POOL_ROLE).change(by=cast.by("grace"), max_token_days=5)
    return token


def _suspended_and_expired_by_a_lowered_maximum(cast: Cast, time_machine: Any) -> AccessToken:
    token = cast.service_token()
    token.suspend(by=cast.by("grace"), reason="holiday")
    return _lower(cast, token, time_machine)


def _of_a_deactivated_owner_and_expired_by_a_lowered_maximum(cast: Cast, time_machine: Any) -> AccessToken:
    token = cast.service_token()
    cast.robot.deactivate(by=cast.by("grace"), reason="decommissioned")
    return _lower(cast, token, time_machine)


def _lower(cast: Cast, token: AccessToken, time_machine: Any) -> AccessToken:
    time_machine.move_to(token.issued_at + timedelta(days=10))
    Role.objects.get(name=POOL_ROLE).change(by=cast.by("grace"), max_token_days=5)
    return token


def _revoked_and_expired(cast: Cast, time_machine: Any) -> AccessToken:
    token = _revoked(cast, time_machine)
    time_machine.move_to(token.expires_at)
    return token


def _of_a_deleted_owner(cast: Cast, time_machine: Any) -> AccessToken:
    token = cast.service_token()
    cast.robot.mark_deleted(by=cast.by("grace"), reason="decommissioned")
    return token


ENDS = [
    _revoked,
    _revoked_in_bulk,
    _expired_by_time,
    _expired_in_bulk,
    _expired_by_a_lowered_maximum,
    _suspended_and_expired_by_a_lowered_maximum,
    _of_a_deactivated_owner_and_expired_by_a_lowered_maximum,
    _revoked_and_expired,
    _of_a_deleted_owner,
]


def _attempts(cast: Cast, token: AccessToken, settings: Any) -> list[Callable[[], Any]]:
    """All that might breathe life into it, one after the other; each may be refused."""
    by = cast.by("grace")
    robot = User.objects.get(pk=cast.robot.pk)
    tokens = AccessToken.objects.filter(pk=token.pk)
    return [
        lambda: Role.objects.get(name=POOL_ROLE).change(by=by, max_token_days=None),
        lambda: Role.objects.get(name=POOL_ROLE).change(by=by, max_token_days=365),
        lambda: setattr(settings, "MAX_TOKEN_DAYS", 3650),
        lambda: robot.reactivate(by=by, reason="back"),
        lambda: robot.remove_role(POOL_ROLE, by=by),
        lambda: robot.assign_role(POOL_ROLE, by=by),
        lambda: robot.hand_over(to=cast.mallory, by=by),
        lambda: cast.mallory.hand_over_accounts(to=cast.ada, by=by, reason="back"),
        lambda: AccessToken.objects.get(pk=token.pk).resume(by=by, reason="back"),
        lambda: AccessToken.objects.get(pk=token.pk).rotate(by=by),
        lambda: AccessToken.objects.get(pk=token.pk).rotate(by=by, expires=in_days(20)),
        lambda: AccessToken.objects.get(pk=token.pk).suspend(by=by, reason="again"),
        lambda: AccessToken.objects.get(pk=token.pk).resume(by=by, reason="back"),
        lambda: tokens.suspend(by=by, reason="again"),
        lambda: tokens.rotate(by=by, keep=lambda token: None, refused=lambda *_: None, reason="again"),
        lambda: tokens.expire(by=by, at=token.expires_at + timedelta(days=100), reason="later"),
        lambda: tokens.cap_lifetime(3650, by=by, reason="later"),
        lambda: AccessToken.objects.get(pk=token.pk).resume(by=by, reason="back"),
    ]


@pytest.mark.parametrize("end", ENDS)
def test_nothing_revives_a_dead_token(cast: Cast, time_machine: Any, settings: Any, end: Callable) -> None:
    token = end(cast, time_machine)
    with pytest.raises(exchange.Refused):
        exchange.exchange(token.plaintext)

    for attempt in _attempts(cast, token, settings):
        with contextlib.suppress(ValidationError):
            attempt()

        with pytest.raises(exchange.Refused, match=r"revoked|expired"):
            exchange.exchange(token.plaintext)


def test_a_lowered_maximum_ends_a_suspended_token_for_good(cast: Cast, time_machine: Any) -> None:
    token = _suspended_and_expired_by_a_lowered_maximum(cast, time_machine)

    assert AccessToken.objects.get(pk=token.pk).state() == "expired"


@pytest.mark.parametrize("end", [_revoked, _expired_by_time])
@pytest.mark.parametrize(
    "attempt",
    [
        lambda token, by: token.rotate(by=by),
        lambda token, by: token.rotate(by=by, expires=in_days(20)),
        lambda token, by: token.resume(by=by, reason="back"),
        lambda token, by: token.suspend(by=by, reason="again"),
    ],
    ids=["rotate", "extend", "resume", "suspend"],
)
def test_a_dead_token_is_refused_by_each_way_in(
    cast: Cast, time_machine: Any, end: Callable, attempt: Callable
) -> None:
    token = end(cast, time_machine)

    with pytest.raises(ValidationError, match=r"revoked|expired"):
        attempt(token, cast.by("grace"))


def test_a_revoked_token_is_not_revoked_again(cast: Cast) -> None:
    token = cast.service_token()
    token.revoke(by=cast.by("ada"), reason="leaked")

    with pytest.raises(ValidationError, match="revoked already"):
        token.revoke(by=cast.by("grace"), reason="covering up")

    assert AccessToken.objects.get(pk=token.pk).end_reason == "leaked"


def test_an_expired_token_can_still_be_revoked(cast: Cast, time_machine: Any) -> None:
    """That is how the released clients delete it and free its name."""
    token = _expired_by_time(cast, time_machine)

    token.revoke(by=cast.by("grace"), reason="tidy")

    assert AccessToken.objects.get(pk=token.pk).state() == "revoked"


def test_reactivation_resumes_nothing(cast: Cast) -> None:
    token = cast.user_token()
    cast.ada.deactivate(by=cast.by("grace"), reason="left")

    cast.ada.reactivate(by=cast.by("grace"), reason="came back")

    with pytest.raises(exchange.Refused, match="suspended"):
        exchange.exchange(token.plaintext)


def test_a_token_of_an_inactive_owner_is_not_resumed(cast: Cast) -> None:
    token = cast.user_token()
    cast.ada.deactivate(by=cast.by("grace"), reason="left")

    with pytest.raises(ValidationError, match="not active"):
        token.resume(by=cast.by("grace"), reason="back")


def test_a_resumed_token_works_again(cast: Cast) -> None:
    token = cast.user_token()
    token.suspend(by=cast.by("ada"), reason="holiday")

    token.resume(by=cast.by("ada"), reason="back")

    assert exchange.exchange(token.plaintext)


def test_a_deleted_user_stays_deleted(cast: Cast) -> None:
    loaded_before = User.objects.get(username="ada")
    cast.ada.mark_deleted(by=cast.by("grace"), reason="left")

    for ada in (cast.ada, loaded_before):
        for attempt in (
            lambda ada=ada: ada.reactivate(by=cast.by("grace"), reason="back"),
            lambda ada=ada: ada.deactivate(by=cast.by("grace"), reason="again"),
            lambda ada=ada: ada.mark_deleted(by=cast.by("grace"), reason="again"),
            lambda ada=ada: ada.assign_role(POOL_ROLE, by=cast.by("grace")),
            lambda ada=ada: ada.put_into_groups(["operators"], by=cast.by("grace")),
        ):
            with pytest.raises(ValidationError, match="was deleted"):
                attempt()

    assert not User.objects.get(pk=cast.ada.pk).is_active
