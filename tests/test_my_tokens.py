"""My tokens: what any signed-in person sees and does about the own tokens, and those of the own service accounts."""

import re
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from osmo_portal.events.models import Event
from profiles.models import Role, User
from profiles.rules import USER_ROLE
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tests.console import Answer, form_errors, last_event, text, visitor
from tests.test_admin_xss import DANGEROUS, HOSTILE, plant
from tokens.exchange import exchange
from tokens.me import pages
from tokens.models import AccessToken, LastUse, Secret

MINE = "/me/"
NEW = "/me/tokens/new/"
SECRET = re.compile(r"osmo_[0-9A-Za-z]{49}")
CHANGES = ["rotate", "suspend", "resume", "revoke"]


def asked(**changed: Any) -> dict[str, Any]:
    return {"name": "laptop", "expires_at": in_days(30).isoformat(), "description": "mine", **changed}


def page_of(token: AccessToken, slug: str = "") -> str:
    return f"/me/tokens/{token.pk}/{slug + '/' if slug else ''}"


def names(answer: Answer) -> list[str]:
    return [token.name for token in answer.context["tokens"]]


# Who comes in.


@pytest.mark.parametrize("path", [MINE, NEW, "/me/tokens/1/", "/me/accounts/1/"])
def test_whoever_is_not_signed_in_is_sent_to_the_sign_in_and_back(cast: Cast, client: Client, path: str) -> None:
    answer = client.get(path)

    assert answer.status_code == 302
    assert answer["location"] == f"/admin/login/?next={path}"


@pytest.mark.parametrize("name", ["ada", "mallory", "grace", "olive", "audrey"])
def test_any_signed_in_person_has_the_page(cast: Cast, name: str) -> None:
    assert visitor(name).get(MINE).status_code == 200


@pytest.mark.parametrize("header", ["x-osmo-auth", "authorization"])
def test_a_jwt_opens_no_page_and_makes_no_session(cast: Cast, client: Client, header: str) -> None:
    token = cast.user_token()
    jwt, _ = exchange(token.plaintext)
    value = f"Bearer {jwt}" if header == "authorization" else jwt

    for path in (MINE, NEW, page_of(token)):
        assert client.get(path, headers={header: value}).status_code == 302
    client.post(NEW, asked(), headers={header: value})

    assert AccessToken.objects.count() == 1
    assert not Session.objects.exists()


def test_the_first_address_leads_a_person_here_and_others_to_the_console(cast: Cast, client: Client) -> None:
    assert visitor("ada").get("/")["location"] == MINE
    assert visitor("grace").get("/")["location"] == "/admin/"
    assert client.get("/")["location"] == "/admin/"


def test_people_of_the_console_find_the_way_there_and_back(cast: Cast) -> None:
    console = reverse("admin:tokens_accesstoken_changelist")

    assert f'href="{MINE}"' in text(visitor("audrey").get(console))
    assert f'href="{console}"' in text(visitor("audrey").get(MINE))
    assert "/admin/tokens" not in text(visitor("ada").get(MINE))


def test_no_page_of_a_person_leads_into_the_console(cast: Cast) -> None:
    """Where it would be refused; the way out and the own sign-in are everybody's."""
    token = cast.user_token()
    paths = [MINE, NEW, page_of(token), page_of(token, "revoke"), f"/me/accounts/{cast.robot.pk}/"]

    for path in paths:
        assert not re.search(r'href="/admin/(?!own|password_change|login)', text(visitor("ada").get(path))), path


def test_an_error_here_is_a_page(cast: Cast) -> None:
    answer = visitor("ada").get("/me/nothing/")

    assert answer.status_code == 404
    assert "There is nothing at this address." in text(answer)
    assert answer["Content-Type"].startswith("text/html")


# What is shown.


def test_the_list_shows_the_own_tokens_with_state_end_and_last_use(cast: Cast) -> None:
    token = cast.user_token("ada", "laptop")
    cast.user_token("mallory", "foreign")
    LastUse.objects.filter(token=token).update(at=token.created_at, ip="2001:db8::7")

    answer = visitor("ada").get(MINE)

    assert names(answer) == ["laptop"]
    assert "foreign" not in text(answer)
    for shown in ("active", f"{in_days(31)} 00:00 UTC", "2001:db8::7", f"{token.created_at:%Y-%m-%d %H:%M} UTC"):
        assert shown in text(answer)


def test_revoked_tokens_are_on_a_list_of_their_own(cast: Cast) -> None:
    cast.user_token("ada", "kept")
    cast.user_token("ada", "gone").revoke(by=cast.by("ada"), reason="lost")

    assert names(visitor("ada").get(MINE)) == ["kept"]
    assert names(visitor("ada").get(MINE, {"state": "revoked"})) == ["gone"]


