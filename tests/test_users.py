"""The ways in of users: who may, what is asked for, what is left behind."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest

from osmo_portal.events.actor import ADMINISTRATOR_ROLE, Actor, Door
from osmo_portal.events.models import Event
from profiles.models import Kind, Pool, Role, Settings, User
from tests import dump
from tests.cast import PASSWORD, PLAIN_ROLE, POOL_ROLE, Cast
from tokens.models import AccessToken

STRANGERS: dict[str, Callable[[Cast], Actor]] = {
    "herself": lambda cast: cast.by("ada"),
    "her token": lambda cast: cast.with_token(cast.user_token("ada")),
    "an operator": lambda cast: cast.by("olive"),
    "an auditor": lambda cast: cast.by("audrey"),
    "a service account": lambda cast: cast.by("robot"),
    "an administrator's user token": lambda cast: cast.with_token(cast.user_token("grace")),
    "the shell": lambda cast: Actor.shell(),
    "nobody": lambda cast: Actor.nobody(HttpRequest(), Door.ADMIN),
}


@pytest.mark.parametrize("caller", STRANGERS.values(), ids=STRANGERS.keys())
def test_users_are_an_administrators(cast: Cast, caller: Callable[[Cast], Actor]) -> None:
    by = caller(cast)
    before = dump.tables()

    for attempt in (
        lambda: User.create_person(by=by, username="new"),
        lambda: User.create_service_account(by=by, username="new", accountable=cast.ada),
        lambda: cast.ada.assign_role(PLAIN_ROLE, by=by),
        lambda: cast.ada.remove_role("osmo-user", by=by),
        lambda: cast.ada.deactivate(by=by, reason="x"),
        lambda: cast.ada.reactivate(by=by, reason="x"),
        lambda: cast.ada.mark_deleted(by=by, reason="x"),
        lambda: cast.ada.describe(by=by, display_name="Countess"),
        lambda: cast.ada.put_into_groups(["operators"], by=by),
        lambda: cast.robot.hand_over(to=cast.ada, by=by),
        lambda: cast.ada.hand_over_accounts(to=cast.mallory, by=by, reason="left"),
        lambda: cast.mallory.change_password("correct horse", by=by),
    ):
        with pytest.raises(PermissionDenied, match="Only an administrator may"):
            attempt()

    assert dump.tables() == before


# Making one.


def test_a_person_holds_osmo_user_and_can_sign_in(cast: Cast) -> None:
    person = User.create_person(by=cast.by("grace"), username="new", password=PASSWORD, email="new@example.com")

    assert (person.kind, person.created_by, person.accountable) == (Kind.PERSON, cast.grace, None)
    assert person.held_role_names == {"osmo-user"}
    assert authenticate(username="NEW", password=PASSWORD) == person


def test_a_person_without_a_password_cannot_sign_in(cast: Cast) -> None:
    person = User.create_person(by=cast.by("grace"), username="new")

    assert not person.has_usable_password()
    assert authenticate(username="new", password="") is None


def test_a_service_account_has_no_password_and_the_roles_given(cast: Cast) -> None:
    account = User.create_service_account(by=cast.by("grace"), username="bot", purpose="CI", roles=[PLAIN_ROLE])

    assert (account.kind, account.accountable, account.purpose) == (Kind.SERVICE, cast.grace, "CI")
    assert not account.has_usable_password()
    assert account.held_role_names == {PLAIN_ROLE}


@pytest.mark.parametrize("username", ["ada", "Ada", "ADA", "robot", "ROBOT"])
def test_an_id_that_is_taken_in_any_case_is_told(cast: Cast, username: str) -> None:
    before = dump.tables()

    for create in (User.create_person, User.create_service_account):
        with pytest.raises(ValidationError) as refusal:
            create(by=cast.by("grace"), username=username)
        assert refusal.value.message_dict == {"username": [f"User {username} already exists."]}
    assert dump.tables() == before


@pytest.mark.parametrize(
    "username",
    [
        "", " ", "-ada", "ada-", ".ada", "ada ", " ada", "a b", "a\nb", "ada\n", "a\0b", "a\ud800b", "ådå",
        "аda", "ａda", "\u212aate", "ada\u200b", "a/b", "a:b", "a'b", "<b>", "../ada", "a" * 255, "a" * 100_000,
    ],
    ids=lambda text: ascii(text[:12]),
)  # fmt: skip
def test_an_id_out_of_the_pattern_is_refused(cast: Cast, username: str) -> None:
    before = dump.tables()

    for create in (User.create_person, User.create_service_account):
        with pytest.raises(ValidationError) as refusal:
            create(by=cast.by("grace"), username=username)
        assert set(refusal.value.message_dict) == {"username"}
    assert dump.tables() == before


@pytest.mark.parametrize("username", ["a", "A1", "ada.l", "ada@example.com", "a_b-c.d@e", "0x", "a" * 254])
def test_an_id_within_the_pattern_is_kept_as_it_was_written(cast: Cast, username: str) -> None:
    assert User.create_person(by=cast.by("grace"), username=username).username == username


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"display_name": "a\0b"}, "display_name"),
        ({"display_name": "\x1b[31mred"}, "display_name"),
        ({"display_name": "‮evil"}, "display_name"),
        ({"display_name": "a\ud800"}, "display_name"),
        ({"display_name": "x" * 255}, "display_name"),
        ({"email": "nonsense"}, "email"),
        ({"email": "a@b.example\nBcc: x@y.example"}, "email"),
        ({"roles": ["no-such-role"]}, "roles"),
        ({"roles": ["a\0b"]}, "roles"),
        ({"roles": ["osmo-default"]}, "roles"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_wrong_field_makes_nobody(cast: Cast, fields: dict[str, Any], wrong: str) -> None:
    before = dump.tables()

    for create in (User.create_person, User.create_service_account):
        with pytest.raises(ValidationError) as refusal:
            create(by=cast.by("grace"), username="new", **fields)
        assert set(refusal.value.message_dict) == {wrong}
    assert dump.tables() == before


@pytest.mark.parametrize("name", ["olive", "robot", "mallory"])
def test_the_accountable_person_is_an_active_person(cast: Cast, name: str) -> None:
    somebody = User.objects.get(username=name)
    if name != "robot":
        somebody.deactivate(by=cast.by("grace"), reason="left")

    for attempt in (
        lambda: User.create_service_account(by=cast.by("grace"), username="bot", accountable=somebody),
        lambda: cast.robot.hand_over(to=somebody, by=cast.by("grace")),
        lambda: cast.ada.hand_over_accounts(to=somebody, by=cast.by("grace"), reason="left"),
    ):
        with pytest.raises(ValidationError, match="Choose an active person"):
            attempt()
    assert User.objects.get(username="robot").accountable == cast.ada


def test_the_bootstrap_needs_an_accountable_person_too(cast: Cast) -> None:
    with pytest.raises(ValidationError, match="Choose an active person"):
        User.create_service_account(by=Actor.bootstrap(), username="bot")


def test_a_program_whose_accountable_person_left_must_name_one(cast: Cast) -> None:
    token = cast.administrator_token()
    cast.olive.assign_role(ADMINISTRATOR_ROLE, by=cast.by("grace"))
    cast.grace.deactivate(by=cast.by("olive"), reason="left")

    with pytest.raises(ValidationError, match="Choose an active person"):
        User.create_service_account(by=cast.with_token(token), username="bot")
    assert User.create_service_account(by=cast.with_token(token), username="bot", accountable=cast.ada)


def test_a_handover_is_told_and_changes_no_right(cast: Cast) -> None:
    before = cast.robot.held_role_names

    cast.robot.hand_over(to=cast.mallory, by=cast.by("grace"))

    robot = User.objects.get(username="robot")
    assert (robot.accountable, robot.held_role_names) == (cast.mallory, before)
    assert Event.objects.get(action="user.handed_over").changes == {"accountable": ["ada", "mallory"]}


def test_all_accounts_of_a_person_are_handed_over_at_once(cast: Cast) -> None:
    by = cast.by("grace")
    User.create_service_account(by=by, username="fleet", accountable=cast.ada)
    User.create_service_account(by=by, username="gone", accountable=cast.ada).mark_deleted(by=by, reason="over")
    User.create_service_account(by=by, username="other", accountable=cast.olive)
    cast.ada.mark_deleted(by=by, reason="left")

    count = cast.ada.hand_over_accounts(to=cast.mallory, by=by, reason="Ada left")

    accountable = dict(User.objects.exclude(accountable=None).values_list("username", "accountable__username"))
    assert count == 2
    assert accountable == {"robot": "mallory", "fleet": "mallory", "gone": "ada", "other": "olive"}
    event = Event.objects.get(action="user.accounts_handed_over")
    assert (event.object_id, event.reason, event.changes) == (
        cast.ada.pk,
        "Ada left",
        {"accountable": ["ada", "mallory"]},
    )
    told = [(line.object_label, line.before, line.after) for line in event.lines.all()]
    assert told == [("robot", "ada", "mallory"), ("fleet", "ada", "mallory")]


def test_who_is_accountable_for_nothing_hands_nothing_over(cast: Cast) -> None:
    for person, to in ((cast.mallory, cast.ada), (cast.ada, cast.ada)):
        with pytest.raises(ValidationError, match="There is nothing to hand over"):
            person.hand_over_accounts(to=to, by=cast.by("grace"), reason="left")


def test_handing_all_over_needs_a_reason(cast: Cast) -> None:
    with pytest.raises(ValidationError, match="Say why"):
        cast.ada.hand_over_accounts(to=cast.mallory, by=cast.by("grace"), reason=" ")


def test_a_deleted_account_is_not_handed_over(cast: Cast) -> None:
    cast.robot.mark_deleted(by=cast.by("grace"), reason="over")

    with pytest.raises(ValidationError, match="was deleted"):
        cast.robot.hand_over(to=cast.mallory, by=cast.by("grace"))


def test_names_too_long_for_a_line_stand_in_the_event_in_full(cast: Cast) -> None:
    long = User.create_person(by=cast.by("grace"), username="p" * 254)

    cast.ada.hand_over_accounts(to=long, by=cast.by("grace"), reason="left")

    event = Event.objects.get(action="user.accounts_handed_over")
    assert event.changes == {"accountable": ["ada", "p" * 254]}
    assert event.lines.get().after == "p" * 64


def test_a_person_is_not_handed_over(cast: Cast) -> None:
    with pytest.raises(ValidationError, match="Only a service account"):
        cast.ada.hand_over(to=cast.mallory, by=cast.by("grace"))


# The last administrator.


@pytest.mark.parametrize(
    "end",
    [
        lambda grace, by: grace.deactivate(by=by, reason="left"),
        lambda grace, by: grace.mark_deleted(by=by, reason="left"),
        lambda grace, by: grace.remove_role(ADMINISTRATOR_ROLE, by=by, reason="left"),
    ],
    ids=["deactivate", "delete", "remove the role"],
)
def test_the_last_active_administrator_stays(cast: Cast, end: Callable) -> None:
    token = cast.administrator_token()  # an administrator, but no person
    cast.ada.assign_role(ADMINISTRATOR_ROLE, by=cast.by("grace"))
    cast.ada.deactivate(by=cast.by("grace"), reason="left")  # a person, but not active
    cast.mallory.assign_role(ADMINISTRATOR_ROLE, by=cast.by("grace"))
    cast.mallory.mark_deleted(by=cast.by("grace"), reason="left")
    before = dump.tables()

    for by in (cast.by("grace"), cast.with_token(token), Actor.bootstrap()):
        with pytest.raises(ValidationError, match="This is the last active administrator"):
            end(User.objects.get(username="grace"), by)

    assert dump.tables() == before


def test_a_second_administrator_lets_the_first_go(cast: Cast) -> None:
    cast.ada.assign_role(ADMINISTRATOR_ROLE, by=cast.by("grace"))

    cast.grace.deactivate(by=cast.by("ada"), reason="left")

    assert list(User.objects.administrators()) == [cast.ada]
    assert not cast.by("grace").is_administrator


def test_a_role_that_is_not_held_is_not_removed(cast: Cast) -> None:
    before = dump.tables()

    for name in (ADMINISTRATOR_ROLE, "no-such-role", "a\0b"):
        with pytest.raises(ValidationError, match="does not hold the role"):
            cast.robot.remove_role(name, by=cast.by("grace"))

    assert dump.tables() == before


def test_others_may_go_while_one_administrator_is_left(cast: Cast) -> None:
    cast.ada.deactivate(by=cast.by("grace"), reason="left")

    assert list(User.objects.administrators()) == [cast.grace]


# Roles, groups, deactivation, deletion.


def test_a_role_that_is_held_is_not_assigned_again(cast: Cast) -> None:
    events = Event.objects.count()

    first = cast.robot.assign_role(POOL_ROLE, by=cast.by("grace"))
    second = cast.robot.assign_role(POOL_ROLE, by=cast.by("grace"))

    assert first == second
    assert Event.objects.count() == events


def test_a_deactivated_person_has_no_power(cast: Cast) -> None:
    cast.olive.deactivate(by=cast.by("grace"), reason="left")

    by = cast.by("olive")
    assert (by.roles, by.groups, by.is_operator) == (frozenset(), frozenset(), False)
    assert authenticate(username="olive", password=PASSWORD) is None


def test_what_was_asked_of_an_object_before_does_not_outlast_a_deactivation(cast: Cast) -> None:
    cast.olive.assign_role(ADMINISTRATOR_ROLE, by=cast.by("grace"))
    assert cast.olive.is_staff
    assert cast.olive.group_names

    cast.olive.deactivate(by=cast.by("grace"), reason="left")

    assert (cast.olive.held_role_names, cast.olive.group_names) == (frozenset(), frozenset())


def test_a_reactivated_person_is_as_before(cast: Cast) -> None:
    cast.olive.deactivate(by=cast.by("grace"), reason="leave")

    cast.olive.reactivate(by=cast.by("grace"), reason="back")

    assert cast.by("olive").is_operator
    assert authenticate(username="olive", password=PASSWORD) == cast.olive


@pytest.mark.parametrize("reason", ["", " ", "a\0b", "x" * 2_001])
def test_why_is_asked_for(cast: Cast, reason: str) -> None:
    before = dump.tables()

    for verb in ("deactivate", "reactivate", "mark_deleted"):
        with pytest.raises(ValidationError, match="reason"):
            getattr(User.objects.get(username="ada"), verb)(by=cast.by("grace"), reason=reason)

    assert dump.tables() == before


def test_deletion_frees_the_id_and_a_new_record_has_a_new_number(cast: Cast) -> None:
    cast.ada.mark_deleted(by=cast.by("grace"), reason="left")

    fresh = User.create_person(by=cast.by("grace"), username="ADA")

    assert fresh.pk != cast.ada.pk
    assert User.objects.named("ada").get() == fresh
    assert fresh.held_role_names == {"osmo-user"}
    assert not fresh.accounts.exists()
    assert User.objects.get(pk=cast.ada.pk).deleted_at


def test_a_deleted_person_leaves_the_accounts_to_the_leaver_queue(cast: Cast) -> None:
    cast.ada.mark_deleted(by=cast.by("grace"), reason="left")

    assert list(User.objects.left_behind()) == [cast.robot]


@pytest.mark.parametrize(
    ("groups", "operator", "auditor"),
    [
        (["operators"], True, False),
        (["auditors"], False, True),
        (["operators", "auditors"], False, True),
        ([], False, False),
    ],
)
def test_groups_make_operators_and_auditors(cast: Cast, groups: list[str], operator: bool, auditor: bool) -> None:
    cast.ada.put_into_groups(groups, by=cast.by("grace"))

    by = cast.by("ada")
    assert (by.is_operator, by.is_auditor) == (operator, auditor)
    assert User.objects.get(username="ada").is_staff == bool(groups)
    changes = Event.objects.filter(action="user.groups_changed").values_list("changes", flat=True)
    assert changes[0]["groups"] == [[], sorted(groups)]


@pytest.mark.parametrize("groups", [["admins"], ["operators", "Auditors"], ["a\0b"], ["osmo-admin"]])
def test_an_unknown_group_is_refused(cast: Cast, groups: list[str]) -> None:
    before = dump.tables()

    with pytest.raises(ValidationError, match="Choose among operators and auditors"):
        cast.ada.put_into_groups(groups, by=cast.by("grace"))

    assert dump.tables() == before


def test_a_service_account_is_in_no_group(cast: Cast) -> None:
    with pytest.raises(ValidationError, match="neither operator nor auditor"):
        cast.robot.put_into_groups(["operators"], by=cast.by("grace"))


# Describing, passwords, settings.


def test_a_description_is_changed_and_told(cast: Cast) -> None:
    cast.ada.describe(by=cast.by("grace"), display_name="  Countess ", email="ada@example.org")

    ada = User.objects.get(username="ada")
    assert (ada.display_name, ada.email) == ("Countess", "ada@example.org")
    assert Event.objects.get(action="user.changed").changes == {
        "display_name": ["Ada L.", "Countess"],
        "email": ["ada@example.com", "ada@example.org"],
    }


@pytest.mark.parametrize(
    "field", ["username", "kind", "password", "is_active", "deleted_at", "accountable", "created_by", "id", "groups"]
)
def test_nothing_else_is_changed_by_a_description(cast: Cast, field: str) -> None:
    before = dump.tables()

    with pytest.raises(TypeError, match="not changed this way"):
        cast.ada.describe(by=cast.by("grace"), **{field: "x"})

    assert dump.tables() == before


def test_a_person_changes_the_own_password_but_not_by_token(cast: Cast) -> None:
    cast.ada.change_password("a new password", by=cast.by("ada"))
    with pytest.raises(PermissionDenied):
        cast.ada.change_password("another password", by=cast.with_token(cast.user_token("ada")))

    assert authenticate(username="ada", password="a new password") == cast.ada


def test_a_service_account_gets_no_password(cast: Cast) -> None:
    with pytest.raises(ValidationError, match="has no password"):
        cast.robot.change_password("x", by=cast.by("grace"))


def test_no_password_is_in_an_event(cast: Cast) -> None:
    cast.ada.change_password("a new password", by=cast.by("grace"))

    assert "a new password" not in dump.text()
    assert cast.ada.password not in str(Event.objects.values_list("changes", flat=True))


def test_settings_are_their_users(cast: Cast) -> None:
    Settings.change(cast.ada, by=cast.by("ada"), pool="my_pool", bucket="osmo", email_notification=True)
    Settings.change(cast.ada, by=cast.by("grace"), slack_notification=True, pool=None)
    with pytest.raises(PermissionDenied):
        Settings.change(cast.ada, by=cast.by("olive"), pool="default")
    with pytest.raises(PermissionDenied):
        Settings.change(cast.ada, by=Actor.shell(), pool="default")

    mine = Settings.of(cast.ada)
    assert (mine.pool, mine.bucket, mine.email_notification, mine.slack_notification) == ("my_pool", "osmo", True, True)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pool": "nosuch"}, "Pool nosuch not found."),
        ({"pool": "a\0b"}, "not found"),
        ({"pool": "a\ud800b"}, "not found"),
        ({"pool": "x" * 100_000}, "not found"),
        ({"pool": ""}, "not found"),
        ({"bucket": "nosuch"}, "Bucket nosuch does not exist"),
        ({"bucket": "x" * 100_000}, "does not exist"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_wrong_settings_are_refused_in_words(cast: Cast, fields: dict[str, Any], message: str) -> None:
    before = dump.tables()

    with pytest.raises(ValidationError, match=message) as refusal:
        Settings.change(cast.ada, by=cast.by("ada"), **fields)

    assert len(refusal.value.messages[0]) < 300
    assert dump.tables() == before


def test_settings_of_another_are_not_written_by_a_field(cast: Cast) -> None:
    with pytest.raises(TypeError, match="not changed this way"):
        Settings.change(cast.mallory, by=cast.by("mallory"), user_id=cast.ada.pk, pool="default")

    assert not Settings.objects.exists()


def test_a_deleted_pool_is_no_setting(cast: Cast) -> None:
    Pool.objects.get(name="my_pool").mark_deleted(by=cast.by("grace"), reason="sold")

    with pytest.raises(ValidationError, match="not found"):
        Settings.change(cast.ada, by=cast.by("ada"), pool="my_pool")


# Power.


@pytest.mark.parametrize(
    ("name", "staff"), [("grace", True), ("olive", True), ("audrey", True), ("ada", False), ("robot", False)]
)
def test_who_may_open_the_console(cast: Cast, name: str, staff: bool) -> None:
    assert User.objects.get(username=name).is_staff == staff


def test_there_is_no_other_source_of_power_than_roles_and_groups(cast: Cast) -> None:
    for name in ("is_superuser", "is_staff", "user_permissions", "last_login"):
        assert name not in {field.name for field in User._meta.get_fields()}
    assert not cast.ada.is_superuser
    assert cast.grace.is_administrator
    assert Role.objects.get(name=ADMINISTRATOR_ROLE).immutable


def test_a_lookup_by_id_ignores_case_and_what_is_deleted(cast: Cast) -> None:
    cast.mallory.mark_deleted(by=cast.by("grace"), reason="left")

    assert User.objects.named("ADA").get() == cast.ada
    for name in ("mallory", "", "a\0da", "\ud800", "ad%", "\u212aate"):
        assert not User.objects.named(name).exists()


def test_a_tokens_owner_keeps_its_tokens_when_described_or_handed_over(cast: Cast) -> None:
    token = cast.service_token()

    cast.robot.hand_over(to=cast.mallory, by=cast.by("grace"))
    cast.robot.describe(by=cast.by("grace"), purpose="more CI")

    assert AccessToken.objects.live().get() == token
