"""People and service accounts in the console."""

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from osmo_portal.events.actor import Actor
from osmo_portal.events.models import Event
from profiles.admin import PersonSection
from profiles.admin.users import held_before
from profiles.models import Kind, Role, RoleAssignment, User
from tests.cast import PASSWORD, PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tests.console import Answer, address, form_errors, last_event, text, visitor
from tokens.models import AccessToken

ADD_PERSON = "admin:profiles_person_new"
ADD_ACCOUNT = "admin:profiles_serviceaccount_new"


def act(record: User, slug: str, name: str = "grace", **data: Any) -> Answer:
    return visitor(name).post(address(record, slug), data)


def add(route: str, **data: Any) -> Answer:
    return visitor("grace").post(reverse(route), data)


def listed(kind: str, **query: Any) -> list[str]:
    page = visitor("audrey").get(reverse(f"admin:profiles_{kind}_changelist"), query)
    return [user.username for user in page.context["cl"].result_list]


# Adding.


def test_an_administrator_adds_a_person(cast: Cast) -> None:
    answer = add(ADD_PERSON, username="petra", display_name="Petra P.", email="petra@example.com")

    petra = User.objects.get(username="petra")
    assert answer["Location"] == address(petra)
    assert (petra.kind, petra.display_name, petra.email) == (Kind.PERSON, "Petra P.", "petra@example.com")
    assert not petra.has_usable_password()
    assert petra.held_role_names == {"osmo-user"}


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"username": ""}, "username"),
        ({"username": "ADA"}, "username"),
        ({"username": "robot"}, "username"),
        ({"username": "a b"}, "username"),
        ({"username": "nul\0"}, "username"),
        ({"username": "x" * 255}, "username"),
        ({"username": "<img src=x onerror=alert(1)>"}, "username"),
        ({"email": "no"}, "email"),
        ({"email": "a@example.com\0"}, "email"),
        ({"display_name": "nul\0"}, "display_name"),
        ({"display_name": "x" * 255}, "display_name"),
    ],
)
def test_a_bad_person_is_an_error_beside_the_field(cast: Cast, changed: dict[str, str], field: str) -> None:
    before = User.objects.count()

    answer = add(ADD_PERSON, **{"username": "petra", **changed})

    assert set(form_errors(answer)) == {field}
    assert User.objects.count() == before
    assert "<img src=x" not in text(answer)


def test_posted_fields_beside_the_form_give_no_power(cast: Cast) -> None:
    forged = {"is_staff": "on", "roles": "osmo-admin", "groups": "operators", "kind": "service", "id": "1"}

    add(ADD_PERSON, username="petra", **forged)

    petra = User.objects.get(username="petra")
    assert petra.held_role_names == {"osmo-user"}
    assert (petra.kind, petra.is_staff) == (Kind.PERSON, False)


def test_an_administrator_adds_a_service_account(cast: Cast) -> None:
    answer = add(ADD_ACCOUNT, username="fleet", purpose="trains", accountable="ada", roles=[POOL_ROLE])

    fleet = User.objects.get(username="fleet")
    assert answer["Location"] == address(fleet)
    assert (fleet.kind, fleet.accountable, fleet.purpose) == (Kind.SERVICE, cast.ada, "trains")
    assert fleet.held_role_names == {POOL_ROLE}
    assert not fleet.has_usable_password()


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"accountable": ""}, "accountable"),
        ({"accountable": "nobody"}, "accountable"),
        ({"accountable": "robot"}, "accountable"),
        ({"accountable": "nul\0"}, "accountable"),
        ({"accountable": "x" * 400}, "accountable"),
        ({"purpose": ""}, "purpose"),
        ({"purpose": "\x1b"}, "purpose"),
        ({"username": "ada"}, "username"),
        ({"roles": ["no-such"]}, "roles"),
        ({"roles": ["osmo-default"]}, "roles"),
    ],
)
def test_a_bad_service_account_is_an_error_beside_the_field(cast: Cast, changed: dict[str, Any], field: str) -> None:
    answer = add(ADD_ACCOUNT, **{"username": "fleet", "purpose": "trains", "accountable": "ada", **changed})

    assert set(form_errors(answer)) == {field}
    assert not User.objects.filter(username="fleet").exists()


