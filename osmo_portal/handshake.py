"""Which client calls, and whether it is too old by the settings. Without them no client hears of it."""

import re
from collections.abc import Mapping

from django.conf import settings
from rest_framework.exceptions import APIException

from osmo_portal.problems import Unprocessable


class OutOfDate(APIException):
    status_code = 400
    error_code = "OSMO_ERROR"


def greet(client: str | None) -> dict[str, str]:
    """Headers for a client that says to be of this version. Raises OutOfDate and Unprocessable."""
    if client is None:
        return {}
    version = _parsed(client)
    latest = settings.CLI_LATEST_VERSION
    if settings.CLI_MIN_VERSION and version < _parsed(settings.CLI_MIN_VERSION):
        newest = latest or settings.CLI_MIN_VERSION
        raise OutOfDate(
            f"Your client is out of date. Client version is {client} but the newest client version is {newest}. "
            "Please install a newer client."
        )
    return {"x-osmo-service-version": latest} if latest and version < _parsed(latest) else {}


def hint(client: str | None, answer: Mapping[str, str]) -> str:
    """For clients of 6.2 and later, which do not read the header of `greet` and print what they are sent."""
    if "x-osmo-service-version" not in answer:
        return ""
    return (
        f"WARNING: New client {answer['x-osmo-service-version']} available.\nCurrent version: {client}.\n"
        "Please update by running the install command in the documentation."
    )


def _parsed(version: str) -> tuple[int, ...]:
    """`major.minor.revision`, with a hash after it or not."""
    found = re.fullmatch(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})(\.[0-9A-Za-z]{1,64})?", version, re.ASCII)
    if not found:
        raise Unprocessable("x-osmo-client-version: Version should be of the format major.minor.revision")
    return tuple(int(number) for number in found.groups()[:3])
