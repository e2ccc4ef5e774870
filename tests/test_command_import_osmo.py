"""manage.py import_osmo: what comes from an OSMO database, what does not, and what is said about it."""

import io
import json
import re
import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.exceptions import PermissionDenied
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from osmo_portal.events import chain
from osmo_portal.events.models import Event, EventLine
from profiles.management import door
from profiles.models import Kind, Pool, Revision, Role, Settings, User
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tests.osmo import READER_PASSWORD, Osmo, allow, hexadecimal, http, urlsafe
from tests.wire import Wire, refused
from tokens import exchange
from tokens.importing.move import MOVED
from tokens.models import AccessToken, LastUse, Secret

pytestmark = pytest.mark.django_db
TEAM = [allow("workflow:*", on="pool/team")]
OLD_TEAM = [http("/api/pool/team*", "Post")]


def run(osmo: Osmo, *args: str, actor: str = "grace") -> tuple[str, str]:
    """What it printed on stdout and on stderr. It may only read."""
    out, err = io.StringIO(), io.StringIO()
    call_command("import_osmo", f"--dsn={osmo.reader}", f"--actor={actor}", *args, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


@pytest.fixture
def old() -> Osmo:
    return Osmo("6.0")


@pytest.fixture
def new() -> Osmo:
    return Osmo("6.3")


@pytest.fixture(params=["6.0", "6.1", "6.2", "6.3"])
def osmo(request: pytest.FixtureRequest) -> Osmo:
    return Osmo(request.param)


def told(osmo: Osmo, *args: str) -> dict[str, Any]:
    return json.loads(run(osmo, *args, "--json")[0])


def listed(facts: dict[str, Any], name: str) -> dict[str, str]:
    """What one list of the report says, by subject."""
    return {found["subject"]: found["told"] for found in facts["lists"][name]["first"]}


def everything() -> list[Any]:
    """All that an import could change here."""
    kinds = [User, Role, Pool, Settings, AccessToken, Secret, LastUse, Event, EventLine]
    return [list(kind._base_manager.order_by("pk").values()) for kind in kinds]


def token(owner: str) -> AccessToken:
    """The one token of the user."""
    return AccessToken.objects.get(owner__username=owner)


def exchanged(secret: str) -> Any:
    """What the portal answers to a client of 6.0 that logs in."""
    return Wire().get(f"/api/auth/jwt/access_token?access_token={secret}")


# What comes.


@pytest.mark.parametrize("secret", [hexadecimal("one"), urlsafe("two")], ids=["64 hex digits", "43 characters"])
def test_the_secrets_in_the_field_log_in_through_the_wire(cast: Cast, osmo: Osmo, secret: str):
    osmo.person("hopper")
    osmo.token("hopper", "laptop", secret, "osmo-user")
    refused(exchanged(secret), "Access Token is invalid")

    run(osmo, "--apply")

    assert exchanged(secret).status_code == 200
    profile = Wire(secret).get("/api/profile/settings").json()
    assert profile["profile"]["username"] == "hopper"
    assert (profile["token"]["name"], profile["roles"]) == ("laptop", ["osmo-user"])


def test_a_6_0_service_token_becomes_one_of_a_service_account_of_its_name(cast: Cast, old: Osmo):
    old.role("osmo-team", OLD_TEAM)
    old.pool("team")
    secret = old.service_token("ci", hexadecimal("ci"), "osmo-team", "osmo-user", description="nightly")

    run(old, "--apply", "--accountable=ada")

    ci = token("ci")
    assert (ci.owner.kind, ci.owner.accountable, ci.name, ci.description) == (Kind.SERVICE, cast.ada, "ci", "nightly")
    assert ci.role_names == ["osmo-team", "osmo-user"]
    assert (ci.created_at, ci.created_by) == (None, None)
    assert timezone.now() - ci.issued_at < timedelta(minutes=1)
    assert ci.expires_at.date() == in_days(30)
    assert LastUse.objects.get(token=ci).at is None
    assert Wire(secret).get("/api/profile/settings").json()["pools"] == ["team"]


def test_the_actor_is_accountable_where_nobody_is_named(cast: Cast, old: Osmo):
    old.service_token("ci", hexadecimal("ci"), "osmo-user")

    run(old, "--apply")

    assert token("ci").owner.accountable == cast.grace


def test_people_come_with_their_roles_and_settings(cast: Cast, new: Osmo):
    new.role("osmo-team", TEAM)
    new.pool("team")
    new.person("hopper@example.com", "osmo-team", "osmo-default", slack_notification=True, bucket="osmo", pool="team")
    new.person("lamarr", profile=False)

    run(new, "--apply")

    hopper, lamarr = (User.objects.get(username=name) for name in ("hopper@example.com", "lamarr"))
    assert hopper.held_role_names == {"osmo-team", "osmo-user"}
    assert (hopper.created_by, hopper.has_usable_password(), hopper.kind) == (cast.grace, False, Kind.PERSON)
    mine = Settings.of(hopper)
    assert (mine.slack_notification, mine.email_notification, mine.bucket, mine.pool) == (True, False, "osmo", "team")
    assert lamarr.held_role_names == {"osmo-user"}


def test_people_of_6_0_come_from_profiles_and_tokens(cast: Cast, old: Osmo):
    old.person("hopper", email_notification=True)
    old.token("lamarr", "laptop", hexadecimal("a"), "osmo-user")

    run(old, "--apply")

    assert set(User.objects.filter(username__in=["hopper", "lamarr"]).values_list("kind", flat=True)) == {"person"}
    assert Settings.objects.get(user__username="hopper").email_notification


def test_pools_come_with_what_the_portal_shows_of_them(cast: Cast, osmo: Osmo):
    osmo.run("INSERT INTO backends VALUES ('near', '', now() AT TIME ZONE 'UTC'), ('far', '', '2020-01-01')")
    osmo.pool("team", "Arms", "near", resources={"gpu": {"guarantee": 16, "maximum": -1, "weight": 1}})
    osmo.pool("lab", None, "far", enable_maintenance=True, resources={"gpu": {"guarantee": -1}})
    osmo.pool("attic", None, None, resources={"gpu": None})

    run(osmo, "--apply")

    team, lab, attic = (Pool.objects.get(name=name) for name in ("team", "lab", "attic"))
    assert (team.description, team.backend, team.status, team.quota_limit) == ("Arms", "near", "ONLINE", 16)
    assert (lab.description, lab.status, lab.quota_limit) == ("", "MAINTENANCE", 0)
    assert not lab.online
    assert (attic.backend, attic.status) == ("default", "OFFLINE")


def test_roles_come_with_policies_of_both_forms(cast: Cast, new: Osmo):
    """An upgraded database may hold the old form still."""
    new.role("team", [*TEAM, {"effect": "Deny", "actions": ["workflow:Exec"], "resources": ["pool/team"]}], "Arms")
    new.role("upgraded", [*OLD_TEAM, http("!/api/pool/team-x/*"), allow("dataset:Read")])
    new.role("empty", [])
    new.role("nothing", None)

    run(new, "--apply")

    team, upgraded = Role.objects.get(name="team"), Role.objects.get(name="upgraded")
    assert (team.description, team.grants_pools, len(team.policies)) == ("Arms", True, 2)
    assert upgraded.grants_pools
    assert not upgraded.is_plain
    assert [policy["actions"] for policy in upgraded.policies] == [
        [{"base": "http", "path": "/api/pool/team*", "method": "Post"}],
        [{"base": "http", "path": "!/api/pool/team-x/*", "method": "*"}],
        ["dataset:Read"],
    ]
    assert Role.objects.get(name="empty").policies == Role.objects.get(name="nothing").policies == []
    assert Event.objects.get(action="role.created", object_label="team").actor == "grace"


def test_roles_and_pools_come_with_all_that_is_configured_of_them_in_one_revision(cast: Cast, new: Osmo):
    platforms = {"h100": {"description": "eight each", "override_pod_template": ["gpu"]}}
    new.role("team", TEAM, external=("robot-team", "arms"), mode="force")
    new.role("other", TEAM)
    new.pool(
        "lab", platforms=platforms, default_platform="h100", common_pod_template=["a", "b"], max_exec_timeout="60d"
    )
    before = Revision.objects.of("ROLE").count()

    run(new, "--apply")

    team, lab = Role.objects.get(name="team"), Pool.objects.get(name="lab")
    assert (team.sync_mode, team.external_roles) == ("force", ["arms", "robot-team"])
    assert Role.objects.get(name="other").external_roles == []
    assert lab.spec == {
        "platforms": platforms,
        "default_platform": "h100",
        "common_pod_template": ["a", "b"],
        "max_exec_timeout": "60d",
    }
    assert Revision.objects.of("ROLE").count() == before + 1
    newest = Revision.objects.of("ROLE").order_by("-number")[0]
    assert newest.description == "Imported from an OSMO database"
    assert {"team", "other"} <= set(newest.snapshot)


def test_external_mappings_are_told_as_the_setting_that_the_portal_has_for_them(cast: Cast, new: Osmo):
    new.role("team", TEAM, external=("robot-team", "arms"))
    new.role("other", [], external=("robot-team", "a,b"))
    new.role("aside", [], external=("aside",), mode="ignore")

    facts = told(new)

    assert facts["oidc_role_map"] == {"robot-team": "other", "arms": "team"}
    assert listed(facts, "mappings") == {
        "robot-team": "to team: it is mapped to other already",
        "a,b": "to other: no comma, equals sign or semicolon fits",
    }
    assert "OIDC_ROLE_MAP=arms=team,robot-team=other" in run(new)[0]


def test_one_event_tells_of_a_batch_and_stands_in_the_history_of_each(cast: Cast, old: Osmo):
    old.role("team", OLD_TEAM)
    for number in range(3):
        old.service_token(f"ci-{number}", hexadecimal(f"{number}"), "team")

    run(old, "--apply")

    tokens, users = (Event.objects.get(action=f"{kind}.imported") for kind in ("tokens", "users"))
    assert (tokens.actor, tokens.via, tokens.object_label) == ("grace", "command", "3 tokens")
    assert [line.object_label for line in tokens.lines.all()] == ["ci-0/ci-0", "ci-1/ci-1", "ci-2/ci-2"]
    assert set(users.lines.values_list("object_label", "after")) >= {("ci-0", "team")}
    assert tokens.changes["operation"] == users.changes["operation"]
    assert list(chain.faults()) == []


# Once, twice, and not at all.


def fill(osmo: Osmo) -> list[str]:
    """Something of everything. The secrets that go on working."""
    osmo.role("team", TEAM if osmo.is_new else OLD_TEAM)
    osmo.pool("team")
    osmo.person("hopper", slack_notification=True)
    osmo.person("ada", pool="team")
    secrets = [
        osmo.token("hopper", "laptop", hexadecimal("a"), "osmo-user"),
        osmo.token("ada", "wide", urlsafe("b"), "osmo-user", "team"),
    ]
    osmo.token("hopper", "over", hexadecimal("c"), "osmo-user", days=-3)
    if not osmo.is_new:
        secrets.append(osmo.service_token("ci", hexadecimal("d"), "team"))
        secrets.append(osmo.service_token("ada", hexadecimal("e"), "team"))
    return secrets


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_dry_run_changes_nothing_here_and_there(cast: Cast, osmo: Osmo, more: list[str]):
    fill(osmo)
    here, there = everything(), osmo.contents()

    out, err = run(osmo, *more)

    assert (everything(), osmo.contents()) == (here, there)
    assert re.search(r"^tokens +[24] +0 +1$", out, re.MULTILINE)
    assert "Nothing was changed; --apply imports." in err


@pytest.mark.parametrize("more", [[], ["--convert-wide"]])
def test_a_dry_run_tells_what_an_import_then_does(cast: Cast, osmo: Osmo, more: list[str]):
    fill(osmo)

    would, did = told(osmo, *more), told(osmo, "--apply", *more)

    assert (would.pop("applied"), did.pop("applied")) == (False, True)
    assert would == did


def test_an_import_writes_nothing_there(cast: Cast, osmo: Osmo):
    fill(osmo)
    there = osmo.contents()

    run(osmo, "--apply")

    assert osmo.contents() == there


def test_the_transaction_there_could_not_write(cast: Cast, old: Osmo, monkeypatch):
    asked = []

    def look(connection):
        asked.append(connection.execute("SHOW transaction_read_only").fetchone()[0])
        asked.append(connection.execute("SHOW transaction_isolation").fetchone()[0])
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("DELETE FROM roles")
        raise psycopg.OperationalError("the test ends here")

    monkeypatch.setattr("tokens.importing.source.Source.__init__", lambda self, connection: look(connection))

    with pytest.raises(CommandError, match="the test ends here"):
        call_command("import_osmo", f"--dsn={old.dsn}", "--actor=grace")  # as the owner of the database

    assert asked == ["on", "repeatable read"]


@pytest.mark.parametrize("more", [[], ["--convert-wide"]])
def test_a_second_run_changes_nothing(cast: Cast, osmo: Osmo, more: list[str]):
    secrets = fill(osmo)
    run(osmo, "--apply", *more)
    here = everything()

    out, err = run(osmo, "--apply", *more)

    assert everything() == here
    assert err == "There is nothing new. Nothing was changed.\n"
    assert re.search(rf"^tokens +0 +{len(secrets)} +1$", out, re.MULTILINE)
    assert all(exchange.exchange(secret) for secret in secrets)


def test_the_database_learns_of_what_came(cast: Cast, new: Osmo):
    """Else PostgreSQL goes on planning for empty tables, until it looks again by itself: of the people before their
    tokens come, of everything at the end."""
    fill(new)

    def analyzed(*args: str) -> list[int]:
        with CaptureQueriesContext(connection) as queries:
            run(new, *args)
        return [query["sql"].count(", ") + 1 for query in queries if query["sql"].startswith("ANALYZE")]

    assert analyzed() == []
    assert analyzed("--apply") == ([2, len(MOVED)] if connection.vendor == "postgresql" else [])


TAKE_TIME = "BEGIN PERFORM pg_sleep(0.3); RETURN NULL; END"


@pytest.fixture
def slow_references() -> Iterator[None]:
    """A check of each token that takes its time, and that the commit makes unless it was made before."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE FUNCTION take_time() RETURNS trigger LANGUAGE plpgsql AS %s", [TAKE_TIME])
        cursor.execute(
            "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON tokens_accesstoken DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION take_time()"
        )
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION take_time CASCADE")


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite checks each row as it comes")
def test_the_commit_has_no_references_left_to_check(cast: Cast, old: Osmo, settings, slow_references: None):
    """A commit is given STATEMENT_TIMEOUT. What so many tokens refer to takes longer."""
    secrets = fill(old)
    settings.STATEMENT_TIMEOUT = 0.5

    run(old, "--apply")

    assert all(exchange.exchange(secret) for secret in secrets)


def test_a_later_run_brings_what_is_new(cast: Cast, osmo: Osmo):
    fill(osmo)
    run(osmo, "--apply")
    secret = osmo.token("hopper", "second", hexadecimal("new"), "osmo-user")

    _, err = run(osmo, "--apply")

    assert err == "Imported 1 token.\n"
    assert exchange.exchange(secret)


def test_a_token_that_was_revoked_here_is_not_revived(cast: Cast, osmo: Osmo):
    secret = fill(osmo)[0]
    run(osmo, "--apply")
    token("hopper").revoke(by=cast.by("grace"), reason="leaked")

    _, err = run(osmo, "--apply")

    assert "nothing new" in err
    with pytest.raises(exchange.Refused, match="has been revoked"):
        exchange.exchange(secret)


def test_the_digest_of_a_retired_secret_is_not_revived(cast: Cast, old: Osmo):
    secret = fill(old)[0]
    run(old, "--apply")
    token("hopper").rotate(by=cast.by("grace"), grace=timedelta(0))

    run(old, "--apply")

    assert AccessToken.objects.filter(owner__username="hopper").count() == 1
    with pytest.raises(exchange.Refused, match="its old secret has ended"):
        exchange.exchange(secret)


def test_what_was_deleted_or_taken_away_here_does_not_come_back(cast: Cast, new: Osmo):
    by = cast.by("grace")
    new.role("gone", TEAM)
    new.role("taken", TEAM)
    new.pool("gone")
    new.person("hopper", "taken")
    new.person("lamarr")
    run(new, "--apply")
    Role.objects.get(name="gone").mark_deleted(by=by, reason="over")
    Pool.objects.get(name="gone").mark_deleted(by=by, reason="over")
    User.objects.get(username="lamarr").mark_deleted(by=by, reason="left")
    User.objects.get(username="hopper").remove_role("taken", by=by)
    new.token("lamarr", "laptop", hexadecimal("a"), "osmo-user")
    here = everything()

    facts = told(new, "--apply")

    assert everything() == here
    assert listed(facts, "ended_here") == {
        "role gone": "was deleted in the portal",
        "pool gone": "was deleted in the portal",
        "lamarr": "was deleted in the portal; nor come the tokens",
        "hopper": "the role taken was taken away in the portal",
    }
    assert listed(facts, "left_out") == {"lamarr/laptop": "its owner is left out"}


def test_nothing_comes_for_who_is_not_active_here(cast: Cast, old: Osmo):
    cast.ada.deactivate(by=cast.by("grace"), reason="leave")
    cast.robot.deactivate(by=cast.by("grace"), reason="broken")
    old.token("ada", "laptop", hexadecimal("a"), "osmo-user")
    old.service_token("robot", hexadecimal("b"), "osmo-user")

    facts = told(old, "--apply")

    assert not AccessToken.objects.exists()
    assert listed(facts, "left_out") == {
        "ada/laptop": "its owner is not active in the portal",
        "robot/robot": "its service account is not active in the portal",
    }


def test_what_the_portal_has_stays_as_it_is(cast: Cast, new: Osmo):
    new.role(PLAIN_ROLE, [allow("*:*")])
    new.pool("my_pool", "Another", "elsewhere")
    new.person("ada", "osmo-admin", PLAIN_ROLE)
    before = Role.objects.get(name=PLAIN_ROLE).policies, User.objects.filter(username="ada").values().get()

    facts = told(new, "--apply")

    assert (Role.objects.get(name=PLAIN_ROLE).policies, User.objects.filter(username="ada").values().get()) == before
    assert Pool.objects.get(name="my_pool").description == ""
    kept = listed(facts, "kept")
    assert kept[f"role {PLAIN_ROLE}"] == "its policies differ there; the portal's hold"
    assert kept["pool my_pool"] == "it is described differently there; the portal's holds"
    assert kept["role osmo-user"].endswith("so this is left out: pool default: submit, exec, port-forward")
    assert listed(facts, "administrators") == {"ada": "becomes an administrator of the portal"}
    assert User.objects.get(username="ada").held_role_names == {"osmo-user", "osmo-admin", PLAIN_ROLE}


def test_a_role_of_the_portal_that_the_source_does_not_have_is_put_on_no_token(cast: Cast, old: Osmo):
    old.token("ci", "ci", hexadecimal("a"), POOL_ROLE, "osmo-user", kind="SERVICE")

    facts = told(old, "--apply")

    assert token("ci").role_names == ["osmo-user"]
    assert listed(facts, "lost_roles") == {"ci/ci": f"the role {POOL_ROLE} does not exist there, or is left out"}


# Wide tokens of people.


def test_a_wide_token_of_a_person_is_narrowed_and_listed(cast: Cast, osmo: Osmo):
    osmo.role("team", TEAM)
    osmo.person("hopper")
    secret = osmo.token("hopper", "laptop", urlsafe("a"), "osmo-user", "team", "osmo-admin")

    facts = told(osmo, "--apply")

    assert token("hopper").role_names == ["osmo-user"]
    assert "osmo-admin" not in Wire(secret).get("/api/profile/settings").json()["roles"]
    words = "carries osmo-admin, osmo-user, team; will carry osmo-user alone"
    assert listed(facts, "over_privileged") == {"hopper/laptop": words}


def test_a_wide_token_becomes_a_service_token_on_demand(cast: Cast, osmo: Osmo):
    osmo.role("team", TEAM)
    osmo.person("hopper@example.com")
    secret = osmo.token("hopper@example.com", "laptop", urlsafe("a"), "osmo-user", "team", description="CI")
    narrow = osmo.token("hopper@example.com", "narrow", urlsafe("b"), "osmo-user")

    facts = told(osmo, "--apply", "--convert-wide")

    wide = token("hopper@example.com-laptop")
    hopper = User.objects.get(username="hopper@example.com")
    assert (wide.owner.kind, wide.owner.accountable, wide.owner.purpose) == (
        Kind.SERVICE,
        hopper,
        "Was the user token laptop of hopper@example.com",
    )
    assert (wide.name, wide.role_names, wide.description) == ("laptop", ["osmo-user", "team"], "CI")
    assert Wire(secret).get("/api/profile/settings").json()["roles"] == ["osmo-user", "team"]
    assert token("hopper@example.com").name == "narrow"
    assert exchange.exchange(narrow)
    assert "becomes a service token of hopper@example.com-laptop" in str(listed(facts, "over_privileged"))


def test_a_name_in_use_gets_a_number(cast: Cast, new: Osmo):
    new.role("team", TEAM)
    new.person("ada")
    new.person("ada-laptop")
    new.token("ada", "laptop", urlsafe("a"), "team")

    run(new, "--apply", "--convert-wide")

    assert token("ada-laptop-2").owner.accountable == cast.ada


def test_osmo_default_makes_no_token_wide_and_no_token_work(cast: Cast, new: Osmo):
    new.person("ada")
    new.token("ada", "usual", urlsafe("a"), "osmo-default", "osmo-user")
    new.token("ada", "empty", urlsafe("b"), "osmo-default")

    facts = told(new, "--apply")

    assert token("ada").name == "usual"
    assert facts["lists"]["over_privileged"]["count"] == 0
    assert listed(facts, "left_out") == {"ada/empty": "no role is left that it could carry"}


# Colliding names.


def test_a_service_token_that_is_called_as_a_person_gets_an_account_of_another_name(cast: Cast, old: Osmo):
    old.role("team", OLD_TEAM)
    old.person("carol", slack_notification=True)
    secrets = [
        old.token("carol", "carol", hexadecimal("a"), "osmo-user"),
        old.service_token("carol", hexadecimal("b"), "team"),
        old.service_token("ada", hexadecimal("c"), "team"),
    ]

    facts = told(old, "--apply")

    assert token("carol").owner.kind == token("carol").owner.kind == Kind.PERSON
    assert Settings.objects.get(user__username="carol").slack_notification
    assert (token("carol-service").name, token("carol-service").role_names) == ("carol", ["team"])
    assert token("ada-service").owner.is_service_account
    assert all(exchange.exchange(secret) for secret in secrets)
    assert listed(facts, "collisions") == {
        "carol/carol": "somebody else is called that; the service account becomes carol-service",
        "ada/ada": "somebody else is called that; the service account becomes ada-service",
    }


def test_a_profile_alone_is_taken_for_that_of_the_service_account(cast: Cast, old: Osmo):
    old.pool("team")
    old.person("ci", pool="team")
    old.service_token("ci", hexadecimal("a"), "osmo-user")
    old.service_token("plain", hexadecimal("b"), "osmo-user")

    facts = told(old, "--apply")

    assert Settings.objects.get(user__username="ci").pool == "team"
    assert token("ci").owner.is_service_account
    assert list(listed(facts, "collisions")) == ["ci"]
    assert listed(facts, "own_profiles") == {"plain": "has a service token of the same name"}


def test_a_profile_is_that_of_a_person_who_is_named(cast: Cast, old: Osmo):
    old.person("carol", email_notification=True)
    old.service_token("carol", hexadecimal("a"), "osmo-user")

    run(old, "--apply", "--person=carol")

    assert User.objects.get(username="carol").kind == Kind.PERSON
    assert Settings.objects.get(user__username="carol").email_notification
    assert token("carol-service").owner.is_service_account


@pytest.mark.parametrize("name", ["nobody", "hopper"])
def test_a_person_to_be_named_must_share_the_name_of_a_service_token(cast: Cast, old: Osmo, name: str):
    old.person("hopper")
    here = everything()

    with pytest.raises(CommandError, match=f"--person {name}: there is no 6.0 service token"):
        run(old, "--apply", f"--person={name}")

    assert everything() == here


def test_a_service_token_joins_the_account_of_its_name(cast: Cast, old: Osmo):
    cast.service_token("robot")
    old.role("team", OLD_TEAM)
    secret = old.service_token("robot", hexadecimal("a"), "team")

    facts = told(old, "--apply")

    assert set(AccessToken.objects.filter(owner=cast.robot).values_list("name", flat=True)) == {"robot", "robot-2"}
    assert AccessToken.objects.get(name="robot-2").role_names == ["team"]
    assert AccessToken.objects.get(name="robot").role_names == [POOL_ROLE]
    assert cast.robot.accountable == cast.ada
    assert listed(facts, "collisions") == {"robot/robot": "goes to the service account robot, which the portal has"}
    assert listed(facts, "cleaned") == {"robot/robot": "the token is called robot-2"}
    assert exchange.exchange(secret)


def test_a_role_that_was_taken_from_an_account_here_is_not_given_back(cast: Cast, old: Osmo):
    cast.robot.remove_role(POOL_ROLE, by=cast.by("grace"))
    old.role(POOL_ROLE, OLD_TEAM)
    old.service_token("robot", hexadecimal("a"), POOL_ROLE, "osmo-user")

    run(old, "--apply")

    assert token("robot").role_names == ["osmo-user"]


def test_a_person_who_is_called_as_a_service_account_is_left_out(cast: Cast, osmo: Osmo):
    osmo.person("robot")
    osmo.token("robot", "laptop", hexadecimal("a"), "osmo-user")

    facts = told(osmo, "--apply")

    assert not AccessToken.objects.exists()
    words = "is a service account in the portal and a person there; the person and the tokens are left out"
    assert listed(facts, "collisions") == {"robot": words}


def test_of_names_that_differ_in_case_one_comes(cast: Cast, osmo: Osmo):
    for name in ("Hopper", "hopper", "Ada", "ada", "MALLORY"):
        osmo.person(name)
        osmo.token(name, "laptop", hexadecimal(name), "osmo-user")

    facts = told(osmo, "--apply")

    owners = set(AccessToken.objects.values_list("owner__username", flat=True))
    assert owners == {"Hopper", "ada", "mallory"}
    words = "differs from another user in case alone; this one and the tokens are left out"
    assert listed(facts, "collisions") == {"Ada": words, "hopper": words}


def test_a_token_whose_name_its_owner_uses_already_is_renamed(cast: Cast, osmo: Osmo):
    ours = cast.user_token("ada", "laptop")
    osmo.person("ada")
    secret = osmo.token("ada", "laptop", hexadecimal("a"), "osmo-user")

    facts = told(osmo, "--apply")

    assert Wire(secret).get("/api/profile/settings").json()["token"]["name"] == "laptop-2"
    assert exchange.exchange(ours.plaintext)
    assert listed(facts, "cleaned") == {"ada/laptop": "the token is called laptop-2"}


# Lifetimes.


def test_a_token_beyond_the_longest_life_is_capped_and_listed(cast: Cast, osmo: Osmo, settings):
    settings.MAX_TOKEN_DAYS = 100
    osmo.person("ada")
    osmo.token("ada", "edge", hexadecimal("a"), "osmo-user", days=100)
    osmo.token("ada", "long", hexadecimal("b"), "osmo-user", days=101)
    osmo.token("ada", "endless", hexadecimal("c"), "osmo-user")
    osmo.run("UPDATE access_token SET expires_at = 'infinity' WHERE token_name = 'endless'")

    facts = told(osmo, "--apply")

    days = {name: end.date() for name, end in AccessToken.objects.values_list("name", "expires_at")}
    assert days == dict.fromkeys(["edge", "long", "endless"], in_days(100))
    assert set(listed(facts, "over_long")) == {"ada/long", "ada/endless"}
    assert listed(facts, "over_long")["ada/long"] == f"ends on {in_days(100)} instead of {in_days(101)}"


def test_the_strictest_role_caps(cast: Cast, old: Osmo):
    Role.objects.get(name=PLAIN_ROLE).change(by=cast.by("grace"), max_token_days=10)
    old.role(PLAIN_ROLE, [])
    old.service_token("ci", hexadecimal("a"), "osmo-user", PLAIN_ROLE)

    run(old, "--apply")

    assert token("ci").expires_at.date() == in_days(10)


def test_expired_tokens_are_left_out_and_counted(cast: Cast, osmo: Osmo):
    osmo.person("ada")
    osmo.token("ada", "yesterday", hexadecimal("a"), "osmo-user", days=-1)
    osmo.token("ada", "today", hexadecimal("b"), "osmo-user", days=0)
    osmo.run("UPDATE access_token SET expires_at = expires_at + interval '23 hours' WHERE token_name = 'today'")

    facts = told(osmo, "--apply")

    assert not AccessToken.objects.exists()
    assert set(listed(facts, "expired")) == {"ada/yesterday", "ada/today"}


# What cannot come, and strange values.


def test_tokens_that_cannot_work_are_left_out_each_with_its_reason(cast: Cast, old: Osmo):
    old.run("ALTER TABLE access_token DROP CONSTRAINT access_token_pkey, ALTER user_name DROP NOT NULL")
    old.run("ALTER TABLE access_token ALTER token_name DROP NOT NULL, ALTER access_type DROP NOT NULL")
    old.token(None, "orphan", hexadecimal("a"), "osmo-user")
    old.token("", "stray", hexadecimal("b"), "osmo-user")
    old.token("ada", "short", "x", "osmo-user", digest=b"short")
    old.token("ada", "long", "x", "osmo-user", digest=b"x" * 33)
    old.token("ada", "none", "x", "osmo-user", digest=b"")
    old.token("ada", "endless", hexadecimal("c"), "osmo-user", days=None)
    old.token("ada", "kind", hexadecimal("d"), "osmo-user", kind="OTHER")
    old.token("ada", "bare", hexadecimal("e"), None)
    old.token(None, None, hexadecimal("f"), "osmo-user", kind="SERVICE")
    old.run("UPDATE access_token SET roles = NULL, description = NULL WHERE token_name = 'bare'")

    facts = told(old, "--apply")

    assert listed(facts, "without_owner") == {
        "(nobody)/orphan": "it is not said whose it is",
        "(nobody)/stray": "it is not said whose it is",
        "(nobody)/(no name)": "it is not said whose it is",
    }
    assert listed(facts, "invalid") == {
        "ada/short": "its digest is not one of a secret",
        "ada/long": "its digest is not one of a secret",
        "ada/none": "its digest is not one of a secret",
        "ada/endless": "it has no end, so no server takes it",
        "ada/kind": "it is neither a user token nor a service token",
    }
    assert listed(facts, "left_out") == {"ada/bare": "no role is left that it could carry"}
    assert not AccessToken.objects.exists()


def test_everything_may_be_null(cast: Cast, new: Osmo):
    new.person("hopper")
    new.token("hopper", "laptop", urlsafe("a"), "osmo-user", description=None)
    new.run("UPDATE profile SET slack_notification = NULL, email_notification = NULL")
    new.run("UPDATE roles SET description = NULL, immutable = NULL, sync_mode = NULL")
    new.run("UPDATE pools SET description = NULL, backend = NULL, enable_maintenance = NULL")
    new.pool("bare", None, None)

    run(new, "--apply")

    assert token("hopper").description == ""
    assert Pool.objects.get(name="bare").backend == "default"


def test_roles_of_rubbish_are_left_out_and_missed(cast: Cast, osmo: Osmo):
    osmo.role("r 1/%", TEAM)
    osmo.role("x" * 400, TEAM)
    osmo.role("rubbish", [{"actions": [7]}])
    osmo.role("word", [{"actions": ["do what you like"]}])
    osmo.role("array", [{"actions": "workflow:*"}])
    osmo.role("OSMO-ADMIN", [allow("dataset:Read")])
    osmo.person("ada")
    osmo.token("ada", "laptop", hexadecimal("a"), "osmo-user", "rubbish")

    facts = told(osmo, "--apply")

    assert set(listed(facts, "invalid")) == {
        "role r 1/%",
        "role rubbish",
        "role word",
        "role array",
        f"role {'x' * 94}…",
    }
    assert "the role rubbish does not exist there, or is left out" in str(listed(facts, "lost_roles"))
    assert token("ada").role_names == ["osmo-user"]
    assert Role.objects.get(name="OSMO-ADMIN").is_plain


def test_names_that_the_portal_cannot_take_keep_their_secrets_where_that_is_possible(cast: Cast, old: Osmo):
    secrets = [
        old.token("ada", "9 lives\x1b[31m", hexadecimal("a"), "osmo-user"),
        old.token("ada", "user", hexadecimal("b"), "osmo-user"),
        old.token("ada", "x" * 500, hexadecimal("c"), "osmo-user"),
        old.token("ada", "x" * 501, hexadecimal("d"), "osmo-user"),
        old.token("ada", "…", hexadecimal("e"), "osmo-user"),
        old.service_token("ci job/7", hexadecimal("f"), "osmo-user"),
    ]
    old.token("no one+here@example.com", "laptop", hexadecimal("g"), "osmo-user")
    old.token("y" * 300, "laptop", hexadecimal("h"), "osmo-user")

    facts = told(old, "--apply")

    owned = AccessToken.objects.filter(owner=cast.ada).values_list("name", flat=True)
    assert set(owned) == {"token-9-lives--31m", "token-user", "x" * 234, "x" * 234 + "-2", "token"}
    assert token("ci-job-7").owner.is_service_account
    assert all(exchange.exchange(secret) for secret in secrets)
    assert set(listed(facts, "left_out")) == {"no one+here@example.com/laptop", "y" * 99 + "…"}
    assert set(listed(facts, "invalid")) == {"no one+here@example.com", "y" * 99 + "…"}


def test_texts_are_cleaned(cast: Cast, osmo: Osmo):
    osmo.person("ada", bucket="elsewhere", pool="nowhere")
    osmo.token("ada", "laptop", hexadecimal("a"), "osmo-user", description=" \x1b[31mred\u202e \n" + "x" * 3000)

    facts = told(osmo, "--apply")

    assert token("ada").description.startswith("[31mred")
    assert len(token("ada").description) <= 2_000
    assert not Settings.objects.exists()
    assert facts["lists"]["cleaned"]["count"] == 3


def test_nothing_that_is_printed_moves_the_cursor(cast: Cast, old: Osmo):
    old.token("ada", "a\x1b[2J\r\nb", hexadecimal("a"), "osmo-user")
    old.role("evil\x1b[31m", TEAM)

    out, err = run(old)

    assert "\x1b" not in out + err
    assert "\\x1b" in out


# The report.


def test_the_lists_are_bounded_on_screen_and_whole_in_the_file(cast: Cast, old: Osmo, tmp_path: Path):
    old.person("ada")
    for number in range(25):
        old.token("ada", f"old-{number:02}", hexadecimal(f"{number}"), "osmo-user", days=-1)
    path = tmp_path / "report.jsonl"

    out, _ = run(old, f"--report={path}")

    assert "Expired tokens: left out (25):" in out
    assert out.count("ada/old-") == 10
    assert "… and 15 more; --report FILE has them all." in out
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    expired = [line["subject"] for line in lines if line["list"] == "expired"]
    assert expired == [f"ada/old-{number:02}" for number in range(25)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_existing_file_is_not_overwritten(cast: Cast, old: Osmo, tmp_path: Path):
    path = tmp_path / "kept"
    path.write_text("mine")

    for wrong in (path, tmp_path / "nowhere" / "report"):
        with pytest.raises(CommandError, match="cannot be written"):
            run(old, f"--report={wrong}", "--apply")

    assert path.read_text() == "mine"


def test_no_digest_and_no_password_is_told(cast: Cast, osmo: Osmo, tmp_path: Path, caplog):
    secrets = fill(osmo)
    path = tmp_path / "report"

    said = "".join(run(osmo, "--apply", f"--report={path}")) + path.read_text() + caplog.text

    trail = "".join(str(row) for kind in (Event, EventLine) for row in kind.objects.values())
    for secret in secrets:
        digest = hexadecimal(secret)
        assert digest not in said + trail
        assert secret not in said + trail
    assert READER_PASSWORD not in said + trail


def test_nothing_is_kept_of_a_secret_but_its_digest(cast: Cast, osmo: Osmo):
    secret = fill(osmo)[0]

    run(osmo, "--apply")

    kept = Secret.objects.get(token=token("hopper"))
    assert (bytes(kept.digest).hex(), kept.hint, kept.slot) == (hexadecimal(secret), "", 0)


# Who may, and wrong calls.


@pytest.mark.parametrize("actor", ["ada", "olive", "audrey", "robot"])
def test_nobody_but_an_administrator_imports(cast: Cast, old: Osmo, actor: str):
    fill(old)
    here = everything()

    for more in ([], ["--apply"]):
        with pytest.raises(CommandError, match="Only an administrator may import"):
            run(old, *more, actor=actor)

    assert everything() == here


def test_the_ways_in_ask_for_an_administrator_themselves(cast: Cast):
    for actor in ("olive", "ada"):
        for way_in in (User.objects.bring_in, AccessToken.objects.bring_in):
            with pytest.raises(PermissionDenied):
                way_in([], by=cast.by(actor), operation="x")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--accountable=robot"], "Choose an active person who is accountable"),
        (["--accountable=nobody"], "no user 'nobody'"),
        (["--actor=nobody"], "no user 'nobody'"),
        (["--apply", "--dry-run"], "not allowed with"),
        (["--dsn-from-env=X"], "not allowed with"),
    ],
)
def test_a_wrong_call_changes_nothing(cast: Cast, old: Osmo, args: list[str], words: str):
    here = everything()

    with pytest.raises(CommandError, match=words):
        run(old, "--apply", *args)

    assert everything() == here


def test_the_dsn_may_come_from_the_environment(cast: Cast, old: Osmo, monkeypatch):
    monkeypatch.setenv("OSMO_IMPORT_DSN", old.reader)
    monkeypatch.setenv("ANOTHER", old.reader)

    for more in ([], ["--dsn-from-env=ANOTHER"]):
        out = io.StringIO()
        call_command("import_osmo", "--actor=grace", *more, stdout=out, stderr=io.StringIO())
        assert "OSMO 6.0 or 6.1" in out.getvalue()
    with pytest.raises(CommandError, match="environment variable MISSING"):
        call_command("import_osmo", "--actor=grace", "--dsn-from-env=MISSING")


@pytest.mark.parametrize(
    "change",
    ["dbname=nowhere", "host=127.0.0.1 port=1", "user=nobody password=hunter2secret", "nonsense=hunter2secret"],
)
def test_a_database_that_cannot_be_read_is_said_without_the_password(cast: Cast, old: Osmo, change: str):
    with pytest.raises(CommandError) as error:
        call_command("import_osmo", "--actor=grace", f"--dsn={old.reader} {change}")

    assert READER_PASSWORD not in str(error.value)
    assert "hunter2secret" not in str(error.value)


def test_a_database_of_something_else_is_refused(cast: Cast, old: Osmo):
    old.run("DROP TABLE roles")

    with pytest.raises(CommandError, match="no OSMO database: its schema public has no table roles"):
        run(old)


def test_tables_that_may_not_be_read_are_said(cast: Cast, old: Osmo):
    old.run(f"REVOKE SELECT ON access_token FROM {old.reader_name}")  # noqa: S608

    with pytest.raises(CommandError, match="permission denied for table access_token"):
        run(old, "--apply")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_how_far_it_is(cast: Cast, old: Osmo, monkeypatch, capsys):
    monkeypatch.setattr(door, "LARGE", 2)
    fill(old)

    call_command("import_osmo", f"--dsn={old.reader}", "--actor=grace", stdout=io.StringIO(), stderr=Terminal())

    assert "Looking at tokens" in capsys.readouterr().err
