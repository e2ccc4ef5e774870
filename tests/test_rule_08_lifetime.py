"""R8: expiry is required, lies after today and within the strictest maximum; the maximum counts at use too."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from profiles.models import Role
from tests import dump
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tokens import exchange, rules, secrets, standing
from tokens.models import AccessToken

WRONG_DAYS = [
    "", " ", "tomorrow", "2030-13-01", "2030-02-30", "2027-02-29", "2030-1-1-1", "30-01-01", "2030/01/01", "01-01-2030",
    "2030-01-01T00:00:00", "2030-01-01 ", "2030-01-01\n", "+2030-01-01", "-2030-01-01", "0000-01-01", "10000-01-01",
    "２０３０-０１-０１", "2030-０1-01", "1e3", "2030-001-01", "null", "\0", "9" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("text", WRONG_DAYS, ids=lambda text: ascii(text[:20]))
def test_what_is_no_day_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        rules.parse_day(text)

    (message,) = refusal.value.message_dict["expires_at"]
    assert message.startswith("Invalid date format ")
    assert message.endswith("Date must be in YYYY-MM-DD format (e.g. 2025-12-31)")
    assert len(message) < 200
    assert message.isprintable()


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2030-01-31", date(2030, 1, 31)),
        ("2028-02-29", date(2028, 2, 29)),
        ("2030-1-2", date(2030, 1, 2)),
        ("9999-12-31", date(9999, 12, 31)),
    ],
)
def test_a_day_is_read(text: str, day: date) -> None:
    assert rules.parse_day(text) == day


def test_a_token_ends_at_midnight_utc_of_its_day(cast: Cast) -> None:
    day = in_days(5)

    token = AccessToken.issue(by=cast.by("ada"), owner=cast.ada, name="mine", expires=day.isoformat())

    assert token.expires_at == datetime(day.year, day.month, day.day, tzinfo=UTC)


def test_expiry_is_required(cast: Cast) -> None:
    with pytest.raises(TypeError, match="expires"):
        AccessToken.issue(by=cast.by("ada"), owner=cast.ada, name="mine")  # type: ignore[call-arg]


@pytest.mark.parametrize("day", [-36_500, -1, 0])
def test_the_day_must_lie_after_today(cast: Cast, day: int) -> None:
    before = dump.tables()

    with pytest.raises(ValidationError) as refusal:
        AccessToken.issue(by=cast.by("grace"), owner=cast.ada, name="mine", expires=in_days(day))

    assert refusal.value.messages == [f"Expiration date must be past the current date ({in_days(0)})"]
    assert dump.tables() == before


@pytest.mark.parametrize("day", [in_days(366), date(9999, 12, 31)])
def test_not_even_an_administrator_goes_beyond_the_maximum(cast: Cast, day: date) -> None:
    before = dump.tables()

    with pytest.raises(ValidationError, match="Access token cannot last longer than 365d"):
        AccessToken.issue(by=cast.by("grace"), owner=cast.ada, name="mine", expires=day)

    assert dump.tables() == before


@pytest.mark.parametrize("days", [1, 365])
def test_the_first_and_the_last_possible_day(cast: Cast, days: int) -> None:
    token = AccessToken.issue(by=cast.by("ada"), owner=cast.ada, name="mine", expires=in_days(days))

    assert token.expires_at.date() == in_days(days)


def test_the_strictest_maximum_of_the_roles_counts(cast: Cast) -> None:
    Role.objects.get(name=POOL_ROLE).change(by=cast.by("grace"), max_token_days=30)
    Role.objects.get(name=PLAIN_ROLE).change(by=cast.by("grace"), max_token_days=90)
    both = [PLAIN_ROLE, POOL_ROLE]

    with pytest.raises(ValidationError, match="cannot last longer than 30d"):
        cast.service_token(roles=both, days=31)
    with pytest.raises(ValidationError, match="cannot last longer than 90d"):
        cast.service_token(roles=[PLAIN_ROLE], days=91)
    assert cast.service_token("a", roles=both, days=30)
    assert cast.service_token("b", roles=[PLAIN_ROLE], days=90)


def test_a_role_cannot_stretch_the_portal_wide_maximum(cast: Cast, settings: Any) -> None:
    Role.objects.get(name=PLAIN_ROLE).change(by=cast.by("grace"), max_token_days=3650)
    settings.MAX_TOKEN_DAYS = 20

    with pytest.raises(ValidationError, match="cannot last longer than 20d"):
        cast.service_token(roles=[PLAIN_ROLE], days=21)


def test_a_rotation_gives_a_new_day_within_the_same_rule(cast: Cast) -> None:
    Role.objects.get(name=POOL_ROLE).change(by=cast.by("grace"), max_token_days=30)
    token = cast.service_token(days=10)

    with pytest.raises(ValidationError, match="cannot last longer than 30d"):
        token.rotate(by=cast.by("grace"), expires=in_days(31))
    with pytest.raises(ValidationError, match="past the current date"):
        token.rotate(by=cast.by("grace"), expires=in_days(0))
    assert token.rotate(by=cast.by("grace"), expires=in_days(30)).expires_at.date() == in_days(30)


def test_a_lowered_portal_wide_maximum_acts_at_once(cast: Cast, settings: Any, time_machine: Any) -> None:
    token = cast.user_token(days=300)
    text, _ = exchange.exchange(token.plaintext)
    time_machine.move_to(token.issued_at + timedelta(days=10), tick=False)
    assert exchange.exchange(token.plaintext)

    settings.MAX_TOKEN_DAYS = 10

    with pytest.raises(exchange.Refused, match="Access Token has expired"):
        exchange.exchange(token.plaintext)
    assert text


def test_a_token_that_is_over_the_maximum_is_neither_rotated_nor_resumed(
    cast: Cast, settings: Any, time_machine: Any
) -> None:
    live, stopped = cast.user_token(name="live", days=300), cast.user_token(name="stopped", days=300)
    stopped.suspend(by=cast.by("grace"), reason="holiday")
    time_machine.move_to(stopped.issued_at + timedelta(days=11))
    settings.MAX_TOKEN_DAYS = 10

    with pytest.raises(ValidationError, match="reached the maximum lifetime"):
        live.rotate(by=cast.by("grace"), expires=in_days(5))
    with pytest.raises(ValidationError, match="reached the maximum lifetime"):
        stopped.resume(by=cast.by("grace"), reason="back")


def test_a_lowered_role_maximum_shortens_what_carries_the_role(cast: Cast) -> None:
    hit, spared = cast.service_token("hit", days=300), cast.service_token("spared", [PLAIN_ROLE], days=300)

    Role.objects.get(name=POOL_ROLE).change(by=cast.by("grace"), max_token_days=30)

    ends = {token.name: token.expires_at for token in AccessToken.objects.all()}
    assert ends == {"hit": hit.issued_at + timedelta(days=30), "spared": spared.expires_at}


def test_the_maximum_of_a_role_that_the_token_has_lost_still_counts(cast: Cast, time_machine: Any) -> None:
    token = cast.service_token(roles=[PLAIN_ROLE, POOL_ROLE], days=300)
    cast.robot.remove_role(POOL_ROLE, by=cast.by("grace"))

    Role.objects.get(name=POOL_ROLE).change(by=cast.by("grace"), max_token_days=30)

    found = standing.of_secret(secrets.digest(token.plaintext))
    assert found
    assert found.dead_at == token.issued_at + timedelta(days=30)


def test_a_new_role_of_a_deleted_ones_name_shortens_nothing_of_the_old_ones(cast: Cast) -> None:
    token = cast.service_token(roles=[PLAIN_ROLE, POOL_ROLE], days=300)
    Role.objects.get(name=POOL_ROLE).mark_deleted(by=cast.by("grace"), reason="pool is gone")
    fresh = Role.create(by=cast.by("grace"), name=POOL_ROLE)

    fresh.change(by=cast.by("grace"), max_token_days=1)

    assert AccessToken.objects.get(pk=token.pk).expires_at == token.expires_at


@pytest.mark.parametrize("days", [0, -1, 3651, 10**12])
def test_a_maximum_must_make_sense(cast: Cast, days: int) -> None:
    with pytest.raises(ValidationError, match="max_token_days"):
        Role.objects.get(name=PLAIN_ROLE).change(by=cast.by("grace"), max_token_days=days)


def test_a_leap_day_can_be_the_last_day(cast: Cast, time_machine: Any) -> None:
    time_machine.move_to(datetime(2028, 2, 28, 23, 59, 59, tzinfo=UTC), tick=False)

    token = AccessToken.issue(by=cast.by("ada"), owner=cast.ada, name="leap", expires="2028-02-29")

    assert token.expires_at - token.issued_at == timedelta(seconds=1)


def test_a_year_over_a_leap_day_has_365_days(cast: Cast, time_machine: Any) -> None:
    time_machine.move_to(datetime(2028, 2, 29, 0, 0, tzinfo=UTC), tick=False)

    with pytest.raises(ValidationError, match="365d"):
        AccessToken.issue(by=cast.by("ada"), owner=cast.ada, name="leap", expires="2029-03-01")
    assert AccessToken.issue(by=cast.by("ada"), owner=cast.ada, name="leap", expires="2029-02-28")
