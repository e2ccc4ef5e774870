"""How the ways in for sets work through them: a batch of tokens after the other, each committed with its event."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.db import connection, models
from django.db.models.functions import Cast
from django.utils.crypto import get_random_string

from osmo_portal.events.actor import Actor
from osmo_portal.events.models import EventLine, Line
from osmo_portal.events.trail import audited, record
from profiles.models import User
from tokens.models.keys import Keys
from tokens.models.purged_secret import PurgedSecret
from tokens.models.secret import Secret

if TYPE_CHECKING:
    from tokens.models.access_token import AccessToken
    from tokens.models.token_set import AccessTokenQuerySet

# Measured: on PostgreSQL small batches keep waits short, on SQLite large ones cost less.
BATCH_SIZES = {"postgresql": 1_000, "sqlite": 10_000}
PURGED_AT_ONCE = 1_000  # a deletion takes longer than a change, and others wait for it
Progress = Callable[[int], None]


def _each_batch(size: int, do: Callable[[int], list[int]], progress: Progress | None) -> int:
    """Calls `do` with the last key that was done until it does less than `size`; it returns the keys it did.

    Each batch commits with its event, so readers and other writers wait for one batch at most.
    """
    done, last = 0, 0
    while True:
        with audited():
            keys = do(last)
        done += len(keys)
        if progress:
            progress(done)
        if len(keys) < size:
            return done
        last = keys[-1]


def change(
    tokens: "AccessTokenQuerySet",
    action: str,
    by: Actor,
    reason: str,
    values: dict[str, Any],
    operation: str = "",
    batch_size: int | None = None,
    progress: Progress | None = None,
    hold_owners: bool = False,
) -> int:
    """Gives the tokens those values; `progress` is told after each batch how many are done. Returns how many."""
    size = batch_size or BATCH_SIZES[connection.vendor]
    operation = operation or get_random_string(16)
    tokens = tokens.prefetch_related(None).order_by("pk")

    def do(last: int) -> list[int]:
        rest = tokens.filter(pk__gt=last)
        if hold_owners:
            rest = rest.filter(owner__in=_held_owners(rest[:size]))
        locked = rest.select_for_update(of=("self",), no_key=True)
        batch: list[Found] = list(locked.values_list(*FOUND)[:size])
        if batch:
            _change_batch(batch, tokens.model, action, by, reason, values, operation)
        return [found[0] for found in batch]

    return _each_batch(size, do, progress)


# What a line tells of a token: key, owner, name, and when it expires as the database writes it. Instances of the model,
# and of times, would cost more than to change the rows.
Found = tuple[int, str, str, str]
FOUND: tuple[Any, ...] = ("pk", "owner__username", "name", Cast("expires_at", models.TextField()))


def _change_batch(
    batch: list[Found],
    model: "type[AccessToken]",
    action: str,
    by: Actor,
    reason: str,
    values: dict[str, Any],
    operation: str,
) -> None:
    changed = model.objects.filter(pk__in=Keys(found[0] for found in batch))
    changed.update(**values)
    lines: list[Line] = [
        (pk, f"{owner}/{name}"[:600], _iso(expires), end)
        for (pk, owner, name, expires), end in zip(batch, _ends(batch, changed, values), strict=True)
    ]
    record(action, by, model(), label=how_many(lines), reason=reason, lines=lines, operation=operation)


@lru_cache(maxsize=4_096)  # most tokens end at a midnight, and many at the same
def _iso(written: str) -> str:
    """An instant in UTC as the database writes it, in the way of datetime.isoformat()."""
    second, _, fraction = written.removesuffix("+00").replace(" ", "T").partition(".")
    return f"{second}.{fraction:0<6}+00:00" if fraction else f"{second}+00:00"


def _ends(batch: list[Found], changed: "AccessTokenQuerySet", values: dict[str, Any]) -> list[str]:
    """When the tokens of the batch expire after the change; read again only where the database worked it out."""
    end = values.get("expires_at")
    if end is None:
        return [_iso(found[3]) for found in batch]
    if isinstance(end, datetime):
        return [end.astimezone(UTC).isoformat()] * len(batch)
    ends = dict(changed.values_list("pk", "expires_at"))
    return [ends[found[0]].isoformat() for found in batch]


def _held_owners(tokens: "AccessTokenQuerySet") -> list[int]:
    """The owners, their rows locked: a deactivation at the same time comes before, and is seen, or after, and suspends
    again."""
    owners = {*tokens.values_list("owner", flat=True)}
    held = User.objects.filter(pk__in=owners).select_for_update(no_key=True).order_by("pk")
    return list(held.values_list("pk", flat=True))


def purge(tokens: "AccessTokenQuerySet", by: Actor, size: int, progress: Progress | None, **details: Any) -> int:
    """Deletes the records of the tokens with all that hangs on them. Returns how many."""
    gone = tokens.select_related("owner").select_for_update(of=("self",)).order_by("pk")
    gone = gone.only("name", "expires_at", "suspended_at", "ended_at", "owner__username")
    details["operation"] = get_random_string(16)

    def do(last: int) -> list[int]:
        batch = list(gone.filter(pk__gt=last)[:size])
        if batch:
            _purge_batch(batch, by, **details)
        return [token.pk for token in batch]

    return _each_batch(size, do, progress)


def _purge_batch(batch: list["AccessToken"], by: Actor, **details: Any) -> None:
    of, model = {token.pk: token for token in batch}, type(batch[0])
    known = Secret.objects.filter(token__in=of).order_by("pk")
    PurgedSecret.objects.bulk_create(of[secret.token_id].remains_of(secret) for secret in known)
    for relation in model._meta.related_objects:
        _erase(relation.field.model._base_manager.filter(**{f"{relation.field.name}__in": Keys(of)}))
    _erase(model._base_manager.filter(pk__in=Keys(of)))
    lines = [
        EventLine(object_id=token.pk, object_label=str(token)[:600], before=token.state(), after="purged")
        for token in batch
    ]
    record("tokens.purged", by, model(), label=how_many(lines), lines=lines, **details)


def _erase(rows: models.QuerySet[Any]) -> None:
    """In one statement. delete() would read all that refers to the rows first, and refuses audited ones."""
    table, key = (connection.ops.quote_name(name) for name in (rows.model._meta.db_table, rows.model._meta.pk.column))
    found, values = rows.order_by().values("pk").query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {table} WHERE {key} IN ({found})", values)  # noqa: S608  (Django wrote it)


def how_many(lines: Sequence[EventLine | Line]) -> str:
    return f"{len(lines)} token{'s' if len(lines) > 1 else ''}"
