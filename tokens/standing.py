"""What a secret may do at this moment, computed at use: one query, for the exchange and for every JWT."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import BigIntegerField, BinaryField, CharField, DateTimeField, Exists, Subquery, TextChoices
from django.utils import timezone

from osmo_portal import clock
from osmo_portal.compiled import Compiled, Given
from profiles.models import User
from tokens import rules
from tokens.models import AccessToken, Secret, SigningKey, TerminalSignIn


class Refusal(TextChoices):
    """Why a proven secret is refused. The label is told to its holder, and to nobody else."""

    REVOKED = "revoked", "Access Token has been revoked"
    EXPIRED = "expired", "Access Token has expired"
    RETIRED = "retired", "Access Token was rotated and its old secret has ended"
    SUSPENDED = "suspended", "Access Token is suspended"
    OWNER_INACTIVE = "owner_inactive", "The owner of this Access Token is not active"
    NO_ROLE_LEFT = "no_role_left", "Access Token has no role left: its owner lost all that it carried"


@dataclass(frozen=True, slots=True)
class Standing:
    """A secret, its token and its owner as they are now. `roles` are the live ones, sorted; `dead_at` is the instant
    (UTC) at which the secret ends at the latest; `refusal` is None where the secret works; `kid` is the key that signs
    now, where a secret was asked for and there is a key."""

    secret_id: int
    token_id: int
    token_name: str
    expires_at: datetime
    dead_at: datetime
    owner: User
    roles: tuple[str, ...]
    refusal: Refusal | None
    awaits_first_use: bool
    last_used_at: datetime | None
    kid: str | None

    @property
    def label(self) -> str:
        return f"{self.owner.username}/{self.token_name}"


_OWNER_FIELDS = {"id", "username", "kind", "display_name", "email", "is_active", "deleted_at", "accountable_id"}
# from_db wants them in the model's order.
_OWNER = tuple(f.attname for f in User._meta.concrete_fields if f.attname in _OWNER_FIELDS)
_PATHS = (
    "id",
    "slot",
    "retires_at",
    "first_used_at",
    "token_id",
    "token__name",
    "token__issued_at",
    "token__expires_at",
    "token__suspended_at",
    "token__ended_at",
    "token__rotations",
    "token__last_use__at",
    "token__roles__assignment__removed_at",
    "token__roles__assignment__role__deleted_at",
    "token__roles__assignment__role__name",
    "token__roles__assignment__role__max_token_days",
)


class _Row(NamedTuple):
    """What _PATHS lead to, the database's clock, and the key that signs now."""

    secret: int
    slot: int | None
    retires_at: datetime | None
    first_used_at: datetime | None
    token: int
    name: str
    issued_at: datetime
    expires_at: datetime
    suspended_at: datetime | None
    ended_at: datetime | None
    rotations: int
    last_used_at: datetime | None
    removed_at: datetime | None = None
    deleted_at: datetime | None = None
    role: str | None = None
    max_token_days: int | None = None
    clock: datetime | None = None
    kid: str | None = None


def _facts(secrets: Any, *more: Any) -> Any:
    """One row a role (a left join: at least one), since SQLite has no arrays."""
    owner = [f"token__owner__{name}" for name in _OWNER]
    return secrets.order_by().values_list(*owner, *_PATHS, clock.theirs(), *more)


_NOW: Any = Given("now", DateTimeField())
_OF_SECRET = Compiled(
    lambda: _facts(
        Secret.objects.filter(digest=Given("digest", BinaryField())),
        Subquery(SigningKey.objects.signing(_NOW).values("kid")[:1]),
    )
)
_OF_JWT = Compiled(
    lambda: _facts(
        Secret.objects.filter(
            Exists(SigningKey.objects.published(_NOW).filter(kid=Given("kid", CharField()))),
            pk=Given("secret_id", BigIntegerField()),
            token_id=Given("token_id", BigIntegerField()),
        )
    )
)


def of_secret(digest: bytes) -> Standing | None:
    """None where no secret has that digest."""
    now = timezone.now()
    return _folded(_OF_SECRET.rows(digest=digest, now=now), now)


def of_jwt(*, token_id: int, secret_id: int, kid: str) -> Standing | None:
    """None where there is no such secret of that token, or the signing key counts no longer."""
    now = timezone.now()
    return _folded(_OF_JWT.rows(token_id=token_id, secret_id=secret_id, kid=kid, now=now), now)


def of_terminal(*, terminal_id: int, kid: str) -> TerminalSignIn | None:
    """The live sign-in of an active person; None where there is none, or the signing key counts no longer."""
    key = SigningKey.objects.published().filter(kid=kid)
    live = TerminalSignIn.objects.live().filter(Exists(key), pk=terminal_id)
    return live.filter(owner__in=User.objects.active().people()).select_related("owner").first()


def of_token(token: AccessToken) -> Refusal | None:
    """Why the token would be refused now, whichever of its live secrets is sent; None where it works."""
    given = [given.assignment.role for given in token.put_roles()]
    ends = min(token.expires_at, token.issued_at + timedelta(days=rules.maximum_days(given)))
    live = _Row(
        secret=0,
        slot=0,
        retires_at=None,
        first_used_at=None,
        token=token.pk,
        name=token.name,
        issued_at=token.issued_at,
        expires_at=token.expires_at,
        suspended_at=token.suspended_at,
        ended_at=token.ended_at,
        rotations=token.rotations,
        last_used_at=None,
    )
    return _refusal(live, token.owner, tuple(token.role_names), ends, timezone.now())


def _folded(rows: list[tuple[Any, ...]], now: datetime) -> Standing | None:
    if not rows:
        return None
    owner = User.from_db("default", _OWNER, rows[0][: len(_OWNER)])
    facts = [_Row(*row[len(_OWNER) :]) for row in rows]
    first = facts[0]
    now = max(now, first.clock or now)
    roles = tuple(sorted(row.role for row in facts if row.role and not row.removed_at and not row.deleted_at))
    days = min([settings.MAX_TOKEN_DAYS, *(row.max_token_days for row in facts if row.max_token_days)])
    ends = min(first.expires_at, first.issued_at + timedelta(days=days))
    return Standing(
        secret_id=first.secret,
        token_id=first.token,
        token_name=first.name,
        expires_at=first.expires_at,
        dead_at=min(ends, first.retires_at or ends),
        owner=owner,
        roles=roles,
        refusal=_refusal(first, owner, roles, ends, now),
        awaits_first_use=_awaits_first_use(first),
        last_used_at=first.last_used_at,
        kid=first.kid,
    )


def _awaits_first_use(row: _Row) -> bool:
    """Whether this is the newest secret of a rotated token, not used so far. Older ones have an end."""
    return bool(row.rotations) and row.retires_at is None and row.first_used_at is None


def _refusal(row: _Row, owner: User, roles: tuple[str, ...], ends: datetime, now: datetime) -> Refusal | None:
    if row.ended_at:
        return Refusal.REVOKED
    if now >= ends:
        return Refusal.EXPIRED
    if row.slot is None or (row.retires_at and now >= row.retires_at):
        return Refusal.RETIRED
    if not owner.is_active or owner.deleted_at:
        return Refusal.OWNER_INACTIVE
    if row.suspended_at:
        return Refusal.SUSPENDED
    return None if roles else Refusal.NO_ROLE_LEFT
