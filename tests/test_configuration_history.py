"""What roles and pools were after each change, whoever made it, and the way back."""

from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, ValidationError

from osmo_portal.events.models import Event
from osmo_portal.events.trail import audited, record
from profiles.models import ConfigType, Item, Pool, Revision, Role, RoleAssignment, User
from profiles.models.revision import MAX_TAGS, Account, revised
from tests import dump
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast
from tests.test_races import committed, errors, race  # noqa: F401  (a fixture)
from tokens import secrets, standing

pytestmark = pytest.mark.django_db
SUBMIT = [{"effect": "Allow", "actions": ["workflow:Create"], "resources": ["pool/my_pool"]}]
READ = [{"effect": "Allow", "actions": ["pool:List"], "resources": ["*"]}]
ROLE, POOL = ConfigType.ROLE, ConfigType.POOL


def newest(config_type: str = ROLE) -> Revision:
    return Revision.objects.of(config_type).order_by("-number")[0]


def story(config_type: str) -> list[tuple[int, str, str]]:
    found = Revision.objects.of(config_type).order_by("number")
    return [*found.values_list("number", "name", "description")]


def current(model: Any) -> dict[str, Any]:
    return {one.name: one.configuration for one in model.objects.existing()}


def test_the_first_revision_is_what_a_new_portal_has(db: None) -> None:
    first = Revision.objects.get(config_type=ROLE, number=1)

    assert (first.username, first.description, first.tags) == ("system", "Initial configuration", ["initial-config"])
    assert first.snapshot == current(Role)
    assert Revision.objects.get(config_type=POOL, number=1).snapshot == current(Pool)


def test_each_change_by_a_way_in_is_a_revision(cast: Cast) -> None:
    by, before = cast.by("grace"), newest().number
    role = Role.create(by=by, name="team", policies=READ)
    role.change(by=by, description="the team")
    role.change(by=by, policies=[], reason="nothing to read")
    role.mark_deleted(by=by, reason="team is gone")

    assert story(ROLE)[before:] == [
        (before + 1, "team", "Put complete role team"),
        (before + 2, "team", "Put complete role team"),
        (before + 3, "team", "nothing to read"),
        (before + 4, "team", "team is gone"),
    ]
    contents = [revision.snapshot.get("team") for revision in Revision.objects.of(ROLE).filter(number__gt=before)]
    assert [content and (content["description"], content["policies"]) for content in contents] == [
        ("", READ),
        ("the team", READ),
        ("the team", []),
        None,
    ]
    assert newest().snapshot == current(Role)
    assert newest().username == "grace"


def test_pools_have_a_history_and_their_figures_none(cast: Cast) -> None:
    by, before = cast.by("grace"), newest(POOL).number
    cast.pool.change(by=by, online=False, quota_used=3, total_usage=5, total_capacity=16)
    cast.pool.change(by=by, quota_limit=8, quota_used=4)
    cast.pool.mark_deleted(by=by, reason="sold")

    assert story(POOL)[before:] == [(before + 1, "my_pool", "Patch pool my_pool"), (before + 2, "my_pool", "sold")]
    assert newest(POOL).snapshot == current(Pool)


def test_a_maximum_lifetime_is_no_configuration_of_the_clients(cast: Cast) -> None:
    before = dump.tables()["profiles_revision"]

    Role.objects.get(name=POOL_ROLE).change(by=cast.by("grace"), max_token_days=7)

    assert dump.tables()["profiles_revision"] == before


def test_many_changes_are_one_revision_and_nothing_is_none(cast: Cast) -> None:
    by, before = cast.by("grace"), newest().number
    with revised(ROLE, Account("", "both", ["a"]), by=by):
        Role.put(by=by, name="one", policies=READ)
        Role.put(by=by, name=PLAIN_ROLE, description="readers")
    with revised(ROLE, Account("", "nothing"), by=by):
        Role.put(by=by, name="one", policies=READ)
        Role.put(by=by, name="osmo-admin", policies=Role.objects.get(name="osmo-admin").policies)

    assert story(ROLE)[before:] == [(before + 1, "", "both")]
    assert {*newest().items.values_list("name", flat=True)} == {"one", PLAIN_ROLE}


def test_one_change_that_is_refused_undoes_the_others(cast: Cast) -> None:
    by, before = cast.by("grace"), dump.tables()

    def both() -> None:
        with revised(ROLE, Account(), by=by):
            Role.put(by=by, name="one", policies=READ)
            Role.put(by=by, name="osmo-user", policies=SUBMIT)

    with pytest.raises(ValidationError, match="must not give pool access"):
        both()

    assert dump.tables() == before


