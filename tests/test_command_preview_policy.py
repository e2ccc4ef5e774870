"""manage.py preview_policy: whom a maximum lifetime hits and when, and that applying it does just that."""

import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from osmo_portal.events.models import Event
from profiles.management import door
from profiles.models import Role
from tests import dump
from tests.bulk import many_tokens
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast
from tests.snapshot import scene
from tokens import exchange
from tokens.models import AccessToken, LastUse
from tokens.shortening import Shortening

pytestmark = pytest.mark.django_db


def run(*args: str) -> tuple[str, str]:
    """What it printed on stdout and on stderr."""
    out, err = io.StringIO(), io.StringIO()
    call_command("preview_policy", *args, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def facts(*args: str) -> dict[str, Any]:
    return json.loads(run(*args, "--json")[0])


def refuses(text: str, *args: str, code: int = 1) -> None:
    """It is refused, and nothing at all is changed."""
    before = dump.tables()
    with pytest.raises(CommandError, match=text) as error:
        run(*args)
    assert error.value.returncode == code
    assert dump.tables() == before


def apply(*args: str, actor: str = "grace", reason: str = "audit") -> tuple[str, str]:
    return run(*args, "--apply", f"--actor={actor}", f"--reason={reason}")


def issued(token: AccessToken, days: int) -> AccessToken:
    """The token as if it had been made so many days ago."""
    then = timezone.now() - timedelta(days=days)
    AccessToken._base_manager.filter(pk=token.pk).update(issued_at=then, created_at=then)
    return AccessToken.objects.get(pk=token.pk)


def works(token: AccessToken) -> bool:
    try:
        exchange.exchange(str(token.plaintext))
    except exchange.Refused:
        return False
    return True


@pytest.fixture
def tokens(cast: Cast) -> dict[str, AccessToken]:
    """Of the pool role, 30 days from issue: short stays, long and stopped are shortened, old ends at once."""
    return scene("preview_policy", lambda: _tokens(cast))


def _tokens(cast: Cast) -> dict[str, AccessToken]:
    made = {
        "short": cast.service_token("short", days=10),
        "long": cast.service_token("long", days=100),
        "stopped": cast.service_token("stopped", days=100),
        "old": cast.service_token("old", days=100),
        "plain": cast.service_token("plain", [PLAIN_ROLE], days=100),
        "laptop": cast.user_token("ada", "laptop", days=100),
    }
    made["stopped"].suspend(by=cast.by("grace"), reason="odd")
    issued(made["old"], 40)
    LastUse.objects.filter(token=made["long"]).update(at=timezone.now())
    return made


def ends() -> dict[str, Any]:
    return dict(AccessToken.objects.values_list("name", "expires_at"))


# What it tells.


def test_it_counts_who_is_hit_and_when(tokens: dict[str, AccessToken]):
    told = facts(POOL_ROLE, "--max-days=30")

    today, later = timezone.now().date(), (timezone.now() + timedelta(days=30)).date()
    assert told["ends"] == [{"day": str(today), "tokens": 1}, {"day": str(later), "tokens": 2}]
    assert (told["tokens"], told["at_once"], told["suspended"], told["never_used"]) == (3, 1, 1, 2)
    assert (told["owners"], told["owner_count"]) == ([{"owner": "robot", "tokens": 3}], 1)
    assert [row["token"] for row in told["first"]] == ["robot/old", "robot/long", "robot/stopped"]
    assert (told["role"], told["max_days"], told["applied"]) == (POOL_ROLE, 30, False)


def test_the_portals_maximum_is_about_all_tokens(tokens: dict[str, AccessToken]):
    told = facts("--portal", "--max-days=30")

    assert told["role"] is None
    assert told["tokens"] == 5
    assert told["owners"] == [{"owner": "robot", "tokens": 4}, {"owner": "ada", "tokens": 1}]


def test_the_story_is_told_in_words_and_the_number_on_stdout(tokens: dict[str, AccessToken]):
    out, err = run(POOL_ROLE, "--max-days=30")

    assert out == "3\n"
    assert "Tokens that are shortened, for good: 3. 1 of them end at once." in err
    assert "Owners: robot (3)." in err
    assert f"First:\n  robot/old ({ends()['old']:%Y-%m-%d} → {timezone.now():%Y-%m-%d})" in err
    assert "3 tokens would be shortened. Nothing was changed." in err


def test_a_long_unused_token_is_counted_as_such(cast: Cast):
    issued(cast.service_token(days=365), 100)

    told = facts(POOL_ROLE, "--max-days=200")

    assert (told["tokens"], told["at_once"], told["unused"]) == (1, 0, 1)


def test_what_has_ended_is_not_counted(tokens: dict[str, AccessToken], cast: Cast):
    tokens["long"].revoke(by=cast.by("grace"), reason="x")
    AccessToken.objects.filter(pk=tokens["stopped"].pk).expire(by=cast.by("grace"), reason="x")

    assert facts(POOL_ROLE, "--max-days=30")["tokens"] == 1


def test_few_of_many_are_named_and_all_are_counted(cast: Cast, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tokens.shortening.NAMED", 2)
    many_tokens(cast.robot, 6)  # they end in 1 to 6 days
    for day, token in enumerate(AccessToken.objects.order_by("pk")):
        issued(token, day)

    out, err = run("--portal", "--max-days=1")

    assert out == "5\n"
    assert "First:\n  robot/bulk-5 (" in err
    assert err.count("→") == 2


@pytest.mark.parametrize("args", [[POOL_ROLE], ["--portal"]])
def test_a_preview_changes_nothing(tokens: dict[str, AccessToken], args: list[str]):
    before = dump.tables()

    run(*args, "--max-days=30", "--actor=grace", "--reason=x")

    assert dump.tables() == before


@pytest.mark.parametrize("days", [1, 9, 30, 40, 41, 99, 100, 139, 140, 365])
@pytest.mark.parametrize("role", [POOL_ROLE, PLAIN_ROLE, "osmo-user"])
def test_what_is_told_is_what_happens(tokens: dict[str, AccessToken], cast: Cast, role: str, days: int):
    before = AccessToken.objects.in_bulk()
    look = Shortening.of(AccessToken.objects.given(Role.objects.get(name=role)), days)

    apply(role, f"--max-days={days}")

    after = AccessToken.objects.in_bulk()
    changed = [pk for pk in before if before[pk].expires_at != after[pk].expires_at]
    assert look.tokens == len(changed) == sum(count for _, count in look.ends)
    assert look.at_once == sum(after[pk].expires_at <= timezone.now() for pk in changed)
    assert {token.pk for token in look.first} == set(changed)
    for day, count in look.ends:
        assert sum(after[pk].expires_at.date() == day for pk in changed) == count


# Applied.


def test_a_role_is_saved_by_its_way_in_with_the_reason(tokens: dict[str, AccessToken]):
    out, err = apply(POOL_ROLE, "--max-days=30")

    assert out == "3\n"
    assert f"3 tokens shortened. The role {POOL_ROLE} allows 30 days now." in err
    assert Role.objects.get(name=POOL_ROLE).max_token_days == 30
    changed = Event.objects.get(action="role.changed")
    assert (changed.actor, changed.via, changed.reason) == ("grace", "command", "audit")
    assert changed.changes == {"max_token_days": [None, 30]}
    shortened = Event.objects.get(action="tokens.expired")
    assert shortened.reason == f"The role {POOL_ROLE} allows 30 days: audit"
    assert shortened.lines.count() == 3


def test_a_role_is_saved_although_no_token_is_hit(tokens: dict[str, AccessToken]):
    out, _ = apply(POOL_ROLE, "--max-days=300")

    assert out == "0\n"
    assert Role.objects.get(name=POOL_ROLE).max_token_days == 300


def test_a_raised_maximum_revives_nothing(tokens: dict[str, AccessToken]):
    apply(POOL_ROLE, "--max-days=30")
    before = ends()

    apply(POOL_ROLE, "--max-days=365")

    assert ends() == before
    assert not works(tokens["old"])


def test_the_portals_maximum_shortens_what_is_stored_so_that_raising_it_revives_nothing(
    tokens: dict[str, AccessToken], settings: Any
):
    settings.MAX_TOKEN_DAYS = 30
    assert not works(tokens["old"])

    out, err = apply("--portal", "--max-days=30")

    settings.MAX_TOKEN_DAYS = 365
    assert out == "5\n"
    assert "5 tokens shortened." in err
    assert not works(tokens["old"])
    assert AccessToken.objects.get(name="old").state() == "expired"
    assert works(tokens["short"])
    event = Event.objects.get(action="tokens.expired")
    assert (event.actor, event.reason) == ("grace", "The portal allows 30 days: audit")


def test_without_being_applied_a_portals_maximum_that_is_raised_lets_tokens_back(
    tokens: dict[str, AccessToken], settings: Any
):
    """What the one above is against."""
    settings.MAX_TOKEN_DAYS = 30
    assert not works(tokens["old"])

    settings.MAX_TOKEN_DAYS = 365

    assert works(tokens["old"])


def test_the_shell_alone_may_shorten_to_the_portals_maximum(tokens: dict[str, AccessToken], settings: Any):
    settings.MAX_TOKEN_DAYS = 30

    run("--portal", "--max-days=30", "--apply", "--reason=audit")

    assert Event.objects.get(action="tokens.expired").actor.startswith("system:")


def test_another_number_than_the_setting_is_refused(tokens: dict[str, AccessToken], settings: Any):
    settings.MAX_TOKEN_DAYS = 60

    for days in (30, 90):
        refuses(
            f"MAX_TOKEN_DAYS is 60 here. Set it to {days}",
            "--portal",
            f"--max-days={days}",
            "--apply",
            "--actor=grace",
            "--reason=x",
        )


@pytest.mark.parametrize("actor", ["ada", "olive", "audrey", "robot"])
def test_nobody_but_an_administrator_changes_a_role(tokens: dict[str, AccessToken], actor: str):
    refuses(
        "Only an administrator may change roles",
        POOL_ROLE,
        "--max-days=30",
        "--apply",
        f"--actor={actor}",
        "--reason=x",
    )


@pytest.mark.parametrize("actor", ["ada", "audrey", "robot"])
def test_not_everybody_shortens_to_the_portals_maximum(tokens: dict[str, AccessToken], actor: str, settings: Any):
    settings.MAX_TOKEN_DAYS = 30

    refuses(
        "Only administrators and operators",
        "--portal",
        "--max-days=30",
        "--apply",
        f"--actor={actor}",
        "--reason=x",
    )


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--max-days=30"], "Name a role, or give --portal"),
        ([POOL_ROLE, "--portal", "--max-days=30"], "Name a role, or give --portal"),
        (["nothing", "--max-days=30"], "There is no role 'nothing'"),
        ([POOL_ROLE], "required: --max-days"),
        ([POOL_ROLE, "--max-days=0"], "between 1 and 3650"),
        ([POOL_ROLE, "--max-days=3651"], "between 1 and 3650"),
        ([POOL_ROLE, "--max-days=-1"], "between 1 and 3650"),
        ([POOL_ROLE, "--max-days=" + "9" * 5000], "between 1 and 3650"),
        ([POOL_ROLE, "--max-days=" + "0" * 9 + "9999"], "between 1 and 3650"),
        ([POOL_ROLE, "--max-days=month"], "between 1 and 3650"),
        ([POOL_ROLE, "--max-days=30", "--apply", "--reason=x"], "Say who changes the role"),
        ([POOL_ROLE, "--max-days=30", "--apply", "--actor=grace"], "Say why"),
        ([POOL_ROLE, "--max-days=30", "--apply", "--actor=grace", "--reason=\0"], "control characters"),
        ([POOL_ROLE, "--max-days=30", "--apply", "--actor=nobody", "--reason=x"], "no user 'nobody'"),
        (["osmo-admin", "--max-days=30", "--apply", "--actor=grace", "--reason=x"], "cannot be changed"),
    ],
)
def test_a_wrong_call_is_exit_code_1_and_changes_nothing(tokens: dict[str, AccessToken], args: list[str], text: str):
    refuses(text, *args)


