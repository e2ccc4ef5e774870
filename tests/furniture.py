"""Records in every state, with believable names: what pages are looked at with."""

from dataclasses import replace
from datetime import timedelta

from django.utils import timezone

from osmo_portal.events.actor import Actor, Door
from profiles.models import Pool, Role, User
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast
from tests.snapshot import scene
from tokens.models import AccessToken, BulkOperation, LastUse, TerminalSignIn

CURL = "osmo-cli/6.0.0 (linux; x86_64) python-requests/2.32"


def furnish(cast: Cast) -> None:
    """Tokens, people, service accounts, roles and pools in every state that there is, and the events behind them."""
    scene("furniture", lambda: _furnish(cast))


def _furnish(cast: Cast) -> None:
    by = cast.by("grace")
    _pools_and_roles(by)
    _people(cast, by)
    _service_tokens(cast, by)
    _user_tokens(cast)
    _operations(by)
    _terminals(cast)


def _pools_and_roles(by: Actor) -> None:
    Pool.create(by=by, name="warehouse-arms", description="Bin picking, building 4", online=True, total_capacity=64)
    Pool.create(by=by, name="lab-a100", description="Shared by all teams", backend="kube-lab", total_capacity=16)
    gone = Pool.create(by=by, name="old-rack")
    gone.mark_deleted(by=by, reason="switched off")
    submit = [{"effect": "Allow", "actions": ["workflow:Create"], "resources": ["pool/warehouse-arms"]}]
    role = Role.create(
        by=by, name="osmo-warehouse-arms", description="Submits bin-picking runs", policies=submit, max_token_days=90
    )
    role.change(by=by, max_token_days=60)
    Role.create(by=by, name="osmo-old-rack", policies=[]).mark_deleted(by=by, reason="the pool is gone")


def _people(cast: Cast, by: Actor) -> None:
    leaver = User.create_person(by=by, username="lena", display_name="Lena Leaver", email="lena@example.com")
    User.create_service_account(
        by=by, username="sim-sweeper", accountable=leaver, purpose="Sweeps simulation seeds at night", roles=[POOL_ROLE]
    )
    paused = User.create_service_account(
        by=by, username="calibration", accountable=cast.ada, purpose="Calibrates cameras", roles=[PLAIN_ROLE]
    )
    cast.service_token("calibrate", [PLAIN_ROLE], owner="calibration")
    paused.deactivate(by=by, reason="the rig is being rebuilt")
    leaver.deactivate(by=by, reason="left the company")
    User.create_person(by=by, username="otto").mark_deleted(by=by, reason="made by mistake")
    cast.ada.assign_role("osmo-warehouse-arms", by=by)
    cast.robot.assign_role("osmo-warehouse-arms", by=by)


def _service_tokens(cast: Cast, by: Actor) -> None:
    cast.service_token("paused").suspend(by=by, reason="asked for by the team")
    cast.service_token("leaked").revoke(by=by, reason="pasted into a chat")
    cast.service_token("over", [PLAIN_ROLE])
    AccessToken.objects.filter(name="over").expire(by=by, reason="end of the trial")
    cast.service_token("sweep", owner="sim-sweeper")
    cast.service_token("warehouse", ["osmo-warehouse-arms"], days=5)
    narrowed = cast.service_token("narrowed", [PLAIN_ROLE, "osmo-warehouse-arms"])
    cast.robot.remove_role("osmo-warehouse-arms", by=by, reason="no longer needed")
    _used(narrowed, timedelta(days=100))
    token = cast.service_token("nightly-build", [POOL_ROLE, PLAIN_ROLE])
    token.rotate(by=by, grace=timedelta(hours=24))
    _used(token, timedelta(hours=2))


def _user_tokens(cast: Cast) -> None:
    for name in ("grace", "olive", "ada"):
        _used(cast.user_token(name, "laptop", description="My laptop"), timedelta(minutes=5))
    cast.user_token("ada", "paused").suspend(by=cast.by("ada"), reason="on leave")
    cast.user_token("ada", "old-laptop", days=5).revoke(by=cast.by("ada"), reason="given back")
    cast.user_token("audrey", "notebook", days=3)


def _operations(by: Actor) -> None:
    """One that was looked at, and one that was begun and not run to its end."""
    robots = AccessToken.objects.listed().filter(owner__username="robot")
    BulkOperation.preview(robots, by=by, action="revoke", filters={"owner": "robot"})
    begun = BulkOperation.preview(robots, by=by, action="suspend", filters={"owner": "robot"})
    begun.start(robots, by=by, digest=begun.digest, reason="the lab is closed")


def _terminals(cast: Cast) -> None:
    for person in (cast.grace, cast.ada):
        at_desk = replace(cast.by(person.username, Door.CLI), address="2001:db8::17")
        for agent in ("osmo-cli/6.3.1", CURL):
            TerminalSignIn.begin(person, client="osmo-cli", agent=agent, by=at_desk)


def _used(token: AccessToken, ago: timedelta) -> None:
    use = {"at": timezone.now() - ago, "ip": "2001:db8::17", "agent": CURL}
    LastUse.objects.filter(token=token).update(**use)
