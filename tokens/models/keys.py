"""Many keys as one parameter of a query: to write down a thousand of them takes longer than to find their rows."""

from collections.abc import Iterable
from typing import Any

from django.db.models import BigIntegerField, Func, TextField, Value


class Keys(Func):
    """For `pk__in`. A JSON list, which both databases take apart."""

    output_field = BigIntegerField()
    template = "SELECT CAST(value AS bigint) FROM json_array_elements_text(%(expressions)s::json)"

    def __init__(self, keys: Iterable[int]) -> None:
        super().__init__(Value(f"[{','.join(map(str, keys))}]", output_field=TextField()))

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="SELECT value FROM json_each(%(expressions)s)", **context)
