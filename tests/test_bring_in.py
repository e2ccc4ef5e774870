"""The ways in of an import hold the rules by themselves, whoever calls them."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.utils import timezone

from osmo_portal.events import chain
from osmo_portal.events.models import Event
from osmo_portal.events.trail import UnrecordedChange
from profiles.models import Kind, Role, RoleAssignment, Settings, User
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tokens.models import AccessToken, LastUse, Secret, TokenRole
from tokens.models.arriving import Arriving

pytestmark = pytest.mark.django_db


def midnight(days: int) -> datetime:
    return datetime.combine(in_days(days), time.min, UTC)


def arriving(owner: User, *roles: str, name: str = "moved", days: int = 30, digest: bytes = b"d" * 32) -> Arriving:
    return Arriving(owner, name, midnight(days), digest, list(roles) or ["osmo-user"])


def bring(cast: Cast, *tokens: Arriving, by: str = "grace") -> None:
    AccessToken.objects.bring_in(tokens, by=cast.by(by), operation="import-1")


def counts() -> list[int]:
    kinds: list[Any] = [User, RoleAssignment, AccessToken, TokenRole, Secret, LastUse, Settings, Event]
    return [kind.objects.count() for kind in kinds]


@pytest.mark.parametrize("actor", ["ada", "olive", "audrey", "robot"])
def test_nobody_but_an_administrator_brings_anything_in(cast: Cast, actor: str):
    before = counts()

    with pytest.raises(PermissionDenied):
        bring(cast, arriving(cast.ada), by=actor)
    with pytest.raises(PermissionDenied):
        User.objects.bring_in([(User(username="new"), [])], by=cast.by(actor), operation="x")
    with pytest.raises(PermissionDenied):
        Settings.objects.bring_in([(cast.ada, {"bucket": "osmo"})], by=cast.by(actor), operation="x")

    assert counts() == before


def test_tokens_come_with_all_that_belongs_to_them(cast: Cast):
    bring(cast, arriving(cast.ada), arriving(cast.robot, POOL_ROLE, PLAIN_ROLE, digest=b"e" * 32))

    mine, robots = AccessToken.objects.with_state().order_by("pk")
    assert (mine.role_names, robots.role_names) == (["osmo-user"], [POOL_ROLE, PLAIN_ROLE])
    assert [bytes(secret.digest) for secret in Secret.objects.order_by("pk")] == [b"d" * 32, b"e" * 32]
    assert [mine.last_use.at, robots.last_use.at] == [None, None]
    assert (mine.created_at, mine.state(), mine.expires_at) == (None, "active", midnight(30))
    assert list(chain.faults()) == []


def test_keys_go_on_where_they_were(cast: Cast):
    before = cast.user_token("ada", "before")
    bring(cast, arriving(cast.ada))
    after = cast.user_token("ada", "after")

    assert before.pk < AccessToken.objects.get(name="moved").pk < after.pk


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda cast: arriving(cast.ada, PLAIN_ROLE), "not supported"),
        (lambda cast: arriving(cast.ada, "osmo-user", PLAIN_ROLE), "not supported"),
        (lambda cast: arriving(cast.robot, "osmo-admin"), "does not hold"),
        (lambda cast: arriving(cast.robot)._replace(roles=[]), "does not hold"),
        (lambda cast: arriving(cast.ada, days=366), "too long"),
        (lambda cast: arriving(cast.ada, days=0), "has ended"),
        (lambda cast: arriving(cast.ada, name="9 lives"), "must match"),
        (lambda cast: arriving(cast.ada, name="user"), "cannot name a token"),
        (lambda cast: arriving(cast.ada, digest=b"short"), "digest"),
        (lambda cast: arriving(cast.ada, name="good"), "already"),
        (lambda cast: arriving(cast.ada, digest=b"g" * 32), "already"),
    ],
)
def test_one_that_breaks_a_rule_keeps_all_out(cast: Cast, make: Any, words: str):
    before = counts()

    with pytest.raises(ValidationError, match=words):
        bring(cast, arriving(cast.ada, name="good", digest=b"g" * 32), make(cast))

    assert counts() == before


def test_the_strictest_role_bounds_the_life(cast: Cast):
    Role.objects.get(name=PLAIN_ROLE).change(by=cast.by("grace"), max_token_days=10)

    bring(cast, arriving(cast.robot, PLAIN_ROLE, days=10))
    with pytest.raises(ValidationError, match="too long"):
        bring(cast, arriving(cast.robot, PLAIN_ROLE, POOL_ROLE, name="other", days=11, digest=b"e" * 32))


def test_a_digest_that_ended_here_is_refused(cast: Cast):
    bring(cast, arriving(cast.ada))
    token = AccessToken.objects.get()
    token.rotate(by=cast.by("grace"), grace=timedelta(0))
    token.revoke(by=cast.by("grace"), reason="leaked")

    for owner in (cast.ada, cast.mallory):
        with pytest.raises(ValidationError, match="already"):
            bring(cast, arriving(owner, name="again"))


def test_nothing_comes_to_who_is_not_active(cast: Cast):
    cast.ada.deactivate(by=cast.by("grace"), reason="leave")

    with pytest.raises(ValidationError, match="not active"):
        bring(cast, arriving(cast.ada))


def test_users_come_with_their_roles(cast: Cast):
    plain = Role.objects.get(name=PLAIN_ROLE)
    robot = User(username="new-robot", kind=Kind.SERVICE, accountable=cast.ada)

    User.objects.bring_in([(User(username="hopper"), [plain]), (robot, [plain])], by=cast.by("grace"), operation="x")

    hopper = User.objects.get(username="hopper")
    assert hopper.held_role_names == {"osmo-user", PLAIN_ROLE}
    assert robot.held_role_names == {PLAIN_ROLE}
    assert not hopper.has_usable_password()
    assert timezone.now() - hopper.created_at < timedelta(minutes=1)
    assert set(RoleAssignment.objects.filter(user=hopper).values_list("assigned_by__username", flat=True)) == {"grace"}
    assert Event.objects.get(action="users.imported").object_label == "2 users"


@pytest.mark.parametrize(
    "make",
    [
        lambda cast: (User(username="no good"), []),
        lambda cast: (User(username="x" * 255), []),
        lambda cast: (User(username="ADA"), []),
        lambda cast: (User(username="new", accountable=cast.ada), []),
        lambda cast: (User(username="new", kind=Kind.SERVICE), []),
        lambda cast: (User(username="new", kind=Kind.SERVICE, accountable=cast.robot), []),
        lambda cast: (User(username="new"), [Role.objects.get(name="osmo-default")]),
    ],
)
def test_one_user_who_breaks_a_rule_keeps_all_out(cast: Cast, make: Any):
    before = counts()

    with pytest.raises(ValidationError):
        User.objects.bring_in([(User(username="good"), []), make(cast)], by=cast.by("grace"), operation="x")

    assert counts() == before


def test_rows_are_written_inside_the_trail_alone(cast: Cast):
    with pytest.raises(UnrecordedChange):
        User.objects.insert_many([User(username="past")])
    with pytest.raises(UnrecordedChange):
        TokenRole.objects.insert_values(["token", "assignment"], [(1, 1)])


def test_settings_come_with_one_event(cast: Cast):
    both: list[tuple[User, dict[str, Any]]] = [
        (cast.ada, {"email_notification": True, "bucket": "osmo"}),
        (cast.grace, {"pool": cast.pool.name}),
    ]

    Settings.objects.bring_in(both, by=cast.by("grace"), operation="x")

    mine = Settings.of(cast.ada)
    assert (mine.email_notification, mine.slack_notification, mine.bucket, mine.pool) == (True, False, "osmo", None)
    event = Event.objects.get(action="settings.imported")
    told = event.lines.values_list("object_label", "after")
    assert list(told) == [("ada", "email notification, bucket osmo"), ("grace", f"pool {cast.pool.name}")]
    assert list(chain.faults()) == []


@pytest.mark.parametrize("values", [{"bucket": "nowhere"}, {"pool": "nowhere"}, {"bucket": "osmo"}])
def test_one_setting_that_cannot_be_keeps_all_out(cast: Cast, values: dict[str, Any]):
    Settings.change(cast.ada, by=cast.by("ada"), slack_notification=True)  # so that none can come for ada
    before = counts()

    with pytest.raises(ValidationError):
        Settings.objects.bring_in(
            [(cast.grace, {"bucket": "osmo"}), (cast.ada, values)], by=cast.by("grace"), operation="x"
        )

    assert counts() == before
