"""Moves what an OSMO database holds into the portal: all in one transaction, by the ways in."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any, TypeVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models import Model
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.crypto import get_random_string

from osmo_portal.events.actor import Actor
from osmo_portal.events.models import Event, EventLine
from osmo_portal.events.trail import audited
from osmo_portal.postgresql import check_references_at_once
from profiles.models import ConfigType, Kind, Pool, Role, RoleAssignment, Settings, User
from profiles.models.revision import Account, revised
from profiles.rules import require_administrator
from tokens.importing.findings import Findings
from tokens.importing.plan import Arrival, Here, Incoming, KnownPool, KnownRole, KnownUser, Plan, Wishes
from tokens.importing.source import Source, TokenRow
from tokens.models import AccessToken, LastUse, Secret, TokenRole
from tokens.models.arriving import Arriving
from tokens.models.batches import Progress

AT_ONCE = 2_000
MOVED = (User, RoleAssignment, AccessToken, TokenRole, LastUse, Secret, Event, EventLine)
T = TypeVar("T")


def move(
    source: Source, wishes: Wishes, *, by: Actor, apply: bool, findings: Findings, progress: Progress | None = None
) -> Plan:
    """The plan, after it was asked about everything. Without `apply` nothing is changed; with it, all or nothing.

    `progress` is told how many tokens were looked at.
    """
    require_administrator(by, "import an OSMO database")
    with audited() if apply else nullcontext():
        here = _here()
        accountable = here.users[wishes.accountable.lower()]
        if accountable.is_service or not accountable.is_active:
            raise ValidationError("Choose an active person who is accountable for imported service accounts.")
        plan = Plan(here, wishes, findings.note, now=timezone.now())
        door = _Door(by) if apply else None
        _move_roles_and_pools(source, plan, by if apply else None)
        _move_people(source, plan, door)
        if apply:
            _let_the_database_know(User, RoleAssignment)
            check_references_at_once()
        _move_tokens(source, plan, here, door, progress)
    if apply:
        _let_the_database_know(*MOVED)
    return plan


def _let_the_database_know(*models: type[Model]) -> None:
    """PostgreSQL plans by what it knew of its tables last, and that was that they are empty."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {', '.join(model._meta.db_table for model in models)}")


def _move_roles_and_pools(source: Source, plan: Plan, by: Actor | None) -> None:
    with _one_revision(ConfigType.ROLE, by):
        for role in filter(None, map(plan.role, source.roles())):
            if by:
                fields = {"description": role.description, "policies": role.policies, **role.external}
                Role.create(by=by, name=role.name, **fields)
    with _one_revision(ConfigType.POOL, by):
        for pool in filter(None, map(plan.pool, source.pools())):
            if by:
                Pool.create(by=by, name=pool.name, **pool.fields)


def _one_revision(config_type: ConfigType, by: Actor | None) -> AbstractContextManager[Any]:
    """For all that arrives, where it does."""
    return revised(config_type, Account("", "Imported from an OSMO database"), by=by) if by else nullcontext()


def _move_people(source: Source, plan: Plan, door: "_Door | None") -> None:
    for rows in _batches(source.people()):
        arrivals = [arrival for arrival in map(plan.person, rows) if arrival]
        if door:
            door.receive(arrivals)
    if plan.unknown_people:
        unknown = ", ".join(sorted(plan.unknown_people))
        raise ValidationError(f"--person {unknown}: there is no 6.0 service token with a profile of that name.")


def _move_tokens(source: Source, plan: Plan, here: Here, door: "_Door | None", progress: Progress | None) -> None:
    done = 0
    for rows in _batches(source.tokens()):
        held = Secret.objects.held(row.digest for row in rows if row.digest)
        taken = _taken_names(rows, here)
        incoming = [token for token in (plan.token(row, held, taken) for row in rows) if token]
        if door:
            arrived = door.receive([token.arrival for token in incoming if token.arrival])
            door.admit(incoming, arrived)
        done += len(rows)
        if progress:
            progress(done)


