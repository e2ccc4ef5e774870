"""expire_tokens, revoke_tokens, suspend_tokens and resume_tokens: what the four have in common."""

import io
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError
from django.utils import timezone

from osmo_portal.events.actor import Actor
from osmo_portal.events.models import Event, EventLine
from tests import dump
from tests.bulk import many_tokens
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tests.snapshot import scene
from tokens import exchange
from tokens.management import changing, token_numbers
from tokens.models import AccessToken, BulkOperation, LastUse
from tokens.models.bulk_operation import MAX_BATCH

pytestmark = pytest.mark.django_db

SHORTEN = ["expire_tokens", "revoke_tokens", "suspend_tokens"]
COMMANDS = [*SHORTEN, "resume_tokens"]
STATES = {"expire_tokens": "expired", "revoke_tokens": "revoked", "suspend_tokens": "suspended"}
EVENTS = {name: f"tokens.{state}" for name, state in STATES.items()} | {"resume_tokens": "tokens.resumed"}


def run(command: str, *args: str, **words: Any) -> tuple[str, str]:
    """What it printed on stdout and on stderr. The reason is given, unless it is among the words."""
    out, err = io.StringIO(), io.StringIO()
    actor = ["--actor=grace"] if command == "resume_tokens" and not any(a.startswith("--actor") for a in args) else []
    call_command(command, *args, *actor, **{"reason": "spring"} | words, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def bare(command: str, *args: str) -> tuple[str, str]:
    """Without a reason, as for a dry run or to continue."""
    return run(command, *args, reason=None)


def told(command: str, *args: str, **words: Any) -> dict[str, Any]:
    return json.loads(run(command, *args, "--json", **words)[0])


def refused(code: int, text: str, command: str, *args: str, **words: Any) -> None:
    """It says the text, with that exit code, and nothing is changed: no token, no event, no operation."""
    before = dump.tables()
    with pytest.raises(CommandError, match=text) as error:
        run(command, *args, **words)
    assert error.value.returncode == code
    assert dump.tables() == before


def named(state: str) -> set[str]:
    return set(AccessToken.objects.in_state(state).values_list("name", flat=True))


@pytest.fixture
def tokens(cast: Cast) -> dict[str, AccessToken]:
    return scene("sets of tokens", lambda: _tokens(cast))


def _tokens(cast: Cast) -> dict[str, AccessToken]:
    return {
        "laptop": cast.user_token("ada", "laptop"),
        "phone": cast.user_token("mallory", "phone"),
        "ci-strong": cast.service_token("ci-strong", [POOL_ROLE]),
        "ci-weak": cast.service_token("ci-weak", [PLAIN_ROLE], days=60),
    }


EVERYTHING = {"laptop", "phone", "ci-strong", "ci-weak"}


@pytest.fixture
def suspended(tokens: dict[str, AccessToken], cast: Cast) -> dict[str, AccessToken]:
    AccessToken.objects.suspend(by=cast.by("grace"), reason="odd")
    return tokens


@pytest.fixture
def ready(request: pytest.FixtureRequest, tokens: dict[str, AccessToken], cast: Cast) -> str:
    """A command, with tokens that it would change."""
    command: str = request.param
    if command == "resume_tokens":
        AccessToken.objects.suspend(by=cast.by("grace"), reason="odd")
    return command


every_command = pytest.mark.parametrize("ready", COMMANDS, indirect=True)


# What each does.


@pytest.mark.parametrize("command", SHORTEN)
def test_each_does_its_own_to_what_was_chosen(tokens: dict[str, AccessToken], command: str) -> None:
    out, err = run(command, "--owner=robot")

    assert out == "2\n"
    assert named(STATES[command]) == {"ci-strong", "ci-weak"}
    assert named("active") == {"laptop", "phone"}
    assert "2 tokens" in err
    with pytest.raises(exchange.Refused, match=STATES[command]):
        exchange.exchange(tokens["ci-weak"].plaintext)


def test_resumed_tokens_work_again(suspended: dict[str, AccessToken]) -> None:
    assert run("resume_tokens", "--owner=robot")[0] == "2\n"

    assert named("active") == {"ci-strong", "ci-weak"}
    assert exchange.exchange(suspended["ci-weak"].plaintext)


@every_command
def test_each_is_an_operation_with_one_event_and_a_line_for_each_token(ready: str) -> None:
    since = Event.objects.count()

    facts = told(ready, "--all")

    operation = BulkOperation.objects.get()
    assert (operation.stage, operation.changed, operation.pk) == ("finished", 4, facts["operation"])
    events = Event.objects.filter(pk__gt=since)
    actions = ["tokens.bulk_started", EVENTS[ready], "tokens.bulk_executed"]
    assert list(events.order_by("pk").values_list("action", flat=True)) == actions
    assert {(event.reason, event.via) for event in events} == {("spring", "command")}
    assert sorted(EventLine.objects.filter(event__action=EVENTS[ready]).values_list("object_id", flat=True)) == sorted(
        AccessToken.objects.values_list("pk", flat=True)
    )


# Which tokens. Every command reads the same filters, so one is enough to show what each finds.


@pytest.mark.parametrize(
    ("args", "hit"),
    [
        (["--kind=person"], {"laptop", "phone"}),
        (["--owner=ROBOT"], {"ci-strong", "ci-weak"}),
        (["--accountable=ada"], {"ci-strong", "ci-weak"}),
        ([f"--role={PLAIN_ROLE}"], {"ci-weak"}),
        (["--pool=my_pool"], {"ci-strong"}),
        (["--name-glob=*p*"], {"laptop", "phone"}),
        (["--state=active"], EVERYTHING),
        (["--issued-by=grace"], EVERYTHING),
        (["--issued-by=grace", "--accountable=ada", "--kind=service", "--name-glob=*weak"], {"ci-weak"}),
        (["--never-used"], EVERYTHING),
        (["--all"], EVERYTHING),
    ],
)
def test_a_filter_finds_what_it_says(tokens: dict[str, AccessToken], args: list[str], hit: set[str]) -> None:
    assert bare("suspend_tokens", *args, "--dry-run")[0] == f"{len(hit)}\n"
    run("suspend_tokens", *args)

    assert named("suspended") == hit


def test_tokens_are_chosen_by_who_issued_them(tokens: dict[str, AccessToken], cast: Cast) -> None:
    AccessToken.issue(by=cast.by("ada"), owner=cast.ada, name="own", expires=in_days(5))

    run("suspend_tokens", "--issued-by=ada")

    assert named("suspended") == {"own"}


def test_the_instants_have_the_bounds_that_they_say(tokens: dict[str, AccessToken]) -> None:
    weak = tokens["ci-weak"].expires_at
    for args, count in [
        ([f"--expires-before={weak:%Y-%m-%d}"], 3),
        ([f"--expires-before={weak + timedelta(seconds=1):%Y-%m-%dT%H:%M:%S}"], 4),
        ([f"--expires-after={weak:%Y-%m-%d}"], 1),
        ([f"--expires-after={in_days(40)}", f"--expires-before={in_days(61)}"], 1),
        ([f"--issued-before={in_days(1)}"], 4),
    ]:
        assert bare("revoke_tokens", *args, "--dry-run")[0] == f"{count}\n", args
    refused(2, "No token matches", "revoke_tokens", f"--issued-before={in_days(0)}")


def test_an_offset_counts(tokens: dict[str, AccessToken]) -> None:
    end = tokens["laptop"].expires_at  # 00:00 UTC
    for offset, count in (("+02:00", 0), ("-02:00", 3)):
        args = ("revoke_tokens", f"--expires-before={end:%Y-%m-%d}T00:00{offset}", "--dry-run")
        if count:
            assert bare(*args)[0] == f"{count}\n"
        else:
            refused(2, "No token matches", *args)


def test_tokens_are_chosen_by_their_use(tokens: dict[str, AccessToken]) -> None:
    now = timezone.now()
    AccessToken._base_manager.exclude(name="phone").update(issued_at=now - timedelta(days=100))
    LastUse.objects.filter(token=tokens["laptop"]).update(at=now - timedelta(days=50))
    LastUse.objects.filter(token=tokens["ci-weak"]).update(at=now)

    assert bare("suspend_tokens", f"--unused-since={in_days(-90)}", "--dry-run")[0] == "1\n"
    run("suspend_tokens", f"--unused-since={in_days(-40)}")
    assert named("suspended") == {"laptop", "ci-strong"}
    run("suspend_tokens", "--never-used")

    assert named("suspended") == {"laptop", "ci-strong", "phone"}


def test_tokens_are_chosen_by_their_state(tokens: dict[str, AccessToken]) -> None:
    run("suspend_tokens", "--owner=ada")
    run("expire_tokens", "--owner=mallory")

    facts = told("revoke_tokens", "--state=suspended")

    assert facts["count"] == facts["matched"] == 1
    assert named("revoked") == {"laptop"}
    assert bare("revoke_tokens", "--state=expired", "--dry-run")[0] == "1\n"
    refused(2, "None of these 1 tokens would change", "revoke_tokens", "--state=revoked")


def test_without_a_state_revoked_ones_are_not_among_them(tokens: dict[str, AccessToken], cast: Cast) -> None:
    tokens["phone"].revoke(by=cast.by("grace"), reason="lost")

    assert told("suspend_tokens", "--all", "--dry-run")["matched"] == 3


def test_tokens_of_a_user_who_was_deleted_are_still_found(tokens: dict[str, AccessToken], cast: Cast) -> None:
    cast.mallory.mark_deleted(by=cast.by("grace"), reason="left")

    refused(2, "None of these 1 tokens would change", "revoke_tokens", "--owner=mallory", "--state=revoked")


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ([], "at least one filter, or --all"),
        (["--all", "--owner=ada"], "at least one filter, or --all"),
        (["--owner=nobody"], "no user 'nobody'"),
        (["--issued-by=nobody"], "no user 'nobody'"),
        (["--accountable=nobody"], "no user 'nobody'"),
        (["--role=nothing"], "no role 'nothing'"),
        (["--pool=nothing"], "no pool 'nothing'"),
        (["--kind=robot"], "invalid choice"),
        (["--state=dead"], "invalid choice"),
        (["--name-glob=*a*a*a*a*"], "at most 3 stars"),
        (["--name-glob=osmo_abc"], "A secret does not belong into a filter"),
        (["--issued-before=yesterday"], "no instant"),
        (["--expires-before=2026-02-30"], "no instant"),
        (["--expires-after=0001-01-01T00:00+14:00"], "no instant"),
        (["--unused-since="], "no instant"),
        (["--all", "--batch-size=0"], "from 1 to 10,000"),
        (["--all", f"--batch-size={MAX_BATCH + 1}"], "from 1 to 10,000"),
        (["--all", "--batch-size=many"], "from 1 to 10,000"),
        (["--all", "--expect=some"], "invalid int"),
        (["--all", "--actor=nobody"], "no user 'nobody'"),
        (["--all", "--actor=ada"], "Only administrators and operators"),
        (["--all", "--actor=audrey"], "Only administrators and operators"),
        (["--continue=99"], "Give --actor and --json only"),
    ],
    ids=str,
)
@every_command
def test_a_wrong_call_changes_nothing(ready: str, args: list[str], text: str) -> None:
    refused(1, text, ready, *args)


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (None, "Give --reason"),
        ("", "Say why"),
        ("  ", "Say why"),
        ("a\0b", "control characters"),
        ("x" * 2_001, "2000"),
    ],
    ids=["none", "empty", "blank", "zero", "long"],
)
@every_command
def test_a_reason_is_required(ready: str, reason: str | None, text: str) -> None:
    refused(1, text, ready, "--all", reason=reason)


