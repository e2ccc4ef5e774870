"""The page of a token: what it may do in each pool and why, what it has lost, the states of its secrets."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from profiles.models import Pool, Role
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast
from tests.console import Answer, address, text, visitor
from tokens.exchange import exchange
from tokens.models import AccessToken

PANELS = ["What it may do now", "Roles", "Secrets"]


def panel(answer: Answer, title: str) -> dict[str, Any]:
    (found,) = [one.context for one in answer.context["panels"] if one.title == title]
    return dict(found)


def page(token: AccessToken, name: str = "audrey") -> Answer:
    return visitor(name).get(address(token))


def words(answer: Answer) -> str:
    """What is read on the page, on one line."""
    return " ".join(re.sub(r"<[^>]+>", " ", text(answer)).split())


def pools(cast: Cast, many: int, prefix: str = "my_pool-") -> None:
    for number in range(many):
        Pool.create(by=cast.by("grace"), name=f"{prefix}{number:02}")


# What it may do.


def test_each_pool_has_a_yes_or_no_with_its_reason(cast: Cast) -> None:
    denies = [{"effect": "Deny", "actions": ["workflow:PortForward"], "resources": ["pool/my_pool"]}]
    Role.create(by=cast.by("grace"), name="no-forward", policies=denies)
    cast.robot.assign_role("no-forward", by=cast.by("grace"))

    told = words(page(cast.service_token()))

    assert (
        "my_pool yes yes no submit, exec: Role osmo-my_pool allows workflow:* on pool/my_pool*. "
        "port-forward: Role no-forward denies workflow:PortForward on pool/my_pool." in told
    )
    assert "default no no no No role that it carries allows it." in told


def test_the_pools_that_are_reached_come_first(cast: Cast) -> None:
    Pool.create(by=cast.by("grace"), name="aaa")

    rows = panel(page(cast.service_token()), "What it may do now")["rows"]

    assert [row.pool for row in rows] == ["my_pool", "aaa", "default"]


def test_a_deleted_pool_is_not_listed(cast: Cast) -> None:
    cast.pool.mark_deleted(by=cast.by("grace"), reason="gone")

    rows = panel(page(cast.service_token()), "What it may do now")["rows"]

    assert [row.pool for row in rows] == ["default"]


def test_of_many_pools_the_first_that_are_reached_are_shown_and_the_rest_is_a_link(cast: Cast) -> None:
    pools(cast, 60)
    token = cast.service_token()

    answer = page(token)

    told = panel(answer, "What it may do now")
    assert len(told["rows"]) == 50
    assert all(row.operations for row in told["rows"])
    assert "It reaches 61 of 62 pools. The first 50 of them:" in words(answer)
    assert f'href="{address(token, "access")}">All 62 pools' in text(answer)


def test_of_many_pools_that_are_closed_none_is_shown(cast: Cast) -> None:
    pools(cast, 60)

    answer = page(cast.service_token(roles=[PLAIN_ROLE]))

    assert panel(answer, "What it may do now")["rows"] == []
    assert "It reaches 0 of 62 pools." in words(answer)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("revoked", "Nothing: it is revoked for good."),
        ("expired", "Nothing: it has expired for good."),
        ("stripped", "Nothing: its owner has lost every role that it carries."),
    ],
)
def test_a_token_that_can_do_nothing_any_more_has_no_table(cast: Cast, state: str, said: str) -> None:
    token, by = cast.service_token(), cast.by("grace")
    if state == "revoked":
        token.revoke(by=by, reason="x")
    elif state == "expired":
        AccessToken.objects.filter(pk=token.pk).expire(by=by, reason="x")
    else:
        cast.robot.remove_role(POOL_ROLE, by=by)

    answer, all_of_them = page(token), visitor("audrey").get(address(token, "access"))

    assert said in words(answer)
    assert said in words(all_of_them)
    for shown in (answer, all_of_them):
        assert "badge-yes" not in text(shown)
        assert "badge-no" not in text(shown).replace("badge-none-left", "")


@pytest.mark.parametrize("state", ["suspended", "inactive"])
def test_a_token_that_could_work_again_says_what_it_would_do_then(cast: Cast, state: str) -> None:
    token, by = cast.service_token(), cast.by("grace")
    if state == "suspended":
        token.suspend(by=by, reason="x")
    else:
        cast.robot.deactivate(by=by, reason="x")

    answer = page(token)

    assert words(answer).count("Nothing, because ") == 1
    assert "badge-yes" in text(answer)


# All pools.


def test_all_pools_are_listed_or_those_of_a_beginning(cast: Cast) -> None:
    pools(cast, 60)
    token = cast.service_token()
    client = visitor("audrey")

    everything, some = client.get(address(token, "access")), client.get(address(token, "access"), {"pool": "my_pool-1"})

    assert len(everything.context["rows"]) == 62
    assert [row.pool for row in some.context["rows"]] == [f"my_pool-1{number}" for number in range(10)]


@pytest.mark.parametrize("typed", ["<script>alert(1)</script>", "%", "x" * 5_000])
def test_a_beginning_that_no_pool_has_finds_none(cast: Cast, typed: str) -> None:
    answer = visitor("audrey").get(address(cast.service_token(), "access"), {"pool": typed})

    assert answer.status_code == 200
    assert answer.context["rows"] == []
    assert "No pool's name begins like that." in text(answer)
    assert "<script>alert" not in text(answer)


def test_all_pools_are_for_who_sees_the_token(cast: Cast) -> None:
    token = cast.service_token()
    url = address(token, "access")

    assert visitor("ada").get(url).status_code == 302
    assert Client().get(url).status_code == 302
    assert visitor("olive").get(url).status_code == 200
    assert visitor("grace").get(url.replace(f"/{token.pk}/", "/99999/")).status_code == 404


# Roles.


def test_a_lost_role_tells_since_when_by_whom_and_why(cast: Cast) -> None:
    token = cast.service_token(roles=[POOL_ROLE, PLAIN_ROLE])
    cast.robot.remove_role(POOL_ROLE, by=cast.by("grace"), reason="moved away")

    answer = page(token)

    kept, lost = panel(answer, "Roles")["given"]
    assert (kept.assignment.role.name, kept.lost_at) == (PLAIN_ROLE, None)
    assert (lost.assignment.role.name, lost.loss.actor, lost.loss.reason) == (POOL_ROLE, "grace", "moved away")
    assert re.search(r"robot lost it 20\d\d-\d\d-\d\d \d\d:\d\d UTC by grace “moved away”", words(answer))


def test_a_deleted_role_tells_since_when_by_whom_and_why(cast: Cast) -> None:
    token = cast.service_token(roles=[POOL_ROLE, PLAIN_ROLE])
    Role.objects.get(name=PLAIN_ROLE).mark_deleted(by=cast.by("grace"), reason="tidying up")

    answer = page(token)

    assert re.search(r"the role was deleted 20\d\d-\d\d-\d\d \d\d:\d\d UTC by grace “tidying up”", words(answer))


def test_of_several_removals_of_a_role_each_tells_its_own_reason(cast: Cast) -> None:
    by, made = cast.by("grace"), []
    for number in range(3):
        made.append(cast.service_token(f"t{number}", [PLAIN_ROLE, POOL_ROLE]))
        cast.robot.remove_role(POOL_ROLE, by=by, reason=f"reason {number}")
        cast.robot.assign_role(POOL_ROLE, by=by)

    told = [panel(page(token), "Roles")["given"][-1].loss.reason for token in made]

    assert told == ["reason 0", "reason 1", "reason 2"]


# Secrets.


def test_both_secrets_tell_their_state_and_their_first_use(cast: Cast) -> None:
    token = cast.service_token().rotate(by=cast.by("grace"), grace=timedelta(hours=1))

    before = panel(page(token), "Secrets")["secrets"]
    exchange(token.plaintext)
    after = panel(page(token), "Secrets")["secrets"]

    assert [(row.state, row.unused) for row in before] == [("live", "not yet"), ("in its grace", "never")]
    assert after[0].secret.first_used_at is not None


def test_a_retired_secret_says_since_when(cast: Cast) -> None:
    token = cast.service_token().rotate(by=cast.by("grace"), grace=timedelta(0))

    answer = page(token)

    assert [row.state for row in panel(answer, "Secrets")["secrets"]] == ["live", "retired"]
    assert re.search(r"retired 20\d\d-\d\d-\d\d \d\d:\d\d UTC", words(answer))


@pytest.mark.parametrize(("slug", "state"), [("revoke", "revoked"), ("suspend", "suspended")])
def test_no_secret_of_a_token_that_was_stopped_is_called_live(cast: Cast, slug: str, state: str) -> None:
    token = cast.service_token()
    getattr(token, slug)(by=cast.by("grace"), reason="x")

    assert [row.state for row in panel(page(token), "Secrets")["secrets"]] == [state]


def test_of_many_secrets_the_newest_are_shown(cast: Cast) -> None:
    token = cast.service_token()
    for _ in range(12):
        token = token.rotate(by=cast.by("grace"), grace=timedelta(0))

    shown = panel(page(token), "Secrets")

    assert len(shown["secrets"]) == 10
    assert shown["more"]


# Cost, and what is not offered.


def test_the_page_costs_the_same_however_many_pools_roles_secrets_and_tokens(cast: Cast) -> None:
    by, client = cast.by("grace"), visitor("audrey")
    names = [f"r{number}" for number in range(12)]
    for name in names:
        Role.create(by=by, name=name)
        cast.robot.assign_role(name, by=by)
    token = cast.service_token("poor", [POOL_ROLE, "r0", "r11"])
    rich = cast.service_token("rich", [POOL_ROLE, *names]).rotate(by=by)
    cast.robot.remove_role("r0", by=by)
    Role.objects.get(name="r11").mark_deleted(by=by, reason="x")
    few = queries_of(client, token)
    pools(cast, 60)
    for name in names[1:10]:
        cast.robot.remove_role(name, by=by)
        cast.service_token(name)

    assert len(queries_of(client, rich)) == len(few)
    asked = [re.findall(r'FROM "(\w+)"', sql)[0] for sql in few]
    assert asked == [
        "django_session",
        "profiles_user",  # who is signed in
        "profiles_roleassignment",  # what they hold
        "auth_group",  # whether they are an auditor
        "tokens_accesstoken",  # the token with its owner
        "tokens_lastuse",
        "tokens_tokenrole",
        "profiles_role",  # what the owner holds, and osmo-default
        "profiles_pool",
        "events_event",  # deletions of roles
        "events_event",  # removals of roles
        "tokens_secret",
        "events_event",  # the history
        "events_eventline",
    ]


def queries_of(client: Client, token: AccessToken) -> list[str]:
    with CaptureQueriesContext(connection) as seen:
        client.get(address(token))
    return [query["sql"] for query in seen if " FROM " in query["sql"]]


def test_nothing_offers_to_extend_a_token(cast: Cast) -> None:
    answer = page(cast.service_token(), "grace")

    assert [button["label"] for button in answer.context["buttons"]] == ["Rotate", "Suspend", "Revoke"]
    assert "xtend" not in text(answer)
    assert [one.title for one in answer.context["panels"]] == PANELS
