"""Tokens that come from another system."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

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

COLUMNS = ["id", "owner", "name", "description", "issued_at", "expires_at", "rotations", "end_reason"]


class Arriving(NamedTuple):
    """A token that comes from another system: `owner` is a user here, `digest` the 32 bytes kept there."""

    owner: User
    name: str
    expires_at: datetime
    digest: bytes
    roles: Sequence[str]
    description: str = ""

    def __str__(self) -> str:
        return f"{self.owner.username}/{self.name}"

    def values(self, key: int, now: datetime) -> tuple[Any, ...]:
        """Of the token that it becomes: what COLUMNS say."""
        text = names.clean_text(self.description, field="description")
        return key, self.owner.pk, self.name, text, now, self.expires_at, 0, ""


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
    arrived: Sequence[tuple[int, Arriving]], held: dict[tuple[int, str], int], now: datetime
) -> None:
    """`arrived` are tokens by their keys. Raises ValidationError where one's digest is that of a purged secret."""
    carried = ((key, held[one.owner.pk, role]) for key, one in arrived for role in one.roles)
    TokenRole.objects.insert_values(["token", "assignment"], carried)
    rows.insert_values(LastUse, ["token", "agent"], ((key, "") for key, _ in arrived))
    columns = ["token", "slot", "digest", "hint", "created_at", "retires_with_next"]
    Secret.objects.insert_values(columns, ((key, 0, one.digest, "", now, False) for key, one in arrived))
    PurgedSecret.objects.refuse(one.digest for _, one in arrived)
