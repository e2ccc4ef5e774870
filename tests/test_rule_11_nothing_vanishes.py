"""R11: a revoked or deleted token stays as a record, is listed no more, and its name is free again."""

from collections.abc import Callable

import pytest
from django.core.exceptions import ValidationError

from osmo_portal.events.models import Event
from osmo_portal.events.trail import UnrecordedChange
from profiles.models import Pool, Role, RoleAssignment, Settings, User
from tests.cast import Cast
from tokens import exchange
from tokens.models import AccessToken, Secret, SigningKey, TokenRole


def test_a_revoked_token_stays_with_who_when_why_and_from_where(cast: Cast) -> None:
    token = cast.service_token()
    by = cast.by("olive")

    token.revoke(by=by, reason="leaked on a mailing list")

    record = AccessToken.objects.get(pk=token.pk)
    event = Event.objects.get(action="token.revoked")
    assert (record.ended_by, record.end_reason) == (cast.olive, "leaked on a mailing list")
    assert record.ended_at is not None
    assert (event.actor, event.via, event.reason) == ("olive", "admin", "leaked on a mailing list")
    assert (event.object_type, event.object_id, event.object_label) == ("accesstoken", token.pk, "robot/ci")
    assert event.at >= record.ended_at


def test_a_revoked_token_is_not_listed_and_its_name_is_free(cast: Cast) -> None:
    token = cast.service_token()

    token.revoke(by=cast.by("grace"), reason="leaked")
    fresh = cast.service_token()

    assert fresh.pk != token.pk
    assert list(AccessToken.objects.listed()) == [fresh]
    assert AccessToken.objects.count() == 2


def test_the_old_secret_of_a_name_that_was_taken_again_stays_dead(cast: Cast) -> None:
    token = cast.service_token()
    token.revoke(by=cast.by("grace"), reason="leaked")
    cast.service_token()

    with pytest.raises(exchange.Refused, match="revoked"):
        exchange.exchange(token.plaintext)


def test_an_expired_token_keeps_its_name_until_it_is_deleted(
    cast: Cast, time_machine_days: Callable[[float], None]
) -> None:
    token = cast.service_token(days=5)
    time_machine_days(6)

    with pytest.raises(ValidationError, match="Token name ci already exists"):
        cast.service_token(days=5)
    token.revoke(by=cast.by("grace"), reason="tidy")
    assert cast.service_token(days=5)


@pytest.mark.parametrize("reason", ["", "   ", "\n"])
def test_ending_without_saying_why_is_refused(cast: Cast, reason: str) -> None:
    token = cast.service_token()

    for attempt in (
        lambda: token.revoke(by=cast.by("grace"), reason=reason),
        lambda: token.suspend(by=cast.by("grace"), reason=reason),
        lambda: AccessToken.objects.all().revoke(by=cast.by("grace"), reason=reason),
        lambda: AccessToken.objects.all().expire(by=cast.by("grace"), reason=reason),
    ):
        with pytest.raises(ValidationError, match="Say why"):
            attempt()
    assert AccessToken.objects.live().filter(pk=token.pk).exists()


@pytest.mark.parametrize(
    "model", [AccessToken, Secret, TokenRole, SigningKey, User, Role, RoleAssignment, Pool, Settings]
)
def test_no_record_can_be_deleted(cast: Cast, model: type) -> None:
    cast.service_token()
    SigningKey.current_or_first()
    Settings.change(cast.ada, by=cast.by("ada"), email_notification=True)
    before = model.objects.count()  # type: ignore[attr-defined]

    with pytest.raises(UnrecordedChange, match="records end, and stay"):
        model.objects.all().delete()  # type: ignore[attr-defined]
    with pytest.raises(UnrecordedChange, match="records end, and stay"):
        model.objects.first().delete()  # type: ignore[attr-defined]

    assert model.objects.count() == before > 0  # type: ignore[attr-defined]


def test_a_removed_role_a_deleted_role_and_a_deleted_user_stay_as_records(cast: Cast) -> None:
    cast.robot.remove_role("team-reader", by=cast.by("grace"), reason="unused")
    Role.objects.get(name="team-reader").mark_deleted(by=cast.by("grace"), reason="unused")
    cast.mallory.mark_deleted(by=cast.by("grace"), reason="left")
    cast.pool.mark_deleted(by=cast.by("grace"), reason="sold")

    assert RoleAssignment.objects.get(user=cast.robot, role__name="team-reader").removed_by == cast.grace
    assert Role.objects.get(name="team-reader").deleted_at
    assert User.objects.get(username="mallory").deleted_at
    assert Pool.objects.get(name="my_pool").deleted_at
    reasons = Event.objects.filter(action__in=["role.removed", "role.deleted", "user.deleted", "pool.deleted"])
    assert sorted(reasons.values_list("reason", flat=True)) == ["left", "sold", "unused", "unused"]
