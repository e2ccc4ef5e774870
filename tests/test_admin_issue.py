"""A service token is issued in the browser, and its secret is shown once."""

import base64
import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from profiles.models import Pool, Role, User
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tests.console import ISSUE, Answer, form_errors, last_event, text, visitor
from tokens import secrets
from tokens.exchange import exchange
from tokens.models import AccessToken, Secret


def asked(**changed: Any) -> dict[str, Any]:
    return {
        "name": "deploy",
        "roles": [POOL_ROLE],
        "expires_at": in_days(30).isoformat(),
        "description": "runs on bastion",
        **changed,
    }


def issue(client: Client, owner: str = "robot", **changed: Any) -> Answer:
    return client.post(f"{reverse(ISSUE)}?owner={owner}", asked(**changed))


def secret_in(answer: Answer) -> str:
    found = re.search(r"osmo_[0-9A-Za-z]{49}", text(answer))
    assert found, "the answer shows no secret"
    return found[0]


def test_an_administrator_issues_a_token_that_works(cast: Cast) -> None:
    answer = issue(visitor("grace"))

    token = AccessToken.objects.get(name="deploy")
    assert token.owner == cast.robot
    assert token.role_names == [POOL_ROLE]
    assert token.created_by == cast.grace
    assert token.description == "runs on bastion"
    assert token.expires_at.date() == in_days(30)
    assert Secret.objects.get(digest=secrets.digest(secret_in(answer))).token == token


def test_the_event_names_the_person_and_the_door(cast: Cast) -> None:
    issue(visitor("grace"))

    event = last_event()
    assert (event.action, event.actor, event.via, event.ip) == ("token.issued", "grace", "admin", "127.0.0.1")
    assert event.request_id


def test_the_secret_is_in_the_answer_to_the_post_with_the_login_line(cast: Cast, settings: Any) -> None:
    settings.PORTAL_URL = "https://portal.example.com"
    answer = issue(visitor("grace"))

    secret = secret_in(answer)
    assert answer.status_code == 200
    assert f"osmo login https://portal.example.com --method token --token {secret}" in text(answer)


def test_the_answer_with_the_secret_is_neither_cached_nor_told_to_others(cast: Cast) -> None:
    answer = issue(visitor("grace"))

    assert "no-store" in answer["Cache-Control"]
    assert answer["Referrer-Policy"] == "no-referrer"
    assert "Location" not in answer


def test_the_secret_is_kept_nowhere(cast: Cast, tmp_path: Any) -> None:
    client = visitor("grace")
    answer = issue(client)

    secret = secret_in(answer)
    dump = tmp_path / "dump.json"
    call_command("dumpdata", output=str(dump))
    stored = dump.read_text() + repr([s.get_decoded() for s in Session.objects.all()])
    carried = repr(client.cookies) + repr(answer.headers)
    for piece in (secret, secret[5:30], secret[30:], base64.b64encode(secret.encode()).decode()):
        assert piece not in stored
        assert piece not in carried
    assert secret not in text(client.get(reverse("admin:index")))


def test_djangos_own_log_stays_empty(cast: Cast) -> None:
    issue(visitor("grace"))

    assert not LogEntry.objects.exists()


def test_a_page_sent_twice_makes_one_token_and_shows_its_secret_once(cast: Cast) -> None:
    client = visitor("grace")
    secret = secret_in(issue(client))

    again = issue(client)

    assert AccessToken.objects.filter(name="deploy").count() == 1
    assert Secret.objects.filter(token__name="deploy").count() == 1
    assert secret not in text(again)
    assert not re.search(r"osmo_[0-9A-Za-z]{49}", text(again))
    first, second = form_errors(again)["name"]
    assert first == "Token name deploy already exists."
    assert "not shown again" in second


def test_what_else_is_wrong_with_a_taken_name_is_told_first(cast: Cast) -> None:
    client = visitor("grace")
    issue(client)

    again = issue(client, expires_at="2020-01-01")

    assert set(form_errors(again)) == {"expires_at"}


def test_an_administrator_is_offered_every_role_that_the_account_holds(cast: Cast) -> None:
    page = visitor("grace").get(reverse(ISSUE), {"owner": "robot"})

    assert [role.name for role in page.context["offered"]] == [POOL_ROLE, PLAIN_ROLE]
    assert "pool my_pool*: submit, exec, port-forward" in text(page)


def test_an_operator_is_offered_plain_roles_alone(cast: Cast) -> None:
    page = visitor("olive").get(reverse(ISSUE), {"owner": "robot"})

    assert [role.name for role in page.context["offered"]] == [PLAIN_ROLE]
    assert f'value="{POOL_ROLE}"' not in text(page)
    assert "Only an administrator may put that on a token." in text(page)


