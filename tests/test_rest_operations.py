"""Sets of tokens under /api/v1/: looked at, done to exactly that set, continued, stopped; as in the console."""

from typing import Any

import pytest

from osmo_portal.console import recent
from osmo_portal.events.models import Event
from tests.bulk import many_tokens
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast
from tests.rest import Rest, refused
from tests.terminal import Terminal
from tokens.api import operations
from tokens.models import AccessToken, BulkOperation
from tokens.models.token_set import State

pytestmark = pytest.mark.django_db

WHY = {"reason": "the lab is closed"}


@pytest.fixture
def tokens(cast: Cast) -> list[AccessToken]:
    cast.user_token("ada", "laptop")
    return [cast.service_token(name, [PLAIN_ROLE]) for name in ("ci-1", "ci-2", "nightly")]


def look(rest: Rest, action: str = "revoke", **filters: str) -> dict[str, Any]:
    answer = rest.post("token-operations", {"action": action, "filters": filters})
    assert answer.status_code == 201, answer.content
    return dict(answer.json())


def execute(rest: Rest, operation: dict[str, Any], **words: Any) -> Any:
    return rest.post(f"token-operations/{operation['id']}/execute", {"digest": operation["digest"], **WHY, **words})


def test_a_preview_tells_how_many_whose_and_which_and_changes_nothing(cast: Cast, tokens: Any):
    operation = look(Rest(person="olive"), owner="robot")

    assert (operation["stage"], operation["count"], operation["affected"]) == ("previewed", 3, 3)
    assert operation["owners"] == [{"name": "robot", "tokens": 3}]
    assert operation["roles"] == [{"name": PLAIN_ROLE, "tokens": 3}]
    assert [one["token"] for one in operation["sample"]] == ["robot/nightly", "robot/ci-2", "robot/ci-1"]
    assert len(operation["digest"]) == 64
    assert AccessToken.objects.live().count() == 4
    assert Event.objects.get(action="tokens.bulk_previewed").via == "rest"


def test_what_was_looked_at_is_done_and_reported(cast: Cast, tokens: Any):
    rest = Rest(person="olive")
    operation = look(rest, name="ci-*")

    done = execute(rest, operation, expect=2).json()

    assert (done["stage"], done["changed"], done["remaining"], done["reason"]) == ("finished", 2, 0, WHY["reason"])
    assert {*AccessToken.objects.in_state(State.REVOKED).values_list("name", flat=True)} == {"ci-1", "ci-2"}
    assert rest.get(f"token-operations/{operation['id']}").json() == done
    refused(execute(rest, operation), 409, "begun already")


def test_a_set_that_has_changed_is_left_alone(cast: Cast, tokens: Any):
    rest = Rest(person="grace")
    operation = look(rest, owner="robot")
    cast.service_token("newer", [PLAIN_ROLE])

    refused(execute(rest, operation), 409, "it was 3 tokens, now 4")
    refused(execute(rest, {**operation, "digest": "0" * 64}), 409)
    assert AccessToken.objects.live().count() == 5


def test_another_number_than_expected_is_a_conflict(cast: Cast, tokens: Any):
    rest = Rest(person="grace")

    refused(execute(rest, look(rest, owner="robot"), expect=2), 409, "3 would change, and not 2")


def test_a_large_or_unfiltered_set_is_not_done_without_its_number(cast: Cast, tokens: Any):
    rest = Rest(person="grace")
    many_tokens(cast.robot, 120)
    large, all_of_them = look(rest, owner="robot"), look(rest)

    refused(execute(rest, large), 400, "expect")
    refused(execute(rest, all_of_them), 400, "expect")
    assert execute(rest, large, expect=123).json()["changed"] == 123


def test_it_is_continued_and_stopped(cast: Cast, monkeypatch: pytest.MonkeyPatch):
    many_tokens(cast.robot, 30)
    rest = Rest(person="grace")
    monkeypatch.setattr(operations, "SLICE", 0)
    monkeypatch.setattr("tokens.models.bulk_operation.BATCH_SIZES", {"sqlite": 10, "postgresql": 10})
    operation = look(rest, "suspend", owner="robot")
    address = f"token-operations/{operation['id']}"

    assert execute(rest, operation).json()["handled"] == 10
    assert rest.post(f"{address}/continue", {}).json()["handled"] == 20
    stopped = rest.post(f"{address}/stop", {"reason": "wrong lab"}).json()
    again = rest.post(f"{address}/continue", {}).json()

    assert (stopped["stage"], stopped["remaining"]) == ("stopped", 10)
    assert again == stopped
    refused(rest.post(f"{address}/stop", {"reason": "again"}), 409)


def test_a_session_must_be_fresh_to_execute(cast: Cast, tokens: Any):
    rest = Rest(person="grace")
    operation = look(rest, owner="robot")
    session = rest.client.session
    del session[recent.KEY]
    session.save()

    refused(execute(rest, operation), 403, "Confirm at /admin/confirm/")
    assert AccessToken.objects.live().count() == 4


