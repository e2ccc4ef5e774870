"""kill -9 in the middle of an import: nothing half done, and the next run does it all."""

import io
import os
import random
import signal
import subprocess
import time
from typing import Any

import pytest
from django.core.management import call_command

from osmo_portal.events import chain
from osmo_portal.events.models import Event, EventLine
from profiles.models import Pool, Role, RoleAssignment, Settings, User
from tests.cast import Cast
from tests.faults.processes import start
from tests.osmo import Osmo, http
from tokens import exchange
from tokens.models import AccessToken, LastUse, Secret, TokenRole

pytestmark = pytest.mark.django_db(transaction=True)
COUNT, KILLS = 6_000, 5
KINDS = [User, Role, RoleAssignment, Pool, Settings, AccessToken, TokenRole, Secret, LastUse, Event, EventLine]


@pytest.fixture
def osmo() -> Osmo:
    osmo = Osmo("6.0")
    osmo.role("team", [http("/api/pool/team*", "Post")])
    osmo.run(
        """
        INSERT INTO access_token
        SELECT 'robot-' || n, 'robot-' || n, sha256(encode(sha256(n::text::bytea), 'hex')::bytea), current_date + 30,
            '', 'SERVICE', '{team}'
        FROM generate_series(1, %s) n
        """,
        COUNT,
    )
    return osmo


def contents() -> list[Any]:
    return [list(kind._base_manager.order_by("pk").values()) for kind in KINDS]


def wait_for_tokens(osmo: Osmo, process: "subprocess.Popen[str]") -> None:
    """Until the import fetches tokens, and so has begun to write."""
    asked = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'FETCH%import_TokenRow%'"
    deadline = time.monotonic() + 60
    while not osmo.connection.execute(asked).fetchone():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it does not come so far"
        time.sleep(0.01)


def test_five_kills_leave_nothing_and_the_next_run_does_it_all(cast: Cast, osmo: Osmo, monkeypatch):
    seed = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(2**32))
    print(f"FAULT_SEED={seed}")  # noqa: T201
    dice = random.Random(seed)
    monkeypatch.setenv("OSMO_IMPORT_DSN", osmo.reader)
    before = contents()

    for _ in range(KILLS):
        process = start("import_osmo", "--actor=grace", "--apply", "--skip-checks")
        wait_for_tokens(osmo, process)
        time.sleep(dice.uniform(0, 0.5))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "it had ended before"
        assert contents() == before

    err = io.StringIO()
    call_command("import_osmo", "--actor=grace", "--apply", stdout=io.StringIO(), stderr=err)

    assert err.getvalue().startswith(f"Imported 1 role, {COUNT:,} service accounts, {COUNT:,} role assignments")
    assert AccessToken.objects.live().count() == Secret.objects.count() == LastUse.objects.count() == COUNT
    assert EventLine.objects.filter(event__action="tokens.imported").count() == COUNT
    assert list(chain.faults()) == []
    assert exchange.exchange("6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b")  # SHA-256 of "1"
