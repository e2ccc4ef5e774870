"""Once more, where the database chose a transaction to give way to another: a deadlock, or a serialization failure."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import OperationalError, connection
from django.http import HttpRequest, HttpResponse

from osmo_portal.events import trail
from osmo_portal.postgresql import TRY_AGAIN, state_of

PAUSES = (0.02, 0.1, 0.3)  # seconds before each further attempt, more or less
T = TypeVar("T")


def gave_way(error: BaseException) -> bool:
    return isinstance(error, OperationalError) and state_of(error) in TRY_AGAIN


def again(work: Callable[[], T]) -> T:
    """What `work` gives. It is one transaction and tells nobody of itself, so it may be begun anew, some times."""
    for pause in PAUSES:
        try:
            return work()
        except OperationalError as error:
            if not gave_way(error) or connection.in_atomic_block:
                raise
        _rest(pause)
    return work()


def _rest(pause: float) -> None:
    time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311  (so that two do not meet again)


class Again:
    """Calls a view anew that gave way. It stands last, so that what the others prepared is as it was.

    Only where nothing of the request has been kept yet, and its body is still there to be read. Mails and webhooks go
    out after what they tell of was kept.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        trail.forget_what_was_kept()
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        view, last = request.resolver_match, error
        for pause in PAUSES:
            if view is None or not gave_way(last) or trail.has_kept() or not _is_readable(request):
                break
            _rest(pause)
            try:
                return view.func(request, *view.args, **view.kwargs)  # type: ignore[no-any-return]
            except Exception as other:
                last = other
        if last is error or gave_way(last):
            return None
        raise last


def _is_readable(request: HttpRequest) -> bool:
    return not request._read_started or hasattr(request, "_body") or hasattr(request, "_post")  # type: ignore[attr-defined]
