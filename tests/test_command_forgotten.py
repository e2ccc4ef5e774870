"""`copy_events` keeps the events elsewhere, `forgotten` tells from them what a restored database does not know."""

import io
import json
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone

from osmo_portal.events import chain
from osmo_portal.events.archive import archive
from tests.cast import Cast
from tokens.models import AccessToken


def run(command: str, *args: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command(command, *args, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def told(path: Path) -> tuple[dict[str, Any], str]:
    """As JSON, and the story."""
    out, err = run("forgotten", str(path), "--json")
    return json.loads(out), err


@contextmanager
def lost() -> Iterator[None]:
    """What happens inside came after the back-up that the database is then restored from."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def test_a_copy_goes_on_where_it_ended(cast: Cast, path: Path) -> None:
    last = chain.head()[0]

    assert run("copy_events", str(path))[0].strip() == str(last)
    cast.service_token("later")
    assert run("copy_events", str(path))[0].strip() == "1"
    assert run("copy_events", str(path))[0].strip() == "0"

    numbers = [json.loads(line)["event"]["id"] for line in path.read_text().splitlines()]
    assert numbers == [*range(1, last + 2)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_line_that_broke_off_is_written_again(cast: Cast, path: Path) -> None:
    run("copy_events", str(path))
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])

    run("copy_events", str(path))

    assert path.read_bytes() == whole


@pytest.mark.parametrize("text", ["mine\n", "mine", '{"checkpoint": {}}\n', '{"event": {"id": 1, "hash": "00"}}\n'])
def test_another_file_is_not_written_to(cast: Cast, path: Path, text: str) -> None:
    path.write_text(text)

    with pytest.raises(CommandError, match=r"(?i)give a new"):
        run("copy_events", str(path))

    assert path.read_text() == text


def test_a_copy_does_not_go_on_in_another_database(cast: Cast, path: Path) -> None:
    with lost():
        cast.service_token("then")
        run("copy_events", str(path))
    cast.service_token("now")

    with pytest.raises(CommandError, match="Was the database restored"):
        run("copy_events", str(path))


def test_what_was_stopped_and_works_again_is_named(cast: Cast, path: Path) -> None:
    by = cast.by("grace")
    names = ("revoked", "suspended", "resumed", "in-a-set", "ended", "shortened", "rotated", "left-alone")
    tokens = {name: cast.service_token(name) for name in names}
    since = chain.head()[0]
    with lost():
        tokens["revoked"].revoke(by=by, reason="leaked")
        tokens["suspended"].suspend(by=by, reason="odd")
        tokens["resumed"].suspend(by=by, reason="odd")
        tokens["resumed"].resume(by=by, reason="well")
        AccessToken.objects.named_like("in-a-set").revoke(by=by, reason="spring")
        AccessToken.objects.named_like("ended").expire(by=by, reason="spring")
        soon = timezone.now() + timedelta(days=1)
        AccessToken.objects.named_like("shortened").expire(by=by, reason="spring", at=soon)
        tokens["rotated"].rotate(by=by)
        cast.service_token("issued")
        cast.olive.deactivate(by=by, reason="left\nfor good")
        run("copy_events", str(path))

    found, story = told(path)

    assert found["since"] == since
    assert found["alive"] == sorted(tokens[name].pk for name in ("revoked", "suspended", "in-a-set", "ended"))
    assert found["shortened"] == [tokens["shortened"].pk]
    assert found["rotated"] == [tokens["rotated"].pk]
    assert len(found["issued"]) == 1
    assert [(one["action"], one["about"]) for one in found["changes"]] == [("user.deactivated", "olive")]
    assert "although they were stopped (4): robot/" in story
    assert "left\\nfor good\n" in story
    assert "left-alone" not in story


def test_a_token_that_got_the_number_of_another_is_none_of_them(cast: Cast, path: Path) -> None:
    with lost():
        cast.service_token("then").revoke(by=cast.by("grace"), reason="leaked")
        run("copy_events", str(path))
    now = cast.service_token("now")

    with pytest.raises(CommandError, match="No token works again"):
        run("forgotten", str(path))

    assert now.pk


def test_it_needs_no_more_than_the_events_after_the_back_up(cast: Cast, path: Path) -> None:
    token, since = cast.service_token("one"), chain.head()[0]
    with lost():
        token.revoke(by=cast.by("grace"), reason="leaked")
        run("copy_events", str(path), f"--after={since}")

    out, _ = run("forgotten", str(path))

    assert out.split() == [str(token.pk)]


def test_a_copy_beside_an_archive_will_do(cast: Cast, path: Path, tmp_path: Path, time_machine_days: Any) -> None:
    """The last event in common is in the archive, and so is its instant."""
    token = cast.service_token("one", days=300)
    time_machine_days(60)
    archive(timezone.now() - timedelta(days=30), tmp_path / "archive", by=cast.by("grace"))
    with lost():
        token.revoke(by=cast.by("grace"), reason="leaked")
        run("copy_events", str(path))

    assert run("forgotten", str(path))[0].split() == [str(token.pk)]
    with pytest.raises(CommandError, match="No token"):
        run("forgotten", str(tmp_path / "archive"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace("leaked", "leeked"), "was changed"),
        (lambda text: "".join(text.splitlines(keepends=True)[:2] + text.splitlines(keepends=True)[3:]), "was changed"),
        (lambda text: text + "nonsense\n", "is no event"),
        (lambda text: "", "no event in common"),
        (lambda text: text.splitlines(keepends=True)[-1], "no event in common"),
    ],
)
def test_a_copy_that_was_changed_is_refused(cast: Cast, path: Path, change: Any, says: str) -> None:
    with lost():
        token = cast.service_token("one")
        token.revoke(by=cast.by("grace"), reason="leaked")
        run("copy_events", str(path))
    path.write_text(change(path.read_text()))

    with pytest.raises(CommandError, match=says):
        run("forgotten", str(path))


def test_a_file_that_is_not_there(cast: Cast, path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be read"):
        run("forgotten", str(path))