def test_an_operator_issues_a_token_with_a_plain_role(cast: Cast) -> None:
    issue(visitor("olive"), roles=[PLAIN_ROLE])

    assert AccessToken.objects.get(name="deploy").role_names == [PLAIN_ROLE]


@pytest.mark.parametrize("roles", [[POOL_ROLE], [PLAIN_ROLE, POOL_ROLE]])
def test_a_forged_post_of_an_operator_with_a_pool_role_is_refused(cast: Cast, roles: list[str]) -> None:
    answer = issue(visitor("olive"), roles=roles)

    assert "roles" in form_errors(answer)
    assert not AccessToken.objects.exists()


@pytest.mark.parametrize("name", ["ada", "audrey", "mallory"])
def test_nobody_else_issues_here(cast: Cast, name: str) -> None:
    answer = issue(visitor(name))

    assert answer.status_code in (302, 403)
    assert not AccessToken.objects.exists()


def test_posted_fields_that_the_form_does_not_have_change_nothing(cast: Cast) -> None:
    forged = {"owner": "ada", "created_by": cast.ada.pk, "state": "x", "digest": "00", "id": 77, "rotations": 9}

    visitor("grace").post(f"{reverse(ISSUE)}?owner=robot", asked(**forged))

    token = AccessToken.objects.get(name="deploy")
    assert (token.owner, token.created_by, token.rotations) == (cast.robot, cast.grace, 0)
    assert token.pk != 77


@pytest.mark.parametrize("owner", ["ada", "grace", "nobody-here", "", "a" * 300, "r\u00f6bot", "<b>"])
def test_the_owner_must_be_a_service_account(cast: Cast, owner: str) -> None:
    client = visitor("grace")

    page = client.get(reverse(ISSUE), {"owner": owner})
    posted = client.post(f"{reverse(ISSUE)}?owner=ada", asked())

    assert page.status_code == 200
    assert page.context["choice"].errors["owner"]
    assert posted.context["choice"].errors["owner"]
    assert not AccessToken.objects.exists()


def test_the_owner_is_found_in_whatever_case_it_is_typed(cast: Cast) -> None:
    issue(visitor("grace"), owner="ROBOT")

    assert AccessToken.objects.get(name="deploy").owner == cast.robot


def test_an_inactive_account_gets_no_token(cast: Cast) -> None:
    cast.robot.deactivate(by=cast.by("grace"), reason="paused")
    answer = issue(visitor("grace"))

    assert AccessToken.objects.count() == 0
    assert "not active" in text(answer) or "holds no role" in text(answer)


def test_an_account_without_roles_is_explained(cast: Cast) -> None:
    User.create_service_account(by=cast.by("grace"), username="bare", accountable=cast.ada, purpose="x")

    page = visitor("grace").get(reverse(ISSUE), {"owner": "bare"})
    operators = visitor("olive").get(reverse(ISSUE), {"owner": "bare"})

    assert "bare holds no role that you may put on a token." in text(page)
    assert "Assign a role to bare" in text(page)
    assert "Ask an administrator" in text(operators)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "1st"}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": "nul\0"}, "name"),
        ({"name": "x" * 300}, "name"),
        ({"name": "<script>alert(1)</script>"}, "name"),
        ({"roles": []}, "roles"),
        ({"roles": ["no-such-role"]}, "roles"),
        ({"roles": ["nul\0"]}, "roles"),
        ({"roles": ["osmo-admin"]}, "roles"),
        ({"roles": ["osmo-user"]}, "roles"),
        ({"expires_at": ""}, "expires_at"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"expires_at": "2026-02-30"}, "expires_at"),
        ({"expires_at": "0000-00-00"}, "expires_at"),
        ({"expires_at": "9999-12-31"}, "expires_at"),
        ({"expires_at": "2020-01-01"}, "expires_at"),
        ({"expires_at": "2030-01-01\0"}, "expires_at"),
        ({"description": "x" * 2_001}, "description"),
        ({"description": "nul\0"}, "description"),
        ({"description": "escape \x1b[31m"}, "description"),
    ],
)
def test_a_bad_value_is_an_error_beside_its_field(cast: Cast, changed: dict[str, Any], field: str) -> None:
    answer = issue(visitor("grace"), **changed)

    assert set(form_errors(answer)) == {field}
    assert not AccessToken.objects.exists()
    assert "<script>alert" not in text(answer)


def test_the_strictest_maximum_of_the_chosen_roles_counts(cast: Cast) -> None:
    Role.objects.get(name=PLAIN_ROLE).change(by=cast.by("grace"), max_token_days=10)

    answer = issue(visitor("grace"), roles=[PLAIN_ROLE, POOL_ROLE], expires_at=in_days(11).isoformat())

    assert form_errors(answer) == {"expires_at": ["Access token cannot last longer than 10d"]}


