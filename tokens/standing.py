"""What a secret may do at this moment, computed at use: one query, for the exchange and for every JWT."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Exists, TextChoices
from django.utils import timezone

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
    (UTC) at which the secret ends at the latest; `refusal` is None where the secret works."""

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

    @property
    def label(self) -> str:
        return f"{self.owner.username}/{self.token_name}"


_OWNER_FIELDS = {"id", "username", "kind", "display_name", "email", "is_active", "deleted_at", "accountable_id"}
# from_db wants them in the model's order.
_OWNER = tuple(f.attname for f in User._meta.concrete_fields if f.attname in _OWNER_FIELDS)
_COLUMNS = (
    *(f"token__owner__{name}" for name in _OWNER),
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


def of_secret(digest: bytes) -> Standing | None:
    """None where no secret has that digest."""
    return _fold(Secret.objects.filter(digest=digest))


def of_jwt(*, token_id: int, secret_id: int, kid: str) -> Standing | None:
    """None where there is no such secret of that token, or the signing key counts no longer."""
    key = SigningKey.objects.published().filter(kid=kid)
    return _fold(Secret.objects.filter(Exists(key), pk=secret_id, token_id=token_id))


def of_terminal(*, terminal_id: int, kid: str) -> TerminalSignIn | None:
    """The live sign-in of an active person; None where there is none, or the signing key counts no longer."""
    key = SigningKey.objects.published().filter(kid=kid)
    live = TerminalSignIn.objects.live().filter(Exists(key), pk=terminal_id)
    return live.filter(owner__in=User.objects.active().people()).select_related("owner").first()


def of_token(token: AccessToken) -> Refusal | None:
    """Why the token would be refused now, whichever of its live secrets is sent; None where it works."""
    given = [given.assignment.role for given in token.roles.all()]
    ends = min(token.expires_at, token.issued_at + timedelta(days=rules.maximum_days(given)))
    row = {
        "token__ended_at": token.ended_at,
        "token__suspended_at": token.suspended_at,
        "slot": 0,
        "retires_at": None,
    }
    return _refusal(row, token.owner, tuple(token.role_names), ends)


def _fold(secrets: Any) -> Standing | None:
    """One row a role (a left join: at least one), folded here, since SQLite has no arrays."""
    rows = list(secrets.order_by().values_list(*_COLUMNS))
    if not rows:
        return None
    owner = User.from_db("default", _OWNER, rows[0][: len(_OWNER)])
    first = dict(zip(_COLUMNS[len(_OWNER) :], rows[0][len(_OWNER) :], strict=True))
    roles = tuple(sorted(name for *_, removed, deleted, name, _ in rows if name and not removed and not deleted))
    lifetimes = [settings.MAX_TOKEN_DAYS, *(row[-1] for row in rows if row[-1])]
    ends = min(first["token__expires_at"], first["token__issued_at"] + timedelta(days=min(lifetimes)))
    return Standing(
        secret_id=first["id"],
        token_id=first["token_id"],
        token_name=first["token__name"],
        expires_at=first["token__expires_at"],
        dead_at=min(ends, first["retires_at"] or ends),
        owner=owner,
        roles=roles,
        refusal=_refusal(first, owner, roles, ends),
        awaits_first_use=_awaits_first_use(first),
        last_used_at=first["token__last_use__at"],
    )


def _awaits_first_use(row: dict[str, Any]) -> bool:
    """Whether this is the newest secret of a rotated token, not used so far. Older ones have an end."""
    return bool(row["token__rotations"]) and row["retires_at"] is None and row["first_used_at"] is None


def _refusal(row: dict[str, Any], owner: User, roles: tuple[str, ...], ends: datetime) -> Refusal | None:
    now = timezone.now()
    if row["token__ended_at"]:
        return Refusal.REVOKED
    if now >= ends:
        return Refusal.EXPIRED
    if row["slot"] is None or (row["retires_at"] and now >= row["retires_at"]):
        return Refusal.RETIRED
    if not owner.is_active or owner.deleted_at:
        return Refusal.OWNER_INACTIVE
    if row["token__suspended_at"]:
        return Refusal.SUSPENDED
    return None if roles else Refusal.NO_ROLE_LEFT
