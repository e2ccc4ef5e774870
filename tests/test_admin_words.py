"""How the console writes instants."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from osmo_portal.console import words

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("away", "said"),
    [
        (timedelta(days=3, hours=2), "in 3 days"),
        (timedelta(days=-1), "1 day ago"),
        (timedelta(hours=-2, minutes=-5), "2 hours ago"),
        (timedelta(seconds=20), "now"),
        (timedelta(seconds=-59), "now"),
        (timedelta(minutes=1), "in 1 minute"),
    ],
)
def test_a_distance_names_its_largest_unit(away: timedelta, said: str) -> None:
    assert words.distance(NOW + away, NOW) == said


def test_an_instant_is_written_in_utc_wherever_it_comes_from() -> None:
    tokyo = datetime(2026, 5, 1, 21, 0, tzinfo=timezone(timedelta(hours=9)))

    assert words.stamp(tokyo) == '<time datetime="2026-05-01T12:00:00+00:00">2026-05-01 12:00 UTC</time>'


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "none"), (1, "1 second"), (90, "90 seconds"), (3_600, "1 hour"), (5_400, "90 minutes"), (172_800, "2 days")],
)
def test_a_duration_is_exact(seconds: int, said: str) -> None:
    assert words.duration(seconds) == said


def test_no_instant_is_a_dash() -> None:
    assert words.stamp(None) == "–"
    assert words.stamp_and_distance(None) == "–"
    assert words.distance(None) == ""
