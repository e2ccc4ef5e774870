"""How users, tokens, pools and roles may be called, as the released clients and servers have it, and bounded."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import cast

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import IntegrityError

USER_ID = r"^[a-zA-Z0-9]([a-zA-Z0-9_.@-]*[a-zA-Z0-9])?$"
TOKEN_NAME = r"^[a-zA-Z]([a-zA-Z0-9_-]*[a-zA-Z0-9])?$"
POOL_NAME = r"^[a-zA-Z]([a-zA-Z0-9_.-]*[a-zA-Z0-9])?$"
ROLE_NAME = r"^[a-zA-Z0-9]([a-zA-Z0-9_.@:/-]*[a-zA-Z0-9])?$"
MAX_LENGTH = 254
MAX_TEXT = 2_000


class NameValidator(RegexValidator):
    """Unlike its parent it matches the whole text: `$` alone would let a trailing line feed pass."""

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        # Once: the parent keeps a proxy, which looks the pattern up at each use.
        return re.compile(cast("re.Pattern[str]", self.regex).pattern)

    def fits(self, value: str) -> bool:
        """To be asked before a lookup: a database answers NUL and broken Unicode with an error."""
        return self._pattern.fullmatch(str(value)) is not None

    def __call__(self, value: str) -> None:
        if not self.fits(value):
            raise ValidationError(self.message, code=self.code, params={"value": value})


user_id = NameValidator(
    USER_ID, "Use letters, digits and _ . @ -, and begin and end with a letter or digit.", code="name"
)
token_name = NameValidator(
    TOKEN_NAME,
    "Use letters, digits, _ and -, begin with a letter and end with a letter or digit.",
    code="name",
)
pool_name = NameValidator(
    POOL_NAME,
    "Use letters, digits and _ . -, begin with a letter and end with a letter or digit.",
    code="name",
)
role_name = NameValidator(
    ROLE_NAME, "Use letters, digits and _ . @ : / -, and begin and end with a letter or digit.", code="name"
)


def clean_text(value: str, *, field: str, limit: int = MAX_TEXT) -> str:
    """`value` without surrounding space. Raises ValidationError where it is too long or holds control characters."""
    text = value.strip()
    if len(text) > limit:
        raise ValidationError({field: f"Write at most {limit} characters, not {len(text)}."})
    if not text.isprintable() and any(not c.isprintable() and c not in "\n\t\r" for c in text):
        raise ValidationError({field: "Remove the control characters."})
    return text


def only(fields: Iterable[str], *changeable: str) -> None:
    """Raises TypeError where a caller wants to change what is not changed that way."""
    if unknown := set(fields) - set(changeable):
        raise TypeError(f"not changed this way: {', '.join(sorted(unknown))}")


@contextmanager
def taken(message: dict[str, str]) -> Iterator[None]:
    """Says `message` where somebody else took the name between the check and the write. Goes around the transaction."""
    try:
        yield
    except IntegrityError:
        raise ValidationError(message, code="conflict") from None
