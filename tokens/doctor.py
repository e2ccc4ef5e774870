"""Whether this installation can do its work: what is wrong, and what to do about it. It changes nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from cryptography.fernet import InvalidToken
from django.conf import settings
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core import checks
from django.core.mail import get_connection
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from osmo_portal import replica
from osmo_portal.events import triggers, verification
from osmo_portal.events.models import Event
from profiles.models import User
from tokens.models import SigningKey

Grade = Literal["good", "warning", "bad"]
TOLERANCE = timedelta(seconds=5)  # by which clocks may differ
VERIFIED_WITHIN = timedelta(days=8)
VERIFY = "Run `manage.py verify_events --record` every night; deploy/ has what schedules it."
NAMELESS_BACKENDS = {"console", "dummy", "filebased", "locmem"}  # they send no mail to anybody


@dataclass(frozen=True, slots=True)
class Finding:
    """About one part of the installation. `advice` is empty where all is well."""

    part: str
    grade: Grade
    says: str
    advice: str = ""


def examine() -> Iterator[Finding]:
    """All findings. Where the database does not answer or is not migrated, what depends on it is left out."""
    yield from _configuration()
    yield _pages()
    try:
        connection.ensure_connection()
    except DatabaseError as error:
        yield Finding("database", "bad", f"It does not answer: {_first_line(error)}", "Look at DATABASE_URL.")
        return
    yield _database()
    if settings.REPLICA_URL:
        yield _replica()
    pending = _pending_migrations()
    if pending:
        yield Finding("migrations", "bad", f"{pending} are not applied.", "Run `manage.py migrate`.")
        return
    yield Finding("migrations", "good", "All are applied.")
    for examined in (_clock, _keys, _audit_trail, _administrators, _mail):
        yield examined()


def _configuration() -> Iterator[Finding]:
    found = checks.run_checks(include_deployment_checks=settings.PORTAL_IS_HTTPS)
    said = [message for message in found if not message.is_silenced()]
    for message in said:
        grade: Grade = "bad" if message.is_serious() else "warning"
        yield Finding("configuration", grade, f"{message.msg} ({message.id})", message.hint or "")
    if not said:
        yield Finding("configuration", "good", f"The portal is {settings.PORTAL_URL}.")


def _pages() -> Finding:
    """Without their files pages cannot be shown; programs are served all the same."""
    collected = getattr(staticfiles_storage, "hashed_files", None)
    if collected is None:
        return Finding("pages", "good", "Their files are served as they are.")
    lacking = [path for finder in finders.get_finders() for path, _ in finder.list([]) if path not in collected]
    if lacking:
        says = f"{len(lacking)} of their files are not collected, so the console may show none."
        return Finding("pages", "warning", says, "Run `manage.py collectstatic --noinput`, after each upgrade too.")
    return Finding("pages", "good", "Their files are collected.")


def _database() -> Finding:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT sqlite_version()")
            return Finding("database", "good", f"SQLite {cursor.fetchone()[0]}.")
        cursor.execute("SELECT current_setting('server_version'), pg_is_in_recovery()")
        version, is_standby = cursor.fetchone()
    if is_standby:
        advice = "Point DATABASE_URL at the primary, or add target_session_attrs=read-write."
        return Finding("database", "bad", f"PostgreSQL {version} is a standby and takes no writes.", advice)
    return Finding("database", "good", f"PostgreSQL {version}.")


def _replica() -> Finding:
    try:
        is_as_new = replica.is_as_new()
    except DatabaseError as error:
        return Finding("replica", "warning", f"It cannot be read: {_first_line(error)}", "Look at REPLICA_URL.")
    if is_as_new:
        return Finding("replica", "good", "It has all that the primary has.")
    advice = "Lists come from the primary. Look at pg_stat_replication there, and at the replica's log."
    return Finding("replica", "warning", "It is behind, or follows another server.", advice)


def _pending_migrations() -> int:
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _clock() -> Finding:
    """Tokens end by this machine's clock, so it must agree with the database's and with what was recorded."""
    here = timezone.now()
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            apart = abs(cursor.fetchone()[0] - here)
        if apart > TOLERANCE:
            says = f"It differs from the database's by {apart.total_seconds():.0f} seconds."
            return Finding("clock", "bad", says, "Let both machines follow the same time servers (NTP).")
    last = Event.objects.first()
    if last and last.at - here > TOLERANCE:
        says = f"The last event is of {last.at:%Y-%m-%d %H:%M:%S} UTC, which is yet to come here."
        return Finding("clock", "bad", says, "Set this machine's clock (NTP). Tokens end too late until then.")
    return Finding("clock", "good", f"It is {here:%Y-%m-%d %H:%M:%S} UTC.")


def _keys() -> Finding:
    published = SigningKey.objects.published()
    unreadable = [key.kid for key in published if not _is_readable(key)]
    if unreadable:
        says = f"KEY_ENCRYPTION_KEYS does not open the signing keys {', '.join(unreadable)}."
        return Finding("keys", "bad", says, "Add the key that they were encrypted with; the first one encrypts.")
    many = f"{len(published)} signing keys" if len(published) != 1 else "1 signing key"
    return Finding("keys", "good", f"{many}, all readable." if published else "The first one is made on first need.")


def _is_readable(key: SigningKey) -> bool:
    try:
        key.load()
    except InvalidToken:
        return False
    return True


def _audit_trail() -> Finding:
    missing = triggers.missing(connection)
    if missing:
        says = f"The database would let events be changed: the triggers {', '.join(missing)} are missing."
        return Finding("audit trail", "bad", says, "Find out who dropped them; restore them; run verify_events.")
    last = Event.objects.first()
    has = f"It has {last.pk if last else 0} events."
    verified = verification.latest(verification.WHOLE)
    if verified is None:
        return Finding("audit trail", "warning", f"{has} It was never verified.", VERIFY)
    when = f"{has} It was last verified on {verified.at:%Y-%m-%d}"
    if verified.changes["faults"]:
        advice = "Run `manage.py verify_events`, which names them, and compare with a backup; change nothing."
        return Finding("audit trail", "bad", f"{when}, and has {verified.changes['faults']} faults.", advice)
    if verified.at < timezone.now() - VERIFIED_WITHIN:
        return Finding("audit trail", "warning", f"{when}.", VERIFY)
    return Finding("audit trail", "good", f"{when}.")


def _administrators() -> Finding:
    count = User.objects.administrators().count()
    if not count:
        advice = "Run `manage.py bootstrap` on a new portal, `manage.py recover_admin USER` on an old one."
        return Finding("administrators", "bad", "There is none.", advice)
    if count == 1:
        return Finding("administrators", "warning", "There is 1.", "Make a second one, for the day this one is away.")
    return Finding("administrators", "good", f"There are {count}.")


def _mail() -> Finding:
    backend = settings.EMAIL_BACKEND.rsplit(".", 2)[-2]
    if backend in NAMELESS_BACKENDS:
        return Finding("mail", "warning", "No mail is sent.", "Set EMAIL_URL, for example smtp+tls://user@host:587.")
    server = get_connection()
    try:
        server.open()
    except OSError as error:
        return Finding("mail", "bad", f"The server does not answer: {_first_line(error)}", "Look at EMAIL_URL.")
    server.close()
    return Finding("mail", "good", "The mail server answers.")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
