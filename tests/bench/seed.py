"""A company as large as wanted, written by INSERT … SELECT: a million tokens in some minutes, by no way in.

Everything follows from the number of a row, so two databases of one size hold the same. Roles, pools and people with
power are made by the ways in. The oldest tenth of the tokens holds the user tokens, one in ten of it; the others belong
to service accounts. The hashes of the events are none: the chain of such a database is broken.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from django.core.management.color import no_style
from django.db import connection
from django.db.models import Model

from osmo_portal.events.actor import Actor
from osmo_portal.events.models import Event, EventLine
from profiles.models import Pool, Role, RoleAssignment, User
from profiles.rules import USER_ROLE
from tokens.models import AccessToken, LastUse, Secret
from tokens.models.token_role import TokenRole

PEOPLE, ACCOUNTS, ROLES, POOLS = 20_000, 5_000, 300, 100
EACH = 5  # roles of a service account
POPULAR = 10  # roles, one of which each service account holds
STRICT = 90  # days that the tokens of one role in ten live at most
DAYS = 400  # in which all tokens were issued
DAY = 86_400
BATCH = 1_000  # lines of one event

TEAMS = ("arm", "drive", "gripper", "lidar", "maps", "planner", "sim", "vision", "walk", "warehouse")
JOBS = ("build", "deploy", "eval", "export", "label", "nightly", "render", "replay", "sweep", "train")
ACTIONS = ("token.issued", "token.rotated", "token.revoked", "role.assigned", "user.created", "user.signed_in")
DOORS = ("admin", "cli", "rest", "command")
NUMBERED: list[type[Model]] = [User, RoleAssignment, AccessToken, TokenRole, Secret, EventLine]  # by the database


class First(NamedTuple):
    """The numbers that rows begin at."""

    person: int
    account: int
    held: int  # assignments of service accounts, EACH of them in a row
    basic: int  # assignments of the role that every person has
    token: int
    event: int


def seed(tokens: int, *, living: bool = False, events: int | None = None) -> None:
    """Into a database that is fresh from its migrations. `grace` is the administrator, who issued every other token.

    With `living` no token has ended or expired; `events` are as many as tokens, where nothing else is said.
    """
    first = Actor.bootstrap()
    grace = User.create_person(by=first, username="grace", roles=["osmo-admin"])
    roles = _pools_and_roles(first)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET statement_timeout = 0")
        at = _first_numbers()
        cursor.execute(_people(at))
        cursor.execute(_accounts(at))
        cursor.execute(_basic_roles(at, Role.objects.get(name=USER_ROLE).pk))
        cursor.execute(_held_roles(at, roles))
        for statement in (_tokens(at, grace.pk, living=living), *_token_roles(at), _last_uses(at), _secrets(at)):
            cursor.execute(_numbered(tokens, statement))
        for statement in (_events(at), _lines(at)) if events != 0 else ():
            cursor.execute(_numbered(events or tokens, statement))
        for statement in connection.ops.sequence_reset_sql(no_style(), NUMBERED):
            cursor.execute(statement)
    tidy()


def tidy() -> None:
    """As the database keeps itself in time: statistics, and on PostgreSQL the map of what all can see."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")


def _pools_and_roles(by: Actor) -> list[int]:
    """The numbers of the roles; one in three is about some pools."""
    for number in range(POOLS):
        Pool.create(by=by, name=f"{TEAMS[number % 10]}-pool-{number:02}", online=True, total_capacity=64)
    made = []
    for number in range(ROLES):
        pools = [f"pool/{TEAMS[number % 10]}-pool-{(number + step) % POOLS:02}" for step in (0, 10)]
        policy = {"effect": "Allow", "actions": ["workflow:*"], "resources": pools}
        if number % 3:
            policy = {"effect": "Allow", "actions": ["dataset:Read", "pool:List"], "resources": ["*"]}
        name = f"{TEAMS[number % 10]}-{JOBS[number // 10 % 10]}-{number:03}"
        days = STRICT if number % 10 == 3 else None
        made.append(Role.create(by=by, name=name, policies=[policy], max_token_days=days).pk)
    return made


def _first_numbers() -> First:
    def after(model: type[Model]) -> int:
        return (model._base_manager.order_by("-pk").values_list("pk", flat=True).first() or 0) + 1

    user, assignment = after(User), after(RoleAssignment)
    return First(user, user + PEOPLE, assignment, assignment + ACCOUNTS * EACH, after(AccessToken), after(Event))


# What differs between the databases.


def _numbered(count: int, statement: str) -> str:
    """The statement, for which `n` holds the numbers `i` from 0 on."""
    numbers = f"SELECT CAST(0 AS bigint) UNION ALL SELECT i + 1 FROM n WHERE i < {count - 1}"
    head, _, body = statement.partition("SELECT")
    return f"{head} WITH RECURSIVE n(i) AS ({numbers}) SELECT {body}".replace("{count}", str(count))


def _ago(seconds: str) -> str:
    """The instant so many seconds before now."""
    if connection.vendor == "postgresql":
        return f"(date_trunc('second', now()) - ({seconds}) * interval '1 second')"
    return f"strftime('%Y-%m-%d %H:%M:%S', 'now', '-' || ({seconds}) || ' seconds')"


