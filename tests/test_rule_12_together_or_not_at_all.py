"""R12: every change and its event commit together, or neither does."""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from inspect import isfunction, signature
from typing import Any

import pytest
from django.db import DatabaseError
from django.utils import timezone

from osmo_portal.events import chain
from osmo_portal.events.actor import Actor
from osmo_portal.events.models import Event
from profiles.models import Pool, Role, Settings, User
from tests import dump
from tests.cast import PASSWORD, PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tokens import exchange
from tokens.models import AccessToken, BulkOperation, SigningKey, batches
from tokens.models.arriving import Arriving


class Stage:
    """The cast with something to change everywhere."""

    def __init__(self, cast: Cast) -> None:
        self.cast, self.grace = cast, cast.by("grace")
        self.live, self.stopped, self.own = cast.service_token("live"), cast.service_token("stopped"), cast.user_token()
        self.stopped.suspend(by=self.grace, reason="holiday")
        self.last_year = timezone.now() - timedelta(days=365)
        gone = cast.service_token("gone")
        AccessToken._base_manager.filter(pk=gone.pk).update(created_at=None, expires_at=self.last_year)
        cast.olive.deactivate(by=self.grace, reason="leave")
        self.role = Role.objects.get(name=PLAIN_ROLE)
        self.tokens = AccessToken.objects.owned_by(cast.robot)
        self.looked = BulkOperation.preview(self.tokens, by=self.grace, action="revoke", filters={})
        self.begun = BulkOperation.preview(self.tokens, by=self.grace, action="suspend", filters={})
        self.begun.start(self.tokens, by=self.grace, digest=self.begun.digest, reason="spring")
        SigningKey.current_or_first()


def _arriving(stage: Stage) -> Arriving:
    midnight = datetime.combine(in_days(5), time.min, UTC)
    return Arriving(stage.cast.ada, "moved", midnight, b"d" * 32, ["osmo-user"])


WAYS_IN: dict[str, Callable[[Stage], Any]] = {
    "token.issued": lambda s: AccessToken.issue(by=s.grace, owner=s.cast.ada, name="new", expires=in_days(5)),
    "with account": lambda s: AccessToken.issue_with_account(
        by=s.grace, name="new-bot", expires=in_days(5), roles=[PLAIN_ROLE]
    ),
    "token.rotated": lambda s: s.live.rotate(by=s.grace, expires=in_days(40)),
    "token.revoked": lambda s: s.live.revoke(by=s.grace, reason="leaked"),
    "token.suspended": lambda s: s.live.suspend(by=s.grace, reason="odd"),
    "token.resumed": lambda s: s.stopped.resume(by=s.grace, reason="back"),
    "tokens.expired": lambda s: s.tokens.expire(by=s.grace, reason="spring"),
    "tokens.revoked": lambda s: s.tokens.revoke(by=s.grace, reason="spring"),
    "tokens.suspended": lambda s: s.tokens.suspend(by=s.grace, reason="spring"),
    "tokens capped": lambda s: s.tokens.cap_lifetime(1, by=s.grace, reason="spring"),
    "tokens rotated": lambda s: s.tokens.rotate(by=s.grace, keep=lambda token: None, refused=print, reason="spring"),
    "tokens.resumed": lambda s: s.tokens.resume(by=s.grace, reason="back"),
    "tokens.handed_over": lambda s: s.tokens.hand_over(to=s.cast.mallory, by=s.grace, reason="ada left"),
    "tokens.purged": lambda s: s.tokens.purge(by=s.grace, before=s.last_year + timedelta(days=1), reason="retention"),
    "bulk previewed": lambda s: BulkOperation.preview(s.tokens, by=s.grace, action="revoke", filters={}),
    "bulk started": lambda s: s.looked.start(s.tokens, by=s.grace, digest=s.looked.digest, reason="spring"),
    "bulk begun": lambda s: BulkOperation.look(s.tokens, actor=s.grace, action="revoke", filters={}).begin(
        s.tokens, by=s.grace, reason="spring"
    ),
    "bulk run": lambda s: s.begun.run(by=s.grace),
    "bulk stopped": lambda s: s.begun.stop(by=s.grace, reason="wrong"),
    "person created": lambda s: User.create_person(by=s.grace, username="new", roles=[POOL_ROLE]),
    "account created": lambda s: User.create_service_account(by=s.grace, username="new", roles=[POOL_ROLE]),
    "role assigned": lambda s: s.cast.ada.assign_role(POOL_ROLE, by=s.grace),
    "role removed": lambda s: s.cast.robot.remove_role(POOL_ROLE, by=s.grace),
    "user deactivated": lambda s: s.cast.robot.deactivate(by=s.grace, reason="off"),
    "user reactivated": lambda s: s.cast.olive.reactivate(by=s.grace, reason="on"),
    "user deleted": lambda s: s.cast.robot.mark_deleted(by=s.grace, reason="off"),
    "user handed over": lambda s: s.cast.robot.hand_over(to=s.cast.mallory, by=s.grace),
    "accounts handed over": lambda s: s.cast.ada.hand_over_accounts(to=s.cast.mallory, by=s.grace, reason="left"),
    "user described": lambda s: s.cast.ada.describe(by=s.grace, display_name="Countess"),
    "password changed": lambda s: s.cast.ada.change_password(PASSWORD + "!", by=s.cast.by("ada")),
    "groups changed": lambda s: s.cast.ada.put_into_groups(["operators"], by=s.grace),
    "signed in": lambda s: s.cast.ada.signed_in(by=s.cast.by("ada")),
    "role created": lambda s: Role.create(by=s.grace, name="new"),
    "role changed": lambda s: s.role.change(by=s.grace, description="new", max_token_days=2),
    "role deleted": lambda s: s.role.mark_deleted(by=s.grace, reason="unused"),
    "pool created": lambda s: Pool.create(by=s.grace, name="new"),
    "pool changed": lambda s: s.cast.pool.change(by=s.grace, maintenance=True),
    "pool deleted": lambda s: s.cast.pool.mark_deleted(by=s.grace, reason="sold"),
    "settings changed": lambda s: Settings.change(s.cast.ada, by=s.cast.by("ada"), email_notification=True),
    "settings imported": lambda s: Settings.objects.bring_in(
        [(s.cast.ada, {"email_notification": True})], by=s.grace, operation="import"
    ),
    "users imported": lambda s: User.objects.bring_in([(User(username="new"), [])], by=s.grace, operation="import"),
    "tokens imported": lambda s: AccessToken.objects.bring_in([_arriving(s)], by=s.grace, operation="import"),
    "key rotated": lambda s: SigningKey.rotate(by=Actor.shell()),
    "keys voided": lambda s: SigningKey.rotate(by=s.grace, void=True),
}
ways_in = pytest.mark.parametrize("way_in", WAYS_IN.values(), ids=WAYS_IN.keys())