def test_an_administrator_too_sees_the_own_tokens_alone(cast: Cast) -> None:
    mine = cast.user_token("grace", "mine")
    cast.user_token("ada", "hers")

    answer = visitor("grace").get(MINE)

    assert names(answer) == [mine.name]
    assert answer.context["accounts"] == []


def test_the_tokens_of_service_accounts_stand_with_their_account(cast: Cast) -> None:
    cast.service_token("nightly")
    idle = User.create_service_account(by=cast.by("grace"), username="idle", accountable=cast.ada, purpose="Waits")
    User.create_service_account(by=cast.by("grace"), username="other", accountable=cast.grace, purpose="x")

    answer = visitor("ada").get(MINE)

    shown = [(account.username, [token.name for token in tokens]) for account, tokens in answer.context["accounts"]]
    assert shown == [("idle", []), ("robot", ["nightly"])]
    assert idle.purpose in text(answer)
    assert POOL_ROLE in text(answer)


def test_lists_are_read_page_by_page(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "TOKENS_SHOWN", 2)
    for name in ("one", "two", "three", "four", "five"):
        cast.user_token("ada", name)
    client, seen = visitor("ada"), []
    query: dict[str, int] = {}

    while True:
        answer = client.get(MINE, query)
        seen += names(answer)
        if answer.context["before"] is None:
            break
        assert f"?before={answer.context['before']}" in text(answer)
        query = {"before": answer.context["before"]}

    assert seen == ["five", "four", "three", "two", "one"]


def test_service_accounts_are_read_page_by_page(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "ACCOUNTS_SHOWN", 1)
    User.create_service_account(by=cast.by("grace"), username="zz", accountable=cast.ada, purpose="last")

    first = visitor("ada").get(MINE)
    second = visitor("ada").get(MINE, {"after": first.context["next_account"]})

    assert [account.username for account, _ in first.context["accounts"]] == ["robot"]
    assert [account.username for account, _ in second.context["accounts"]] == ["zz"]
    assert second.context["next_account"] == ""


@pytest.mark.parametrize("query", [{"before": "x"}, {"before": "9" * 40}, {"before": "-1"}, {"after": "\u00e9"}])
def test_a_made_up_place_in_a_list_breaks_nothing(cast: Cast, query: dict[str, str]) -> None:
    assert visitor("ada").get(MINE, query).status_code == 200


def test_an_account_has_a_page_with_all_its_tokens(cast: Cast) -> None:
    cast.service_token("kept")
    cast.service_token("gone").revoke(by=cast.by("grace"), reason="lost")

    answer = visitor("ada").get(f"/me/accounts/{cast.robot.pk}/")

    assert names(answer) == ["gone", "kept"]


@pytest.mark.parametrize("name", ["mallory", "grace", "audrey"])
def test_the_page_of_somebody_elses_account_is_not_there(cast: Cast, name: str) -> None:
    assert visitor(name).get(f"/me/accounts/{cast.robot.pk}/").status_code == 404


@pytest.mark.parametrize("name", ["mallory", "grace", "olive", "audrey"])
@pytest.mark.parametrize("slug", ["", *CHANGES])
def test_somebody_elses_token_is_not_there(cast: Cast, name: str, slug: str) -> None:
    """Nor for an administrator: the console is the place for that."""
    token = cast.user_token("ada")
    client = visitor(name)
    before = Event.objects.count()

    assert client.get(page_of(token, slug)).status_code == 404
    assert client.post(page_of(token, slug), {"reason": "x"}).status_code in {403, 404, 405}
    assert Event.objects.count() == before


def test_a_tokens_page_tells_its_facts_and_history(cast: Cast) -> None:
    token = cast.user_token("ada", description="<b>mine</b>")
    token.rotate(by=cast.by("ada"))

    shown = text(visitor("ada").get(page_of(token)))

    for fact in ("&lt;b&gt;mine&lt;/b&gt;", USER_ROLE, "works until", "never", "token rotated", "by grace"):
        assert fact in shown
    assert not SECRET.search(shown)


@pytest.mark.parametrize("payload", HOSTILE)
def test_a_hostile_text_is_shown_as_text(cast: Cast, payload: str) -> None:
    client = visitor("ada")
    plant(cast, payload)
    token = AccessToken.objects.filter(owner=cast.robot)[0]
    seen = 0

    for path in (MINE, f"/me/accounts/{cast.robot.pk}/", page_of(token), page_of(token, "revoke")):
        shown = text(client.get(path))
        seen += "alert(1)" in shown or "!--" in shown or "|add:7" in shown
        assert not [dangerous for dangerous in DANGEROUS if dangerous in shown], path
        assert "14{%" not in shown
    assert seen == 4


# Queries.


