"""Service accounts whose accountable person left, and how somebody else gets them."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from osmo_portal.console.timeline import timeline
from osmo_portal.events.models import Event
from profiles.models import User
from profiles.reach import submit_pools
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tests.console import Answer, address, form_errors, last_event, text, visitor
from tokens import secrets, standing
from tokens.models import AccessToken

LIST = reverse("admin:profiles_serviceaccount_changelist")
HOSTILE = '"><img src=x onerror=alert(1)>'


def queue(name: str = "grace", **query: Any) -> Answer:
    return visitor(name).get(LIST, {"state": "left-behind", **query})


def shown(page: Answer) -> list[tuple[str, list[str]]]:
    """Each leaver of the page with the accounts."""
    return [
        (str(leaver.person or "nobody"), [account.username for account, _ in leaver.accounts])
        for leaver in page.context["leavers"]
    ]


def account(cast: Cast, name: str, person: User, **fields: Any) -> User:
    return User.create_service_account(by=cast.by("grace"), username=name, accountable=person, **fields)


def hand_all_over(person: User, name: str = "grace", **data: Any) -> Answer:
    return visitor(name).post(address(person, "hand-over-accounts"), data, query_params={"from": "queue"})


def test_an_empty_queue_says_so(cast: Cast) -> None:
    page = queue()

    assert shown(page) == []
    assert "Nobody left service accounts behind" in text(page)


def test_who_left_first_comes_first_with_when_why_and_what_is_at_stake(cast: Cast, time_machine: Any) -> None:
    cast.service_token("one")
    cast.service_token("two", days=7)
    account(cast, "fleet", cast.mallory)
    account(cast, "kept", cast.olive)
    cast.mallory.deactivate(by=cast.by("grace"), reason="went to the sea")
    cast.ada.mark_deleted(by=cast.by("grace"), reason="went to the mountains")

    page = queue()

    assert shown(page) == [("mallory", ["fleet"]), ("ada", ["robot"])]
    assert "went to the sea" in text(page)
    assert "and deleted" in text(page)
    ((_, (count, first)),) = page.context["leavers"][1].accounts
    assert (count, first.date()) == (2, in_days(7))
    ((_, nothing),) = page.context["leavers"][0].accounts
    assert nothing is None


def test_the_last_time_of_leaving_counts(cast: Cast) -> None:
    account(cast, "fleet", cast.mallory)
    by = cast.by("grace")
    cast.ada.deactivate(by=by, reason="holiday")
    cast.ada.reactivate(by=by, reason="back")
    cast.mallory.deactivate(by=by, reason="left")
    cast.ada.deactivate(by=by, reason="left for good")

    assert [person for person, _ in shown(queue())] == ["mallory", "ada"]
    assert "holiday" not in text(queue())


def test_who_came_back_is_not_in_the_queue(cast: Cast) -> None:
    cast.ada.deactivate(by=cast.by("grace"), reason="holiday")
    cast.ada.reactivate(by=cast.by("grace"), reason="back")

    assert shown(queue()) == []


def test_accounts_that_are_nobodys_and_leavers_without_an_event_come_first(cast: Cast) -> None:
    account(cast, "fleet", cast.mallory)
    cast.mallory.deactivate(by=cast.by("grace"), reason="left")
    with connection.cursor() as cursor:  # as an import leaves them
        cursor.execute("UPDATE profiles_user SET is_active = %s WHERE username = %s", [False, "ada"])
        cursor.execute(
            "INSERT INTO profiles_user (username, password, kind, display_name, email, purpose, is_active, created_at)"
            " SELECT 'stray', password, kind, '', '', '', is_active, created_at FROM profiles_user"
            " WHERE username = 'robot'"
        )

    page = queue()

    assert shown(page) == [("nobody", ["stray"]), ("ada", ["robot"]), ("mallory", ["fleet"])]
    assert "Left before the trail began." in text(page)


def test_a_leaver_with_many_accounts_shows_the_first_and_leads_to_the_others(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("profiles.admin.leavers.ACCOUNTS", 2)
    monkeypatch.setattr("profiles.admin.leavers.ACCOUNTS_OF_ONE", 3)
    for name in ("a1", "a2", "a3"):
        account(cast, name, cast.ada)
    cast.ada.deactivate(by=cast.by("grace"), reason="left")
    client = visitor("grace")

    page = queue()
    (leaver,) = page.context["leavers"]
    assert shown(page) == [("ada", ["a1", "a2"])]
    assert leaver.count == 4
    all_of_them = client.get(leaver.more)
    assert shown(all_of_them) == [("ada", ["a1", "a2", "a3"])]
    rest = client.get(all_of_them.context["leavers"][0].more)
    assert shown(rest) == [("ada", ["robot"])]
    assert rest.context["leavers"][0].more == ""


def test_many_leavers_are_paged(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("profiles.admin.leavers.LEAVERS", 1)
    account(cast, "fleet", cast.mallory)
    for person in (cast.ada, cast.mallory):
        person.deactivate(by=cast.by("grace"), reason="left")

    first = queue()
    second = visitor("grace").get(first.context["next_page"])

    assert (shown(first), shown(second)) == ([("ada", ["robot"])], [("mallory", ["fleet"])])
    assert second.context["next_page"] == ""
    assert shown(queue(page="x")) == shown(queue(page="0")) == shown(first)
    assert shown(queue(leaver=cast.olive.pk)) == shown(queue(leaver="999999")) == []


# Handing over.


def rights(secret: str, owner: User) -> tuple[Any, ...]:
    """What the secret and its account may do now."""
    now = standing.of_secret(secrets.digest(secret))
    assert now
    fresh = User.objects.get(pk=owner.pk)
    return now.roles, now.refusal, now.dead_at, fresh.held_role_names, submit_pools(fresh)


@pytest.mark.parametrize("all_at_once", [True, False])
def test_a_hand_over_changes_no_right_of_account_and_token(cast: Cast, all_at_once: bool) -> None:
    secret = cast.service_token(roles=[POOL_ROLE, PLAIN_ROLE]).plaintext
    cast.ada.deactivate(by=cast.by("grace"), reason="left")
    before = rights(secret, cast.robot)

    if all_at_once:
        hand_all_over(cast.ada, to="mallory", reason="Ada left")
    else:
        visitor("grace").post(address(cast.robot, "hand-over"), {"to": "mallory", "reason": "Ada left"})

    assert User.objects.get(username="robot").accountable == cast.mallory
    assert rights(secret, cast.robot) == before
    assert before[0] == (POOL_ROLE, PLAIN_ROLE)
    assert before[4] == ["my_pool"]
    assert last_event().reason == "Ada left"


def test_all_accounts_of_a_leaver_are_handed_over_in_one_step(cast: Cast) -> None:
    account(cast, "fleet", cast.ada)
    cast.ada.deactivate(by=cast.by("grace"), reason="left")

    asked = text(visitor("grace").get(address(cast.ada, "hand-over-accounts")))
    answer = hand_all_over(cast.ada, to="Olive", reason="Ada left")

    assert "This is about 2 service accounts: fleet, robot." in asked
    assert "No right changes" in asked
    assert answer["Location"] == f"{LIST}?state=left-behind"
    assert {a.accountable for a in User.objects.service_accounts()} == {cast.olive}
    assert shown(queue()) == []
    assert timeline(cast.robot)[0].event.action == "user.accounts_handed_over"
    assert "ada → olive" in text(visitor("grace").get(address(cast.robot)))


def test_a_hand_over_from_the_queue_leads_back_to_it(cast: Cast) -> None:
    cast.ada.deactivate(by=cast.by("grace"), reason="left")
    page = address(cast.robot, "hand-over")
    assert f"{page}?from=queue" in text(queue())

    answer = visitor("grace").post(page, {"to": "mallory"}, query_params={"from": "queue"})

    assert answer["Location"] == f"{LIST}?state=left-behind"
    assert visitor("grace").post(page, {"to": "olive"})["Location"] == address(cast.robot)


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"to": "audrey", "reason": "left"}, "to"),
        ({"to": "ada", "reason": "left"}, "to"),
        ({"to": "robot", "reason": "left"}, "to"),
        ({"to": "", "reason": "left"}, "to"),
        ({"to": "nul\0", "reason": "left"}, "to"),
        ({"to": "mallory", "reason": " "}, "reason"),
        ({"to": "mallory"}, "reason"),
    ],
)
def test_the_new_person_is_active_and_the_reason_is_given(cast: Cast, data: dict[str, str], field: str) -> None:
    for person in (cast.ada, cast.audrey):
        person.deactivate(by=cast.by("grace"), reason="left")

    answer = hand_all_over(cast.ada, **data)

    assert set(form_errors(answer)) == {field}
    assert User.objects.get(username="robot").accountable == cast.ada
    assert not Event.objects.filter(action="user.accounts_handed_over").exists()


def test_who_left_nothing_behind_has_no_such_button(cast: Cast) -> None:
    client = visitor("grace")

    assert address(cast.mallory, "hand-over-accounts") not in text(client.get(address(cast.mallory)))
    assert address(cast.ada, "hand-over-accounts") in text(client.get(address(cast.ada)))
    assert hand_all_over(cast.mallory, to="ada", reason="x").status_code == 302
    assert not Event.objects.filter(action="user.accounts_handed_over").exists()


# Who may.


@pytest.mark.parametrize("name", ["olive", "audrey"])
def test_operators_and_auditors_see_the_queue_and_hand_nothing_over(cast: Cast, name: str) -> None:
    cast.ada.deactivate(by=cast.by("grace"), reason="left")
    page = queue(name)

    assert shown(page) == [("ada", ["robot"])]
    assert "hand-over" not in text(page)
    assert hand_all_over(cast.ada, name, to="mallory", reason="x").status_code == 403
    assert User.objects.get(username="robot").accountable == cast.ada


@pytest.mark.parametrize("name", ["mallory", ""])
def test_a_stranger_does_not_see_the_queue(cast: Cast, name: str) -> None:
    client = visitor(name) if name else Client()

    answer = client.get(LIST, {"state": "left-behind"})

    assert answer["Location"].startswith(reverse("admin:login"))


def test_a_hand_over_without_the_csrf_token_is_refused(cast: Cast) -> None:
    client = visitor("grace", enforce_csrf_checks=True)

    answer = client.post(address(cast.ada, "hand-over-accounts"), {"to": "mallory", "reason": "x"})

    assert answer.status_code == 403
    assert User.objects.get(username="robot").accountable == cast.ada


def test_asking_by_address_alone_hands_nothing_over(cast: Cast) -> None:
    visitor("grace").get(address(cast.ada, "hand-over-accounts"), {"to": "mallory", "reason": "x"})

    assert User.objects.get(username="robot").accountable == cast.ada


def test_hostile_texts_are_shown_as_text(cast: Cast) -> None:
    cast.robot.describe(by=cast.by("grace"), purpose=HOSTILE)
    cast.ada.deactivate(by=cast.by("grace"), reason=HOSTILE)

    for page in (queue(), queue(leaver=cast.ada.pk), queue(after=HOSTILE), queue(page=HOSTILE)):
        assert "<img src=x" not in text(page)
    assert "&lt;img src=x" in text(queue())


def test_the_queue_costs_the_same_however_long_it_is(cast: Cast) -> None:
    client = visitor("audrey")
    cast.ada.deactivate(by=cast.by("grace"), reason="left")

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            client.get(LIST, {"state": "left-behind"})
        return len(queries)

    cost()
    before = cost()
    account(cast, "fleet", cast.mallory)
    for number in range(5):
        account(cast, f"bot{number}", cast.mallory, roles=[PLAIN_ROLE])
        cast.service_token(owner=f"bot{number}", roles=[PLAIN_ROLE])
    cast.mallory.deactivate(by=cast.by("grace"), reason="left")

    # Session, user, roles, groups; leavers, their events, counts, first accounts, accounts of nobody, live tokens.
    assert cost() == before
    assert before <= 10
    assert AccessToken.objects.live().count() == 5