@ways_in
def test_a_change_whose_event_cannot_be_written_did_not_happen(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, way_in: Callable[[Stage], Any]
) -> None:
    stage = Stage(cast)
    before = dump.tables()

    def fail(drafts: object) -> None:
        raise DatabaseError("The disk is full.")

    monkeypatch.setattr(chain, "append", fail)
    with pytest.raises(DatabaseError, match="disk is full"):
        way_in(stage)

    assert dump.tables() == before


@ways_in
def test_a_change_writes_its_event(cast: Cast, way_in: Callable[[Stage], Any]) -> None:
    """The other half of the test above: each of these does change something, and tells."""
    stage = Stage(cast)
    before, events = dump.tables(), Event.objects.count()

    way_in(stage)

    changed = {table for table, rows in dump.tables().items() if rows != before[table]}
    assert "events_event" in changed
    assert len(changed) > 1
    assert Event.objects.count() > events
    assert not list(chain.faults())


def test_every_way_in_is_in_the_list() -> None:
    """A public method that wants `by` and is missing above would not be proven."""
    called = {name for way_in in WAYS_IN.values() for name in way_in.__code__.co_names}

    for model in (AccessToken, User, Role, Pool, Settings, SigningKey, BulkOperation, type(AccessToken.objects.all())):
        assert _ways_in(model) <= called, model


def _ways_in(model: type) -> set[str]:
    functions = [getattr(value, "__func__", value) for value in vars(model).values()]
    return {f.__name__ for f in functions if isfunction(f) and f.__name__[0] != "_" and "by" in signature(f).parameters}


def test_a_refused_exchange_is_recorded_although_it_changes_nothing(cast: Cast) -> None:
    token = cast.service_token()
    token.revoke(by=cast.by("grace"), reason="leaked")

    with pytest.raises(exchange.Refused):
        exchange.exchange(token.plaintext)

    assert Event.objects.filter(action="exchange.refused.revoked", object_id=token.pk).count() == 1


def test_a_batch_that_fails_leaves_the_batches_before_it(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    for vendor in batches.BATCH_SIZES:
        monkeypatch.setitem(batches.BATCH_SIZES, vendor, 2)
    tokens = [cast.service_token(f"t{n}") for n in range(5)]
    append, calls = chain.append, []

    def fail_at_second(drafts: Any) -> None:
        calls.append(drafts)
        if len(calls) == 2:
            raise DatabaseError("The disk is full.")
        append(drafts)

    monkeypatch.setattr(chain, "append", fail_at_second)
    with pytest.raises(DatabaseError):
        AccessToken.objects.all().revoke(by=cast.by("grace"), reason="spring")

    ended = set(AccessToken.objects.exclude(ended_at=None))
    assert ended == set(tokens[:2])
    assert Event.objects.filter(action="tokens.revoked").count() == 1
    assert AccessToken.objects.all().revoke(by=cast.by("grace"), reason="spring") == 3  # where it stopped