@every_command
def test_an_actor_who_is_not_active_does_nothing(ready: str, cast: Cast) -> None:
    cast.olive.deactivate(by=cast.by("grace"), reason="left")

    refused(1, "not active", ready, "--all", "--actor=olive")


# Numbers from a file.


@pytest.fixture
def numbers(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "numbers"
        path.write_bytes(text.encode("latin-1"))
        return f"--ids-from={path}"

    return write


@pytest.mark.parametrize(
    "shape",
    ["{0}\n{1}\n", "{0}\r\n\r\n {1} ", "\n{1}\n{0}\n{1}\n", "ï»¿{0}\n{1}"],
    ids=["lines", "blanks", "twice", "mark"],
)
def test_numbers_are_read_from_a_file(tokens: dict[str, AccessToken], numbers: Any, shape: str) -> None:
    wanted = [tokens["phone"].pk, tokens["ci-weak"].pk]

    run("revoke_tokens", numbers(shape.format(*wanted)))

    assert named("revoked") == {"phone", "ci-weak"}


def test_numbers_are_read_from_the_standard_input(tokens: dict[str, AccessToken], monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{tokens['phone'].pk}\n"))

    run("revoke_tokens", "--ids-from=-")

    assert named("revoked") == {"phone"}
    assert BulkOperation.objects.get().filters["ids-from"].startswith("1 number (")


def test_numbers_and_filters_narrow_each_other(tokens: dict[str, AccessToken], numbers: Any) -> None:
    run("revoke_tokens", numbers("\n".join(str(token.pk) for token in tokens.values())), "--kind=person")

    assert named("revoked") == {"laptop", "phone"}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{0}\nphone\n", "line 2: this is no token number"),
        ("{0}\n\n-1\n", "line 3: this is no token number"),
        ("{0} {0}", "line 1: this is no token number"),
        ("id\n{0}", "line 1: this is no token number"),
        ("9" * 19, "line 1: this is no token number"),
        ("{0}\n" + "9" * 100_000, "line 2: this is no token number"),
        ("{0}\n{0}\n999999\n", "line 3: there is no token 999999"),
        ("\xff\xfe\x00", "is no text"),
    ],
    ids=["word", "negative", "two", "heading", "huge", "endless", "unknown", "no-text"],
)
def test_a_wrong_line_is_named_and_nothing_happens(tokens: Any, numbers: Any, text: str, error: str) -> None:
    refused(1, error, "revoke_tokens", numbers(text.format(tokens["phone"].pk)))


