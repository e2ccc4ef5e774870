"""What all processes share for a while: in the database, or where one is named in Valkey or Redis while it answers."""

import time
from typing import Any

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

from osmo_portal.postgresql import unconfirmed

PAUSE = 5  # seconds in which a server that did not answer is not asked again


class Database(DatabaseCache):
    """Django's, but that what is kept for a while waits for no standby."""

    def add(self, *args: Any, **kwargs: Any) -> bool:
        with unconfirmed():
            return super().add(*args, **kwargs)

    def set(self, *args: Any, **kwargs: Any) -> None:
        with unconfirmed():
            super().set(*args, **kwargs)

    def touch(self, *args: Any, **kwargs: Any) -> bool:
        with unconfirmed():
            return super().touch(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> bool:
        with unconfirmed():
            return super().delete(*args, **kwargs)


class RedisOrDatabase(BaseCache):
    """`LOCATION` is the server's URL, the option `TABLE` that of the database. Slower without the server, not open."""

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        options = dict(params.get("OPTIONS", {}))
        self._database = Database(options.pop("TABLE"), {**params, "OPTIONS": {"MAX_ENTRIES": self._max_entries}})
        options.pop("MAX_ENTRIES", None)
        self._redis = RedisCache(server, {**params, "OPTIONS": options})
        self._away_until = 0.0

    def _ask(self, method: str, *args: Any, **kwargs: Any) -> Any:
        if time.monotonic() >= self._away_until:
            try:
                return getattr(self._redis, method)(*args, **kwargs)
            except (RedisError, OSError):
                self._away_until = time.monotonic() + PAUSE
        return getattr(self._database, method)(*args, **kwargs)

    def add(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask("add", *args, **kwargs)

    def get(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask("get", *args, **kwargs)

    def set(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask("set", *args, **kwargs)

    def touch(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask("touch", *args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask("delete", *args, **kwargs)

    def incr(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask("incr", *args, **kwargs)

    def clear(self) -> None:
        self._ask("clear")
