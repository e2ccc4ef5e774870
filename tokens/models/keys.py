"""Many keys as one parameter of a query: to write down a thousand of them takes longer than to find their rows."""

from collections.abc import Iterable
from itertools import chain, islice, pairwise
from typing import Any

from django.db import connection
from django.db.models import BigIntegerField, BinaryField, Func, Subquery, TextField, Value

from osmo_portal.compiled import Given


def written(keys: Iterable[int]) -> str:
    """As both databases take them apart."""
    # In parts: to join millions at once would make a list of as many texts.
    rest = iter(keys)
    parts = iter(lambda: ",".join(map(str, islice(rest, 1_000))), "")
    shape = "{{{}}}" if connection.vendor == "postgresql" else "[{}]"
    return shape.format(",".join(parts))


class Keys(Func):
    """For `pk__in`. A text, {1,2,3} for PostgreSQL and [1,2,3] for SQLite, that the database takes apart."""

    output_field = BigIntegerField()
    template = "SELECT unnest(%(expressions)s::bigint[])"  # a constant: the planner sees how many they are

    def __init__(self, keys: Iterable[int]) -> None:
        super().__init__(Value(written(keys), output_field=TextField()))

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="SELECT value FROM json_each(%(expressions)s)", **context)


class GivenKeys(Keys):
    """As Keys, in a query that is compiled once: its `rows` are given `keys`, `written`. For a page of them: PostgreSQL
    keeps a plan for few."""

    def __init__(self) -> None:
        Func.__init__(self, Given("keys", TextField()))


class CloseKeys(Keys):
    """As Keys, for millions: each is written as its distance from the one before. Where keys lie close together the
    text, of which a query makes many copies, takes a quarter of the memory."""

    template = "SELECT (sum(step) OVER (ROWS UNBOUNDED PRECEDING))::bigint FROM unnest(%(expressions)s::bigint[]) step"

    def __init__(self, keys: Iterable[int]) -> None:
        super().__init__(key - before for before, key in pairwise(chain([0], keys)))

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "SELECT sum(value) OVER (ROWS UNBOUNDED PRECEDING) FROM json_each(%(expressions)s)"
        return self.as_sql(compiler, connection, template=template, **context)


def digests(asked: Iterable[bytes]) -> Any:
    """For `digest__in`: as Keys on PostgreSQL. SQLite before 3.41 has no way to take binary values apart."""
    return [*asked] if connection.vendor == "sqlite" else _Digests(asked)


class _Digests(Func):
    output_field = BinaryField()
    template = "SELECT decode(unnest(%(expressions)s::text[]), 'hex')"

    def __init__(self, asked: Iterable[bytes]) -> None:
        super().__init__(Value(f"{{{','.join(digest.hex() for digest in asked)}}}", output_field=TextField()))


class KeysOf(Subquery):
    """For `pk__in`: what a queryset of keys finds, found first.

    PostgreSQL takes the keys for few, and looks each up by an index; a plain subquery it would rather join by reading
    all rows of a large table.
    """

    output_field = BigIntegerField()
    template = "SELECT unnest(ARRAY(%(subquery)s))"

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        plain: Any = super().as_sql  # as the stubs have it, it takes no template
        return plain(compiler, connection, template="%(subquery)s", **context)