def test_what_stands_in_a_wrong_line_is_not_repeated(tokens: dict[str, AccessToken], numbers: Any) -> None:
    secret = str(tokens["phone"].plaintext)

    with pytest.raises(CommandError) as error:
        run("revoke_tokens", numbers(secret))

    assert secret[5:12] not in str(error.value)


@pytest.mark.parametrize("path", ["nowhere/numbers", "/"])
def test_a_file_that_cannot_be_read_is_said(tokens: dict[str, AccessToken], path: str) -> None:
    refused(1, "cannot be read", "revoke_tokens", f"--ids-from={path}")


def test_an_empty_file_chooses_nothing(tokens: dict[str, AccessToken], numbers: Any) -> None:
    refused(2, "No token matches", "revoke_tokens", numbers("\n"))


def test_too_many_numbers_are_refused(tokens: dict[str, AccessToken], numbers: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(token_numbers, "MAX_TOKENS", 3)

    refused(1, "Split it", "revoke_tokens", numbers("\n".join(str(token.pk) for token in tokens.values())))


def test_a_million_numbers_are_one_parameter(tokens: dict[str, AccessToken], django_assert_num_queries: Any) -> None:
    numbers = [*range(10_000_000, 11_000_000), tokens["phone"].pk]

    with django_assert_num_queries(1):
        assert list(AccessToken.objects.numbered(numbers).values_list("name", flat=True)) == ["phone"]


# Held to a dry run.


@every_command
def test_a_dry_run_tells_all_and_changes_nothing(ready: str) -> None:
    before = dump.tables()

    facts = told(ready, "--owner=robot", "--dry-run", reason=None)

    assert dump.tables() == before
    assert (facts["dry_run"], facts["count"], facts["matched"]) == (True, 2, 2)
    assert facts["filters"] == {"owner": "robot"}
    assert (facts["owners"], facts["owner_count"]) == ({"robot": 2}, 1)
    assert facts["roles"] == {POOL_ROLE: 1, PLAIN_ROLE: 1}
    assert [one["label"] for one in facts["sample"]] == ["robot/ci-weak", "robot/ci-strong"]
    assert len(facts["digest"]) == 64


def test_a_dry_run_says_it_in_words(tokens: dict[str, AccessToken]) -> None:
    run("suspend_tokens", "--owner=ada")

    out, err = bare("suspend_tokens", "--all", "--dry-run")

    assert out == "3\n"
    assert "Would suspend 3 tokens. 1 more match and stay as they are: they are not live." in err
    assert "Owners (3): robot 2, ada 1, mallory 1" in err
    assert f"Roles: osmo-user 2, {POOL_ROLE} 1, {PLAIN_ROLE} 1" in err or f"{PLAIN_ROLE} 1, {POOL_ROLE} 1" in err
    assert "Newest: robot/ci-weak (active), robot/ci-strong (active)" in err
    assert "--expect 3 --digest " in err


@every_command
def test_what_a_dry_run_told_is_done(ready: str) -> None:
    facts = told(ready, "--kind=service", "--dry-run", reason=None)

    did = told(ready, "--kind=service", f"--expect={facts['count']}", f"--digest={facts['digest']}")

    assert (did["count"], did["digest"]) == (2, facts["digest"])


@every_command
def test_another_count_than_expected_is_exit_code_2(ready: str) -> None:
    refused(2, "4 would change, and not 3", ready, "--all", "--expect=3")
    refused(2, "4 would change, and not 5", ready, "--all", "--expect=5")


@every_command
def test_another_digest_is_exit_code_2(ready: str) -> None:
    refused(2, "not the set of that digest", ready, "--all", "--digest=3f9c")


def test_a_set_that_changes_between_the_look_and_the_freezing_is_not_the_expected_one(
    tokens: dict[str, AccessToken], cast: Cast, monkeypatch: Any
) -> None:
    begin = BulkOperation.begin

    def meanwhile(operation: BulkOperation, *args: Any, **words: Any) -> None:
        cast.service_token("meanwhile")
        begin(operation, *args, **words)

    monkeypatch.setattr(BulkOperation, "begin", meanwhile)
    with pytest.raises(CommandError, match="it was 4 tokens, now 5") as error:
        run("revoke_tokens", "--all", "--expect=4")

    assert error.value.returncode == 2
    assert not named("revoked")
    assert not BulkOperation.objects.exists()


def test_what_comes_before_the_freezing_belongs_to_a_set_that_is_held_to_nothing(
    tokens: dict[str, AccessToken], cast: Cast, monkeypatch: Any
) -> None:
    begin = BulkOperation.begin

    def meanwhile(operation: BulkOperation, *args: Any, **words: Any) -> None:
        cast.service_token("meanwhile")
        begin(operation, *args, **words)

    monkeypatch.setattr(BulkOperation, "begin", meanwhile)

    assert told("revoke_tokens", "--all")["count"] == 5


def test_a_set_that_is_gone_before_the_freezing_is_exit_code_2(
    tokens: dict[str, AccessToken], cast: Cast, monkeypatch: Any
) -> None:
    begin = BulkOperation.begin

    def meanwhile(operation: BulkOperation, *args: Any, **words: Any) -> None:
        AccessToken.objects.all().revoke(by=cast.by("grace"), reason="first")
        begin(operation, *args, **words)

    monkeypatch.setattr(BulkOperation, "begin", meanwhile)
    with pytest.raises(CommandError, match="No token matches") as error:
        run("revoke_tokens", "--all")

    assert error.value.returncode == 2
    assert not BulkOperation.objects.exists()


# Batches, and what was broken off.


def test_the_batch_size_is_how_many_tokens_an_event_tells_of(cast: Cast) -> None:
    many_tokens(cast.robot, 10)

    run("revoke_tokens", "--all", "--batch-size=4")

    events = Event.objects.filter(action="tokens.revoked").order_by("pk")
    assert [event.lines.count() for event in events] == [4, 4, 2]


class Broken(Exception):
    """The process is no more."""


@pytest.fixture
def broken_off(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> Callable[..., BulkOperation]:
    """Runs a command that breaks off after its second batch, and gives the operation."""
    many_tokens(cast.robot, 10)

    def run_and_break(*args: str, error: type[BaseException] = Broken, told: list[str] | None = None) -> BulkOperation:
        batches, run_batch = iter(range(2)), BulkOperation._run_batch

        def run_two(operation: BulkOperation, by: Actor) -> bool:
            if next(batches, None) is None:
                raise error
            return run_batch(operation, by)

        with monkeypatch.context() as patch:
            patch.setattr(BulkOperation, "_run_batch", run_two)
            with pytest.raises(CommandError if told is not None else Broken) as end:
                run(*args, "--batch-size=3")
        if told is not None:
            told.append(str(end.value))
        operation = BulkOperation.objects.get()
        assert (operation.stage, operation.handled) == ("running", 6)
        return operation

    return run_and_break


def test_what_was_broken_off_is_continued_by_its_number(broken_off: Any) -> None:
    operation = broken_off("revoke_tokens", "--all")

    facts = told("revoke_tokens", f"--continue={operation.pk}", reason=None)

    assert (facts["operation"], facts["count"], facts["reason"]) == (operation.pk, 10, "spring")
    assert len(named("revoked")) == 10
    lines = EventLine.objects.filter(event__action="tokens.revoked")
    assert lines.values("object_id").distinct().count() == lines.count() == 10
    assert Event.objects.filter(action="tokens.bulk_executed").count() == 1


def test_to_continue_what_is_finished_does_nothing_and_tells_it_again(tokens: dict[str, AccessToken]) -> None:
    facts = told("revoke_tokens", "--all")
    before = dump.tables()

    again = told("revoke_tokens", f"--continue={facts['operation']}", reason=None)

    assert again == facts
    assert dump.tables() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, DatabaseError])