def test_a_role_that_is_lost_while_the_form_is_open_is_refused(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """The form still offers it; the way in says no at the last moment, beside the field."""
    from tokens.admin.issue import Issue

    offered = [Role.objects.get(name=POOL_ROLE)]
    monkeypatch.setattr(Issue, "offered", lambda self: offered)
    cast.robot.remove_role(POOL_ROLE, by=cast.by("grace"))

    answer = issue(visitor("grace"))

    assert form_errors(answer) == {"roles": ["User robot does not hold the role osmo-my_pool."]}
    assert not AccessToken.objects.exists()


def test_power_that_is_lost_while_the_form_is_open_is_a_403(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    from tokens.admin.issue import Issue

    offered = [Role.objects.get(name=POOL_ROLE)]
    monkeypatch.setattr(Issue, "offered", lambda self: offered)

    answer = issue(visitor("olive"))

    assert answer.status_code == 403
    assert "Only an administrator may put the role osmo-my_pool on a service token." in text(answer)
    assert not AccessToken.objects.exists()


def test_an_issue_page_opens_without_making_anything(cast: Cast) -> None:
    visitor("grace").get(reverse(ISSUE), {"owner": "robot", **asked()})

    assert not AccessToken.objects.exists()


def test_the_presets_never_pass_the_portals_maximum(cast: Cast, settings: Any) -> None:
    settings.MAX_TOKEN_DAYS = 20

    page = visitor("grace").get(reverse(ISSUE), {"owner": "robot"})

    assert page.context["presets"] == [7]


def test_the_secret_of_the_page_can_be_exchanged(cast: Cast) -> None:
    secret = secret_in(issue(visitor("grace")))

    jwt, _expires = exchange(secret)

    assert jwt.count(".") == 2


# What the token will be able to do, told beforehand.


def summary(client: Client, **query: Any) -> str:
    answer = client.get(reverse(ISSUE), {"owner": "robot", "summary": "1", **query})
    return " ".join(re.sub(r"<[^>]+>", " ", text(answer)).split())


def test_the_summary_tells_pools_operations_and_the_end(cast: Cast) -> None:
    told = summary(visitor("grace"), roles=[POOL_ROLE], expires_at=in_days(7).isoformat())

    assert "submit, exec, port-forward in my_pool" in told
    assert f"Until {in_days(7)} 00:00 UTC" in told


def test_the_summary_tells_what_a_role_of_the_account_denies(cast: Cast) -> None:
    denies = [{"effect": "Deny", "actions": ["workflow:Create"], "resources": ["pool/my_pool"]}]
    Role.create(by=cast.by("grace"), name="no-submit", policies=denies)
    cast.robot.assign_role("no-submit", by=cast.by("grace"))

    told = summary(visitor("grace"), roles=[POOL_ROLE])

    assert "exec, port-forward in my_pool" in told
    assert "Not submit: Role no-submit denies workflow:Create on pool/my_pool. my_pool" in told


def test_the_summary_counts_what_the_visitor_may_grant_alone(cast: Cast) -> None:
    assert "It reaches no pool" in summary(visitor("olive"), roles=[POOL_ROLE, PLAIN_ROLE])
    assert "Choose roles" in summary(visitor("olive"), roles=[POOL_ROLE])


@pytest.mark.parametrize(
    ("day", "said"),
    [
        ("2020-01-01", "must be past the current date"),
        ("9999-12-31", "cannot last longer than 10d"),
        ("soon", "Date must be in YYYY-MM-DD format"),
        ("", "Choose roles"),
    ],
)
def test_the_summary_says_what_is_wrong_with_the_day(cast: Cast, settings: Any, day: str, said: str) -> None:
    settings.MAX_TOKEN_DAYS = 10

    assert said in summary(visitor("grace"), expires_at=day)


def test_the_summary_names_some_pools_of_many_and_counts_the_others(cast: Cast) -> None:
    for number in range(30):
        Pool.create(by=cast.by("grace"), name=f"my_pool-{number:02}")

    told = summary(visitor("grace"), roles=[POOL_ROLE])

    assert "my_pool-18 and 11 more" in told


@pytest.mark.parametrize("name", ["ada", "audrey", "mallory"])
def test_the_summary_is_for_who_may_issue(cast: Cast, name: str) -> None:
    answer = visitor(name).get(reverse(ISSUE), {"owner": "robot", "summary": "1", "roles": POOL_ROLE})

    assert answer.status_code in (302, 403)


def test_without_scripts_a_button_shows_the_summary_and_issues_nothing(cast: Cast) -> None:
    answer = visitor("grace").post(f"{reverse(ISSUE)}?owner=robot", asked(look=""))

    assert "<strong>submit, exec, port-forward</strong> in my_pool" in " ".join(text(answer).split())
    assert 'value="deploy"' in text(answer)
    assert re.search(rf'value="{POOL_ROLE}"[^>]*checked', text(answer))
    assert "errorlist" not in text(answer)
    assert not AccessToken.objects.exists()


def test_what_was_chosen_is_summed_up_beside_the_errors(cast: Cast) -> None:
    answer = issue(visitor("grace"), name="1st")

    assert form_errors(answer)["name"] == [
        "Use letters, digits, _ and -, begin with a letter and end with a letter or digit."
    ]
    assert "<strong>submit, exec, port-forward</strong> in my_pool" in " ".join(text(answer).split())


def test_the_day_is_bounded_where_it_is_chosen(cast: Cast, settings: Any) -> None:
    settings.MAX_TOKEN_DAYS = 20

    page = text(visitor("grace").get(reverse(ISSUE), {"owner": "robot"}))

    assert f'min="{in_days(1)}"' in page
    assert f'max="{in_days(20)}"' in page


def test_the_page_costs_the_same_however_many_roles_and_pools(cast: Cast) -> None:
    client = visitor("grace")
    few = queries_of(client)
    for number in range(12):
        Role.create(by=cast.by("grace"), name=f"r{number}")
        cast.robot.assign_role(f"r{number}", by=cast.by("grace"))
        Pool.create(by=cast.by("grace"), name=f"my_pool-{number}")

    assert queries_of(client) == few
    assert few == [
        "django_session",
        "profiles_user",  # who is signed in
        "profiles_roleassignment",  # what they hold
        "auth_group",
        "profiles_user",  # the account
        "profiles_role",  # what may be granted of its roles
        "profiles_role",  # what allows and denies
        "profiles_pool",
        "profiles_roleassignment",  # what it holds, of which some may not be granted
    ]


def queries_of(client: Client) -> list[str]:
    """The tables that the page with a chosen role asks, in its order."""
    with CaptureQueriesContext(connection) as seen:
        client.post(f"{reverse(ISSUE)}?owner=robot", asked(look=""))
    return [re.findall(r'FROM "(\w+)"', query["sql"])[0] for query in seen if " FROM " in query["sql"]]


# A new account on the way.

NEW_ACCOUNT = "admin:tokens_accesstoken_new-account"


def account(**changed: Any) -> dict[str, Any]:
    return {"username": "nightly", "purpose": "builds", "accountable": "ada", "roles": [POOL_ROLE], **changed}


def test_an_administrator_makes_the_account_on_the_way_and_comes_back(cast: Cast) -> None:
    client = visitor("grace")

    answer = client.post(reverse(NEW_ACCOUNT), account(), follow=True)

    made = User.objects.get(username="nightly")
    assert (made.purpose, made.accountable, made.held_role_names) == ("builds", cast.ada, {POOL_ROLE})
    assert answer.redirect_chain == [(f"{reverse(ISSUE)}?owner=nightly", 302)]
    assert answer.context["owner"] == made
    assert "nightly is here." in text(answer)
    assert secret_in(issue(client, owner="nightly"))


@pytest.mark.parametrize("missing", ["username", "purpose", "accountable", "roles"])
def test_the_account_needs_a_purpose_a_person_and_a_role(cast: Cast, missing: str) -> None:
    answer = visitor("grace").post(reverse(NEW_ACCOUNT), account(**{missing: ""}))

    assert set(form_errors(answer)) == {missing}
    assert not User.objects.filter(username="nightly").exists()


@pytest.mark.parametrize("name", ["olive", "audrey", "ada"])
def test_nobody_else_makes_an_account_here(cast: Cast, name: str) -> None:
    answer = visitor(name).post(reverse(NEW_ACCOUNT), account())

    assert answer.status_code in (302, 403)
    assert not User.objects.filter(username="nightly").exists()


def test_the_way_to_a_new_account_is_shown_to_administrators_with_what_was_typed(cast: Cast) -> None:
    graces, olives = (text(visitor(name).get(reverse(ISSUE), {"owner": "nightly"})) for name in ("grace", "olive"))
    page = text(visitor("grace").get(reverse(NEW_ACCOUNT), {"username": "nightly"}))

    assert f'href="{reverse(NEW_ACCOUNT)}?username=nightly"' in graces
    assert reverse(NEW_ACCOUNT) not in olives
    assert 'value="nightly"' in page
    assert "pool my_pool*: submit, exec, port-forward" in page
    assert not User.objects.filter(username="nightly").exists()