def test_a_deleted_role_is_no_role(tokens: dict[str, AccessToken], cast: Cast):
    Role.objects.get(name=POOL_ROLE).mark_deleted(by=cast.by("grace"), reason="x")

    refuses("There is no role", POOL_ROLE, "--max-days=30")


@pytest.mark.parametrize(
    "args", [[POOL_ROLE, "--max-days=300"], ["--portal", "--max-days=365", "--apply", "--reason=x"]]
)
def test_no_token_hit_is_exit_code_2(tokens: dict[str, AccessToken], args: list[str]):
    refuses("No token lives longer than that", *args, code=2)


def test_a_role_that_changes_while_one_looks_is_not_overwritten(
    tokens: dict[str, AccessToken], cast: Cast, monkeypatch: pytest.MonkeyPatch
):
    look = Shortening.of

    def and_somebody_saves(*args: Any) -> Shortening:
        Role.objects.get(name=POOL_ROLE).change(by=cast.by("grace"), max_token_days=90)
        return look(*args)

    monkeypatch.setattr(Shortening, "of", and_somebody_saves)

    with pytest.raises(CommandError, match="Somebody changed the role"):
        apply(POOL_ROLE, "--max-days=30")

    assert Role.objects.get(name=POOL_ROLE).max_token_days == 90


def test_a_dry_run_is_the_default_and_nothing_else_goes_with_it(tokens: dict[str, AccessToken]):
    assert run(POOL_ROLE, "--max-days=30", "--dry-run") == run(POOL_ROLE, "--max-days=30")
    refuses("not allowed with", POOL_ROLE, "--max-days=30", "--dry-run", "--apply", "--actor=grace", "--reason=x")


def test_a_large_set_shows_its_progress_on_a_terminal(
    tokens: dict[str, AccessToken], settings: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    settings.MAX_TOKEN_DAYS = 30
    monkeypatch.setattr(door, "LARGE", 3)
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]

    args = ["--portal", "--max-days=30", "--apply", "--reason=x"]
    call_command("preview_policy", *args, stdout=io.StringIO(), stderr=terminal)

    assert "Shortening tokens" in capsys.readouterr().err
