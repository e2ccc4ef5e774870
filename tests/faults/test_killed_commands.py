"""kill -9 in the middle of a command about a set: what is continued does everything, and nothing twice."""

import io
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from osmo_portal.events import chain
from osmo_portal.events.models import Event, EventLine
from tests.bulk import many_tokens
from tests.cast import Cast
from tests.faults.processes import start
from tokens.models import AccessToken, BulkChunk, BulkOperation, Secret
from tokens.models.bulk_operation import Stage

pytestmark = pytest.mark.django_db(transaction=True)

COUNT, KILLS = 600, 5
EXPIRE = ("expire_tokens", "--name-glob=bulk-*", "--reason=spring", "--batch-size=4", "--skip-checks")


@pytest.fixture
def others(cast: Cast) -> dict[int, dict]:
    """Tokens that no filter of the commands chooses, as they are before."""
    many_tokens(cast.robot, 20, "other")
    cast.service_token("bulk")
    many_tokens(cast.robot, COUNT, "bulk")
    return {row["pk"]: row for row in _others()}


def _others() -> list[dict]:
    return list(AccessToken.objects.exclude(name__startswith="bulk-").values("pk", *_facts()))


def _facts() -> list[str]:
    return [field.attname for field in AccessToken._meta.concrete_fields if field.attname != "id"]


def chance() -> random.Random:
    """The dice of one test. A failure shows the seed, and FAULT_SEED throws them again."""
    seed = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(2**32))
    print(f"FAULT_SEED={seed}")  # noqa: T201
    return random.Random(seed)


def handled() -> int:
    return BulkOperation.objects.values_list("handled", flat=True).first() or 0


def kill_at(process: "subprocess.Popen[str]", reached: int) -> None:
    """Kills the process once it has come to so many tokens."""
    deadline = time.monotonic() + 120
    while handled() < reached:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it does not come so far"
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def say(*args: str) -> dict:
    """What the command says at its end, when nobody kills it."""
    out = io.StringIO()
    call_command(*args, "--json", stdout=out, stderr=io.StringIO())
    return json.loads(out.getvalue())


def test_five_kills_at_random_points_end_every_token_once_and_touch_nothing_else(others: dict[int, dict]):
    dice, secrets = chance(), list(Secret.objects.order_by("pk").values())
    seen = []

    for reached in sorted(dice.sample(range(1, COUNT * 3 // 4), KILLS)):
        operation = BulkOperation.objects.first()
        process = start("expire_tokens", f"--continue={operation.pk}", "--skip-checks") if operation else start(*EXPIRE)
        kill_at(process, reached)
        seen.append(handled())
    operation = BulkOperation.objects.get()
    assert operation.stage == Stage.RUNNING, "it was killed before its end, each time"
    assert all(0 < done < COUNT for done in seen)
    with pytest.raises(CommandError, match=f"manage.py expire_tokens --continue {operation.pk}"):
        say(*EXPIRE)
    told = say("expire_tokens", f"--continue={operation.pk}")

    assert (told["operation"], told["count"], told["matched"]) == (operation.pk, COUNT, COUNT)
    ended = AccessToken.objects.filter(name__startswith="bulk-")
    assert ended.in_state("expired").count() == COUNT
    lines = EventLine.objects.filter(event__action="tokens.expired")
    assert sorted(lines.values_list("object_id", flat=True)) == sorted(ended.values_list("pk", flat=True))
    assert Event.objects.filter(action="tokens.bulk_started").count() == 1
    assert Event.objects.filter(action="tokens.bulk_executed").count() == 1
    assert not BulkChunk.objects.exists()
    assert {row["pk"]: row for row in _others()} == others
    assert list(Secret.objects.order_by("pk").values()) == secrets
    assert list(chain.faults()) == []


@contextmanager
def nobody_else_appends() -> Iterator[None]:
    """Holds the lock that each change takes before it commits."""
    with transaction.atomic():
        chain.lock()
        yield


def test_a_kill_while_the_set_is_frozen_has_begun_nothing(others: dict[int, dict]):
    before = Event.objects.count()

    with nobody_else_appends():
        process = start(*EXPIRE)
        time.sleep(chance().uniform(1, 4))  # until it waits for the lock, or has not even come so far
        assert process.poll() is None
        process.kill()
        process.communicate()
    assert Event.objects.count() == before
    assert not BulkOperation.objects.exists()
    assert not BulkChunk.objects.exists()

    told = say(*EXPIRE)

    assert told["count"] == COUNT
    assert EventLine.objects.filter(event__action="tokens.expired").count() == COUNT
