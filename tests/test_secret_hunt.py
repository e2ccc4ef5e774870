"""No trace of a secret anywhere, after all that can be done with one (S2, R10)."""

import base64
import json
import logging
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client

from tests.cast import Cast, in_days
from tests.terminal import Terminal
from tests.wire import Wire
from tokens.models import AccessToken

EXCHANGE = "/api/auth/jwt/access_token"
pytestmark = pytest.mark.django_db


def traces(secret: str) -> list[str]:
    """The secret, its halves, and both in base64 and hex."""
    body = secret.removeprefix("osmo_")
    parts = [secret, body[: len(body) // 2], body[len(body) // 2 :]]
    encoded = [base64.b64encode(part.encode()).decode().rstrip("=") for part in parts]
    # base64 of a longer text that holds the part looks different at its edges; its middle does not.
    shifted = [base64.b64encode(b"x" * pad + body.encode()).decode()[8:40] for pad in (0, 1, 2)]
    return [*parts, *encoded, *shifted, *(part.encode().hex() for part in parts)]


def dump() -> str:
    """Every value of every table, bytes as hex and as text."""
    rows = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608  (names from the catalogue)
            rows += [value for row in cursor.fetchall() for value in row if value is not None]
    texts = []
    for value in rows:
        raw = bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
        texts += [raw.hex(), raw.decode(errors="replace")]
    return "\n".join(texts)


def found(secret: str, *places: str) -> list[str]:
    return [trace for trace in traces(secret) for place in places if trace in place]


def test_the_hunt_finds_what_is_hidden():
    secret = "osmo_" + "Ab3" * 14 + "Z123456"

    for place in (f"...{secret}...", base64.b64encode(f'{{"a": "{secret}"}}'.encode()).decode(), secret.encode().hex()):
        assert found(secret, place)
    assert not found(secret, "osmo_" + "x" * 49)


def test_nothing_keeps_a_secret(cast: Cast, caplog, capfd):
    caplog.set_level(logging.DEBUG, logger="django.request")
    caplog.set_level(logging.DEBUG, logger="tokens")
    token = cast.service_token()
    rotated = token.rotate(by=cast.by("grace"), grace=timedelta(0))
    wire = Wire(cast.administrator_token().plaintext)
    by_cli = wire.post(f"/api/auth/access_token/service/svc?expires_at={in_days(9)}&roles=osmo-my_pool").json()
    wire.post(f"/api/auth/access_token/service/svc?expires_at={in_days(9)}&roles=osmo-my_pool")
    of_user = wire.post(f"/api/auth/user/robot/access_token/newer?expires_at={in_days(9)}").json()
    own = wire.post(f"/api/auth/access_token/own?expires_at={in_days(9)}").json()
    secrets = [str(token.plaintext), str(rotated.plaintext), by_cli, of_user, own]

    for secret in secrets:
        Wire().get(f"{EXCHANGE}?access_token={secret}")
        Wire().post(EXCHANGE, {"token": secret})
        Wire().post(EXCHANGE, {"token": secret[:-1]})
        Wire().get(f"/api/auth/access_token?access_token={secret}")
        Wire().get(f"/api/nowhere/{secret[:5]}?token={secret}")
        Wire().post("/api/profile/settings", authorization=f"Bearer {secret}")
    AccessToken.objects.get(name="svc").revoke(by=cast.by("grace"), reason="end")
    Wire().post(EXCHANGE, {"token": by_cli})

    out, err = capfd.readouterr()
    kept = dump()
    assert "token.rotated" in kept
    for secret in secrets:
        assert not found(secret, kept, out, err, caplog.text)


def test_nothing_keeps_what_signs_a_terminal_in(cast: Cast, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    terminal = Terminal()
    user_code = terminal.codes["user_code"]
    client = Client()
    client.force_login(cast.ada)
    client.get("/me/device/", {"user_code": user_code})
    client.post("/me/device/", {"code": user_code})
    client.post("/me/device/decide/", {"decision": "approve"})
    secrets = [terminal.codes["device_code"]]
    for answer in (terminal.poll(), terminal.refresh(), terminal.refresh()):
        secrets += [answer.json()["refresh_token"], answer.json()["id_token"]]
    terminal.refresh(secrets[1])
    terminal.poll()
    terminal.wire().get("/api/profile/settings")

    out, err = capfd.readouterr()
    kept = dump()
    assert "terminal.signed_in" in kept
    assert "terminal.reuse_detected" in kept
    for secret in secrets:
        assert not found(secret, kept, out, err, caplog.text)
    for code in (user_code, user_code.replace("-", "")):
        assert code not in kept + out + err + caplog.text


def test_the_console_keeps_a_secret_in_no_session_and_no_cookie(cast: Cast):
    client = Client()
    client.force_login(cast.grace)
    page = f"/admin/tokens/accesstoken/issue/?owner={cast.robot.username}"

    answer = client.post(
        page, {"name": "nightly", "expires_at": in_days(9), "roles": ["osmo-my_pool"], "description": ""}
    )

    (secret,) = {
        word
        for word in answer.content.decode().replace('"', " ").replace("<", " ").replace(">", " ").split()
        if word.startswith("osmo_")
    }
    cookies = json.dumps({name: morsel.value for name, morsel in client.cookies.items()})
    session = json.dumps(dict(client.session.items()))
    following = "".join(client.get(path).content.decode() for path in ("/admin/", "/admin/tokens/accesstoken/"))
    assert not found(secret, dump(), cookies, session, following)
