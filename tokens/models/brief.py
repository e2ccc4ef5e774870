"""What a list shows of its tokens' users, roles and last uses: three queries for all of them, and few objects.

Made of whole records, joined or fetched beside, it was a third of the work of a page.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from profiles.models import User
from tokens.models.keys import Keys
from tokens.models.last_use import LastUse
from tokens.models.token_role import TokenRole, is_effective

if TYPE_CHECKING:
    from tokens.models.access_token import AccessToken

FETCHED_ROLES = "fetched_roles"  # where a token has the roles that were fetched beside it
USERS = ("owner", "created_by", "ended_by")


class PutRole(NamedTuple):
    """What a list asks of a TokenRole."""

    role_id: int
    role_name: str
    removed_at: datetime | None
    deleted_at: datetime | None

    @property
    def is_effective(self) -> bool:
        return is_effective(self.removed_at, self.deleted_at)


class Use(NamedTuple):
    """What a list asks of a LastUse."""

    at: datetime | None
    ip: str | None
    agent: str


NEVER = Use(None, None, "")  # also of a token that was purged a moment after it was read


def complete(tokens: Sequence["AccessToken"], using: str) -> None:
    """Gives each token its users by name and kind, its last use as Use, and its roles as PutRole."""
    users = _users(tokens, using)
    keys = Keys(token.pk for token in tokens)
    rows = LastUse.objects.using(using).filter(pk__in=keys).values_list("pk", *Use._fields)
    uses: dict[int, Any] = {token: Use(*use) for token, *use in rows}
    roles = _roles(keys, using)
    for token in tokens:
        known = token._state.fields_cache
        known.update(
            {name: users.get(getattr(token, f"{name}_id")) for name in USERS}, last_use=uses.get(token.pk, NEVER)
        )
        setattr(token, FETCHED_ROLES, roles.get(token.pk, []))


def _users(tokens: Sequence["AccessToken"], using: str) -> dict[int | None, User]:
    keys = {getattr(token, f"{name}_id") for token in tokens for name in USERS} - {None}
    found = User.objects.using(using).filter(pk__in=Keys(keys)).order_by()
    return {user.pk: user for user in found.only("username", "kind")}


def _roles(keys: Keys, using: str) -> dict[int, list[PutRole]]:
    paths = ("role_id", "role__name", "removed_at", "role__deleted_at")
    put = TokenRole.objects.using(using).filter(token__in=keys).order_by()
    roles: dict[int, list[PutRole]] = {}
    for token, *role in put.values_list("token_id", *(f"assignment__{path}" for path in paths)):
        roles.setdefault(token, []).append(PutRole(*role))
    return roles
