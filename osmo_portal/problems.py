"""Errors of the API: problem details (RFC 9457) under /api/v1/, the released clients' shape elsewhere."""

from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler

from osmo_portal.events.actor import Door

NOT_SIGNED_IN = "Jwt is missing"


def answer(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler. What it does not know goes on to the log and a 500."""
    if isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied(str(error) or None)
    elif isinstance(error, Http404):
        error = exceptions.NotFound("There is nothing at this address, or it is not yours to see.")
    elif isinstance(error, ValidationError):
        error = _bad_request(error)
    response = exception_handler(error, context)
    if response is None:
        return None
    rest = Door.of_api(context["request"].path_info) == Door.REST
    response.data = _problem_details(error, response) if rest else wire_body(_text(error))
    if rest:
        response.content_type = "application/problem+json"
    return response


def wire_body(message: str, error_code: str = "USER") -> dict[str, Any]:
    return {"message": message, "error_code": error_code, "workflow_id": None}


class Conflict(exceptions.APIException):
    status_code = 409
    default_detail = "The request conflicts with what is there now."
    default_code = "conflict"


class Unprocessable(exceptions.APIException):
    """The request has not the form that the address wants."""

    status_code = 422
    default_code = "unprocessable"


def _bad_request(error: ValidationError) -> exceptions.APIException:
    detail = error.message_dict if hasattr(error, "error_dict") else error.messages
    return exceptions.ValidationError(detail, code=_code(error))


def _code(error: ValidationError) -> str:
    inner = error.error_list[0] if hasattr(error, "error_list") else next(iter(error.error_dict.values()))[0]
    return inner.code or "invalid"


def _text(error: Exception) -> str:
    if isinstance(error, exceptions.NotAuthenticated):
        return NOT_SIGNED_IN
    return _flat(getattr(error, "detail", str(error)))


def _flat(detail: Any) -> str:
    if isinstance(detail, dict):
        detail = next(iter(detail.values()), "")
    while isinstance(detail, list):
        detail = detail[0] if detail else ""
    return str(detail)


def _problem_details(error: Exception, response: Response) -> dict[str, Any]:
    detail = getattr(error, "detail", None)
    body = {"type": "about:blank", "title": response.status_text, "status": response.status_code, "detail": _text(error)}
    if isinstance(detail, dict):
        body["errors"] = detail
    return body