def test_who_interrupts_it_is_told_how_to_continue(broken_off: Any, error: type[BaseException]) -> None:
    told: list[str] = []

    operation = broken_off("revoke_tokens", "--all", "--actor=olive", error=error, told=told)

    assert told == [f"Broken off. Go on with it: manage.py revoke_tokens --continue {operation.pk} --actor olive"]


def test_the_same_words_again_name_what_is_unfinished(broken_off: Any) -> None:
    operation = broken_off("revoke_tokens", "--owner=robot")

    refused(1, f"revoke_tokens --continue {operation.pk}", "revoke_tokens", "--owner=robot")


def test_other_words_or_another_actor_are_another_operation(broken_off: Any) -> None:
    broken_off("expire_tokens", "--owner=robot", f"--at={in_days(2)}")
    soon = [f"--at={timezone.now() + timedelta(minutes=m):%Y-%m-%dT%H:%M}" for m in (90, 60)]

    run("expire_tokens", "--owner=robot", f"--at={in_days(2)}", "--actor=olive")
    for args in (["--owner=robot", soon[0]], ["--all", soon[1]], ["--owner=robot"]):
        run("expire_tokens", *args)

    assert BulkOperation.objects.filter(stage="finished").count() == 4


def test_the_shell_continues_its_own_and_an_administrator_too(broken_off: Any, cast: Cast) -> None:
    operation = broken_off("suspend_tokens", "--all")

    for actor, text in (("olive", "Only who began this, or an administrator"), ("ada", "Only administrators and")):
        refused(1, text, "suspend_tokens", f"--continue={operation.pk}", f"--actor={actor}", reason=None)
    run("suspend_tokens", f"--continue={operation.pk}", "--actor=grace", reason=None)

    assert Event.objects.get(action="tokens.bulk_executed").actor == "grace"
    assert len(named("suspended")) == 10


