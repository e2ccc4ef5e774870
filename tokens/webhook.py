"""Posts a text to the webhook of a chat, signed, a few times at most and never for long."""

import asyncio
import hashlib
import hmac
import json
import time
from urllib.parse import urlsplit

import httpx
from django.conf import settings

PAUSES = (0, 1, 4)  # seconds before each attempt
LIMIT = 10  # seconds for one attempt, from the first byte to the last
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class Undelivered(Exception):
    """Why a message did not arrive, in words that hold no secret."""


def is_safe(url: str) -> bool:
    """https, or plain http to this machine."""
    parts = urlsplit(url)
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK))


def escaped(text: str) -> str:
    """As Slack asks for it: what is left can be no link and mention nobody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def signature(body: bytes, timestamp: str) -> str:
    """HMAC-SHA256 over the timestamp, a dot and the body, in hexadecimal."""
    signed = timestamp.encode() + b"." + body
    return hmac.new(settings.NOTIFY_WEBHOOK_SECRET.encode(), signed, hashlib.sha256).hexdigest()


def post(text: str) -> None:
    """Tries again where the other side is not there or says that it is its fault. Raises Undelivered."""
    if not (is_safe(settings.NOTIFY_WEBHOOK_URL) and settings.NOTIFY_WEBHOOK_SECRET):
        raise Undelivered("its settings are not complete; run manage.py check")
    body = json.dumps({"text": text}).encode()
    for pause in PAUSES:
        time.sleep(pause)
        problem, final = asyncio.run(_attempt(body))
        if final:
            break
    if problem:
        raise Undelivered(problem)


async def _attempt(body: bytes) -> tuple[str, bool]:
    """What went wrong, if anything, and whether it is of no use to try again."""
    timestamp = str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "X-Osmo-Timestamp": timestamp,
        "X-Osmo-Signature": f"v1={signature(body, timestamp)}",
    }
    direct = urlsplit(settings.NOTIFY_WEBHOOK_URL).hostname in LOOPBACK
    try:
        async with httpx.AsyncClient(trust_env=not direct, follow_redirects=False) as client, asyncio.timeout(LIMIT):
            answer = await client.post(settings.NOTIFY_WEBHOOK_URL, content=body, headers=headers, timeout=LIMIT)
    except (TimeoutError, httpx.TimeoutException):
        return f"it did not answer within {LIMIT} seconds", False
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"it cannot be reached ({type(error).__name__})", False  # the error's text may hold the address
    if answer.is_success:
        return "", True
    return f"it answered {answer.status_code}", answer.status_code != 429 and answer.status_code < 500
