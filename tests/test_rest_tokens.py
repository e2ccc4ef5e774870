"""Tokens under /api/v1/: who sees them, who issues, rotates and ends them, and that the secret appears once."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from osmo_portal.events.models import Event
from profiles.models import Role, User
from tests.bulk import many_tokens
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tests.rest import Rest, refused
from tokens import exchange
from tokens.models import AccessToken, LastUse
from tokens.models.token_set import State

pytestmark = pytest.mark.django_db


def asked(**changes: Any) -> dict[str, Any]:
    return {"owner": "robot", "name": "nightly", "expires_at": str(in_days(31)), "roles": [POOL_ROLE], **changes}


def plain(**changes: Any) -> dict[str, Any]:
    return asked(roles=[PLAIN_ROLE], **changes)


def own(**changes: Any) -> dict[str, Any]:
    return {"owner": "ada", "name": "laptop", "expires_at": str(in_days(31)), **changes}


# Issuing.


def test_an_administrator_issues_a_service_token_and_its_secret_works(cast: Cast):
    answer = Rest(person="grace").post("tokens", asked(description="CI of the robots"))

    assert answer.status_code == 201
    token = answer.json()
    assert exchange.exchange(token["secret"])
    assert token["roles"] == [POOL_ROLE]
    assert (token["owner"], token["kind"], token["created_by"]) == ("robot", "service", "grace")
    assert token["description"] == "CI of the robots"
    assert token["expires_at"] == f"{in_days(31)}T00:00:00Z"
    event = Event.objects.get(action="token.issued")
    assert (event.via, event.actor, event.object_id) == ("rest", "grace", token["id"])
    assert event.request_id == answer["x-request-id"]


def test_the_answer_with_the_secret_is_stored_nowhere_on_its_way(cast: Cast):
    answer = Rest(person="grace").post("tokens", asked())

    assert answer["cache-control"] == "no-store"


def test_an_administrators_service_token_issues_service_tokens(cast: Cast):
    answer = Rest(cast.administrator_token().plaintext).post("tokens", asked(expires_at=str(in_days(200))))

    assert answer.status_code == 201


def test_the_secret_is_in_no_later_answer(cast: Cast):
    rest = Rest(person="grace")
    issued = rest.post("tokens", asked()).json()

    later = [
        rest.get("tokens"),
        rest.get(f"tokens/{issued['id']}"),
        rest.post(f"tokens/{issued['id']}/suspend", {"reason": "pause"}),
        rest.post(f"tokens/{issued['id']}/resume", {"reason": "go on"}),
        rest.post(f"tokens/{issued['id']}/revoke", {"reason": "end"}),
        rest.post("tokens", asked()),
    ]

    assert [answer.status_code for answer in later] == [200, 200, 200, 200, 200, 201]
    assert not any(issued["secret"] in answer.content.decode() for answer in later)


def test_lists_show_the_last_four_characters_of_each_live_secret(cast: Cast):
    first = cast.service_token()
    second = first.rotate(by=cast.by("grace"))

    shown = Rest(person="grace").get(f"tokens/{first.pk}").json()

    assert sorted(shown["secrets_end_with"]) == sorted([first.plaintext[-4:], second.plaintext[-4:]])


def test_an_identical_request_sent_again_is_a_conflict_that_names_the_token(cast: Cast):
    rest = Rest(person="grace")
    issued = rest.post("tokens", asked()).json()

    again = rest.post("tokens", asked())

    refused(again, 409, "Token name nightly already exists.")
    assert again.json()["token"] == issued["id"]
    assert "secret" not in again.json()
    assert AccessToken.objects.count() == 1


def test_the_name_of_a_revoked_token_is_free_again(cast: Cast):
    token = cast.service_token("nightly")
    token.revoke(by=cast.by("grace"), reason="leaked")

    assert Rest(person="grace").post("tokens", asked()).status_code == 201


def test_a_person_issues_an_own_user_token_with_osmo_user_alone(cast: Cast):
    answer = Rest(person="ada").post("tokens", own())

    assert answer.status_code == 201
    assert answer.json()["roles"] == ["osmo-user"]


def test_roles_on_a_user_token_are_refused(cast: Cast):
    for person in ("ada", "grace"):
        answer = Rest(person=person).post("tokens", own(roles=["osmo-user"]))

        refused(answer, 400, "Assigning roles to user access tokens is not supported.")
    assert not AccessToken.objects.exists()


@pytest.mark.parametrize("person", ["ada", "mallory", "olive", "audrey"])
def test_nobody_but_an_administrator_puts_a_pool_role_on_a_token(cast: Cast, person: str):
    answer = Rest(person=person).post("tokens", asked())

    assert answer.status_code in {400, 403}
    assert not AccessToken.objects.exists()


def test_an_operator_issues_service_tokens_with_plain_roles(cast: Cast):
    answer = Rest(person="olive").post("tokens", plain())

    assert answer.status_code == 201
    assert answer.json()["roles"] == [PLAIN_ROLE]


def test_an_operator_hides_no_pool_role_behind_a_plain_one(cast: Cast):
    refused(Rest(person="olive").post("tokens", asked(roles=[PLAIN_ROLE, POOL_ROLE])), 403, POOL_ROLE)
    assert not AccessToken.objects.exists()


def test_an_auditor_issues_nothing_not_even_an_own_token(cast: Cast):
    refused(Rest(person="audrey").post("tokens", own(owner="audrey")), 403, "changes nothing")


def test_nobody_but_an_administrator_issues_for_another_person(cast: Cast):
    refused(Rest(person="olive").post("tokens", own()), 403)
    refused(Rest(person="mallory").post("tokens", own()), 400, "does not exist, or is not yours to see")
    assert Rest(person="grace").post("tokens", own()).status_code == 201


def test_foreign_and_absent_owners_get_the_same_answer(cast: Cast):
    rest = Rest(person="mallory")

    foreign, absent = rest.post("tokens", asked()), rest.post("tokens", asked(owner="nobody"))

    assert foreign.json() == json.loads(absent.content.replace(b"nobody", b"robot"))


def test_an_accountable_person_sees_the_account_and_still_issues_nothing_for_it(cast: Cast):
    refused(Rest(person="ada").post("tokens", plain()), 403, "Only an administrator")


def test_a_service_token_issues_nothing(cast: Cast):
    rest = Rest(cast.service_token(roles=[PLAIN_ROLE]).plaintext)

    refused(rest.post("tokens", plain()), 403, "service account")
    assert AccessToken.objects.count() == 1


def test_an_administrators_own_user_token_is_no_administrator(cast: Cast):
    rest = Rest(cast.user_token("grace").plaintext)

    refused(rest.post("tokens", asked()), 400, "not yours to see")
    refused(rest.post("tokens", own()), 400, "not yours to see")


def test_an_operators_own_user_token_is_no_operator(cast: Cast):
    strong, rest = cast.service_token(), Rest(cast.user_token("olive", "of-olive").plaintext)

    refused(rest.post("tokens", plain()), 400, "not yours to see")
    refused(rest.post(f"tokens/{strong.pk}/revoke", {"reason": "x"}), 404)
    assert rest.names("tokens") == {"of-olive"}


@pytest.mark.parametrize(
    ("roles", "text"),
    [
        ([], "At least one role"),
        (["no-such-role"], "Invalid role: no-such-role"),
        ([POOL_ROLE, POOL_ROLE], "listed twice"),
        (["osmo-admin"], "does not hold"),
    ],
)
def test_a_service_token_needs_roles_that_exist_and_that_its_account_holds(cast: Cast, roles: list[str], text: str):
    refused(Rest(person="grace").post("tokens", asked(roles=roles)), 400, text)
    assert not AccessToken.objects.exists()


@pytest.mark.parametrize(
    "day", ["2020-01-01", "tomorrow", "", "31-12-2030", "2031-02-30", None, 20301231, ["2030-01-01"]]
)
def test_the_day_must_be_a_day_after_today(cast: Cast, day: Any):
    refused(Rest(person="grace").post("tokens", asked(expires_at=day)), 400, "expires_at")
    assert not AccessToken.objects.exists()


def test_expiry_is_required_and_limited(cast: Cast):
    rest, without = Rest(person="grace"), asked()
    del without["expires_at"]

    refused(rest.post("tokens", without), 400, "required")
    refused(rest.post("tokens", asked(expires_at=str(in_days(0)))), 400, "past the current date")
    refused(rest.post("tokens", asked(expires_at=str(in_days(366)))), 400, "cannot last longer than 365d")


def test_the_strictest_role_limits_the_lifetime(cast: Cast):
    Role.objects.get(name=POOL_ROLE).change(by=cast.by("grace"), max_token_days=7)
    rest = Rest(person="grace")

    refused(rest.post("tokens", asked(expires_at=str(in_days(8)))), 400, "cannot last longer than 7d")
    assert rest.post("tokens", asked(expires_at=str(in_days(7)))).status_code == 201


def test_a_token_makes_none_that_outlives_it(cast: Cast):
    rest = Rest(cast.user_token("ada", days=5).plaintext)

    refused(rest.post("tokens", own(expires_at=str(in_days(6)))), 400, "cannot outlast")
    assert rest.post("tokens", own(expires_at=str(in_days(5)))).status_code == 201


def test_an_inactive_owner_gets_no_token(cast: Cast):
    cast.robot.deactivate(by=cast.by("grace"), reason="retired")

    refused(Rest(person="grace").post("tokens", asked()), 400, "not active")


# What nobody may set.


@pytest.mark.parametrize(
    "field",
    [
        "id",
        "created_by",
        "created_at",
        "issued_at",
        "state",
        "digest",
        "plaintext",
        "secret",
        "secrets",
        "ended_at",
        "suspended_at",
        "rotations",
        "kind",
        "pk",
        "owner_id",
        "by",
    ],
)
def test_fields_that_are_not_asked_for_are_refused_by_name(cast: Cast, field: str):
    refused(Rest(person="grace").post("tokens", asked(**{field: 1})), 400, field)
    assert not AccessToken.objects.exists()


@pytest.mark.parametrize("verb", ["rotate", "revoke", "suspend", "resume"])
def test_an_action_changes_neither_owner_nor_name_nor_roles(cast: Cast, verb: str):
    token = cast.service_token()

    answer = Rest(person="grace").post(
        f"tokens/{token.pk}/{verb}", {"reason": "x", "owner": "ada", "roles": ["osmo-admin"]}
    )

    refused(answer, 400, "owner")
    assert AccessToken.objects.get(pk=token.pk).state() == State.ACTIVE


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_token_is_never_edited_and_never_deleted(cast: Cast, method: str):
    token = cast.service_token()

    refused(Rest(person="grace").call(method, f"tokens/{token.pk}", {"name": "other"}), 405)


# Who sees which.


@pytest.fixture
def tokens(cast: Cast) -> dict[str, AccessToken]:
    return {
        "ada": cast.user_token("ada", "of-ada"),
        "mallory": cast.user_token("mallory", "of-mallory"),
        "robot": cast.service_token("of-robot", [PLAIN_ROLE]),
        "bot": cast.administrator_token("of-bot"),
    }


EVERYTHING = {"of-ada", "of-mallory", "of-robot", "of-bot"}


@pytest.mark.parametrize(
    ("person", "visible"),
    [
        ("grace", EVERYTHING),
        ("olive", EVERYTHING),
        ("audrey", EVERYTHING),
        ("ada", {"of-ada", "of-robot"}),
        ("mallory", {"of-mallory"}),
    ],
)
def test_people_see_what_concerns_them(cast: Cast, tokens: dict[str, AccessToken], person: str, visible: set[str]):
    rest = Rest(person=person)

    assert rest.names("tokens") == visible
    for token in tokens.values():
        assert rest.get(f"tokens/{token.pk}").status_code == (200 if token.name in visible else 404)


@pytest.mark.parametrize(
    ("whose", "visible"),
    [
        ("ada", {"of-ada", "of-robot"}),
        ("mallory", {"of-mallory"}),
        ("robot", {"of-robot"}),
        ("bot", EVERYTHING),
    ],
)
def test_tokens_see_what_concerns_their_owner(
    cast: Cast, tokens: dict[str, AccessToken], whose: str, visible: set[str]
):
    assert Rest(tokens[whose].plaintext).names("tokens") == visible


@pytest.mark.parametrize("verb", ["rotate", "revoke", "suspend", "resume"])
def test_what_is_foreign_is_not_there(cast: Cast, tokens: dict[str, AccessToken], verb: str):
    rest, foreign = Rest(person="mallory"), tokens["robot"].pk
    before = Event.objects.count()

    answer, absent = (
        rest.post(f"tokens/{foreign}/{verb}", {"reason": "x"}),
        rest.post("tokens/999999/revoke", {"reason": "x"}),
    )

    refused(answer, 404)
    assert answer.json() == absent.json()
    assert Event.objects.count() == before


@pytest.mark.parametrize(
    "query", ["name=of-*", "kind=service", "role=team-reader", "state=active", "pool=my_pool", "owner=robot"]
)
def test_filters_show_nothing_foreign(cast: Cast, tokens: dict[str, AccessToken], query: str):
    assert Rest(person="mallory").names(f"tokens?{query}") <= {"of-mallory"}


# Rotating, suspending, revoking.


def test_rotating_gives_a_new_secret_and_leaves_the_old_one_its_grace(cast: Cast):
    token = cast.service_token()

    answer = Rest(person="grace").post(f"tokens/{token.pk}/rotate", {"grace_seconds": 600})

    assert answer.status_code == 200
    assert answer["cache-control"] == "no-store"
    assert exchange.exchange(answer.json()["secret"])
    assert exchange.exchange(token.plaintext)
    retires = AccessToken.objects.get(pk=token.pk).secrets.get(slot=0).retires_at
    assert retires is not None
    assert timedelta(0) < retires - datetime.now(UTC) <= timedelta(seconds=600)


def test_rotating_without_grace_ends_the_old_secret_at_once(cast: Cast):
    token = cast.service_token()

    answer = Rest(person="grace").post(
        f"tokens/{token.pk}/rotate", {"grace_seconds": 0, "expires_at": str(in_days(40))}
    )

    assert answer.json()["expires_at"] == f"{in_days(40)}T00:00:00Z"
    with pytest.raises(exchange.Refused, match="rotated"):
        exchange.exchange(token.plaintext)


@pytest.mark.parametrize("grace", [-1, 2_592_001, "soon", None, [], 10**30])
def test_a_grace_out_of_bounds_is_refused(cast: Cast, grace: Any):
    token = cast.service_token()

    refused(Rest(person="grace").post(f"tokens/{token.pk}/rotate", {"grace_seconds": grace}), 400, "grace_seconds")


def test_an_operator_gets_no_secret_of_a_token_beyond_what_operators_grant(cast: Cast):
    strong, weak = cast.service_token("strong"), cast.service_token("weak", [PLAIN_ROLE])
    rest = Rest(person="olive")

    refused(rest.post(f"tokens/{strong.pk}/rotate", {}), 403, "more than you could grant")
    assert rest.post(f"tokens/{weak.pk}/rotate", {}).status_code == 200
    assert AccessToken.objects.get(pk=strong.pk).rotations == 0


def test_an_operator_suspends_and_revokes_any_token_and_resumes_only_what_operators_grant(cast: Cast):
    strong, weak = cast.service_token("strong"), cast.service_token("weak", [PLAIN_ROLE])
    rest, why = Rest(person="olive"), {"reason": "leaked"}

    assert rest.post(f"tokens/{strong.pk}/suspend", why).json()["state"] == "suspended"
    assert rest.post(f"tokens/{weak.pk}/suspend", why).json()["state"] == "suspended"
    refused(rest.post(f"tokens/{strong.pk}/resume", why), 403)
    assert rest.post(f"tokens/{weak.pk}/resume", why).json()["state"] == "active"
    assert rest.post(f"tokens/{strong.pk}/revoke", why).json()["state"] == "revoked"


def test_an_accountable_person_ends_a_token_and_never_gets_its_secret(cast: Cast):
    token = cast.service_token()
    rest = Rest(person="ada")

    refused(rest.post(f"tokens/{token.pk}/rotate", {}), 403)
    assert rest.post(f"tokens/{token.pk}/revoke", {"reason": "not needed"}).status_code == 200


def test_a_token_rotates_none_that_outlives_it(cast: Cast):
    used, other = cast.user_token("ada", "short", days=5), cast.user_token("ada", "long", days=50)

    refused(Rest(used.plaintext).post(f"tokens/{other.pk}/rotate", {}), 400, "cannot outlast")


@pytest.mark.parametrize("verb", ["rotate", "revoke", "suspend", "resume"])
def test_an_auditor_gets_403_on_every_action(cast: Cast, verb: str):
    token = cast.service_token()

    refused(Rest(person="audrey").post(f"tokens/{token.pk}/{verb}", {"reason": "x"}), 403, "changes nothing")


@pytest.mark.parametrize("verb", ["rotate", "revoke", "suspend", "resume"])
def test_a_service_token_handles_no_token_not_even_itself(cast: Cast, verb: str):
    token = cast.service_token(roles=[PLAIN_ROLE])

    refused(Rest(token.plaintext).post(f"tokens/{token.pk}/{verb}", {"reason": "x"}), 403)


@pytest.mark.parametrize("verb", ["revoke", "suspend", "resume"])
def test_a_reason_is_required(cast: Cast, verb: str):
    token = cast.service_token()
    rest = Rest(person="grace")

    for body in ({}, {"reason": ""}, {"reason": "  "}, {"reason": None}, {"reason": ["x"]}, {"reason": 5}):
        refused(rest.post(f"tokens/{token.pk}/{verb}", body), 400, "reason")


def test_revoking_says_who_when_and_why_and_stays_on_record(cast: Cast):
    token = cast.service_token()

    shown = Rest(person="olive").post(f"tokens/{token.pk}/revoke", {"reason": "leaked"}).json()

    assert (shown["state"], shown["ended_by"], shown["end_reason"]) == ("revoked", "olive", "leaked")
    assert Rest(person="grace").get(f"tokens/{token.pk}").json()["ended_at"]


@pytest.mark.parametrize("verb", ["rotate", "resume", "suspend", "revoke"])
def test_nothing_revives_a_revoked_token(cast: Cast, verb: str):
    token = cast.service_token()
    token.revoke(by=cast.by("grace"), reason="leaked")

    body = {} if verb == "rotate" else {"reason": "please"}

    refused(Rest(person="grace").post(f"tokens/{token.pk}/{verb}", body), 409)
    assert AccessToken.objects.get(pk=token.pk).state() == State.REVOKED


@pytest.mark.parametrize("verb", ["rotate", "resume"])
def test_nothing_revives_an_expired_token(cast: Cast, verb: str):
    token = cast.service_token()
    AccessToken.objects.filter(pk=token.pk).expire(by=cast.by("grace"), reason="over")

    body = {"expires_at": str(in_days(9))} if verb == "rotate" else {"reason": "please"}

    refused(Rest(person="grace").post(f"tokens/{token.pk}/{verb}", body), 409, "expired")


# Callers whose token ended.


def ended(cast: Cast, how: str) -> Rest:
    token = cast.administrator_token()
    rest, one = Rest(token.plaintext), AccessToken.objects.filter(pk=token.pk)
    by = cast.by("grace")
    {
        "revoked": lambda: token.revoke(by=by, reason="x"),
        "expired": lambda: one.expire(by=by, reason="x"),
        "suspended": lambda: token.suspend(by=by, reason="x"),
        "not active": lambda: token.owner.deactivate(by=by, reason="x"),
        "no role left": lambda: token.owner.remove_role("osmo-admin", by=by, reason="x"),
    }[how]()
    return rest


@pytest.mark.parametrize("how", ["revoked", "expired", "suspended", "not active", "no role left"])
def test_a_jwt_stops_working_at_once_and_its_holder_learns_why(cast: Cast, how: str):
    rest = ended(cast, how)

    for answer in (rest.get("tokens"), rest.post("tokens", asked()), rest.get("users"), rest.get("schema")):
        refused(answer, 401, how)
        assert answer["www-authenticate"].startswith("Bearer")


def test_a_stranger_gets_401_and_is_told_how_to_sign_in(cast: Cast):
    for path in ("tokens", "tokens/1", "users", "roles", "pools", "schema"):
        refused(Rest().get(path), 401, "Bearer")
    refused(Rest().post("tokens", asked()), 401)


def test_a_session_without_the_csrf_token_changes_nothing(cast: Cast):
    rest = Rest(person="grace")
    del rest.headers["x-csrftoken"]

    refused(rest.post("tokens", asked()), 403, "CSRF")
    assert rest.get("tokens").status_code == 200
    assert not AccessToken.objects.exists()


def test_a_deactivated_persons_session_is_nobody(cast: Cast):
    rest = Rest(person="olive")
    User.objects.get(username="olive").deactivate(by=cast.by("grace"), reason="left")

    refused(rest.get("tokens"), 401)


def test_a_lost_role_counts_no_longer_in_a_running_session(cast: Cast):
    rest = Rest(person="grace")
    User.objects.get(username="ada").assign_role("osmo-admin", by=cast.by("grace"))
    User.objects.get(username="grace").remove_role("osmo-admin", by=cast.by("ada"), reason="moved")

    refused(rest.post("tokens", asked()), 400, "not yours to see")


# Lists.


def test_filters_narrow_the_list(cast: Cast, tokens: dict[str, AccessToken]):
    tokens["ada"].suspend(by=cast.by("grace"), reason="pause")
    rest = Rest(person="grace")

    assert rest.names("tokens?kind=person") == {"of-ada", "of-mallory"}
    assert rest.names("tokens?owner=robot") == {"of-robot"}
    assert rest.names("tokens?role=team-reader") == {"of-robot"}
    assert rest.names("tokens?pool=my_pool") == {"of-bot"}
    assert rest.names("tokens?name=of-*b*") == {"of-robot", "of-bot"}
    assert rest.names("tokens?name=of-robo?") == {"of-robot"}
    assert rest.names("tokens?state=suspended") == {"of-ada"}
    assert rest.names("tokens?unused_since=2020-01-01") == set()
    assert rest.names(f"tokens?unused_since={in_days(1)}") == EVERYTHING


@pytest.mark.parametrize(
    "query",
    [
        "digest=00",
        "digest__startswith=00",
        "secrets__digest__startswith=00",
        "owner__password__startswith=a",
        "ordering=digest",
        "search=x",
        "state=alive",
        "kind=robot",
        "unused_since=yesterday",
        "name=****a*a*a*a*b",
        "page_size=0",
        "page_size=-1",
        "page_size=many",
    ],
)
def test_other_parameters_are_refused(cast: Cast, query: str):
    refused(Rest(person="grace").get(f"tokens?{query}"), 400, query.split("=")[0].split("__")[0])


@pytest.mark.parametrize(
    "cursor", ["x", "cD14", "cD05OTk5OTk5OTk5OTk5OTk5OTk5OTk5OQ==", "%ff", "é", "cj14", "bz05OTk5OTk5OTk="]
)
def test_a_cursor_that_is_none_is_refused_or_harmless(cast: Cast, cursor: str):
    assert Rest(person="grace").get(f"tokens?cursor={cursor}").status_code in {200, 404}


def test_pages_follow_each_other_without_gap_or_repetition(cast: Cast):
    many_tokens(cast.robot, 250)
    rest, seen, address = Rest(person="grace"), [], "tokens"

    while address:
        page = rest.get(address).json()
        seen.append([token["id"] for token in page["results"]])
        address = page["next"]

    assert [len(page) for page in seen] == [100, 100, 50]
    assert len({number for page in seen for number in page}) == 250


def test_a_page_holds_a_thousand_at_most(cast: Cast):
    many_tokens(cast.robot, 1_001)

    assert len(Rest(person="grace").get("tokens?page_size=5000").json()["results"]) == 1_000


def test_a_token_that_is_purged_while_a_list_is_read_breaks_nothing(cast: Cast):
    token = cast.service_token("ci")
    LastUse.objects.filter(token=token).delete()  # the list has read the token, and not yet its last use

    found = Rest(cast.administrator_token().plaintext).get("tokens?name=ci").json()["results"]

    assert [(one["name"], one["last_used_at"]) for one in found] == [("ci", None)]


def test_a_list_costs_the_same_queries_however_long_it_is(cast: Cast, django_assert_num_queries):
    rest = Rest(cast.administrator_token().plaintext)
    many_tokens(cast.robot, 1_000)
    rest.get("tokens?page_size=1")  # reads the signing keys

    for size in (1, 1_000):
        # The caller's standing; tokens; their users, uses, roles, live secrets.
        with django_assert_num_queries(6):
            assert len(rest.get(f"tokens?page_size={size}").json()["results"]) == size