def test_the_shell_does_not_continue_what_somebody_else_began(broken_off: Any) -> None:
    operation = broken_off("suspend_tokens", "--all", "--actor=olive")

    refused(1, "Only who began this", "suspend_tokens", f"--continue={operation.pk}", reason=None)
    run("suspend_tokens", f"--continue={operation.pk}", "--actor=olive", reason=None)

    assert len(named("suspended")) == 10


def test_what_was_begun_in_the_console_is_continued_by_command(cast: Cast) -> None:
    many_tokens(cast.robot, 5)
    by, tokens = cast.by("olive"), AccessToken.objects.listed()
    operation = BulkOperation.preview(tokens, by=by, action="revoke", filters={})
    operation.start(tokens, by=by, digest=operation.digest, reason="spring")

    assert bare("revoke_tokens", f"--continue={operation.pk}", "--actor=olive")[0] == "5\n"


def test_only_what_runs_and_is_of_the_command_is_continued(broken_off: Any, cast: Cast) -> None:
    operation = broken_off("revoke_tokens", "--all")

    refused(1, "There is no operation 9999", "revoke_tokens", "--continue=9999", reason=None)
    refused(1, "There is no operation", "revoke_tokens", f"--continue={10**30}", reason=None)
    refused(1, "Use revoke_tokens", "expire_tokens", f"--continue={operation.pk}", reason=None)
    for word in ("--dry-run", "--all", "--expect=3", "--batch-size=2", "--never-used", "--digest=x"):
        refused(1, "Give --actor and --json only", "revoke_tokens", f"--continue={operation.pk}", word, reason=None)
    refused(1, "Give --actor and --json only", "revoke_tokens", f"--continue={operation.pk}", reason="x")
    operation.stop(by=cast.by("grace"), reason="enough")
    refused(1, "was stopped", "revoke_tokens", f"--continue={operation.pk}", reason=None)


