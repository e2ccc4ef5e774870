"""Calls the portal as the released clients do: with a JWT that was exchanged for a secret."""

import json
from typing import Any

from django.test import Client

from tokens import exchange


class Wire:
    def __init__(self, secret: str | None = None, *, header: str = "x-osmo-auth") -> None:
        self.client = Client(enforce_csrf_checks=True)
        self.headers: dict[str, str] = {"x-osmo-client-version": "6.0.0", "user-agent": "osmo-cli/6.0.0"}
        if secret:
            jwt, _ = exchange.exchange(secret)
            self.headers[header] = f"Bearer {jwt}" if header == "authorization" else jwt

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The answer. The content type is always JSON, with or without a body, as the clients have it."""
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self.client.generic(method, path, data, content_type="application/json", headers=sent)

    def get(self, path: str, **headers: str) -> Any:
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.call("POST", path, body, **headers)

    def delete(self, path: str, **headers: str) -> Any:
        return self.call("DELETE", path, **headers)


def refused(response: Any, message: str, status: int = 400) -> None:
    """Asserts an error in the one shape that the released clients read."""
    assert response.status_code == status
    assert response.json() == {"message": message, "error_code": "USER", "workflow_id": None}
