"""manage.py seed_demo: a company to look at, on an empty database, through the ways in."""

import io
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.core.management import CommandError, call_command
from django.db.models import Count, Max, Min
from django.urls import reverse
from django.utils import timezone

from osmo_portal.events import chain
from osmo_portal.events.models import Event
from profiles.models import Pool, Role, User
from tests.cast import Cast
from tests.console import listed, visitor
from tests.snapshot import scene
from tokens.demo import company, story
from tokens.models import AccessToken, Secret
from tokens.models.token_set import State

pytestmark = pytest.mark.django_db


def seed_demo() -> tuple[str, str]:
    """What it printed on stdout and on stderr."""
    out, err = io.StringIO(), io.StringIO()
    call_command("seed_demo", stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def seeded() -> tuple[str, str]:
    """As seed_demo, for who only looks at what it makes."""
    return scene("demo", seed_demo)


def size() -> tuple[int, ...]:
    return tuple(model.objects.count() for model in (User, Role, Pool, AccessToken, Event))


def test_all_that_the_console_tells_of_is_there():
    seeded()

    tokens, now = AccessToken.objects, timezone.now()
    assert 140 <= tokens.count() <= 180
    assert Pool.objects.existing().count() >= 12
    assert User.objects.left_behind().exists()
    for state in State:
        assert tokens.in_state(state).exists(), state
    for found in [
        tokens.expiring_within(7),
        tokens.expired_yesterday(),
        tokens.over_lifetime(),
        tokens.live().never_used(),
        tokens.live().unused_since(now - timedelta(days=90)),
        tokens.of_kind("person"),
    ]:
        assert found.exists()
    live = Secret.objects.live().values("token").annotate(many=Count("pk"))
    assert live.filter(many=2).exists()  # in the grace of a rotation
    assert any(token.lost_role_names and not token.role_names for token in tokens.live().with_state())
    assert any(token.lost_role_names and token.role_names for token in tokens.live().with_state())


def test_the_month_has_alarms_and_failed_sign_ins():
    seeded()

    recent = Event.objects.since(timezone.now() - timedelta(days=7))
    assert {
        "exchange.refused.retired",
        "exchange.refused.revoked",
        "signin.failed",
        "signin.succeeded",
        "token.rotated",
        "token.revoked",
        "token.suspended",
        "secret.first_used",
    } <= set(recent.values_list("action", flat=True))


def test_the_audit_trail_is_whole_and_its_times_rise():
    seeded()

    assert [*chain.faults()] == []
    times = [*Event.objects.order_by("pk").values_list("at", flat=True)]
    assert times == sorted(times)
    assert times[-1] <= timezone.now()
    assert timezone.now() - times[0] > timedelta(days=200)


def test_what_was_made_is_as_old_as_its_events():
    """The clock is put back for the whole story, and for nothing after it."""
    seeded()

    ages = AccessToken.objects.aggregate(oldest=Min("created_at"), youngest=Max("created_at"))
    assert timedelta(days=204) < timezone.now() - ages["oldest"] < timedelta(days=206)
    assert User.objects.get(username="maya").created_at < ages["oldest"]
    assert abs(timezone.now() - Event.objects.latest("pk").at) < timedelta(minutes=1)


def test_each_number_of_the_first_page_is_that_of_its_list():
    seeded()
    client = visitor("maya")

    page = client.get(reverse("admin:index")).context

    assert all(figure.count for figure in page["figures"])
    assert any(week.stands_out for week in page["weeks"])
    for figure in page["figures"]:
        assert listed(client, figure.url) == figure.count.number, figure.label
    for row in [*page["by_role"], *page["by_pool"]]:
        assert listed(client, row.url) == row.count.number, row.name


def test_it_prints_who_may_sign_in_and_nothing_else_signs_in():
    out, err = seeded()

    printed = dict(line.split()[:2] for line in out.splitlines()[1:])
    assert set(printed) == set(company.SHOWN)
    for name, password in printed.items():
        assert len(password) == 20
        assert authenticate(username=name, password=password) == User.objects.get(username=name)
        assert password not in err
    others = User.objects.exclude(username__in=printed)
    assert not any(user.has_usable_password() for user in others)


def test_no_secret_is_printed_or_told():
    out, err = seeded()

    events = "".join(f"{event.object_label}{event.reason}{event.changes}" for event in Event.objects.all())
    assert "osmo_" not in out + err + events


def test_passwords_differ_from_run_to_run(monkeypatch: pytest.MonkeyPatch):
    """There is no credential that somebody could know beforehand."""
    kept: list[dict[str, str]] = []

    def note(self: Any) -> None:
        self._password("maya")
        kept.append(self.passwords)

    monkeypatch.setattr(story.Story, "write", note)
    story.seed()
    monkeypatch.setattr(story, "_refuse_a_database_in_use", lambda: None)
    story.seed()

    assert kept[0]["maya"] != kept[1]["maya"]


def test_a_second_run_does_nothing():
    seeded()
    before = size()

    out, err = seed_demo()

    assert out == ""
    assert "here already; nothing was done" in err
    assert size() == before


def test_it_refuses_beside_real_tokens(cast: Cast):
    cast.service_token()
    before = size()

    with pytest.raises(CommandError, match=r"holds real tokens \(1\).*DATABASE_URL"):
        seed_demo()

    assert size() == before


def test_it_refuses_where_somebody_works_already(cast: Cast):
    before = size()

    with pytest.raises(CommandError, match="in use"):
        seed_demo()

    assert size() == before


def test_a_failure_in_the_middle_leaves_nothing(monkeypatch: pytest.MonkeyPatch):
    def fail(*args: Any) -> None:
        raise RuntimeError("in the middle")

    monkeypatch.setattr(story.Story, "_hand_over", fail)
    before = size()

    with pytest.raises(RuntimeError):
        seed_demo()

    assert size() == before
    assert abs(timezone.now() - timezone.localtime()) < timedelta(seconds=1)
