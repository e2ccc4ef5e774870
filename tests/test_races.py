"""Races with real threads: of those that exclude each other exactly one wins, and nothing is lost."""

import threading
from collections.abc import Callable, Iterator
from copy import copy
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection

from osmo_portal.events import chain
from osmo_portal.events.actor import ADMINISTRATOR_ROLE, Door
from osmo_portal.events.models import Event, EventLine
from profiles.models import Pool, Role, RoleAssignment, User
from tests.bulk import many_tokens
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tests.rest import Rest
from tests.terminal import Terminal
from tokens import exchange, jwt, standing
from tokens.models import AccessToken, BulkOperation, Secret, SigningKey, TerminalSignIn, batches

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 2  # each with fresh objects: one round alone may miss the moment


@pytest.fixture
def committed() -> Iterator[Cast]:
    """The cast, seen by other connections. Afterwards the chain is whole, whoever won."""
    yield Cast()
    assert list(chain.faults()) == []
    assert list(Event.objects.order_by("pk").values_list("pk", flat=True)) == list(range(1, Event.objects.count() + 1))


def race(*attempts: Callable[[], Any]) -> list[Any]:
    """What each returned, or the error it raised, all started at the same moment in threads of their own."""
    barrier = threading.Barrier(len(attempts), timeout=30)
    results: list[Any] = [None] * len(attempts)

    def run(number: int, attempt: Callable[[], Any]) -> None:
        try:
            connection.ensure_connection()
            barrier.wait()
            results[number] = attempt()
        except Exception as error:  # whatever it is, the test looks at it
            results[number] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(attempts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return results


def errors(results: list[Any]) -> list[Exception]:
    return [result for result in results if isinstance(result, Exception)]


def winners(results: list[Any]) -> list[Any]:
    return [result for result in results if not isinstance(result, Exception)]


def only_told(results: list[Any], *messages: str) -> bool:
    """Losers are told what happened in words, not by an error of the database."""
    return all(isinstance(e, ValidationError) and any(m in str(e) for m in messages) for e in errors(results))


@pytest.mark.parametrize("number", range(ROUNDS))
def test_of_two_tokens_of_one_name_one_is_issued(committed: Cast, number: int) -> None:
    by = committed.by("grace")

    def issue() -> AccessToken:
        return AccessToken.issue(by=by, owner=committed.ada, name="same", expires=in_days(5))

    results = race(issue, issue, issue)

    assert len(winners(results)) == 1
    assert only_told(results, "Token name same already exists")
    assert AccessToken.objects.count() == Secret.objects.count() == 1
    assert Event.objects.filter(action="token.issued").count() == 1


@pytest.mark.parametrize("number", range(ROUNDS))
def test_of_two_accounts_of_one_name_one_is_made(committed: Cast, number: int) -> None:
    by = committed.by("grace")

    def issue() -> AccessToken:
        return AccessToken.issue_with_account(by=by, name="nightly", expires=in_days(5), roles=[PLAIN_ROLE])

    results = race(issue, issue)

    assert len(winners(results)) == 1
    assert only_told(results, "already exists")
    assert User.objects.filter(username="nightly").count() == 1
    assert AccessToken.objects.count() == 1


@pytest.mark.parametrize("number", range(ROUNDS))
def test_of_two_rotations_one_wins(committed: Cast, number: int) -> None:
    by, token = committed.by("grace"), committed.service_token()
    seen = [AccessToken.objects.get(pk=token.pk) for _ in range(3)]

    results = race(*(lambda one=one: one.rotate(by=by, grace=timedelta(0)) for one in seen))

    (winner,) = winners(results)
    assert only_told(results, "rotated by somebody else just now")
    assert Secret.objects.filter(token=token).live().count() == 1
    assert exchange.exchange(winner.plaintext)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_rotation_against_a_revocation_leaves_no_secret_that_works(committed: Cast, number: int) -> None:
    by, token = committed.by("grace"), committed.service_token()
    seen = [AccessToken.objects.get(pk=token.pk) for _ in range(2)]

    rotated, revoked = race(lambda: seen[0].rotate(by=by), lambda: seen[1].revoke(by=by, reason="leaked"))

    assert revoked is None
    assert only_told([rotated], "The token is revoked")
    for plaintext in {token.plaintext, getattr(rotated, "plaintext", token.plaintext)}:
        with pytest.raises(exchange.Refused, match="revoked"):
            exchange.exchange(plaintext)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_an_operation_that_is_begun_and_run_by_several_at_once_does_everything_once(
    committed: Cast, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    for vendor in batches.BATCH_SIZES:
        monkeypatch.setitem(batches.BATCH_SIZES, vendor, 3)
    by, tokens = committed.by("grace"), AccessToken.objects.listed()
    many_tokens(committed.robot, 20)
    operation = BulkOperation.preview(tokens, by=by, action="revoke", filters={})
    seen = [BulkOperation.objects.get(pk=operation.pk) for _ in range(3)]

    begun = race(*(partial(one.start, tokens, by=by, digest=one.digest, reason="spring") for one in seen))
    ran = race(*(partial(one.run, by=by) for one in seen))

    assert len(winners(begun)) == 1
    assert only_told(begun, "This has been begun already")
    assert errors(ran) == []
    operation.refresh_from_db()
    assert (operation.stage, operation.changed, operation.left_alone) == ("finished", 20, 0)
    assert Event.objects.filter(action="tokens.bulk_executed").count() == 1
    assert EventLine.objects.values("object_id").distinct().count() == EventLine.objects.count() == 20


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_bulk_resumption_against_a_deactivation_leaves_nothing_live(committed: Cast, number: int) -> None:
    by = committed.by("grace")
    many_tokens(committed.robot, 20)
    AccessToken.objects.suspend(by=by, reason="odd")
    robot = User.objects.get(username="robot")

    results = race(
        partial(AccessToken.objects.all().resume, by=by, reason="fine"), partial(robot.deactivate, by=by, reason="left")
    )

    assert errors(results) == []
    assert not AccessToken.objects.live().exists()


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_bulk_revocation_against_exchanges_and_rotations_loses_nothing(committed: Cast, number: int) -> None:
    by = committed.by("grace")
    tokens = [committed.service_token(f"t{n}") for n in range(6)]
    jwt.key_set()

    def use() -> list[str]:
        outcomes = []
        for token in tokens:
            try:
                outcomes.append(exchange.exchange(token.plaintext)[0])
            except exchange.Refused as refusal:
                outcomes.append(str(refusal))
        return outcomes

    results = race(
        lambda: AccessToken.objects.all().revoke(by=by, reason="spring"),
        use,
        lambda: [_quietly(partial(AccessToken.objects.get(pk=t.pk).rotate, by=by)) for t in reversed(tokens)],
    )

    assert not errors(results)
    assert results[0] == 6
    for text in results[1]:
        assert text == "Access Token has been revoked" or _refused_now(text)
    assert not AccessToken.objects.listed().exists()
    with pytest.raises(exchange.Refused, match="revoked"):
        exchange.exchange(tokens[0].plaintext)


def _quietly(attempt: Callable[[], Any]) -> Any:
    try:
        return attempt()
    except ValidationError as error:
        return error


def _refused_now(text: str) -> bool:
    said, kid = jwt.verify(text)
    found = standing.of_jwt(token_id=said["osmo_token_id"], secret_id=said["osmo_secret_id"], kid=kid)
    return found is not None and found.refusal == "revoked"


@pytest.mark.parametrize("number", range(ROUNDS))
def test_two_bulk_revocations_end_each_token_once(committed: Cast, number: int) -> None:
    by = committed.by("grace")
    for token in range(6):
        committed.service_token(f"t{token}")

    results = race(*(lambda: AccessToken.objects.all().revoke(by=by, reason="spring") for _ in range(3)))

    assert not errors(results)
    assert sum(results) == 6
    lines = [line.object_id for event in Event.objects.filter(action="tokens.revoked") for line in event.lines.all()]
    assert len(lines) == len({*lines}) == 6


@pytest.mark.parametrize("number", range(ROUNDS))
def test_two_first_uses_are_told_once(committed: Cast, number: int) -> None:
    rotated = committed.service_token().rotate(by=committed.by("grace"), end_old_at_first_use=True)
    jwt.key_set()

    results = race(*(lambda: exchange.exchange(rotated.plaintext) for _ in range(3)))

    assert not errors(results)
    assert Event.objects.filter(action="secret.first_used").count() == 1


@pytest.mark.parametrize("number", range(ROUNDS))
def test_an_alarm_is_told_once(committed: Cast, number: int) -> None:
    token = committed.service_token()
    token.suspend(by=committed.by("grace"), reason="odd")

    results = race(*(lambda: exchange.exchange(token.plaintext) for _ in range(3)))

    assert all(isinstance(result, exchange.Refused) for result in results)
    assert Event.objects.filter(action="exchange.refused.suspended").count() == 1


@pytest.mark.parametrize("number", range(ROUNDS))
def test_the_first_signing_key_is_made_once(committed: Cast, number: int) -> None:
    results = race(*(SigningKey.current_or_first for _ in range(3)))

    assert not errors(results)
    assert len({*results}) == SigningKey.objects.count() == 1
    assert Event.objects.filter(action="signing_key.created").count() == 1


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize(
    "end",
    [
        lambda user, by: user.deactivate(by=by, reason="left"),
        lambda user, by: user.remove_role(ADMINISTRATOR_ROLE, by=by, reason="left"),
        lambda user, by: user.mark_deleted(by=by, reason="left"),
    ],
    ids=["deactivate", "remove", "delete"],
)
def test_two_administrators_cannot_remove_each_other(committed: Cast, end: Callable, number: int) -> None:
    committed.ada.assign_role(ADMINISTRATOR_ROLE, by=committed.by("grace"))
    grace, ada = committed.by("grace"), committed.by("ada")
    victims = [User.objects.get(username=name) for name in ("ada", "grace")]

    results = race(lambda: end(victims[0], grace), lambda: end(victims[1], ada))

    assert len(errors(results)) == 1
    assert only_told(results, "This is the last active administrator")
    assert User.objects.administrators().count() == 1


@pytest.mark.parametrize("number", range(ROUNDS))
def test_an_issue_against_a_deactivation_leaves_no_live_token(committed: Cast, number: int) -> None:
    by, ada = committed.by("grace"), User.objects.get(username="ada")

    results = race(
        lambda: AccessToken.issue(by=by, owner=committed.ada, name="late", expires=in_days(5)),
        lambda: ada.deactivate(by=by, reason="left"),
    )

    assert only_told(results, "is not active")
    assert not AccessToken.objects.owned_by(committed.ada).live().exists()


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_resume_against_a_deactivation_leaves_no_live_token(committed: Cast, number: int) -> None:
    by, token = committed.by("grace"), committed.user_token()
    token.suspend(by=by, reason="holiday")
    ada = User.objects.get(username="ada")

    results = race(lambda: token.resume(by=by, reason="back"), lambda: ada.deactivate(by=by, reason="left"))

    assert only_told(results, "is not active")
    assert not AccessToken.objects.live().exists()


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_role_is_assigned_once(committed: Cast, number: int) -> None:
    by = committed.by("grace")

    results = race(*(lambda: User.objects.get(username="ada").assign_role(POOL_ROLE, by=by) for _ in range(3)))

    assert not errors(results)
    assert RoleAssignment.objects.effective().filter(user=committed.ada, role__name=POOL_ROLE).count() == 1
    assert (
        Event.objects.filter(action="role.assigned", object_id=committed.ada.pk, changes__role=POOL_ROLE).count() == 1
    )


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("names", [("new", "new"), ("new", "NEW")])
def test_of_two_users_of_one_id_one_is_made(committed: Cast, names: tuple[str, str], number: int) -> None:
    by = committed.by("grace")

    results = race(*(lambda name=name: User.create_person(by=by, username=name) for name in names))

    assert len(winners(results)) == 1
    assert only_told(results, "already exists")


@pytest.mark.parametrize("model", [Role, Pool])
def test_of_two_roles_or_pools_of_one_name_one_is_made(committed: Cast, model: Any) -> None:
    by = committed.by("grace")

    results = race(*(lambda: model.create(by=by, name="new") for _ in range(2)))

    assert len(winners(results)) == 1
    assert only_told(results, "already exists")


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_role_is_deleted_once(committed: Cast, number: int) -> None:
    by = committed.by("grace")
    seen = [Role.objects.get(name=PLAIN_ROLE) for _ in range(2)]

    results = race(*(lambda role=role: role.mark_deleted(by=by, reason="unused") for role in seen))

    assert only_told(results, "was deleted")
    assert Event.objects.filter(action="role.deleted").count() == 1


@pytest.mark.parametrize("number", range(ROUNDS))
def test_two_changes_of_a_role_follow_each_other(committed: Cast, number: int) -> None:
    """What one saves of the policies and the other of the description both stay, and so does what is derived."""
    by = committed.by("grace")
    seen = [Role.objects.get(name=PLAIN_ROLE) for _ in range(2)]
    submit = [{"effect": "Allow", "actions": ["workflow:Create"], "resources": ["pool/x"]}]

    results = race(
        lambda: seen[0].change(by=by, policies=submit), lambda: seen[1].change(by=by, description="Submits.")
    )

    assert not errors(results)
    role = Role.objects.get(name=PLAIN_ROLE)
    assert (role.policies, role.description, role.grants_pools, role.is_plain) == (submit, "Submits.", True, False)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_events_of_many_writers_make_one_chain(committed: Cast, number: int) -> None:
    """The fixture looks at the chain afterwards."""
    by, before = committed.by("grace"), Event.objects.count()

    results = race(*(lambda n=n: [Pool.create(by=by, name=f"p{n}-{m}") for m in range(5)] for n in range(4)))

    assert not errors(results)
    assert Event.objects.count() == before + 20


def test_the_race_itself_runs_at_the_same_time(committed: Cast) -> None:
    """Without threads that meet, the barrier would break and every test above would fail."""
    meeting = threading.Barrier(3, timeout=30)

    assert sorted(race(meeting.wait, meeting.wait, meeting.wait)) == [0, 1, 2]


@pytest.mark.parametrize("number", range(ROUNDS))
def test_one_approval_signs_one_terminal_in_however_often_it_is_fetched_at_once(committed: Cast, number: int) -> None:
    jwt.key_set()
    terminal = Terminal()
    terminal.request.approve(by=committed.by("ada", Door.MY_TOKENS))

    answers = race(*(copy(terminal).poll for _ in range(3)))

    assert errors(answers) == []
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400]
    assert TerminalSignIn.objects.count() == 1
    assert not TerminalSignIn.objects.live().exists()  # a code that two hold is a code that was stolen


@pytest.mark.parametrize("number", range(ROUNDS))
def test_of_two_decisions_about_one_terminal_one_counts(committed: Cast, number: int) -> None:
    seen = [Terminal().request] * 2
    approve = partial(seen[0].approve, by=committed.by("ada", Door.MY_TOKENS))
    deny = partial(seen[1].deny, by=committed.by("mallory", Door.MY_TOKENS))

    results = race(approve, deny)

    assert len(winners(results)) == 1
    assert only_told(results, "not known here")
    assert Event.objects.filter(action__in=["terminal.approved", "terminal.denied"]).count() == 1


@pytest.mark.parametrize("number", range(ROUNDS))
def test_processes_that_share_a_login_may_renew_it_at_the_same_moment(committed: Cast, number: int) -> None:
    terminal = Terminal().signed_in(committed)
    shared = terminal.tokens["refresh_token"]

    answers = race(*(partial(terminal.refresh, shared) for _ in range(4)))

    assert [getattr(answer, "status_code", answer) for answer in answers] == [200] * 4
    assert terminal.refresh(answers[2].json()["refresh_token"]).status_code == 200
    assert TerminalSignIn.objects.live().exists()


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_deactivation_leaves_no_terminal_signed_in_whoever_is_faster(committed: Cast, number: int) -> None:
    by, signed_in, waiting = committed.by("grace"), Terminal().signed_in(committed), Terminal()
    waiting.request.approve(by=committed.by("ada", Door.MY_TOKENS))

    results = race(partial(committed.ada.deactivate, by=by, reason="left"), signed_in.refresh, waiting.poll)
    User.objects.get(pk=committed.ada.pk).reactivate(by=by, reason="back")

    assert errors(results) == []
    assert not TerminalSignIn.objects.live().exists()
    for terminal in (signed_in, waiting):
        if terminal.tokens:
            assert terminal.refresh().status_code == 400
            assert terminal.wire().get("/api/profile/settings").status_code == 401


def test_of_two_requests_with_one_idempotency_key_one_is_done(committed: Cast):
    body = {"owner": "robot", "name": "nightly", "expires_at": str(in_days(31)), "roles": [POOL_ROLE]}
    for number in range(ROUNDS):
        callers = [Rest(person="grace"), Rest(person="grace")]
        wanted = {**body, "name": f"nightly-{number}"}

        answers = race(*(partial(rest.post, "tokens", wanted, idempotency_key=f"key-{number}") for rest in callers))

        assert sorted(answer.status_code for answer in answers) == [201, 409]
        issued, refused = sorted(answers, key=lambda answer: answer.status_code)
        assert refused.json()["token"] == issued.json()["id"]
        assert "secret" not in refused.json()


def test_of_two_changes_to_the_version_that_both_saw_one_is_made(committed: Cast):
    for number in range(ROUNDS):
        callers = [Rest(person="grace"), Rest(person="grace")]
        tag = callers[0].get(f"pools/{committed.pool.pk}")["ETag"]

        answers = race(
            *(
                partial(rest.patch, f"pools/{committed.pool.pk}", {"description": f"{number} by {n}"}, if_match=tag)
                for n, rest in enumerate(callers)
            )
        )

        assert sorted(answer.status_code for answer in answers) == [200, 412]