def test_a_change_that_is_refused_inside_leaves_nothing_in_the_revision(cast: Cast) -> None:
    by = cast.by("grace")
    with revised(ROLE, Account(), by=by):
        Role.put(by=by, name="one", policies=READ)
        with pytest.raises(ValidationError):
            Role.put(by=by, name="osmo-user", policies=SUBMIT)

    assert {*newest().items.values_list("name", flat=True)} == {"one"}
    assert newest().snapshot == current(Role)


def test_a_rollback_makes_it_what_it_was(cast: Cast) -> None:
    by = cast.by("grace")
    then, was = newest().number, current(Role)
    Role.create(by=by, name="new", policies=READ)
    Role.objects.get(name=PLAIN_ROLE).change(by=by, policies=SUBMIT, sync_mode="ignore", external_roles=["x"])
    Role.objects.get(name="osmo-ctrl").mark_deleted(by=by, reason="unused")
    before = newest().number

    Role.roll_back(then, by=by, description="a mistake", tags=["back"])

    assert current(Role) == was == newest().snapshot
    assert story(ROLE)[before:] == [(before + 1, "", f"Roll back ROLE to r{then}: a mistake")]
    assert newest().tags == ["back"]
    assert Role.objects.existing().get(name=PLAIN_ROLE).is_plain
    told = Event.objects.order_by("-pk")[:3]
    assert {event.action for event in told} == {"role.deleted", "role.changed", "role.created"}
    assert {event.reason for event in told if event.action != "role.created"} == {
        f"Roll back ROLE to r{then}: a mistake"
    }


def test_a_role_that_comes_back_is_another_and_gives_nothing_back(cast: Cast) -> None:
    by = cast.by("grace")
    token = cast.service_token(roles=[POOL_ROLE])
    role = Role.objects.get(name=POOL_ROLE)
    role.change(by=by, max_token_days=40)
    then = newest().number
    role.mark_deleted(by=by, reason="by mistake")

    Role.roll_back(then, by=by)

    back = Role.objects.existing().get(name=POOL_ROLE)
    assert back.pk != role.pk
    assert (back.grants_pools, back.max_token_days) == (True, 40)
    assert not RoleAssignment.objects.effective().filter(role=back).exists()
    found = standing.of_secret(secrets.digest(token.plaintext))
    assert found is not None
    assert (found.roles, bool(found.refusal)) == ((), True)


def test_pools_are_rolled_back_with_their_settings_and_not_with_their_figures(cast: Cast) -> None:
    by = cast.by("grace")
    cast.pool.change(by=by, spec={"common_pod_template": ["gpu"]}, quota_limit=4)
    then = newest(POOL).number
    cast.pool.change(by=by, spec={}, quota_limit=2, maintenance=True, online=False, total_capacity=99)
    Pool.create(by=by, name="later")

    Pool.roll_back(then, by=by)

    cast.pool.refresh_from_db()
    assert cast.pool.configuration["spec"] == {"common_pod_template": ["gpu"]}
    assert (cast.pool.quota_limit, cast.pool.maintenance) == (4, False)
    assert (cast.pool.online, cast.pool.total_capacity) == (False, 99)
    assert {*current(Pool)} == {"default", "my_pool"}


def test_a_rollback_goes_through_the_checks_of_today(cast: Cast) -> None:
    """As if a revision were older than a rule."""
    content = {**Role.objects.get(name="osmo-user").configuration, "policies": SUBMIT}
    with audited():
        revision = Revision(config_type=ROLE, number=newest().number + 1, username="before")
        revision.save()
        Item(revision=revision, name="osmo-user", content=content).save()
        record("revision.tagged", cast.by("grace"), revision)
    then = revision.number
    Role.create(by=cast.by("grace"), name="later")
    before = dump.tables()

    with pytest.raises(ValidationError, match="must not give pool access"):
        Role.roll_back(then, by=cast.by("grace"))

    assert dump.tables() == before


def test_administrators_are_not_locked_out_by_a_rollback(cast: Cast) -> None:
    Role.roll_back(1, by=cast.by("grace"))

    assert User.objects.get(username="grace").held_role_names >= {"osmo-admin"}
    assert {*current(Role)} == {"osmo-admin", "osmo-user", "osmo-default", "osmo-backend", "osmo-ctrl"}


@pytest.mark.parametrize("number", [0, 999, 10**17])
def test_there_is_no_way_back_to_what_never_was(cast: Cast, number: int) -> None:
    with pytest.raises(ValidationError, match=f"No config history entry found for type POOL at revision {number}"):
        Pool.roll_back(number, by=cast.by("grace"))


