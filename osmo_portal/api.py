"""What all views of the released clients' wire share."""

import json
from typing import Any

from rest_framework.exceptions import ParseError
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import JSONParser
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from osmo_portal import handshake
from osmo_portal.problems import Unprocessable
from osmo_portal.rest import refuse_unstorable


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
    """A view of the wire: success is 200 with JSON (`null` when there is nothing to say), never 201 or 204."""

    content_negotiation_class = AlwaysJson
    renderer_classes = [WireRenderer]
    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.headers.update(handshake.greet(request.META.get("HTTP_X_OSMO_CLIENT_VERSION")))


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
