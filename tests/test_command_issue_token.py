"""manage.py issue_token: the bare secret on stdout, and the rules as at every other door."""

import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from osmo_portal.events.models import Event
from profiles.models import Role
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tokens import exchange
from tokens.models import AccessToken

pytestmark = pytest.mark.django_db


def issue(
    *args: str, actor: str = "grace", owner: str = "robot", name: str = "nightly", days: int = 31
) -> tuple[str, str]:
    """What it printed on stdout and on stderr."""
    out, err = io.StringIO(), io.StringIO()
    common = [f"--actor={actor}", f"--owner={owner}", f"--name={name}", f"--expires-at={in_days(days)}"]
    call_command("issue_token", *common, *args, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def refuses(text: str, *args: str, **options: Any) -> None:
    before = AccessToken.objects.count(), Event.objects.count()
    with pytest.raises(CommandError, match=text) as error:
        issue(*args, **options)
    assert error.value.returncode == 1
    assert (AccessToken.objects.count(), Event.objects.count()) == before


def test_stdout_is_the_secret_and_nothing_else(cast: Cast):
    out, err = issue(f"--role={POOL_ROLE}", f"--role={PLAIN_ROLE}", "--description=CI")

    secret = out.removesuffix("\n")
    assert exchange.exchange(secret)
    token = AccessToken.objects.get()
    assert token.role_names == sorted([POOL_ROLE, PLAIN_ROLE])
    assert token.description == "CI"
    assert "robot/nightly" in err
    assert secret[5:] not in err


def test_a_person_issues_an_own_user_token(cast: Cast):
    issue(actor="ada", owner="ada")

    assert AccessToken.objects.get().role_names == ["osmo-user"]


def test_the_actor_answers_for_it(cast: Cast):
    issue(f"--role={POOL_ROLE}")

    event = Event.objects.get(action="token.issued")
    assert (event.actor, event.via) == ("grace", "command")
    assert AccessToken.objects.get().created_by == cast.grace


@pytest.mark.parametrize("actor", ["ada", "mallory", "audrey", "robot"])
def test_who_may_not_in_the_console_may_not_here(cast: Cast, actor: str):
    refuses("Only an administrator|changes nothing", f"--role={PLAIN_ROLE}", actor=actor)


def test_an_operator_gives_plain_roles_only(cast: Cast):
    refuses(f"Only an administrator may put the role {POOL_ROLE}", f"--role={POOL_ROLE}", actor="olive")
    issue(f"--role={PLAIN_ROLE}", actor="olive")


def test_there_is_no_token_without_an_actor(cast: Cast):
    with pytest.raises(CommandError, match="--actor"):
        call_command("issue_token", "--owner=robot", "--name=x", f"--expires-at={in_days(9)}", stderr=io.StringIO())


def test_an_unknown_or_inactive_actor_is_refused(cast: Cast):
    cast.olive.deactivate(by=cast.by("grace"), reason="left")

    refuses("no user 'nobody'", f"--role={PLAIN_ROLE}", actor="nobody")
    refuses("olive is not active", f"--role={PLAIN_ROLE}", actor="olive")


@pytest.mark.parametrize(
    ("args", "options", "text"),
    [
        ([], {}, "At least one role"),
        (["--role=nothing"], {}, "Invalid role: nothing"),
        (["--role=osmo-admin"], {}, "does not hold the role osmo-admin"),
        ([f"--role={POOL_ROLE}", f"--role={POOL_ROLE}"], {}, "listed twice"),
        (["--role=osmo-user"], {"owner": "ada"}, "Assigning roles to user access tokens is not supported"),
        ([f"--role={POOL_ROLE}"], {"owner": "nobody"}, "no user 'nobody'"),
        ([f"--role={POOL_ROLE}"], {"name": "1x"}, "must match regex"),
        ([f"--role={POOL_ROLE}"], {"name": ""}, "must match regex"),
        ([f"--role={POOL_ROLE}"], {"days": 0}, "past the current date"),
        ([f"--role={POOL_ROLE}"], {"days": 366}, "longer than 365d"),
        ([f"--role={POOL_ROLE}", "--expires-at=soon"], {}, "Invalid date format soon"),
    ],
)
def test_what_is_wrong_is_said(cast: Cast, args: list[str], options: dict[str, Any], text: str):
    refuses(text, *args, **options)


def test_a_name_that_is_taken_is_refused(cast: Cast):
    issue(f"--role={POOL_ROLE}")

    refuses("Token name nightly already exists", f"--role={POOL_ROLE}")


def test_the_maximum_of_a_role_counts(cast: Cast):
    Role.objects.get(name=POOL_ROLE).change(by=cast.by("grace"), max_token_days=7)

    refuses("longer than 7d", f"--role={POOL_ROLE}", days=8)
    issue(f"--role={POOL_ROLE}", days=7)
