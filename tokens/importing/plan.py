"""What becomes of each row of an OSMO database, and why. Knows no database: what exists is told to it."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple, TypeVar

from django.core.exceptions import ValidationError

from profiles import names
from profiles.models.pool import MAX_SPEC
from profiles.models.role import MAX_EXTERNAL_ROLES, SyncMode
from profiles.policies import PolicyError, describe, normalise, parse
from profiles.rules import ADMINISTRATOR_ROLE, DEFAULT_ROLE, NEVER_WITH_POOL_ACCESS, USER_ROLE
from tokens import rules
from tokens.importing.findings import Kind, shown
from tokens.importing.source import PersonRow, PoolRow, RoleRow, TokenRow, utc
from tokens.secrets import DIGEST_LENGTH

MAX_GPUS = 2**31 - 1
SETTINGS = {
    *["download_type", "default_platform", "platforms", "resources", "default_exit_actions", "action_permissions"],
    *["default_exec_timeout", "default_queue_timeout", "max_exec_timeout", "max_queue_timeout", "topology_keys"],
    *["common_default_variables", "common_resource_validations", "common_pod_template", "common_group_templates"],
}
THINGS = ("roles", "pools", "people", "service accounts", "role assignments", "profiles", "tokens")
OUTCOMES = ("new", "here", "left out")
T = TypeVar("T")


class KnownUser(NamedTuple):
    """A user of the portal. `left`: deleted, and nobody has the name since."""

    username: str
    is_service: bool = False
    is_active: bool = True
    left: bool = False


class KnownRole(NamedTuple):
    policies: list[Any]
    max_days: int | None = None
    left: bool = False


class KnownPool(NamedTuple):
    description: str = ""
    backend: str = "default"
    maintenance: bool = False
    left: bool = False


@dataclass
class Here:
    """What the portal has. Users are found by their name in small letters. `held` are the roles that users hold or
    ever held; the value says whether they still do."""

    users: dict[str, KnownUser] = field(default_factory=dict)
    roles: dict[str, KnownRole] = field(default_factory=dict)
    pools: dict[str, KnownPool] = field(default_factory=dict)
    held: dict[tuple[str, str], bool] = field(default_factory=dict)
    with_settings: set[str] = field(default_factory=set)
    buckets: tuple[str, ...] = ("osmo",)
    max_days: int = 365


class NewRole(NamedTuple):
    """`external` is what the clients keep of an identity provider's roles."""

    name: str
    description: str
    policies: list[Any]
    external: dict[str, Any]


class NewPool(NamedTuple):
    name: str
    fields: dict[str, Any]


class Arrival(NamedTuple):
    """A user to make, or one who exists and gets roles or settings."""

    username: str
    is_new: bool
    is_service: bool = False
    roles: tuple[str, ...] = ()
    accountable: str | None = None
    purpose: str = ""
    settings: dict[str, Any] | None = None


class Incoming(NamedTuple):
    """A token to make, and first its owner where that is an arrival."""

    owner: str
    name: str
    description: str
    expires_at: datetime
    digest: bytes
    roles: tuple[str, ...]
    arrival: Arrival | None = None


@dataclass(frozen=True)
class Wishes:
    """How the operator wants it: who is accountable for imported service accounts, whether wide tokens of people
    become service tokens, and which names of 6.0 service tokens are those of people."""

    accountable: str
    convert_wide: bool = False
    people: frozenset[str] = frozenset()


class _LeftOut(Exception):
    """This row does not come, and why."""

    def __init__(self, kind: Kind, subject: str, told: str) -> None:
        self.kind, self.subject, self.told = kind, subject, told