def queries(client: Client, path: str) -> list[str]:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert client.get(path).status_code == 200
    return [query["sql"] for query in captured]


def test_the_list_costs_as_many_queries_for_many_tokens_as_for_few(cast: Cast) -> None:
    """Session, user, roles, groups; own tokens and their roles; accounts, their tokens, the roles of these;
    terminals."""
    client = visitor("ada")
    cast.user_token("ada", "first")
    cast.service_token("first")
    few = queries(client, MINE)

    for number in range(5):
        cast.user_token("ada", f"t{number}")
        cast.service_token(f"t{number}", [POOL_ROLE, PLAIN_ROLE])
        User.create_service_account(by=cast.by("grace"), username=f"s{number}", accountable=cast.ada, purpose="x")

    many = queries(client, MINE)
    assert len(many) == len(few) == 12, "\n".join(many)
    assert not any("COUNT(" in query for query in many)


def test_the_pages_of_an_account_and_of_a_token_cost_a_constant_number_of_queries(cast: Cast) -> None:
    client = visitor("ada")
    token = cast.service_token("first")
    paths = [f"/me/accounts/{cast.robot.pk}/", page_of(token)]
    few = [len(queries(client, path)) for path in paths]

    for number in range(5):
        cast.service_token(f"t{number}", [POOL_ROLE, PLAIN_ROLE])

    assert [len(queries(client, path)) for path in paths] == few


# Issue.


def test_a_person_issues_a_token_that_works_and_carries_the_one_role(cast: Cast) -> None:
    answer = visitor("ada").post(NEW, asked())

    token, event = AccessToken.objects.get(), last_event()
    secret = SECRET.search(text(answer))
    assert secret
    assert exchange(secret[0])
    assert (token.owner, token.created_by, token.role_names) == (cast.ada, cast.ada, [USER_ROLE])
    assert token.description == "mine"
    assert (event.action, event.actor, event.via) == ("token.issued", "ada", "my-tokens")


def test_a_forged_owner_or_role_changes_nothing_about_that(cast: Cast) -> None:
    forged = {"owner": "robot", "roles": [POOL_ROLE, "osmo-admin"], "created_by": cast.grace.pk}

    visitor("grace").post(f"{NEW}?owner=robot", asked(**forged))

    token = AccessToken.objects.get()
    assert (token.owner, token.role_names) == (cast.grace, [USER_ROLE])


def test_the_secret_is_in_that_answer_and_nowhere_else(cast: Cast, settings: Any) -> None:
    settings.PORTAL_URL = "https://portal.example.com"
    client = visitor("ada")
    answer = client.post(NEW, asked())

    secret = SECRET.search(text(answer))
    assert secret
    token = AccessToken.objects.get()
    assert f"osmo login https://portal.example.com --method token --token {secret[0]}" in text(answer)
    assert f'href="{page_of(token)}"' in text(answer)
    assert "no-store" in answer["Cache-Control"]
    assert answer["Referrer-Policy"] == "no-referrer"
    kept = repr([session.get_decoded() for session in Session.objects.all()]) + repr(client.cookies)
    kept += repr([*Event.objects.values()]) + text(client.get(MINE)) + text(client.get(page_of(token)))
    assert secret[0] not in kept


def test_a_page_sent_twice_makes_one_token(cast: Cast) -> None:
    client = visitor("ada")
    client.post(NEW, asked())

    again = client.post(NEW, asked())

    assert AccessToken.objects.count() == 1
    assert not SECRET.search(text(again))
    assert "not shown again" in form_errors(again)["name"][1]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"name": "a b"}, "name"),
        ({"name": ""}, "name"),
        ({"expires_at": ""}, "expires_at"),
        ({"expires_at": "2020-01-01"}, "expires_at"),
        ({"expires_at": "9999-12-31"}, "expires_at"),
        ({"description": "nul\0"}, "description"),
    ],
)
def test_a_bad_value_is_an_error_beside_its_field(cast: Cast, changed: dict[str, str], field: str) -> None:
    answer = visitor("ada").post(NEW, asked(**changed))

    assert set(form_errors(answer)) == {field}
    assert not AccessToken.objects.exists()


def test_the_role_and_the_portal_bound_the_day(cast: Cast, settings: Any) -> None:
    settings.MAX_TOKEN_DAYS = 100
    Role.objects.get(name=USER_ROLE).change(by=cast.by("grace"), max_token_days=20)

    page = visitor("ada").get(NEW)
    answer = visitor("ada").post(NEW, asked(expires_at=in_days(21).isoformat()))

    assert (page.context["presets"], page.context["days"]) == ([7], 20)
    assert form_errors(answer) == {"expires_at": ["Access token cannot last longer than 20d"]}