def test_a_preview_or_a_handing_over_of_the_console_is_not_continued(tokens: Any, cast: Cast) -> None:
    by = cast.by("grace")
    words: dict[str, Any] = {"by": by, "filters": {}}
    preview = BulkOperation.preview(AccessToken.objects.all(), action="revoke", **words)
    passing = BulkOperation.preview(AccessToken.objects.all(), action="hand-over", accountable=cast.mallory, **words)

    refused(1, "not begun", "revoke_tokens", f"--continue={preview.pk}", reason=None)
    refused(1, "in the console", "revoke_tokens", f"--continue={passing.pk}", reason=None)


def test_a_large_one_says_how_to_continue_before_it_begins(tokens: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changing, "LARGE", 3)

    _, err = run("revoke_tokens", "--all")

    number = BulkOperation.objects.get().pk
    assert err.startswith(f"Operation {number} has begun. If it is broken off, nothing is lost.")
    assert f"manage.py revoke_tokens --continue {number}\n" in err


# Final is final, and power.


def test_nothing_that_has_ended_or_expired_is_brought_back(suspended: dict[str, AccessToken], cast: Cast) -> None:
    suspended["phone"].revoke(by=cast.by("grace"), reason="lost")
    run("expire_tokens", "--owner=ada")
    before = dict(AccessToken.objects.values_list("name", "expires_at"))

    assert run("resume_tokens", "--all")[0] == "2\n"

    assert (named("revoked"), named("expired")) == ({"phone"}, {"laptop"})
    assert dict(AccessToken.objects.values_list("name", "expires_at")) == before
    refused(2, "None of these", "expire_tokens", "--all", f"--at={in_days(300)}")
    refused(2, "None of these", "resume_tokens", "--owner=ada")
    refused(2, "No token matches", "resume_tokens", "--owner=mallory")