def test_the_form_proposes_the_administrator_as_accountable(cast: Cast) -> None:
    page = visitor("grace").get(reverse(ADD_ACCOUNT))

    assert 'value="grace"' in text(page)


def test_an_inactive_person_is_not_made_accountable(cast: Cast) -> None:
    cast.mallory.deactivate(by=cast.by("grace"), reason="left")

    answer = act(cast.robot, "hand-over", to="mallory")

    assert "no active person" in form_errors(answer)["to"][0]
    assert User.objects.get(username="robot").accountable == cast.ada


def test_handing_over_changes_the_accountable_person_and_no_right(cast: Cast) -> None:
    token = cast.service_token()

    act(cast.robot, "hand-over", to="Olive")

    robot = User.objects.get(username="robot")
    assert robot.accountable == cast.olive
    assert robot.held_role_names == {POOL_ROLE, PLAIN_ROLE}
    assert AccessToken.objects.get(pk=token.pk).state() == "active"


# Changing.


def test_a_person_is_described(cast: Cast) -> None:
    act(cast.ada, "describe", display_name="Ada", email="ada@example.org")

    ada = User.objects.get(username="ada")
    assert (ada.display_name, ada.email) == ("Ada", "ada@example.org")
    assert last_event().changes["email"] == ["ada@example.com", "ada@example.org"]
    assert last_event().object_type == "user"


def test_a_service_account_is_described(cast: Cast) -> None:
    act(cast.robot, "describe", purpose="continuous integration", display_name="", email="")

    assert User.objects.get(username="robot").purpose == "continuous integration"


def test_a_role_is_assigned_and_removed(cast: Cast) -> None:
    act(cast.ada, "assign-role", role=PLAIN_ROLE)
    assert PLAIN_ROLE in User.objects.get(username="ada").held_role_names

    act(cast.ada, "remove-role", role=PLAIN_ROLE, reason="was for a week")
    assert PLAIN_ROLE not in User.objects.get(username="ada").held_role_names
    ended = RoleAssignment.objects.get(user=cast.ada, role__name=PLAIN_ROLE)
    assert (ended.assigned_by, ended.removed_by) == (cast.grace, cast.grace)
    assert last_event().reason == "was for a week"


@pytest.mark.parametrize("role", ["", "no-such", "osmo-default", "osmo-user", "nul\0"])
def test_only_roles_that_are_not_held_are_assigned(cast: Cast, role: str) -> None:
    answer = act(cast.ada, "assign-role", role=role)

    assert set(form_errors(answer)) == {"role"}


@pytest.mark.parametrize("role", ["", "no-such", PLAIN_ROLE])
def test_only_roles_that_are_held_are_removed(cast: Cast, role: str) -> None:
    answer = act(cast.ada, "remove-role", role=role)

    assert set(form_errors(answer)) == {"role"}


def test_the_page_of_a_user_says_who_gave_which_role(cast: Cast) -> None:
    act(cast.ada, "assign-role", role=POOL_ROLE)

    page = text(visitor("audrey").get(address(cast.ada)))

    assert POOL_ROLE in page
    assert "pool my_pool*: submit, exec, port-forward" in page
    assert "grace" in page


def test_the_page_of_a_user_lists_the_tokens(cast: Cast) -> None:
    cast.service_token("deploy")

    page = text(visitor("grace").get(address(cast.robot)))

    assert "deploy" in page
    assert "?owner=robot" in page
    assert "?owner=ada" not in text(visitor("grace").get(address(cast.ada)))


def test_the_page_of_a_user_says_which_roles_were_held_before(cast: Cast) -> None:
    act(cast.ada, "assign-role", role=POOL_ROLE)
    act(cast.ada, "remove-role", role=POOL_ROLE, reason="the first time")
    act(cast.ada, "assign-role", role=POOL_ROLE)
    act(cast.ada, "remove-role", role=POOL_ROLE, reason="the second time")
    act(cast.ada, "assign-role", role=PLAIN_ROLE)
    Role.objects.get(name=PLAIN_ROLE).mark_deleted(by=cast.by("grace"), reason="unused")

    page = visitor("audrey").get(address(cast.ada))

    assert "Held before" in text(page)
    ended = [(one.assignment.role.name, one.by, one.reason) for one in held_before(cast.ada)]
    assert ended == [
        (PLAIN_ROLE, "grace", "The role was deleted: unused"),
        (POOL_ROLE, "grace", "the second time"),
        (POOL_ROLE, "grace", "the first time"),
    ]
    assert [one.role.name for one in page.context["panels"][0].context["assignments"]] == ["osmo-user"]