def _midnight(days: str) -> str:
    """00:00 UTC so many days after today."""
    if connection.vendor == "postgresql":
        return f"(date_trunc('day', now(), 'UTC') + ({days}) * interval '1 day')"
    return f"strftime('%Y-%m-%d %H:%M:%S', 'now', 'start of day', ({days}) || ' days')"


def _digest() -> str:
    return "sha256(('seed' || i)::bytea)" if connection.vendor == "postgresql" else "randomblob(32)"


def _yes(condition: str) -> str:
    return f"({condition})" if connection.vendor == "postgresql" else f"(CASE WHEN {condition} THEN 1 ELSE 0 END)"


def _dice(which: int) -> str:
    """0 to 999, another for each `which`."""
    return f"((i + {which * 100_003}) * 2654435761 % 4294967296 / 4294968)"


def _pick(words: Iterable[str], number: str) -> str:
    known = list(words)
    cases = " ".join(f"WHEN {index} THEN '{word}'" for index, word in enumerate(known))
    return f"(CASE ({number}) % {len(known)} {cases} END)"


def _insert(model: type[Model], **values: Any) -> str:
    """INSERT … SELECT … FROM n: each value is an expression."""
    columns = ", ".join(f'"{name}"' for name in values)
    return f"INSERT INTO {model._meta.db_table} ({columns}) SELECT {', '.join(map(str, values.values()))} FROM n"


# The rows.


def _people(at: First) -> str:
    name = f"'{{}}' || {_pick(TEAMS, 'i')} || '-' || i"
    return _numbered(PEOPLE, _insert(User, **_user(at.person, name.format("p-")), kind="'person'", purpose="''"))


def _accounts(at: First) -> str:
    name = f"{_pick(TEAMS, 'i')} || '-' || {_pick(JOBS, 'i / 10')} || '-' || i"
    whose = f"{at.person} + i * 7 % {PEOPLE}"
    values = _user(at.account, name) | {"accountable_id": whose}
    return _numbered(ACCOUNTS, _insert(User, **values, kind="'service'", purpose="'Runs by itself'"))


def _user(first: int, name: str) -> dict[str, str]:
    return {
        "id": f"{first} + i",
        "username": name,
        "password": "'!'",
        "display_name": "'User ' || i",
        "email": "'user' || i || '@example.com'",
        "is_active": _yes(f"{_dice(1)} >= 30"),
        "created_at": _ago(f"{DAYS * DAY} + i"),
    }


def _basic_roles(at: First, role: int) -> str:
    values = {"id": f"{at.basic} + i", "user_id": f"{at.person} + i", "role_id": role}
    return _numbered(PEOPLE, _insert(RoleAssignment, **values, assigned_at=_ago(str(DAYS * DAY))))


def _held_roles(at: First, roles: list[int]) -> str:
    removed = f"CASE WHEN {_dice(2)} < 20 THEN {_ago('i')} END"
    values = {"id": f"{at.held} + i", "user_id": f"{at.account} + i / {EACH}"}
    role = f"{roles[0]} + {_role(f'(i / {EACH})', f'(i % {EACH})')}"
    assigned = _ago(str(DAYS * DAY))
    return _numbered(
        ACCOUNTS * EACH, _insert(RoleAssignment, **values, role_id=role, assigned_at=assigned, removed_at=removed)
    )


def _role(account: str, position: str) -> str:
    """Which role stands at that position of a service account."""
    rare = f"{POPULAR} + ({account} * 13 + {position} * 61) % {ROLES - POPULAR}"
    return f"(CASE {position} WHEN 0 THEN {account} % {POPULAR} ELSE {rare} END)"


PERSONAL = "(i < {count} / 10 AND i % 10 = 0)"
POSITION, SECOND = f"(i % {EACH})", f"((i + 1) % {EACH})"  # of the roles put on the token
TWO_ROLES = f"({_dice(3)} < 200 AND NOT {PERSONAL})"
AGE = f"((({{count}} - i) * {DAYS}.0 * {DAY}) / {{count}})"  # seconds since its issue


def _account() -> str:
    """Which service account owns the token; one has a hundredth of all."""
    return f"(CASE WHEN i % 100 = 7 THEN 0 ELSE i * 7919 % {ACCOUNTS} END)"


def _strict() -> str:
    one, other = (f"{_role(_account(), position)} % 10 = 3" for position in (POSITION, SECOND))
    return f"NOT {PERSONAL} AND ({one} OR ({TWO_ROLES} AND {other}))"


def _whole(expression: str) -> str:
    return (
        f"CAST({expression} - 0.5 AS bigint)" if connection.vendor == "postgresql" else f"CAST({expression} AS bigint)"
    )


