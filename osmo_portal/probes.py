"""What machines ask again and again: whether this process lives, and whether it can serve."""

from functools import cache

from cryptography.fernet import InvalidToken
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

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