def test_who_lost_no_role_has_no_list_of_lost_ones(cast: Cast) -> None:
    assert "Held before" not in text(visitor("audrey").get(address(cast.mallory)))


def test_a_role_that_the_shell_removed_says_so(cast: Cast) -> None:
    cast.robot.remove_role(PLAIN_ROLE, by=Actor.bootstrap())

    (ended,) = held_before(cast.robot)

    assert ended.by.startswith("system:")
    assert ended.reason == ""


def test_many_lost_roles_are_cut_and_say_so(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("profiles.admin.users.ENDED_SHOWN", 1)
    for role in (PLAIN_ROLE, POOL_ROLE):
        cast.robot.remove_role(role, by=cast.by("grace"))

    page = text(visitor("audrey").get(address(cast.robot)))

    assert "Older ones stand in the history." in page


def test_the_page_of_a_person_shows_the_last_sign_in_and_the_accounts(cast: Cast) -> None:
    cast.service_token("one")
    cast.service_token("two", days=7)
    client = visitor("audrey")
    never, ada = text(client.get(address(cast.mallory))), client.get(address(cast.ada))
    assert "Last sign-in" in never
    assert "never" in never
    assert "No service account." in never

    (panel,) = [panel for panel in ada.context["panels"] if panel.title == "Accountable for"]
    ((account, stakes, state),) = panel.context["accounts"]

    assert (account, stakes[0], state) == (cast.robot, 2, "active")
    assert stakes[1].date() == in_days(7)
    assert address(cast.robot) in text(ada)
    assert "Accountable for" not in text(client.get(address(cast.robot)))
    visitor("ada")
    assert "UTC" in str(PersonSection.last_sign_in(None, User.objects.get(username="ada")))  # type: ignore[arg-type]


def test_more_accounts_than_fit_are_a_link_to_their_list(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("profiles.admin.users.ACCOUNTS_SHOWN", 1)
    User.create_service_account(by=cast.by("grace"), username="fleet", accountable=cast.ada)

    page = text(visitor("audrey").get(address(cast.ada)))

    assert "?accountable=ada" in page
    assert "fleet" in page
    assert address(cast.robot) not in page


def test_the_page_of_a_user_costs_the_same_however_much_it_shows(cast: Cast) -> None:
    client = visitor("audrey")

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            client.get(address(cast.ada))
        return len(queries)

    by = cast.by("grace")
    cast.ada.assign_role(PLAIN_ROLE, by=by)
    cast.ada.remove_role(PLAIN_ROLE, by=by)
    cast.user_token()
    cast.service_token()
    cost()
    before = cost()
    for number in range(5):
        User.create_service_account(by=by, username=f"bot{number}", accountable=cast.ada, roles=[PLAIN_ROLE])
        cast.service_token(owner=f"bot{number}", roles=[PLAIN_ROLE])
        cast.user_token(name=f"t{number}")
        cast.ada.assign_role(PLAIN_ROLE, by=by)
        cast.ada.remove_role(PLAIN_ROLE, by=by)

    # Session, user, roles, groups; the person with roles and groups; roles held, and before, with the events of both;
    # accounts with their tokens; tokens with their uses and roles; terminals to show and to end; factors and provider;
    # events and lines.
    assert cost() == before
    assert before <= 26


def test_a_person_becomes_operator_and_auditor_by_group(cast: Cast) -> None:
    act(cast.ada, "groups", groups=["operators", "auditors"])
    assert User.objects.get(username="ada").group_names == {"operators", "auditors"}

    act(cast.ada, "groups")
    assert User.objects.get(username="ada").group_names == frozenset()


def test_a_group_of_ones_own_invention_is_refused(cast: Cast) -> None:
    Group.objects.create(name="wizards")

    answer = act(cast.ada, "groups", groups=["wizards"])

    assert set(form_errors(answer)) == {"groups"}


def test_an_administrator_sets_a_password(cast: Cast) -> None:
    new = "a long enough phrase"

    act(cast.ada, "password", new_password1=new, new_password2=new)

    ada = User.objects.get(username="ada")
    assert ada.check_password(new)
    assert last_event().action == "user.password_changed"
    assert new not in str(last_event().changes)


@pytest.mark.parametrize(("first", "second"), [("short", "short"), ("a long enough phrase", "another"), ("", "")])
def test_a_weak_or_mistyped_password_is_refused(cast: Cast, first: str, second: str) -> None:
    answer = act(cast.ada, "password", new_password1=first, new_password2=second)

    assert form_errors(answer)
    assert User.objects.get(username="ada").check_password(PASSWORD)


def test_a_service_account_has_no_page_for_a_password(cast: Cast) -> None:
    page = f"{reverse('admin:profiles_serviceaccount_changelist')}{cast.robot.pk}/password/"
    other = reverse("admin:profiles_person_password", args=[cast.robot.pk])

    assert visitor("grace").post(page, {"new_password1": PASSWORD, "new_password2": PASSWORD}).status_code in (302, 404)
    assert visitor("grace").post(other, {"new_password1": PASSWORD, "new_password2": PASSWORD}).status_code == 404
    assert not User.objects.get(username="robot").has_usable_password()


# Ending.


def test_deactivating_says_what_stops_and_suspends_the_tokens(cast: Cast) -> None:
    cast.service_token("one")
    cast.service_token("two")

    page = visitor("grace").get(address(cast.robot, "deactivate"))
    assert "2 live tokens are suspended." in text(page)

    act(cast.robot, "deactivate", reason="not needed")
    assert {token.state() for token in AccessToken.objects.all()} == {"suspended"}
    assert not User.objects.get(username="robot").is_active


def test_deactivating_a_person_says_what_stops(cast: Cast) -> None:
    cast.user_token()
    for number in range(11):
        User.create_service_account(by=cast.by("grace"), username=f"bot-{number:02}", accountable=cast.ada)

    page = " ".join(text(visitor("grace").get(address(cast.ada, "deactivate"))).split())

    assert "Every browser session of the person ends" in page
    assert "1 live token is suspended." in page
    assert "12 service accounts go into the leaver queue" in page
    assert "bot-00, bot-01" in page
    assert "bot-09 and 2 more." in page
    assert "bot-10" not in page


def test_deactivating_ends_the_sessions(cast: Cast) -> None:
    client = visitor("olive")
    assert client.get(reverse("admin:index")).status_code == 200

    cast.olive.deactivate(by=cast.by("grace"), reason="left")

    assert client.get(reverse("admin:index")).status_code == 302


@pytest.mark.parametrize("slug", ["deactivate", "delete-record"])
def test_ending_who_is_accountable_for_nothing_speaks_of_no_queue(cast: Cast, slug: str) -> None:
    assert "leaver queue" not in text(visitor("grace").get(address(cast.mallory, slug)))
    assert "1 service account goes into the leaver queue" in text(visitor("grace").get(address(cast.ada, slug)))


def test_reactivating_resumes_no_token(cast: Cast) -> None:
    cast.service_token()
    act(cast.robot, "deactivate", reason="pause")

    act(cast.robot, "reactivate", reason="needed again")

    assert User.objects.get(username="robot").is_active
    assert AccessToken.objects.get().state() == "suspended"


def test_deleting_says_first_how_many_tokens_go(cast: Cast) -> None:
    def told() -> str:
        return text(visitor("grace").get(address(cast.robot, "delete-record")))

    assert "All tokens are revoked for good; none of them is live." in told()

    cast.service_token("one")
    assert "All tokens are revoked for good; 1 of them is live." in told()

    cast.service_token("two")
    cast.service_token("gone").revoke(by=cast.by("grace"), reason="x")
    assert "All tokens are revoked for good; 2 of them are live." in told()


def test_deleting_keeps_the_record_and_revokes_the_tokens(cast: Cast) -> None:
    cast.service_token()

    act(cast.robot, "delete-record", reason="decommissioned")

    robot = User.objects.get(username="robot")
    assert robot.deleted_at
    assert AccessToken.objects.get().state() == "revoked"
    page = visitor("grace").get(address(robot))
    assert page.context["buttons"] == []
    assert "decommissioned" in text(page)


def test_the_buttons_in_red_come_last(cast: Cast) -> None:
    buttons = visitor("grace").get(address(cast.ada)).context["buttons"]

    in_red = [button["danger"] for button in buttons]
    assert in_red == sorted(in_red)
    assert {True, False} == set(in_red)


@pytest.mark.parametrize("slug", ["deactivate", "delete-record"])
def test_ending_a_user_needs_a_reason(cast: Cast, slug: str) -> None:
    answer = act(cast.ada, slug, reason="  ")

    assert set(form_errors(answer)) == {"reason"}
    assert User.objects.get(username="ada").is_active


@pytest.mark.parametrize(
    ("slug", "data"),
    [
        ("deactivate", {"reason": "x"}),
        ("delete-record", {"reason": "x"}),
        ("remove-role", {"role": "osmo-admin", "reason": "x"}),
    ],
)
def test_the_last_administrator_stays(cast: Cast, slug: str, data: dict[str, str]) -> None:
    answer = act(cast.grace, slug, **data)

    assert "last active administrator" in form_errors(answer)["__all__"][0]
    assert User.objects.get(username="grace").is_administrator
    assert not Event.objects.filter(action__in=["user.deactivated", "user.deleted", "role.removed"]).exists()


@pytest.mark.parametrize("slug", ["describe", "assign-role", "groups", "password", "deactivate", "delete-record"])
def test_nothing_is_done_to_a_deleted_person(cast: Cast, slug: str) -> None:
    cast.ada.mark_deleted(by=cast.by("grace"), reason="left")
    events = Event.objects.count()

    answer = visitor("grace").post(address(cast.ada, slug), {"reason": "x", "role": PLAIN_ROLE, "email": ""})

    assert answer["Location"] == address(cast.ada)
    assert Event.objects.exclude(action="signin.succeeded").count() == events


@pytest.mark.parametrize("name", ["olive", "audrey"])
@pytest.mark.parametrize("slug", ["assign-role", "groups", "password", "deactivate"])
def test_power_over_people_is_the_administrators(cast: Cast, name: str, slug: str) -> None:
    answer = act(cast.mallory, slug, name, role="osmo-admin", groups=["operators"], reason="x")

    assert answer.status_code == 403
    assert "Ask an administrator." in text(answer)


# Lists.


def test_people_and_service_accounts_have_lists_of_their_own(cast: Cast) -> None:
    assert listed("person") == ["ada", "audrey", "grace", "mallory", "olive"]
    assert listed("serviceaccount") == ["robot"]


def test_lists_leave_out_the_deleted_unless_asked(cast: Cast) -> None:
    cast.mallory.mark_deleted(by=cast.by("grace"), reason="left")
    cast.olive.deactivate(by=cast.by("grace"), reason="holiday")

    assert listed("person") == ["ada", "audrey", "grace", "olive"]
    assert listed("person", state="deleted") == ["mallory"]
    assert listed("person", state="inactive") == ["olive"]
    assert listed("person", q="gr") == ["grace"]


def test_service_accounts_are_found_by_the_accountable_person(cast: Cast) -> None:
    User.create_service_account(by=cast.by("grace"), username="fleet", accountable=cast.olive)

    assert listed("serviceaccount", accountable="ada") == ["robot"]
    assert listed("serviceaccount", accountable="nobody") == []


def test_a_person_is_not_found_among_service_accounts(cast: Cast) -> None:
    page = reverse("admin:profiles_serviceaccount_hand-over", args=[cast.ada.pk])

    assert visitor("grace").get(page).status_code == 404


def test_a_user_known_by_number_alone_is_found(cast: Cast) -> None:
    client = visitor("audrey")

    for user in (cast.ada, cast.robot):
        assert client.get(reverse("admin:profiles_person_whoever", args=[user.pk]))["Location"] == address(user)


def test_suggestions_are_active_users_that_begin_so(cast: Cast) -> None:
    client = visitor("olive")
    cast.audrey.deactivate(by=cast.by("grace"), reason="left")

    people = client.get(reverse("admin:profiles_person_suggest"), {"q": "a"}).json()
    accounts = client.get(reverse("admin:profiles_serviceaccount_suggest"), {"q": ""}).json()

    assert people == {"names": ["ada"]}
    assert accounts == {"names": ["robot"]}
