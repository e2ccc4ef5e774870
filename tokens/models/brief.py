"""What a list shows of its tokens' users, roles and last uses: three queries for all of them, and few objects.

Made of whole records, joined or fetched beside, it was a third of the work of a page.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from osmo_portal.compiled import Compiled
from profiles.models import User
from tokens.models.keys import GivenKeys, written
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


_KEYS = GivenKeys()
_USER = ("id", "username", "kind")
_USERS = Compiled(lambda: User.objects.filter(pk__in=_KEYS).order_by().values_list(*_USER))
_USES = Compiled(lambda: LastUse.objects.filter(pk__in=_KEYS).values_list("pk", *Use._fields))
_ROLES = Compiled(
    lambda: (
        TokenRole.objects.filter(token__in=_KEYS)
        .order_by()
        .values_list(
            "token_id",
            "assignment__role_id",
            "assignment__role__name",
            "assignment__removed_at",
            "assignment__role__deleted_at",
        )
    )
)


def complete(tokens: Sequence["AccessToken"], using: str) -> None:
    """Gives each token its users by name and kind, its last use as Use, and its roles as PutRole."""
    keys = written(token.pk for token in tokens)
    users = _users(tokens, using)
    uses: dict[int, Any] = {token: Use(*use) for token, *use in _USES.rows(using, keys=keys)}
    roles: dict[int, list[PutRole]] = {}
    for token, *role in _ROLES.rows(using, keys=keys):
        roles.setdefault(token, []).append(PutRole(*role))
    for token in tokens:
        known = token._state.fields_cache
        known.update(
            {name: users.get(getattr(token, f"{name}_id")) for name in USERS}, last_use=uses.get(token.pk, NEVER)
        )
        setattr(token, FETCHED_ROLES, roles.get(token.pk, []))


def _users(tokens: Sequence["AccessToken"], using: str) -> dict[int | None, User]:
    keys = {getattr(token, f"{name}_id") for token in tokens for name in USERS} - {None}
    return {row[0]: User.from_db(using, _USER, row) for row in _USERS.rows(using, keys=written(keys))}
