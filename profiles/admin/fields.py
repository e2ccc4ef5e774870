"""Form fields that users, service accounts and roles are chosen and written with."""

import json
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.urls import reverse_lazy

from profiles.models import Pool, User
from profiles.names import MAX_LENGTH, pool_name

UNREADABLE = "This is nested too deeply, or holds too long a number. Write a list of policies."


class UserField(forms.CharField):
    """A user id that is completed while it is typed, so that no list of all users is sent. Becomes the user."""

    def __init__(self, *, among: QuerySet, suggest: str, nobody: str, **kwargs: Any) -> None:
        self.among, self.nobody = among, nobody
        attrs = {"data-suggest": reverse_lazy(suggest), "autocomplete": "off", "autocapitalize": "none"}
        super().__init__(widget=forms.TextInput(attrs=attrs), max_length=MAX_LENGTH, **kwargs)

    def clean(self, value: Any) -> User | None:
        typed = super().clean(value)
        if not typed:
            return None
        user = self.among.all().named(typed).first()  # type: ignore[attr-defined]
        if user is None:
            raise ValidationError(self.nobody.format(typed[:100]), code="unknown")
        return user  # type: ignore[no-any-return]

    def prepare_value(self, value: Any) -> Any:
        return value.username if isinstance(value, User) else value


class PersonField(UserField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            among=User.objects.people().filter(is_active=True),
            suggest="admin:profiles_person_suggest",
            nobody="There is no active person with the user id {}. Write the id of a person who is here.",
            **kwargs,
        )


class ServiceAccountField(UserField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            among=User.objects.service_accounts(),
            suggest="admin:profiles_serviceaccount_suggest",
            nobody="There is no service account with the user id {}. Make it first.",
            **kwargs,
        )


class PoolField(forms.CharField):
    """The name of a pool, completed while it is typed. Becomes the pool."""

    def __init__(self, **kwargs: Any) -> None:
        attrs = {
            "data-suggest": reverse_lazy("admin:profiles_pool_suggest"),
            "autocomplete": "off",
            "autocapitalize": "none",
        }
        super().__init__(widget=forms.TextInput(attrs=attrs), max_length=MAX_LENGTH, **kwargs)

    def clean(self, value: Any) -> Any:
        typed = super().clean(value)
        known = pool_name.fits(typed) and Pool.objects.existing().filter(name=typed).first()
        if not known:
            raise ValidationError(f"There is no pool with the name {typed[:100]}. Add it first.", code="unknown")
        return known


class PoliciesField(forms.JSONField):
    """Policies as JSON text, shown indented. What they must look like is the role's to say."""

    widget = forms.Textarea(attrs={"rows": 16, "spellcheck": "false", "class": "code"})

    def to_python(self, value: Any) -> Any:
        if isinstance(value, str) and value.strip():
            try:
                json.loads(value, object_pairs_hook=_without_repeats)
            except json.JSONDecodeError as error:
                raise ValidationError(_unlike_json(value, error), code="json") from None
            except (RecursionError, ValueError):
                raise ValidationError(UNREADABLE, code="json") from None
        return super().to_python(value)

    def clean(self, value: Any) -> Any:
        policies = super().clean(value)
        return [] if policies is None else policies

    def bound_data(self, data: Any, initial: Any) -> Any:
        return data  # as it was typed, be it JSON or not

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, str) else json.dumps(value or [], indent=2)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON takes the last of two equal keys in silence: a deny that is read, and does not count."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [key for key, _ in pairs]
        twice = next(key for key in names if names.count(key) > 1)
        raise ValidationError(f"The key “{twice[:60]}” stands twice in one object. Leave one of them.", code="json")
    return found


def _unlike_json(text: str, error: json.JSONDecodeError) -> str:
    where = f"This is not JSON (line {error.lineno}, column {error.colno}: {error.msg})."
    line = text.split("\n")[error.lineno - 1].strip()
    return f"{where} The line reads: {line[:80]}" if line else where