class _Door:
    """Lets in what the plan says, a batch at a time. The events of all batches share one name."""

    def __init__(self, by: Actor) -> None:
        self._by = by
        self._operation = f"import-{get_random_string(12)}"
        self._roles: dict[str, Role] = {}

    def receive(self, arrivals: list[Arrival]) -> dict[str, User]:
        new = [arrival for arrival in arrivals if arrival.is_new]
        people = _users(arrival.accountable for arrival in new if arrival.accountable)
        newcomers = [(_user(arrival, people), self._roles_named(arrival.roles)) for arrival in new]
        if newcomers:
            User.objects.bring_in(newcomers, by=self._by, operation=self._operation)
        users = {user.username: user for user, _ in newcomers}
        users |= _users(arrival.username for arrival in arrivals if not arrival.is_new)
        for arrival in arrivals:
            user = users[arrival.username]
            for role in () if arrival.is_new else arrival.roles:
                user.assign_role(role, by=self._by)
        found = [(users[arrival.username], arrival.settings) for arrival in arrivals if arrival.settings]
        if found:
            Settings.objects.bring_in(found, by=self._by, operation=self._operation)
        return users

    def admit(self, incoming: list[Incoming], arrived: dict[str, User]) -> None:
        owners = arrived | _users(token.owner for token in incoming if token.owner not in arrived)
        arriving = [
            Arriving(owners[token.owner], token.name, token.expires_at, token.digest, token.roles, token.description)
            for token in incoming
        ]
        if arriving:
            AccessToken.objects.bring_in(arriving, by=self._by, operation=self._operation)

    def _roles_named(self, role_names: Iterable[str]) -> list[Role]:
        for name in role_names:
            if name not in self._roles:
                self._roles[name] = Role.objects.existing().get(name=name)
        return [self._roles[name] for name in role_names]


def _user(arrival: Arrival, people: dict[str, User]) -> User:
    if not arrival.is_service:
        return User(username=arrival.username, kind=Kind.PERSON)
    person = people[arrival.accountable or ""]
    return User(username=arrival.username, kind=Kind.SERVICE, accountable_id=person.pk, purpose=arrival.purpose)


def _users(usernames: Iterable[str]) -> dict[str, User]:
    folded = {name.lower() for name in usernames}
    found = User.objects.existing().annotate(folded=Lower("username")).filter(folded__in=folded) if folded else []
    return {user.username: user for user in found}


def _here() -> Here:
    """What the portal has. Records that ended come first, so that a later one of the same name counts."""
    users = User.objects.order_by("pk").values_list("username", "kind", "is_active", "deleted_at")
    roles = Role.objects.order_by("pk").values_list("name", "policies", "max_token_days", "deleted_at")
    pools = Pool.objects.order_by("pk").values_list("name", "description", "backend", "maintenance", "deleted_at")
    with_settings = Settings.objects.values_list("user__username", flat=True)
    return Here(
        users={
            name.lower(): KnownUser(name, kind == Kind.SERVICE, active, left=deleted is not None)
            for name, kind, active, deleted in _existing_last(users)
        },
        roles={
            name: KnownRole(policies, days, left=deleted is not None)
            for name, policies, days, deleted in _existing_last(roles)
        },
        pools={
            name: KnownPool(description, backend, maintenance, left=deleted is not None)
            for name, description, backend, maintenance, deleted in _existing_last(pools)
        },
        held=_held(),
        with_settings={name.lower() for name in with_settings},
        buckets=tuple(settings.BUCKETS),
        max_days=settings.MAX_TOKEN_DAYS,
    )


def _existing_last(rows: Iterable[Any]) -> list[Any]:
    return sorted(rows, key=lambda row: row[-1] is None)


def _held() -> dict[tuple[str, str], bool]:
    given = RoleAssignment.objects.filter(user__deleted_at=None, role__deleted_at=None).order_by("pk")
    rows = given.values_list("user__username", "role__name", "removed_at").iterator()
    held: dict[tuple[str, str], bool] = {}
    for username, role, removed in rows:
        held[username.lower(), role] = removed is None or held.get((username.lower(), role), False)
    return held


def _taken_names(rows: list[TokenRow], here: Here) -> set[tuple[str, str]]:
    """The tokens in use of those who own, or may come to own, one of the rows."""
    folded = {name.lower() for row in rows for name in (row.owner, row.name) if name} & here.users.keys()
    listed = AccessToken.objects.listed().filter(owner__in=[user.pk for user in _users(folded).values()])
    return set(listed.values_list("owner__username", "name")) if folded else set()


def _batches(rows: Iterator[T]) -> Iterator[list[T]]:
    while batch := list(islice(rows, AT_ONCE)):
        yield batch