def test_an_end_is_never_put_off(tokens: dict[str, AccessToken]) -> None:
    at = datetime.combine(in_days(40), datetime.min.time(), UTC)

    facts = told("expire_tokens", "--all", f"--at={in_days(40)}")

    assert (facts["count"], facts["matched"], facts["at"]) == (1, 4, at.isoformat())
    ends = dict(AccessToken.objects.values_list("name", "expires_at"))
    assert ends == {name: min(token.expires_at, at) for name, token in tokens.items()}


def test_to_resume_somebody_must_answer_for_it(suspended: dict[str, AccessToken]) -> None:
    with pytest.raises(CommandError, match="--actor"):
        call_command("resume_tokens", "--all", reason="x")

    assert named("suspended") == EVERYTHING


def test_who_resumes_gives_back_no_more_than_he_could_grant(suspended: dict[str, AccessToken]) -> None:
    facts = told("resume_tokens", "--all", "--actor=olive", "--dry-run", reason=None)
    did = told("resume_tokens", "--all", "--actor=olive")

    assert facts["count"] == did["count"] == 1
    assert named("suspended") == EVERYTHING - {"ci-weak"}
    refused(2, "None of these", "resume_tokens", "--name-glob=ci-strong", "--actor=olive")


# As a process sees it.


@pytest.mark.parametrize("command", COMMANDS)
def test_the_exit_codes(tokens: Any, command: str, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr("django.db.connections.close_all", lambda: None)  # the test goes on with its connection
    AccessToken.objects.filter(name="phone").suspend(by=Actor.shell(), reason="odd")
    actor, chosen = ["--actor=grace"], "--name-glob=phone" if command == "resume_tokens" else "--name-glob=laptop"

    def code(*args: str) -> int:
        runner = import_module(f"tokens.management.commands.{command}").Command()
        try:
            runner.run_from_argv(["manage.py", command, *args, *actor])
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    assert code(chosen, "--dry-run") == 0
    assert code() == code("--nonsense") == code("--all") == code(chosen, "--batch-size=x", "--reason=x") == 1
    assert code("--name-glob=nothing", "--reason=x") == code(chosen, "--expect=7", "--reason=x") == 2
    assert named("suspended") == {"phone"}
    assert code(chosen, "--expect=1", "--reason=x", "--json") == 0
    assert code(chosen, "--reason=x") == 2
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["count"] == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_is_about_the_command(command: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as end:
        import_module(f"tokens.management.commands.{command}").Command().run_from_argv(["manage.py", command, "--help"])

    shown = capsys.readouterr().out
    assert not end.value.code
    assert "--pythonpath" not in shown
    assert ("--at INSTANT" in shown) == (command == "expire_tokens")