def test_who_does_not_hold_the_role_is_told_whom_to_ask(cast: Cast) -> None:
    cast.ada.remove_role(USER_ROLE, by=cast.by("grace"))

    page = visitor("ada").get(NEW)
    answer = visitor("ada").post(NEW, asked())

    assert "Ask an administrator for it." in text(page)
    assert form_errors(answer)
    assert not AccessToken.objects.exists()


# What is done to a token.


def test_a_person_rotates_the_own_token(cast: Cast) -> None:
    token = cast.user_token("ada")

    answer = visitor("ada").post(page_of(token, "rotate"), {"rotations": 0, "grace": "0"})

    secret = SECRET.search(text(answer))
    assert secret
    assert (last_event().action, last_event().via) == ("token.rotated", "my-tokens")
    assert exchange(secret[0])


@pytest.mark.parametrize(("slug", "state"), [("revoke", "revoked"), ("suspend", "suspended")])
@pytest.mark.parametrize("kind", ["own", "of an account"])
def test_a_person_ends_the_own_tokens_and_those_of_the_accounts(cast: Cast, slug: str, state: str, kind: str) -> None:
    """Whatever the token's power."""
    token = cast.user_token("ada") if kind == "own" else cast.service_token(roles=[POOL_ROLE])

    answer = visitor("ada").post(page_of(token, slug), {"reason": "lost"}, follow=True)

    token.refresh_from_db()
    assert token.state() == state
    assert answer.redirect_chain == [(page_of(token), 302)]
    assert f"is {state}" in text(answer)
    assert (last_event().reason, last_event().actor, last_event().via) == ("lost", "ada", "my-tokens")


def test_a_suspended_own_token_is_resumed(cast: Cast) -> None:
    token = cast.user_token("ada")
    token.suspend(by=cast.by("ada"), reason="x")

    visitor("ada").post(page_of(token, "resume"), {"reason": "found"})

    token.refresh_from_db()
    assert token.state() == "active"


def test_a_reason_is_needed(cast: Cast) -> None:
    token = cast.user_token("ada")

    answer = visitor("ada").post(page_of(token, "revoke"), {"reason": " "})

    assert "reason" in form_errors(answer)
    token.refresh_from_db()
    assert token.ended_at is None


@pytest.mark.parametrize("slug", ["rotate", "resume"])
def test_the_accountable_person_never_gets_the_secret_or_the_use_of_a_service_token(cast: Cast, slug: str) -> None:
    token = cast.service_token()
    if slug == "resume":
        token.suspend(by=cast.by("grace"), reason="x")
    client = visitor("ada")
    before = Event.objects.count()

    shown = text(client.get(page_of(token)))
    answer = client.post(page_of(token, slug), {"rotations": 0, "grace": "0", "reason": "x"})

    assert f'href="{page_of(token, slug)}"' not in shown
    assert answer.status_code == 403
    assert Secret.objects.count() == 1
    assert Event.objects.count() == before


def test_no_get_changes_anything(cast: Cast) -> None:
    token = cast.user_token("ada")
    client = visitor("ada")
    before = Event.objects.count()

    for path in (f"{NEW}?name=x&expires_at={in_days(9)}", *(page_of(token, slug) for slug in CHANGES)):
        client.get(path, {"reason": "x", "rotations": "0", "grace": "0"})

    assert Event.objects.count() == before


@pytest.mark.parametrize("slug", ["", *CHANGES])
def test_no_form_works_without_its_csrf_token(cast: Cast, slug: str) -> None:
    token = cast.user_token("ada")
    client = visitor("ada", enforce_csrf_checks=True)
    before = Event.objects.count()
    path = page_of(token, slug) if slug else NEW

    answer = client.post(path, asked(reason="x", rotations=0, grace="0"))

    assert answer.status_code == 403
    assert "Load the page again." in text(answer)
    assert Event.objects.count() == before


# Auditors.


def test_an_auditor_sees_the_own_tokens_and_is_offered_no_change(cast: Cast) -> None:
    token = cast.user_token("audrey")
    client = visitor("audrey")

    shown = text(client.get(MINE))

    assert token.name in shown
    assert NEW not in shown
    assert client.get(page_of(token)).context["buttons"] == []
    assert client.get(NEW).status_code == 403
    for slug in ("rotate", "suspend", "revoke"):
        assert client.get(page_of(token, slug)).status_code == 403


@pytest.mark.parametrize("slug", ["", *CHANGES])
def test_an_auditor_changes_nothing(cast: Cast, slug: str) -> None:
    token = cast.user_token("audrey")
    client = visitor("audrey")
    before = Event.objects.count()
    path = page_of(token, slug) if slug else NEW

    answer = client.post(path, asked(reason="x", rotations=0, grace="0"))

    assert answer.status_code == 403
    assert "An auditor reads everything and changes nothing." in text(answer)
    assert Event.objects.count() == before
