"""What the views of `osmo config` share: for whom they are, their bodies, and the types of configs."""

from typing import Any, NoReturn

from django.core.exceptions import ValidationError
from rest_framework.permissions import IsAuthenticated

from osmo_portal.api import WireView, json_object
from osmo_portal.problems import TooLarge, Unprocessable
from profiles.api.permissions import OnlyAdministratorsConfigure
from profiles.models import ConfigType

MAX_BODY = 4 * 1024 * 1024  # all roles at once, with what policies stand for
ELSEWHERE = {
    "BACKEND",
    "BACKEND_TEST",
    "DATASET",
    "GROUP_TEMPLATE",
    "POD_TEMPLATE",
    "RESOURCE_VALIDATION",
    "SERVICE",
    "WORKFLOW",
}


class ConfigView(WireView):
    permission_classes = [IsAuthenticated, OnlyAdministratorsConfigure]

    @property
    def older(self) -> bool:
        return "HTTP_AUTHORIZATION" not in self.request.META

    def asked(self) -> dict[str, Any]:
        """The body. It may be larger than others; whose it is was looked at before it is read."""
        body = self.request._request.read(MAX_BODY + 1)
        if len(body) > MAX_BODY:
            raise TooLarge
        return json_object(body)


def named_type(text: str) -> str:
    """Of an address."""
    if text.upper() in ELSEWHERE:
        refuse_elsewhere(text.upper())
    if text.upper() not in ConfigType.values:
        raise ValidationError(f'Invalid config type "{text[:100]}"')
    return text.upper()


def refuse_elsewhere(kind: str) -> NoReturn:
    kept = " and ".join(ConfigType.values)
    raise ValidationError(f"Configs of the type {kind} are not kept by this portal: it keeps {kept}.")


def described(asked: dict[str, Any]) -> str:
    """What is said with a change; nothing, if it is blank."""
    found = asked.get("description")
    if not isinstance(found, str | None):
        raise Unprocessable("description must be text.")
    return (found or "").strip()


def texts(asked: dict[str, Any], name: str) -> list[str] | None:
    found = asked.get(name)
    if found is not None and not (isinstance(found, list) and all(isinstance(text, str) for text in found)):
        raise Unprocessable(f"{name} must be a list of texts.")
    return found