class Plan:
    """Is asked for roles, pools, people and tokens, in this order. `counts` says how many were new, here, left out."""

    def __init__(self, here: Here, wishes: Wishes, note: Callable[[Kind, object, str], None], *, now: datetime) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.role_map: dict[str, str] = {}
        self._here, self._wishes, self._note, self._now = here, wishes, note, now
        self._roles: dict[str, int | None] = {USER_ROLE: self._max_days(USER_ROLE)}  # every OSMO has this one
        self._pools = {name for name, pool in here.pools.items() if not pool.left}
        self._owners: dict[str, KnownUser] = {}  # the people behind the names of the source
        self._arrived: set[str] = set()  # users that this import makes, in small letters
        self._settings: dict[str, dict[str, Any]] = {}  # of service accounts that are still to come
        self._token_names: set[tuple[str, str]] = set()
        self._numbers: Counter[tuple[str, str]] = Counter()  # the last one put behind a name that was in use
        self.unknown_people = set(wishes.people)

    def table(self) -> dict[str, dict[str, int]]:
        """How many of what are new, are here already, and are left out."""
        return {what: {outcome: self.counts[what, outcome] for outcome in OUTCOMES} for what in THINGS}

    def _considered(self, what: str, decide: Callable[..., T | None], *args: Any) -> T | None:
        try:
            return decide(*args)
        except _LeftOut as left:
            self.counts[what, "left out"] += 1
            self._note(left.kind, left.subject, left.told)
            return None

    # Roles and pools.

    def role(self, row: RoleRow) -> NewRole | None:
        return self._considered("roles", self._role, row)

    def _role(self, row: RoleRow) -> NewRole | None:
        name = row.name or ""
        known = self._here.roles.get(name)
        if known and known.left:
            raise _LeftOut(Kind.ENDED_HERE, f"role {name}", "was deleted in the portal")
        if not _fits(names.role_name, name):
            raise _LeftOut(Kind.INVALID, f"role {name}", "a role cannot be called that")
        try:
            policies = normalise(row.policies if row.policies is not None else [])
        except PolicyError as error:
            if not known:
                raise _LeftOut(Kind.INVALID, f"role {name}", str(error)) from None
            policies = []
        self._roles[name] = self._max_days(name)
        self._map(row)
        if known:
            self._keep_role(name, policies, known)
            return None
        self.counts["roles", "new"] += 1
        return NewRole(name, self._text(row.description, f"role {name}"), policies, _external(row))

    def _keep_role(self, name: str, policies: list[Any], known: KnownRole) -> None:
        self.counts["roles", "here"] += 1
        if policies == known.policies:
            return
        told = "its policies differ there; the portal's hold"
        pools = [line for line in describe(parse(policies)) if line.startswith(("pool ", "every pool"))]
        if name in NEVER_WITH_POOL_ACCESS and pools:
            told += f". It gives no pool access here, so this is left out: {shown('; '.join(pools))}"
        self._note(Kind.KEPT, f"role {name}", told)

    def _map(self, row: RoleRow) -> None:
        if row.sync_mode == "ignore" or row.name is None or row.name in NEVER_WITH_POOL_ACCESS:
            return
        for external in row.external or []:
            if set(external + row.name) & set(",=;") or not external.isprintable():
                self._note(Kind.MAPPINGS, external, f"to {row.name}: no comma, equals sign or semicolon fits")
            elif external in self.role_map:
                self._note(Kind.MAPPINGS, external, f"to {row.name}: it is mapped to {self.role_map[external]} already")
            else:
                self.role_map[external] = row.name

    def pool(self, row: PoolRow) -> NewPool | None:
        return self._considered("pools", self._pool, row)

    def _pool(self, row: PoolRow) -> NewPool | None:
        name = row.name or ""
        known = self._here.pools.get(name)
        if known and known.left:
            raise _LeftOut(Kind.ENDED_HERE, f"pool {name}", "was deleted in the portal")
        if not _fits(names.pool_name, name):
            raise _LeftOut(Kind.INVALID, f"pool {name}", "a pool cannot be called that")
        fields: dict[str, Any] = {
            "description": self._text(row.description, f"pool {name}"),
            "backend": self._text(row.backend, f"backend of pool {name}", names.MAX_LENGTH) or "default",
            "maintenance": bool(row.maintenance),
        }
        if known:
            self.counts["pools", "here"] += 1
            if known != KnownPool(**fields):
                self._note(Kind.KEPT, f"pool {name}", "it is described differently there; the portal's holds")
            return None
        self.counts["pools", "new"] += 1
        self._pools.add(name)
        spec = self._settings_of_pool(row, name)
        more = {"online": bool(row.online), "quota_limit": _guarantee(row.resources), "spec": spec}
        return NewPool(name, {**fields, **more})

    def _settings_of_pool(self, row: PoolRow, name: str) -> dict[str, Any]:
        """What `osmo config` shows of a pool beside what the console knows."""
        found = {key: value for key, value in _object(row.settings).items() if key in SETTINGS and value is not None}
        for key, fits in SHAPES.items():
            if not fits(found.get(key, {})):
                del found[key]
        if len(json.dumps(found)) <= MAX_SPEC:
            return found
        self._note(Kind.CLEANED, f"pool {name}", "its settings are too long and are left out")
        return {}

    # People.

    def person(self, row: PersonRow) -> Arrival | None:
        return self._considered("people", self._person_of, row)

    def _person_of(self, row: PersonRow) -> Arrival | None:
        folded = row.name.lower()
        known = self._here.users.get(folded)
        self.unknown_people.discard(row.name if row.is_account else "")
        if self._is_account(row, known):
            self._keep_for_account(row)
            return None
        if not _fits(names.user_id, row.name):
            raise _LeftOut(Kind.INVALID, row.name, "a user cannot be called that; nor come the tokens")
        if known and known.left:
            raise _LeftOut(Kind.ENDED_HERE, row.name, "was deleted in the portal; nor come the tokens")
        if known and known.is_service:
            told = "is a service account in the portal and a person there; the person and the tokens are left out"
            raise _LeftOut(Kind.COLLISIONS, row.name, told)
        if folded in self._arrived or (known and known.username != row.name and not row.alone):
            told = "differs from another user in case alone; this one and the tokens are left out"
            raise _LeftOut(Kind.COLLISIONS, row.name, told)
        self._owners[row.name] = known or KnownUser(row.name)
        arrival = self._person(row, known)
        self.counts["people", "here" if known else "new"] += 1
        return arrival if arrival.is_new or arrival.roles or arrival.settings else None

    def _person(self, row: PersonRow, known: KnownUser | None) -> Arrival:
        wanted = self._existing_roles(row.roles, row.name)
        username = known.username if known else row.name
        roles = self._missing(username, (role for role in wanted if role != USER_ROLE))
        if ADMINISTRATOR_ROLE in roles:
            self._note(Kind.ADMINISTRATORS, row.name, "becomes an administrator of the portal")
        if not known:
            self._arrived.add(row.name.lower())
        self.counts["role assignments", "new"] += len(roles)
        settings = self._settings_of(row, username)
        self.counts["profiles", "new"] += settings is not None
        return Arrival(username, is_new=not known, roles=roles, settings=settings)

    def _is_account(self, row: PersonRow, known: KnownUser | None) -> bool:
        """6.0 keeps a profile for each service token, so a profile of that name alone makes no person."""
        person = row.has_tokens or row.name in self._wishes.people or bool(known and not known.is_service)
        return row.is_account and not person

    def _keep_for_account(self, row: PersonRow) -> None:
        settings = self._settings_of(row, row.name)
        if settings:
            self._settings[row.name] = settings
            told = "has a service token and a profile with settings; taken for a service account (else: --person)"
            self._note(Kind.COLLISIONS, row.name, told)
        else:
            self._note(Kind.OWN_PROFILES, row.name, "has a service token of the same name")

    def _settings_of(self, row: PersonRow, username: str) -> dict[str, Any] | None:
        """What differs from the defaults, for whom has no settings here."""
        if username.lower() in self._here.with_settings:
            return None
        bucket, pool = row.bucket or None, row.pool or None
        if bucket and bucket not in self._here.buckets:
            self._note(Kind.CLEANED, row.name, f"its setting is left out: the bucket {shown(bucket)} is not in BUCKETS")
            bucket = None
        if pool and pool not in self._pools:
            self._note(Kind.CLEANED, row.name, f"its setting is left out: the pool {shown(pool)} does not exist")
            pool = None
        found = {
            "email_notification": bool(row.email_notification),
            "slack_notification": bool(row.slack_notification),
            "bucket": bucket,
            "pool": pool,
        }
        return {name: value for name, value in found.items() if value} or None

    # Tokens.

    def token(self, row: TokenRow, held: set[bytes], taken: set[tuple[str, str]]) -> Incoming | None:
        """`held` are digests that the portal has, also of ended tokens. `taken` are pairs of an owner and a token name
        that are in use in the portal."""
        return self._considered("tokens", self._token, row, held, taken)

    def _token(self, row: TokenRow, held: set[bytes], taken: set[tuple[str, str]]) -> Incoming | None:
        label = f"{row.owner or '(nobody)'}/{row.name or '(no name)'}"
        if row.digest is None or len(row.digest) != DIGEST_LENGTH:
            raise _LeftOut(Kind.INVALID, label, "its digest is not one of a secret")
        if row.digest in held:
            self.counts["tokens", "here"] += 1
            return None
        end = utc(row.expires_at)
        if end is None:
            raise _LeftOut(Kind.INVALID, label, "it has no end, so no server takes it")
        if end <= self._now:
            raise _LeftOut(Kind.EXPIRED, label, f"since {end:%Y-%m-%d}")
        if row.kind == "SERVICE":
            incoming = self._service_token(row, row.digest, end, label)
        elif row.kind == "USER":
            incoming = self._user_token(row, row.digest, end, label)
        else:
            raise _LeftOut(Kind.INVALID, label, "it is neither a user token nor a service token")
        return self._admitted(incoming, taken, label)

    def _user_token(self, row: TokenRow, digest: bytes, end: datetime, label: str) -> Incoming:
        if not row.owner:
            raise _LeftOut(Kind.WITHOUT_OWNER, label, "it is not said whose it is")
        owner = self._owners.get(row.owner)
        if owner is None:
            raise _LeftOut(Kind.LEFT_OUT, label, "its owner is left out")
        if not owner.is_active:
            raise _LeftOut(Kind.LEFT_OUT, label, "its owner is not active in the portal")
        roles = self._existing_roles(row.roles, label)
        wide = [role for role in roles if role != USER_ROLE]
        if wide and self._wishes.convert_wide:
            return self._converted(row, owner, roles, digest, end, label)
        if not roles or not self._may_get(owner.username, USER_ROLE):
            raise _LeftOut(Kind.LEFT_OUT, label, "no role is left that it could carry")
        if wide:
            self._note(Kind.OVER_PRIVILEGED, label, f"carries {shown(', '.join(roles))}; will carry {USER_ROLE} alone")
        return self._incoming(row, owner.username, digest, end, (USER_ROLE,))

    def _converted(
        self, row: TokenRow, owner: KnownUser, roles: tuple[str, ...], digest: bytes, end: datetime, label: str
    ) -> Incoming:
        name = self._free_name(f"{owner.username}-{row.name or 'token'}")
        told = f"carries {shown(', '.join(roles))}; becomes a service token of {name}, {owner.username} is accountable"
        self._note(Kind.OVER_PRIVILEGED, label, told)
        self._warn_of_administrators(roles, label)
        purpose = f"Was the user token {row.name} of {owner.username}"
        arrival = self._new_account(name, roles, owner.username, self._text(purpose, label))
        return self._incoming(row, name, digest, end, roles)._replace(arrival=arrival)

    def _service_token(self, row: TokenRow, digest: bytes, end: datetime, label: str) -> Incoming:
        """Its account is called as the token. One that the portal has already is taken, a person's name is not."""
        wanted = row.name or ""
        if not wanted:
            raise _LeftOut(Kind.WITHOUT_OWNER, label, "it is not said whose it is")
        known = self._here.users.get(wanted.lower())
        if known and known.left:
            raise _LeftOut(Kind.ENDED_HERE, label, "its service account was deleted in the portal")
        if known and known.is_service and not known.is_active:
            raise _LeftOut(Kind.LEFT_OUT, label, "its service account is not active in the portal")
        joined = known if known and known.is_service else None
        roles = self._existing_roles(row.roles, label)
        if joined:
            roles = tuple(role for role in roles if self._may_get(joined.username, role))
        if not roles:
            raise _LeftOut(Kind.LEFT_OUT, label, "no role is left that it could carry")
        self._warn_of_administrators(roles, label)
        if joined:
            return self._joining(row, joined.username, roles, digest, end, label)
        return self._of_new_account(row, roles, digest, end, label)

    def _joining(
        self, row: TokenRow, account: str, roles: tuple[str, ...], digest: bytes, end: datetime, label: str
    ) -> Incoming:
        self._note(Kind.COLLISIONS, label, f"goes to the service account {account}, which the portal has")
        missing = self._missing(account, roles)
        self.counts["role assignments", "new"] += len(missing)
        arrival = Arrival(account, is_new=False, is_service=True, roles=missing)
        return self._incoming(row, account, digest, end, roles)._replace(arrival=arrival)

    def _of_new_account(
        self, row: TokenRow, roles: tuple[str, ...], digest: bytes, end: datetime, label: str
    ) -> Incoming:
        wanted = row.name or ""
        person = wanted.lower() in self._here.users or wanted.lower() in self._arrived
        name = self._free_name(f"{wanted}-service" if person else wanted)
        if person:
            self._note(Kind.COLLISIONS, label, f"somebody else is called that; the service account becomes {name}")
        elif name != wanted:
            self._note(Kind.CLEANED, label, f"the service account becomes {name}")
        arrival = self._new_account(name, roles, self._wishes.accountable, "Came with its token from OSMO")
        settings = self._settings.pop(wanted, None)
        self.counts["profiles", "new"] += settings is not None
        arrival = arrival._replace(settings=settings)
        return self._incoming(row, name, digest, end, roles)._replace(arrival=arrival)

    def _new_account(self, name: str, roles: tuple[str, ...], accountable: str, purpose: str) -> Arrival:
        self._arrived.add(name.lower())
        self.counts["service accounts", "new"] += 1
        self.counts["role assignments", "new"] += len(roles)
        return Arrival(name, is_new=True, is_service=True, roles=roles, accountable=accountable, purpose=purpose)

    def _incoming(self, row: TokenRow, owner: str, digest: bytes, end: datetime, roles: tuple[str, ...]) -> Incoming:
        return Incoming(owner, row.name or "", row.description or "", end, digest, roles)

    def _admitted(self, token: Incoming, taken: set[tuple[str, str]], label: str) -> Incoming:
        """With an end, a name and a description that the portal allows."""
        limits = filter(None, [self._here.max_days, *(self._roles[role] for role in token.roles)])
        latest = midnight(self._now.date() + timedelta(days=min(limits)))
        if token.expires_at > latest:
            self._note(Kind.OVER_LONG, label, f"ends on {latest:%Y-%m-%d} instead of {token.expires_at:%Y-%m-%d}")
        name = self._token_name(token, taken)
        if name != token.name:
            self._note(Kind.CLEANED, label, f"the token is called {shown(name)}")
        self._token_names.add((token.owner, name))
        self.counts["tokens", "new"] += 1
        text = self._text(token.description, label)
        return token._replace(name=name, description=text, expires_at=min(token.expires_at, latest))

    def _token_name(self, token: Incoming, taken: set[tuple[str, str]]) -> str:
        name = _spelled(token.name, "token", _is_token_name)

        def in_use(name: str) -> bool:
            return (token.owner, name) in taken or (token.owner, name) in self._token_names

        return self._numbered(name, in_use, token.owner)

    # What both need.

    def _existing_roles(self, wanted: Iterable[str | None] | None, label: str) -> tuple[str, ...]:
        """Those that the source has and the portal takes. osmo-default counts for everybody and is given to nobody."""
        known = dict.fromkeys(role for role in wanted or [] if role and role != DEFAULT_ROLE)
        for role in known:
            if role not in self._roles:
                self._note(Kind.LOST_ROLES, label, f"the role {shown(role)} does not exist there, or is left out")
        return tuple(sorted(role for role in known if role in self._roles))

    def _may_get(self, username: str, role: str) -> bool:
        """Whether the user holds the role or never did. What was taken away here is not given back."""
        if self._here.held.get((username.lower(), role), True):
            return True
        self._note(Kind.ENDED_HERE, username, f"the role {role} was taken away in the portal")
        return False

    def _missing(self, username: str, roles: Iterable[str]) -> tuple[str, ...]:
        allowed = [role for role in roles if self._may_get(username, role)]
        return tuple(role for role in allowed if (username.lower(), role) not in self._here.held)

    def _warn_of_administrators(self, roles: tuple[str, ...], label: str) -> None:
        if ADMINISTRATOR_ROLE in roles:
            self._note(Kind.ADMINISTRATORS, label, "the token has the power of an administrator")

    def _max_days(self, role: str) -> int | None:
        known = self._here.roles.get(role)
        return known.max_days if known else None

    def _free_name(self, wanted: str) -> str:
        """A user id like the wanted one, that nobody has."""
        name = _spelled(wanted, "account", lambda text: _fits(names.user_id, text))
        return self._numbered(name, lambda name: name.lower() in self._here.users or name.lower() in self._arrived)

    def _numbered(self, name: str, in_use: Callable[[str], bool], among: str = "") -> str:
        """name, or the first of name-2, name-3, … that is free."""
        found, stem = name, name[: names.MAX_LENGTH - 20]
        while in_use(found):
            self._numbers[among, stem] += 1
            found = f"{stem}-{self._numbers[among, stem] + 1}"
        return found

    def _text(self, value: str | None, label: str, limit: int = names.MAX_TEXT) -> str:
        given = (value or "").strip()
        if given.isprintable() and len(given) <= limit:
            return given
        text = "".join(c for c in given if c.isprintable() or c in "\n\t\r")[:limit].strip()
        if text != given:
            self._note(Kind.CLEANED, label, "its text lost what is too long or cannot be printed")
        return text


def midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def _fits(validator: names.NameValidator, name: str) -> bool:
    return len(name) <= names.MAX_LENGTH and validator.fits(name)


def _spelled(name: str, instead: str, fits: Callable[[str], bool]) -> str:
    """The name, or what is nearest to it and fits. Room is left for a number."""
    if fits(name):
        return name
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "-" for c in name).strip("-_")
    near = kept[: names.MAX_LENGTH - 20].rstrip("-_")
    return next((text for text in (near, f"{instead}-{near}") if fits(text)), instead)


def _is_token_name(name: str) -> bool:
    try:
        rules.check_name(name)
    except ValidationError:
        return False
    return True


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _of_objects(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(inner, dict) for inner in value.values())


# Of these settings the portal reads what is in them.
SHAPES: dict[str, Callable[[Any], bool]] = {
    "platforms": _of_objects,
    "resources": lambda value: isinstance(value, dict) and isinstance(value.get("gpu"), dict | None),
    "default_platform": lambda value: isinstance(value, str) or value == {},
}


def _external(row: RoleRow) -> dict[str, Any]:
    """As `Role.create` takes it; what it would not take is left out."""
    names_there = [name for name in row.external or [] if name and name.isprintable()][:MAX_EXTERNAL_ROLES]
    short = [name for name in names_there if len(name) <= names.MAX_LENGTH]
    external: dict[str, Any] = {"external_roles": short} if row.external is not None else {}
    return external | ({"sync_mode": row.sync_mode} if row.sync_mode in SyncMode.values else {})


def _guarantee(resources: Any) -> int:
    """GPUs that the pool is sure of, where the source says a number; it writes -1 for no limit."""
    gpu = resources.get("gpu") if isinstance(resources, dict) else None
    number = gpu.get("guarantee") if isinstance(gpu, dict) else None
    return number if isinstance(number, int) and 0 <= number <= MAX_GPUS else 0
