"""Tokens that come from another system."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from django.core.exceptions import ValidationError

from osmo_portal.events import rows
from profiles import names
from profiles.models import Role, RoleAssignment, User
from tokens import rules, secrets
from tokens.models.keys import Keys
from tokens.models.last_use import LastUse
from tokens.models.purged_secret import PurgedSecret
from tokens.models.secret import Secret
from tokens.models.token_role import TokenRole

if TYPE_CHECKING:
    from tokens.models.access_token import AccessToken


class Arriving(NamedTuple):
    """A token that comes from another system: `owner` is a user here, `digest` the 32 bytes kept there."""

    owner: User
    name: str
    expires_at: datetime
    digest: bytes
    roles: Sequence[str]
    description: str = ""

    def facts(self, now: datetime) -> dict[str, Any]:
        """The fields of the token that it becomes."""
        text = names.clean_text(self.description, field="description")
        return {
            "owner": self.owner,
            "name": self.name,
            "description": text,
            "issued_at": now,
            "expires_at": self.expires_at,
        }


def held_assignments(arriving: Iterable[Arriving]) -> dict[tuple[int, str], int]:
    """The assignments of the owners, by owner and role. Their rows are locked; who is not active holds nothing."""
    owners = User.objects.active().filter(pk__in=Keys({one.owner.pk for one in arriving}))
    locked = owners.select_for_update(of=("self",), no_key=True).order_by("pk").values_list("pk", flat=True)
    held = RoleAssignment.objects.effective().filter(user__in=Keys(locked)).order_by()
    return {(user, role): pk for user, role, pk in held.values_list("user_id", "role__name", "pk")}


def check_arrival(arriving: Iterable[Arriving], held: dict[tuple[int, str], int], now: datetime) -> None:
    latest: dict[tuple[str, ...], datetime] = {}
    for one in arriving:
        rules.check_arrival(one.owner, one.name, one.roles, held)
        carried = tuple(one.roles)
        if carried not in latest:
            latest[carried] = rules.latest_end(Role.objects.existing().filter(name__in=carried), now)
        if not now < one.expires_at <= latest[carried]:
            raise ValidationError(f"The token {one.name} has ended, or would live too long.", code="date")
        if len(one.digest) != secrets.DIGEST_LENGTH:
            raise ValidationError(f"The digest of the token {one.name} is none.")


def bring_what_belongs_to(
    tokens: list["AccessToken"], arriving: Sequence[Arriving], held: dict[tuple[int, str], int]
) -> None:
    pairs = [*zip(tokens, arriving, strict=True)]
    carried = ((token.pk, held[token.owner_id, role]) for token, one in pairs for role in one.roles)
    TokenRole.objects.insert_values(["token", "assignment"], carried)
    rows.insert_values(LastUse, ["token", "agent"], ((token.pk, "") for token in tokens))
    columns = ["token", "slot", "digest", "hint", "created_at", "retires_with_next"]
    values = ((token.pk, 0, one.digest, "", token.issued_at, False) for token, one in pairs)
    Secret.objects.insert_values(columns, values)
    PurgedSecret.objects.refuse(one.digest for one in arriving)
