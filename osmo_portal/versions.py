"""Which version of a record an answer shows (`ETag`), and changes that are made to that version alone (`If-Match`)."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import QuerySet
from rest_framework.exceptions import APIException
from rest_framework.request import Request

from osmo_portal.events.trail import audited

TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')


class Mismatch(APIException):
    status_code = 412
    default_detail = "It is not what you saw any more. Read it again, and decide anew."
    default_code = "mismatch"


class VersionRequired(APIException):
    status_code = 428
    default_detail = "Send the ETag of what you saw as `If-Match`, so that nobody's change is lost; `*` means any."
    default_code = "version_required"


def etag(shown: Mapping[str, Any], apart: frozenset[str] = frozenset()) -> str:
    """Differs once anything that is shown differs, but for the members in `apart`."""
    told = {name: value for name, value in shown.items() if name not in apart}
    text = json.dumps(told, sort_keys=True, cls=DjangoJSONEncoder)
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def wanted(request: Request) -> list[str] | None:
    """The tags of `If-Match`; None where it is not sent, or says that any version is right."""
    sent = request.headers.get("If-Match")
    if sent is None or sent.strip() == "*":
        return None
    return TAG.findall(sent) or [""]  # what holds no tag matches nothing


@contextmanager
def held(*rows: QuerySet[Any]) -> Iterator[None]:
    """A transaction in which nobody else changes the rows. They are locked in the order given."""
    with audited():
        for some in rows:
            list(some.select_for_update(of=("self",), no_key=True).order_by("pk"))
        yield