@pytest.mark.parametrize("beside", [None, "mallory", "grace"])
def test_a_terminal_is_signed_in_for_weeks_and_does_not_execute(cast: Cast, tokens: Any, beside: str | None):
    """Nor with somebody's fresh browser session beside its JWT, be it a stranger's."""
    operation = look(Rest(person="grace"), owner="robot")
    rest = Rest(person=beside)
    rest.headers["authorization"] = f"Bearer {Terminal().signed_in(cast, 'grace').tokens['id_token']}"

    refused(execute(rest, operation), 403, "terminal")
    assert AccessToken.objects.live().count() == 4


def test_by_token_an_administrators_alone_does_it(cast: Cast, tokens: Any):
    bot = Rest(cast.administrator_token().plaintext)

    assert execute(bot, look(bot, owner="robot")).json()["changed"] == 3
    for secret in (cast.user_token("grace").plaintext, cast.user_token("olive").plaintext):
        refused(Rest(secret).post("token-operations", {"action": "revoke", "filters": {}}), 403)


@pytest.mark.parametrize("person", ["audrey", "ada", "mallory"])
def test_others_begin_nothing_and_an_auditor_reads(cast: Cast, tokens: Any, person: str):
    operation = look(Rest(person="grace"), owner="robot")
    rest, before = Rest(person=person), Event.objects.count()
    address = f"token-operations/{operation['id']}"
    before = Event.objects.count()

    refused(rest.post("token-operations", {"action": "revoke", "filters": {}}), 403)
    for verb in ("execute", "continue", "stop"):
        refused(rest.post(f"{address}/{verb}", WHY), 403)
    assert rest.get(address).status_code == (200 if person == "audrey" else 403)
    assert Event.objects.count() == before


def test_who_looked_goes_on_and_no_other(cast: Cast, tokens: Any):
    operation = look(Rest(person="olive"), owner="robot")

    refused(execute(Rest(person="grace"), operation), 403, "preview of your own")


def test_an_operator_hands_nothing_over_and_resumes_what_operators_grant(cast: Cast, tokens: Any):
    strong, rest = cast.service_token("strong", [POOL_ROLE]), Rest(person="olive")
    strong.suspend(by=cast.by("grace"), reason="x")
    tokens[0].suspend(by=cast.by("grace"), reason="x")
    hand_over = {"action": "hand-over", "filters": {}, "accountable": "ada"}

    refused(rest.post("token-operations", hand_over), 403)
    resumed = look(rest, "resume", owner="robot", state="suspended")
    assert (resumed["affected"], resumed["beyond"]) == (1, 1)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"action": "revoke", "filters": {"owner": "nobody-ever"}}, "There is no user"),
        ({"action": "revoke", "filters": {"digest": "00"}}, "There is no filter"),
        ({"action": "revoke", "filters": {"state": "alive"}}, "There is no state"),
        ({"action": "revoke", "filters": {"before": "2026-01-01"}}, "There is no filter"),
        ({"action": "revoke", "filters": {"owner": "robot", "all": "1"}}, "There is no filter"),
        ({"action": "revoke", "filters": {"owner": ""}}, "filters"),
        ({"action": "revoke", "filters": {"owner": ["robot"]}}, "filters"),
        ({"action": "revoke", "filters": {"name": "nothing-like-it"}}, "No token matches"),
        ({"action": "revoke", "filters": {"name": "****a*a*a*a*b"}}, "stars"),
        ({"action": "revoke", "filters": {"owner": "osmo_" + "x" * 49}}, "A secret does not belong"),
        ({"action": "revoke"}, "filters"),
        ({"action": "destroy", "filters": {}}, "action"),
        ({"action": "revoke", "filters": {}, "at": "2030-01-01T00:00:00Z"}, "Only ending"),
        ({"action": "expire", "filters": {}, "at": "2020-01-01T00:00:00Z"}, "over"),
        ({"action": "hand-over", "filters": {}}, "handing over"),
        ({"action": "revoke", "filters": {}, "accountable": "ada"}, "handing over"),
        ({"action": "revoke", "filters": {}, "ids": [1]}, "ids"),
    ],
)
def test_what_is_not_understood_looks_at_nothing(cast: Cast, tokens: Any, body: dict[str, Any], text: str):
    answer = Rest(person="grace").post("token-operations", body)

    refused(answer, 400, text)
    assert "x" * 49 not in answer.content.decode()
    assert not BulkOperation.objects.exists()


def test_a_preview_costs_the_same_queries_however_large_the_set(cast: Cast, tokens: Any, django_assert_max_num_queries):
    rest = Rest(cast.administrator_token().plaintext)
    many_tokens(cast.robot, 500)
    look(rest, owner="ada")

    with django_assert_max_num_queries(25):
        assert look(rest, owner="robot")["count"] == 503
