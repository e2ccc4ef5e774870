"""Calls /api/v1/ as programs do, with a JWT, and as the console does, with a session and CSRF."""

import json
from typing import Any

from django.test import Client
from django.utils.crypto import get_random_string

from profiles.models import User
from tokens import exchange

PROBLEM = {"type", "title", "status", "detail"}


class Rest:
    def __init__(self, secret: str | None = None, *, person: str | None = None) -> None:
        self.client = Client(enforce_csrf_checks=True)
        self.headers: dict[str, str] = {}
        if secret:
            self.headers["authorization"] = f"Bearer {exchange.exchange(secret)[0]}"
        if person:
            self.client.force_login(User.objects.get(username=person))
            self.client.cookies["csrftoken"] = self.headers["x-csrftoken"] = get_random_string(32)

    def call(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json", **headers: str
    ) -> Any:
        """The answer; `path` is what follows /api/v1/, or a whole address as answers hold them."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        address = path if "://" in path else f"/api/v1/{path}"
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self.client.generic(method, address, data, content_type=content_type, headers=sent)

    def get(self, path: str, **headers: str) -> Any:
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.call("POST", path, body, **headers)

    def patch(self, path: str, body: Any = None, *, if_match: str = "*") -> Any:
        """Whatever the version is, unless `if_match` names one."""
        return self.call("PATCH", path, body, if_match=if_match)

    def delete(self, path: str, **headers: str) -> Any:
        return self.call("DELETE", path, **headers)

    def names(self, path: str, key: str = "name") -> set[str]:
        """What a list holds."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.content
        return {element[key] for element in answer.json()["results"]}


def refused(answer: Any, status: int, text: str = "") -> None:
    """Asserts problem details (RFC 9457) with that status, and the text somewhere in them."""
    assert answer.status_code == status, answer.content
    assert answer["content-type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) >= PROBLEM
    assert problem["status"] == status
    assert text in json.dumps(problem, ensure_ascii=False)