def _tokens(at: First, administrator: int, *, living: bool) -> str:
    free = f"CASE {_dice(4)} / 250 WHEN 0 THEN 29 WHEN 1 THEN 89 WHEN 2 THEN 179 ELSE 364 END"
    over = f"CASE WHEN {_dice(6)} = 0 THEN 400 ELSE {free} END"  # from before the maximum was lowered
    days = f"CASE WHEN {_strict()} THEN {STRICT - 1} ELSE {over} END"
    owner = f"CASE WHEN {PERSONAL} THEN {at.person} + i / 10 % {PEOPLE} ELSE {at.account} + {_account()} END"
    ended = "1 = 0" if living else f"{_dice(5)} < 150"
    last = f"({days}) + {DAYS}" if living else f"({days}) - {_whole(f'{AGE} / {DAY}')}"
    job, team = _pick(JOBS, "i / 7"), _pick(TEAMS, "i / 3")
    return _insert(
        AccessToken,
        id=f"{at.token} + i",
        owner_id=owner,
        name=f"{_pick(JOBS, 'i')} || '-' || {_pick(TEAMS, 'i / 10')} || '-' || i",
        description=f"'The ' || {job} || ' job of ' || {team} || ' in cell ' || (i % 977)",
        created_at=_ago(AGE),
        issued_at=_ago(AGE),
        created_by_id=f"CASE WHEN i % 2 = 0 THEN {administrator} ELSE {at.person} + i % 50 END",
        expires_at=_midnight(last),
        rotations="0",
        suspended_at=f"CASE WHEN {_dice(7)} < 10 THEN {_ago(f'{AGE} / 2')} END",
        ended_at=f"CASE WHEN {ended} THEN {_ago(f'{AGE} * {_dice(8)} / 1000')} END",
        ended_by_id=f"CASE WHEN {ended} THEN {administrator} END",
        end_reason=f"CASE WHEN {ended} THEN 'no longer needed' ELSE '' END",
    )


def _token_roles(at: First) -> list[str]:
    basic = f"{at.basic} + i / 10 % {PEOPLE}"
    held = f"{at.held} + {_account()} * {EACH} + "
    token = f"{at.token} + i"
    one = _insert(
        TokenRole, token_id=token, assignment_id=f"CASE WHEN {PERSONAL} THEN {basic} ELSE {held}{POSITION} END"
    )
    other = _insert(TokenRole, token_id=token, assignment_id=f"{held}{SECOND}")
    return [one, f"{other} WHERE {TWO_ROLES}"]


def _last_uses(at: First) -> str:
    """One in ten never; of the others most lately."""
    lately = f"CASE WHEN {_dice(9)} < 800 THEN {AGE} / 50 ELSE {AGE} * {_dice(10)} / 1000 END"
    never = f"{_dice(9)} < 100"
    return _insert(
        LastUse,
        token_id=f"{at.token} + i",
        at=f"CASE WHEN NOT {never} THEN {_ago(lately)} END",
        ip=f"CASE WHEN NOT {never} THEN {_address()} END",
        agent=f"CASE WHEN {never} THEN '' ELSE 'osmo-cli/6.2' END",
    )


def _address() -> str:
    written = "'10.1.' || (i % 200) || '.7'"
    return f"CAST({written} AS inet)" if connection.vendor == "postgresql" else written


def _secrets(at: First) -> str:
    return _insert(
        Secret,
        token_id=f"{at.token} + i",
        slot="0",
        digest=_digest(),
        hint="'seed'",
        created_at=_ago(AGE),
        retires_with_next=_yes("1 = 0"),
    )


def _events(at: First) -> str:
    """One in BATCH is that of a batch. One in a thousand of the last is an alarm."""
    batch = f"i % {BATCH} = 0"
    what = f"CASE WHEN {batch} THEN 'tokens.expired' WHEN i % 997 = 5 THEN 'exchange.refused.retired' ELSE {{}} END"
    changes = f"CASE WHEN {batch} THEN '{{\"operation\": \"bulk-' || i / 20000 || '\"}}' ELSE '{{}}' END"
    text = f"CAST({at.event} + i AS text)"
    return _insert(
        Event,
        id=f"{at.event} + i",
        at=_ago(AGE),
        actor=f"'p-' || {_pick(TEAMS, 'i % 50')} || '-' || (i % 50)",
        actor_id="1 + i % 50",
        via=_pick(DOORS, "i / 3"),
        request_id="'request-' || i",
        ip=_address(),
        action=what.format(_pick(ACTIONS, "i")),
        object_type="'accesstoken'",
        object_id=f"CASE WHEN {batch} THEN NULL ELSE {at.token} + i END",
        object_label=f"CASE WHEN {batch} THEN '{BATCH} tokens' ELSE 'robot/ci-' || i END",
        reason="''",
        changes=f"CAST({changes} AS jsonb)" if connection.vendor == "postgresql" else changes,
        lines_digest=f"CASE WHEN {batch} THEN {text} ELSE '' END",
        previous_hash=f"CAST({at.event} + i - 1 AS text)",
        hash=text,
    )


def _lines(at: First) -> str:
    return _insert(
        EventLine,
        event_id=f"{at.event} + i - i % {BATCH}",
        object_id=f"{at.token} + i",
        object_label="'robot/ci-' || i",
        before="'2027-01-01T00:00:00+00:00'",
        after="'2026-11-01T00:00:00+00:00'",
    )