def test_a_deleted_revision_is_hidden_and_the_later_ones_stay_whole(cast: Cast) -> None:
    by = cast.by("grace")
    Role.create(by=by, name="one", policies=READ)
    hidden = newest()
    Role.create(by=by, name="two", policies=READ)

    hidden.mark_deleted(by=by)

    assert hidden not in Revision.objects.shown()
    assert newest().snapshot == current(Role)
    assert Event.objects.get(action="revision.deleted").object_label == str(hidden)
    with pytest.raises(
        ValidationError, match=f"Cannot roll back to revision {hidden.number} .* as it was deleted by grace"
    ):
        Role.roll_back(hidden.number, by=by)
    with pytest.raises(ValidationError, match="No config history entry found"):
        hidden.mark_deleted(by=by)
    with pytest.raises(ValidationError, match="No config history entry found"):
        hidden.tag(by=by, add=["x"])


def test_the_current_revision_is_not_deleted_not_even_if_the_one_after_it_was(cast: Cast) -> None:
    with pytest.raises(ValidationError, match=r"Cannot delete the current revision \d+ for config type ROLE"):
        newest().mark_deleted(by=cast.by("grace"))


def test_tags_are_set_and_taken(cast: Cast) -> None:
    by, revision = cast.by("grace"), newest()

    revision.tag(by=by, add=["b", "a", "a"])
    revision.tag(by=by, add=["c"], remove=["a", "nope"])

    revision.refresh_from_db()
    assert revision.tags == ["b", "c"]
    assert [*Revision.objects.of(ROLE).tagged(["b", "c"])] == [revision]
    assert [*Revision.objects.of(ROLE).tagged(["b", "x"])] == []
    assert Event.objects.filter(action="revision.tagged")[0].changes == {"tags": [["b", "a"], ["b", "c"]]}
    for wrong in (["x" * 101], ["a\0"], [str(number) for number in range(MAX_TAGS + 1)]):
        with pytest.raises(ValidationError):
            revision.tag(by=by, add=wrong)


def test_events_tell_which_settings_of_a_pool_changed_and_not_what_is_in_them(cast: Cast) -> None:
    by = cast.by("grace")

    cast.pool.change(by=by, spec={"common_default_variables": {"KEY": "hunter2-secret"}, "platforms": {}})
    Pool.create(by=by, name="other", spec={"common_pod_template": ["hunter2-secret"]})

    events = Event.objects.order_by("-pk")[:2]
    assert [event.changes["settings"] for event in events] == [
        "common_pod_template",
        "common_default_variables, platforms",
    ]
    assert "hunter2" not in str([event.changes for event in Event.objects.all()])


@pytest.mark.parametrize("spec", [[], None, "x", {"a": "x" * 100_000}])
def test_settings_of_a_pool_are_an_object_of_bounded_size(cast: Cast, spec: Any) -> None:
    with pytest.raises(ValidationError):
        cast.pool.change(by=cast.by("grace"), spec=spec)


@pytest.mark.parametrize("external", ["x", [5], ["x" * 255], ["a\0"], ["x"] * 101])
def test_external_roles_are_a_bounded_list_of_names(cast: Cast, external: Any) -> None:
    with pytest.raises(ValidationError):
        Role.objects.get(name=PLAIN_ROLE).change(by=cast.by("grace"), external_roles=external)


@pytest.mark.parametrize("who", ["ada", "olive", "audrey", "robot"])
def test_only_administrators_write_history(cast: Cast, who: str) -> None:
    by, before = cast.by(who), dump.tables()
    attempts = [
        lambda: Role.put(by=by, name=PLAIN_ROLE, policies=Role.objects.get(name=PLAIN_ROLE).policies),
        lambda: Pool.put(by=by, name="p", backend="b"),
        lambda: Role.roll_back(1, by=by),
        lambda: newest().mark_deleted(by=by),
        lambda: newest().tag(by=by, add=["x"]),
    ]

    for attempt in attempts:
        with pytest.raises(PermissionDenied):
            attempt()

    assert dump.tables() == before


@pytest.mark.django_db(transaction=True)
def test_changes_at_the_same_time_get_numbers_without_gaps_and_lose_nothing(committed: Cast) -> None:  # noqa: F811
    by, before = committed.by("grace"), newest().number
    pool_before = newest(POOL).number
    names = [f"team-{number}" for number in range(3)]

    found = race(
        *[lambda name=name: Role.create(by=by, name=name, policies=READ) for name in names],
        lambda: Role.objects.get(name="osmo-ctrl").change(by=by, description="x"),
        lambda: Role.roll_back(1, by=by),
        lambda: committed.pool.change(by=by, quota_limit=3),
    )

    assert not errors(found)
    numbers = [number for number, _, _ in story(ROLE)]
    assert numbers == [*range(1, len(numbers) + 1)]
    assert len(numbers) == before + 5
    assert newest().snapshot == current(Role)
    assert newest(POOL).number == pool_before + 1
