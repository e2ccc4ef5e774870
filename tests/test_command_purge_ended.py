"""manage.py purge_ended: which records go, what is kept of them, and that nothing comes back."""

import io
import json
import threading
import time
import weakref
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from osmo_portal.events import chain
from osmo_portal.events.actor import Actor
from osmo_portal.events.models import Event, EventLine
from osmo_portal.events.trail import UnrecordedChange, audited, record
from tests.bulk import many_tokens
from tests.cast import Cast
from tests.console import text, visitor
from tests.snapshot import scene
from tests.test_races import race
from tokens import exchange, secrets
from tokens.models import AccessToken, BulkOperation, LastUse, PurgedSecret, Secret, SigningKey, TokenRole
from tokens.models.token_set import MIN_RETENTION

pytestmark = pytest.mark.django_db


def run(*args: str, days: int = 90) -> tuple[str, str]:
    """What it printed on stdout and on stderr."""
    out, err = io.StringIO(), io.StringIO()
    call_command("purge_ended", f"--older-than={days}", *args, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def left() -> set[str]:
    return set(AccessToken.objects.values_list("name", flat=True))


def ended(token: AccessToken, days: float, **fields: Any) -> None:
    """Past the ways in: the token ended so many days ago."""
    then = timezone.now() - timedelta(days=days)
    values = {name: then if value is True else value for name, value in fields.items()}
    AccessToken._base_manager.filter(pk=token.pk).update(created_at=None, issued_at=then - timedelta(days=9), **values)


@pytest.fixture
def tokens(cast: Cast) -> dict[str, AccessToken]:
    """Names say when they ended, in days, and how."""
    return scene("purge_ended", lambda: _tokens(cast))


def _tokens(cast: Cast) -> dict[str, AccessToken]:
    made = {name: cast.user_token("ada", name) for name in ("live", "suspended", "expired-91", "expired-89")}
    made |= {name: cast.service_token(name) for name in ("revoked-91", "revoked-89", "late")}
    made["suspended"].suspend(by=cast.by("grace"), reason="x")
    for name in ("revoked-91", "revoked-89", "late"):
        made[name].revoke(by=cast.by("olive"), reason="over")
    ended(made["expired-91"], 91, expires_at=True)
    ended(made["expired-89"], 89, expires_at=True)
    ended(made["revoked-91"], 91, ended_at=True)
    ended(made["revoked-89"], 89, ended_at=True)
    ended(made["late"], 200, expires_at=True)  # expired long ago, and deleted just now
    return made


OLD = {"expired-91", "revoked-91"}
EVERYTHING = {"live", "suspended", "expired-91", "expired-89", "revoked-91", "revoked-89", "late"}


def long_gone(cast: Cast, count: int) -> list[AccessToken]:
    tokens = many_tokens(cast.robot, count)
    then = timezone.now() - timedelta(days=400)
    keys = [token.pk for token in tokens]
    AccessToken._base_manager.filter(pk__in=keys).update(created_at=None, issued_at=then, expires_at=then)
    return tokens


# Which.


def test_the_records_of_tokens_that_ended_long_ago_go(tokens: dict[str, AccessToken]) -> None:
    out, err = run()

    assert left() == EVERYTHING - OLD
    assert out == "2\n"
    assert err.startswith("2 records were deleted of tokens that ended before ")


def test_a_token_that_expired_long_ago_and_was_deleted_lately_is_kept(tokens: dict[str, AccessToken]) -> None:
    run(days=30)

    assert "late" in left()


def test_a_dry_run_counts_and_deletes_nothing(tokens: dict[str, AccessToken]) -> None:
    events = Event.objects.count()

    out, err = run("--dry-run")

    assert out == "2\n"
    assert err.startswith("2 records would be deleted")
    assert left() == EVERYTHING
    assert Event.objects.count() == events


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_json_tells_the_same(tokens: dict[str, AccessToken], more: list[str]) -> None:
    told = json.loads(run("--json", *more)[0])

    assert timezone.now() - datetime.fromisoformat(told.pop("ended_before")) >= timedelta(days=90)
    assert told == {"count": 2, "revoked": 1, "expired": 1, "dry_run": bool(more)}


def test_nothing_matched_is_exit_code_2(tokens: dict[str, AccessToken]) -> None:
    with pytest.raises(CommandError, match="No token ended more than 400 days ago") as error:
        run(days=400)

    assert error.value.returncode == 2


def test_another_number_than_expected_is_exit_code_2_and_deletes_nothing(tokens: dict[str, AccessToken]) -> None:
    with pytest.raises(CommandError, match="There are 2 such tokens, not 3") as error:
        run("--expect=3")

    assert error.value.returncode == 2
    assert left() == EVERYTHING
    assert run("--expect=2")[0] == "2\n"


@pytest.mark.parametrize(
    "args",
    [
        ["--older-than=29"],
        ["--older-than=0"],
        ["--older-than=-90"],
        ["--older-than=1e9"],
        ["--older-than=99999999"],
        ["--older-than=²"],
        ["--batch-size=0"],
        ["--expect=x"],
        ["--actor=nobody"],
        ["--reason="],
    ],
)
def test_a_wrong_call_is_exit_code_1_and_deletes_nothing(tokens: dict[str, AccessToken], args: list[str]) -> None:
    with pytest.raises(CommandError) as error:
        run(*args)

    assert error.value.returncode == 1
    assert left() == EVERYTHING


def test_it_says_how_long_records_stay(tokens: dict[str, AccessToken]) -> None:
    with pytest.raises(CommandError) as error:
        call_command("purge_ended", stdout=io.StringIO())

    assert "--older-than" in str(error.value)


# Who.


@pytest.mark.parametrize("actor", ["olive", "ada", "audrey", "robot"])
@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_nobody_but_an_administrator_purges(tokens: dict[str, AccessToken], actor: str, more: list[str]) -> None:
    with pytest.raises(CommandError, match="Only an administrator") as error:
        run(f"--actor={actor}", *more)

    assert error.value.returncode == 1
    assert left() == EVERYTHING


@pytest.mark.parametrize("name", ["olive", "ada", "audrey"])
def test_the_way_in_checks_by_itself(tokens: dict[str, AccessToken], cast: Cast, name: str) -> None:
    before = timezone.now() - timedelta(days=90)

    with pytest.raises(PermissionDenied):
        AccessToken.objects.purge(by=cast.by(name), before=before, reason="x")
    with pytest.raises(ValidationError, match="30 days at least"):
        AccessToken.objects.purge(by=cast.by("grace"), before=timezone.now() - timedelta(days=29), reason="x")
    with pytest.raises(ValidationError, match="Say why"):
        AccessToken.objects.purge(by=cast.by("grace"), before=before, reason=" ")

    assert left() == EVERYTHING


def test_a_set_narrows_it(tokens: dict[str, AccessToken], cast: Cast) -> None:
    before = timezone.now() - MIN_RETENTION

    purged = AccessToken.objects.of_kind("service").purge(by=cast.by("grace"), before=before, reason="x")

    assert purged == 2
    assert left() == EVERYTHING - {"revoked-91", "revoked-89"}


# What is kept.


def test_the_event_has_a_line_for_each_token(tokens: dict[str, AccessToken]) -> None:
    run("--actor=grace", "--reason=retention of a quarter")

    event = Event.objects.get(action="tokens.purged")
    assert (event.actor, event.via, event.reason) == ("grace", "command", "retention of a quarter")
    assert event.object_label == "2 tokens"
    lines = event.lines.values_list("object_id", "object_label", "before", "after")
    assert set(lines) == {
        (tokens["revoked-91"].pk, "robot/revoked-91", "revoked", "purged"),
        (tokens["expired-91"].pk, "ada/expired-91", "expired", "purged"),
    }
    assert not [*chain.faults()]


def test_the_shell_gives_its_own_reason(tokens: dict[str, AccessToken]) -> None:
    run()

    event = Event.objects.get(action="tokens.purged")
    assert event.actor.startswith("system:")
    assert event.reason == "ended more than 90 days ago"


def test_events_of_before_stay(tokens: dict[str, AccessToken]) -> None:
    token = tokens["revoked-91"]
    before = set(Event.objects.values_list("pk", flat=True))

    run()

    assert before < set(Event.objects.values_list("pk", flat=True))
    told = Event.objects.filter(object_type="accesstoken", object_id=token.pk).values_list("action", flat=True)
    assert {*told} == {"token.issued", "token.revoked"}


def test_each_digest_is_kept_with_its_end(tokens: dict[str, AccessToken], cast: Cast) -> None:
    token = tokens["expired-91"]
    retired = timezone.now() - timedelta(days=95)
    before = Secret(token=token, slot=None, digest=secrets.digest("before"), hint="fore", retires_at=retired)
    Secret._base_manager.bulk_create([before])
    end = AccessToken.objects.get(pk=token.pk).expires_at

    run()

    kept = {bytes(one.digest): one for one in PurgedSecret.objects.filter(token_id=token.pk)}
    assert {digest: one.ended_at for digest, one in kept.items()} == {
        secrets.digest(str(token.plaintext)): end,
        secrets.digest("before"): retired,
    }
    assert {one.label for one in kept.values()} == {"ada/expired-91"}
    assert PurgedSecret.objects.count() == 3


def test_nothing_is_left_that_refers_to_a_token_that_is_gone(tokens: dict[str, AccessToken]) -> None:
    gone = [tokens[name].pk for name in OLD]
    relations = AccessToken._meta.related_objects
    assert {TokenRole, Secret, LastUse} <= {relation.field.model for relation in relations}

    run()

    for relation in relations:
        rows = relation.field.model._base_manager.filter(**{f"{relation.field.name}__in": gone})
        assert not rows.exists(), relation
    connection.check_constraints()


def test_the_rest_of_the_portal_is_untouched(tokens: dict[str, AccessToken], cast: Cast) -> None:
    SigningKey.current_or_first()
    keys = [*SigningKey.objects.values()]
    other = {model: model._base_manager.count() for model in (TokenRole, LastUse, Secret)}

    run()

    assert [*SigningKey.objects.values()] == keys
    assert {model: count - model._base_manager.count() for model, count in other.items()} == dict.fromkeys(other, 2)
    assert exchange.exchange(str(tokens["live"].plaintext))


def test_neither_secrets_nor_digests_get_into_the_trail(tokens: dict[str, AccessToken]) -> None:
    out, err = run("--json")

    told = f"{out}{err}{[*Event.objects.values()]}{[*EventLine.objects.values()]}{[*PurgedSecret.objects.all()]}"
    for token in tokens.values():
        assert str(token.plaintext)[5:20] not in told
        assert secrets.digest(str(token.plaintext)).hex() not in told


def test_the_name_is_free_and_the_number_is_not_used_again(tokens: dict[str, AccessToken], cast: Cast) -> None:
    newest = max(token.pk for token in tokens.values())
    run()

    fresh = cast.user_token("ada", "expired-91")

    assert fresh.pk > newest


def test_an_operation_that_stands_still_goes_on_without_those_that_are_gone(
    cast: Cast, time_machine_days: Callable[[float], None]
) -> None:
    cast.user_token("ada", "short", days=5)
    cast.user_token("ada", "long", days=300)
    by = cast.by("grace")
    every = AccessToken.objects.all()
    operation = BulkOperation.preview(every, by=by, action="revoke", filters={})
    operation.start(every, by=by, digest=operation.digest, reason="x")
    time_machine_days(100)
    run()

    operation.run(by=by)

    assert (operation.stage, operation.changed, operation.left_alone) == ("finished", 1, 1)


# Nothing comes back.


def test_a_purged_secret_is_refused_like_any_that_nobody_knows(tokens: dict[str, AccessToken]) -> None:
    run()
    events = Event.objects.count()

    for name in OLD:
        with pytest.raises(exchange.Refused, match=f"^{exchange.INVALID}$"):
            exchange.exchange(str(tokens[name].plaintext))

    assert Event.objects.count() == events


def give(token: AccessToken, *plaintexts: str, at_once: bool) -> None:
    """As an import writes secrets."""
    made = [Secret(token=token, slot=None, digest=secrets.digest(one), hint="0000") for one in plaintexts]
    with audited():
        record("tokens.imported", Actor.shell(), token)
        if at_once:
            Secret.objects.bulk_create(made)
        else:
            for secret in made:
                secret.save()


@pytest.mark.parametrize("at_once", [True, False])
def test_no_import_brings_a_purged_secret_back(tokens: dict[str, AccessToken], at_once: bool) -> None:
    run()
    purged = str(tokens["revoked-91"].plaintext)
    before = Secret.objects.count()

    with pytest.raises(ValidationError, match=r"robot/revoked-91, which ended on .* purged"):
        give(tokens["live"], "another", purged, at_once=at_once)

    assert Secret.objects.count() == before
    give(tokens["live"], "another", at_once=at_once)
    assert Secret.objects.count() == before + 1


def test_no_issue_brings_a_purged_secret_back(
    tokens: dict[str, AccessToken], cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    monkeypatch.setattr(secrets, "generate", lambda: tokens["revoked-91"].plaintext)

    with pytest.raises(ValidationError, match="purged"):
        cast.service_token("fresh")
    with pytest.raises(ValidationError, match="purged"):
        tokens["live"].rotate(by=cast.by("grace"))

    assert "fresh" not in left()


def test_what_is_kept_of_a_secret_is_never_deleted(tokens: dict[str, AccessToken]) -> None:
    run()

    with pytest.raises(UnrecordedChange):
        PurgedSecret.objects.all().delete()
    with pytest.raises(UnrecordedChange):
        PurgedSecret.objects.earliest("pk").delete()
    with pytest.raises(UnrecordedChange), transaction.atomic():
        PurgedSecret.objects.update(label="somebody else")

    assert PurgedSecret.objects.count() == 2


# Many.


@pytest.mark.parametrize(("count", "batches"), [(5, 1), (6, 1), (13, 3)])
def test_batches_commit_one_by_one_with_an_event_each(cast: Cast, count: int, batches: int) -> None:
    long_gone(cast, count)

    assert run("--batch-size=6")[0] == f"{count}\n"

    events = Event.objects.filter(action="tokens.purged")
    assert len({event.changes["operation"] for event in events}) == 1
    assert sum(event.lines.count() for event in events) == count == PurgedSecret.objects.count()
    assert len(events) == batches
    assert not left()


def test_each_batch_costs_the_same_queries(cast: Cast) -> None:
    def cost(count: int, size: int) -> int:
        long_gone(cast, count)
        with CaptureQueriesContext(connection) as seen:
            run(f"--batch-size={size}")
        assert not [query for query in seen.captured_queries if "OFFSET" in query["sql"]]
        return len(seen)

    few = cost(5, 10)

    assert cost(9, 10) == few
    assert cost(80, 100) == few
    assert cost(15, 10) - cost(5, 10) == cost(25, 10) - cost(15, 10) > 5


def test_memory_does_not_grow_with_the_tokens(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    long_gone(cast, 200)
    alive: weakref.WeakSet[AccessToken] = weakref.WeakSet()
    most, state = 0, AccessToken.state

    def watch(token: AccessToken, *args: Any) -> str:
        nonlocal most
        alive.add(token)
        most = max(most, len(alive))
        return state(token, *args)

    monkeypatch.setattr(AccessToken, "state", watch)

    run("--batch-size=20")

    assert 20 <= most <= 2 * 20


class Killed(BaseException):
    """As if the process was gone: nothing catches it."""


def test_broken_off_it_goes_on_when_run_again(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = long_gone(cast, 25)
    refuse, seen = chain.append, 0

    def die_in_the_third_batch(drafts: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == 3:
            raise Killed
        refuse(drafts)

    with monkeypatch.context() as patch:
        patch.setattr(chain, "append", die_in_the_third_batch)
        with pytest.raises(Killed):
            run("--batch-size=10")
    assert AccessToken.objects.count() == Secret.objects.count() == 5

    assert run("--batch-size=10")[0] == "5\n"

    assert not left()
    lines = EventLine.objects.filter(event__action="tokens.purged").values_list("object_id", flat=True)
    assert sorted(lines) == sorted(token.pk for token in tokens)
    assert PurgedSecret.objects.count() == 25


# In the console.


def test_looking_for_a_purged_secret_says_what_was_known_of_it(tokens: dict[str, AccessToken]) -> None:
    run()
    token = tokens["revoked-91"]
    client = visitor("olive")

    for pasted in (str(token.plaintext), secrets.digest(str(token.plaintext)).hex()):
        answer = client.post(reverse("admin:tokens_accesstoken_find"), {"q": pasted})

        page = text(answer)
        assert "This was a secret of robot/revoked-91" in page
        assert f"number {token.pk}" in page
        assert "Purged" in page
        assert "Revoke it" not in page
        assert pasted not in page
    event = Event.objects.filter(action="secret.looked_up").earliest("pk")
    assert (event.actor, event.object_id, event.object_label) == ("olive", token.pk, "robot/revoked-91")
    assert event.changes == {"purged": True}
    events = client.get(answer.context["events_url"])
    told = [event.action for event in events.context["cl"].result_list]
    assert told[-2:] == ["token.revoked", "token.issued"]
    assert not Event.objects.filter(action="secret.not_found").exists()


def test_the_page_of_the_purge_and_of_its_events_work(tokens: dict[str, AccessToken]) -> None:
    run()
    client = visitor("grace")

    for event in Event.objects.filter(action__in=["tokens.purged", "token.revoked"]):
        assert client.get(reverse("admin:events_event_change", args=[event.pk])).status_code == 200
    gone = client.get(reverse("admin:tokens_accesstoken_change", args=[tokens["revoked-91"].pk]))
    assert gone.status_code in (302, 404)


# At the same time.


@pytest.mark.django_db(transaction=True)
def test_of_two_purges_at_once_each_record_goes_by_one() -> None:
    cast = Cast()
    long_gone(cast, 60)

    def purge() -> int:
        before = timezone.now() - timedelta(days=90)
        return AccessToken.objects.purge(by=Actor.shell(), before=before, reason="x", batch_size=10)

    results = race(purge, purge)

    assert sum(results) == 60
    assert not left()
    assert EventLine.objects.filter(event__action="tokens.purged").count() == PurgedSecret.objects.count() == 60
    assert not [*chain.faults()]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("number", range(3))
def test_an_import_at_the_same_time_brings_nothing_back(number: int) -> None:
    cast = Cast()
    (token,) = long_gone(cast, 1)
    other = cast.user_token()
    same = Secret(token=other, slot=None, digest=bytes(token.secrets.get().digest), hint="0000")
    under_way = threading.Event()

    def purge() -> None:
        with audited():
            AccessToken.objects.purge(by=Actor.shell(), before=timezone.now() - MIN_RETENTION, reason="x")
            under_way.set()
            time.sleep(0.3)  # so that the import finds the secret still there, and waits

    def bring() -> None:
        under_way.wait(30)
        with audited():
            record("tokens.imported", Actor.shell(), other)
            Secret.objects.bulk_create([same])

    purged, brought = race(purge, bring)

    assert purged is None
    assert isinstance(brought, ValidationError)
    assert [*Secret.objects.values_list("token", flat=True)] == [other.pk]
    assert PurgedSecret.objects.get().token_id == token.pk
