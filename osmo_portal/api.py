"""What all views of the released clients' wire share."""

import base64
import json
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from rest_framework.exceptions import ParseError
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import JSONParser
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from osmo_portal import handshake
from osmo_portal.problems import Unprocessable
from osmo_portal.rest import refuse_unstorable

WARNED_BEFORE = timedelta(days=7)


class AlwaysJson(BaseContentNegotiation):
    """The clients say `Accept: */*`, or nothing; each gets JSON."""

    def select_parser(self, request: Request, parsers: Any) -> JSONParser:
        return JSONParser()

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type


class WireRenderer(JSONRenderer):
    def render(self, data: Any, *args: Any, **kwargs: Any) -> bytes:
        return b"null" if data is None else super().render(data, *args, **kwargs)


class WireView(APIView):
    """A view of the wire: success is 200 with JSON (`null` when there is nothing to say), never 201 or 204.

    Whoever signed in by a token that ends within 7 days is told so by a header that the clients print, and whoever uses
    a client for which there is a newer one, in the lines above.
    """

    content_negotiation_class = AlwaysJson
    renderer_classes = [WireRenderer]
    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.headers.update(handshake.greet(request.META.get("HTTP_X_OSMO_CLIENT_VERSION")))

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Response:
        answer = super().finalize_response(request, response, *args, **kwargs)
        client = request.META.get("HTTP_X_OSMO_CLIENT_VERSION")
        warnings = [text for text in (handshake.hint(client, answer.headers), _ending(request)) if text]
        if warnings:
            answer["x-osmo-warning"] = base64.b64encode("\n".join(warnings).encode()).decode()
        return answer


def _ending(request: Any) -> str:
    actor = getattr(request, "auth", None)
    ends = getattr(actor, "until", None)
    return _warning(actor.token.name, ends) if actor and ends and ends - timezone.now() <= WARNED_BEFORE else ""


def _warning(name: str, ends: datetime) -> str:
    """In the words of the released servers. `ends` is the end of the secret that was used, a rotated one's too."""
    hour = f"{ends:%I}".lstrip("0") + (f":{ends:%M}" if ends.minute else "") + f"{ends:%p}"
    return f"WARNING: Access token {name} is expiring on {ends:%Y-%m-%d} at {hour} UTC."


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a request body; an empty body is an empty object. Raises Unprocessable.

    Its texts fit every column: they hold no NUL and no half of a surrogate pair.
    """
    try:
        value = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError):
        raise Unprocessable("The body is not JSON.") from None
    if not isinstance(value, dict):
        raise Unprocessable("The body must be a JSON object.")
    try:
        refuse_unstorable(value)
    except ParseError as error:
        raise Unprocessable(str(error)) from None
    return value
