"""Browser sessions. The cookie holds a key; the database its digest, so that no copy of the table opens a session."""

from hashlib import sha256
from typing import Any

from django.contrib.sessions.backends import db
from django.contrib.sessions.base_session import AbstractBaseSession
from django.utils import timezone

from osmo_portal.postgresql import unconfirmed


class SessionStore(db.SessionStore):
    """Django's, but for what stands in the column `session_key`. Only what is not asynchronous is used here."""

    def load(self) -> dict[str, Any]:
        key = self.session_key or ""
        kept = self.model.objects.filter(session_key=_kept(key), expire_date__gt=timezone.now()).first()
        if kept is None:
            self._session_key = None  # as Django does: nobody chooses the key of a session that is made
            return {}
        return self.decode(kept.session_data)

    def exists(self, session_key: str) -> bool:
        return super().exists(_kept(session_key))

    def create_model_instance(self, data: dict[str, Any]) -> AbstractBaseSession:
        made = super().create_model_instance(data)
        made.session_key = _kept(made.session_key)
        return made

    def save(self, must_create: bool = False) -> None:
        with unconfirmed():
            super().save(must_create)

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key:
            with unconfirmed():
                super().delete(_kept(key))


def _kept(key: str) -> str:
    """160 bits, as many as the column has room for and nearly as many as a key has."""
    return sha256(key.encode()).hexdigest()[:40]
