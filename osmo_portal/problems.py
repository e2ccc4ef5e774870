"""Errors of the API: problem details (RFC 9457) under /api/v1/, the released clients' shape elsewhere."""

from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler

from osmo_portal.events.actor import Door

NOT_SIGNED_IN = "Jwt is missing"
NOT_SIGNED_IN_TO_REST = "Send a JWT as `Authorization: Bearer`; the exchange gives one for a secret."
PROBLEM_JSON = "application/problem+json"


def answer(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler. What it does not know goes on to the log and a 500."""
    rest = Door.of_api(context["request"].path_info) == Door.REST
    known = _known(error, rest)
    response = exception_handler(known, context)
    if response is None:
        return None
    if rest:
        response.data = problem_details(
            response.status_code, _text(known, NOT_SIGNED_IN_TO_REST), **_members(known, error)
        )
        response.content_type = PROBLEM_JSON
    else:
        response.data = wire_body(_text(known, NOT_SIGNED_IN), getattr(known, "error_code", "USER"))
    return response


def _known(error: Exception, rest: bool) -> Exception:
    """The error of DRF that stands for one of Django's. That something conflicts has a status under REST only."""
    if isinstance(error, PermissionDenied):
        return exceptions.PermissionDenied(str(error) or None)
    if isinstance(error, Http404):
        return exceptions.NotFound("There is nothing at this address, or it is not yours to see.")
    if isinstance(error, ValidationError):
        detail = error.message_dict if hasattr(error, "error_dict") else error.messages
        conflicts = rest and code_of(error) == Conflict.default_code
        return Conflict(detail) if conflicts else exceptions.ValidationError(detail, code=code_of(error))
    return error


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


class TooLarge(exceptions.APIException):
    status_code = 413
    default_detail = "The body is too large. Send less at once."
    default_code = "too_large"


def problem_details(status: int, detail: str, **members: Any) -> dict[str, Any]:
    return {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **members}


def code_of(error: ValidationError) -> str:
    """What it was raised with; Django keeps it nowhere else when the message is a dictionary."""
    if error.args[1]:
        return str(error.args[1])
    inner = error.error_list[0] if hasattr(error, "error_list") else next(iter(error.error_dict.values()))[0]
    return inner.code or "invalid"


def _text(error: Exception, not_signed_in: str) -> str:
    if isinstance(error, exceptions.NotAuthenticated):
        return not_signed_in
    return _flat(getattr(error, "detail", str(error)))


def _flat(detail: Any) -> str:
    if isinstance(detail, dict):
        detail = next(iter(detail.values()), "")
    while isinstance(detail, list):
        detail = detail[0] if detail else ""
    return str(detail)


def _members(known: Exception, error: Exception) -> dict[str, Any]:
    """Besides what every problem has: errors by field, and for a conflict what was found, if the error names it."""
    detail = getattr(known, "detail", None)
    errors = {"errors": detail} if isinstance(detail, dict) else {}
    found = error.args[2] if isinstance(error, ValidationError) and isinstance(known, Conflict) else None
    return {**errors, **(found or {})}
