"""What machines ask again and again: whether this process lives, whether it can serve, and what it has counted."""

from functools import cache

from cryptography.fernet import InvalidToken
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from osmo_portal.metrics import told
from osmo_portal.middleware import problem
from tokens.api.authentication import bearer
from tokens.measures import Tables
from tokens.models import SigningKey

NO_DATABASE = "The database does not answer."
READ_ONLY = "The database takes no writes."
NOT_MIGRATED = "The database is not migrated."
NO_KEYS = "The signing keys cannot be opened."


@csrf_exempt
@require_safe
def health(request: HttpRequest) -> JsonResponse:
    """Asks nobody: a process that lives is not restarted because something else is away."""
    return JsonResponse({"status": "OK"})


@csrf_exempt
@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """503 with a reason where requests had better go elsewhere. It tells no more than that: anybody may ask."""
    try:
        reason = _lacking()
    except (DatabaseError, InterfaceError):
        reason = NO_DATABASE
    if reason:
        return JsonResponse({"status": "not ready", "reason": reason}, status=503)
    return JsonResponse({"status": "OK"})


@csrf_exempt
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """For whoever knows METRICS_TOKEN; without one there is nothing here."""
    if not settings.METRICS_TOKEN:
        raise Http404
    if not constant_time_compare(bearer(request) or "", settings.METRICS_TOKEN):
        return problem(401, "Send METRICS_TOKEN as `Authorization: Bearer`.", headers={"www-authenticate": "Bearer"})
    return HttpResponse(told(Tables()), content_type=CONTENT_TYPE_LATEST)


def _lacking() -> str:
    if not _takes_writes():
        return READ_ONLY
    if _shipped() - MigrationRecorder(connection).applied_migrations().keys():
        return NOT_MIGRATED
    try:
        for key in SigningKey.objects.published():
            key.load()
    except InvalidToken:
        return NO_KEYS
    return ""


def _takes_writes() -> bool:
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_is_in_recovery()")
        return not cursor.fetchone()[0]


@cache
def _shipped() -> frozenset[tuple[str, str]]:
    """The migrations of this version; the database may have more, while a newer version takes over."""
    return frozenset(MigrationLoader(None).disk_migrations)
