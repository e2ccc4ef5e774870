"""The history of roles and pools by `osmo config`: what there was, what differs, the way back. For administrators."""

import re
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from osmo_portal.events.actor import Actor
from osmo_portal.problems import Unprocessable
from profiles.api.config_view import ELSEWHERE, ConfigView, described, named_type, texts
from profiles.api.configured import shown_pool, shown_role
from profiles.models import ConfigType, Pool, Revision, Role
from profiles.models.revision import Configured, newest_at

MAX_COUNT = 1_000
MAX_SNAPSHOTS = 20  # revisions whose whole configuration is in one answer
MODELS: dict[str, type[Configured]] = {ConfigType.ROLE: Role, ConfigType.POOL: Pool}


class History(ConfigView):
    def get(self, request: Request) -> Response:
        """The newest entries that were asked for, in the order that was asked for."""
        ask = request.GET
        whole = not boolean(ask.get("omit_data", "true"), "omit_data")
        limit = number(ask.get("limit", "20"), "limit", least=1, most=MAX_COUNT)
        offset = number(ask.get("offset", "0"), "offset", least=0, most=10**9)
        order = ask.get("order", "ASC").upper()
        if order not in ("ASC", "DESC"):
            raise Unprocessable("order must be ASC or DESC.")
        if whole and limit > MAX_SNAPSHOTS:
            raise ValidationError(f"Ask for at most {MAX_SNAPSHOTS} revisions with their data at once.")
        newest = [*self._asked_for(request).order_by("-created_at", "-pk")[offset : offset + limit]]
        entries = newest if order == "DESC" else newest[::-1]
        return Response({"configs": [self._entry(revision, whole=whole) for revision in entries]})

    def _asked_for(self, request: Request) -> Any:
        ask = request.GET
        found = Revision.objects.shown()
        if "config_types" in ask:
            found = found.filter(config_type__in=[config_type(text) for text in ask.getlist("config_types")])
        if "name" in ask:
            found = found.filter(name=ask["name"])
        if "revision" in ask:
            found = found.filter(number=number(ask["revision"], "revision", least=1, most=2**31 - 1))
        if "created_before" in ask:
            found = found.filter(created_at__lt=instant(ask["created_before"], "created_before"))
        if "created_after" in ask:
            found = found.filter(created_at__gt=instant(ask["created_after"], "created_after"))
        if "at_timestamp" in ask:
            found = found.filter(pk=newest_at(instant(ask["at_timestamp"], "at_timestamp")))
        return found.tagged(ask.getlist("tags")) if "tags" in ask else found

    def _entry(self, revision: Revision, *, whole: bool) -> dict[str, Any]:
        return {
            "config_type": revision.config_type,
            "name": revision.name,
            "revision": revision.number,
            "username": revision.username,
            "created_at": f"{revision.created_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}",
            "description": revision.description,
            "tags": revision.tags,
            "data": shown_whole(revision, older=self.older) if whole else None,
        }


class Rollback(ConfigView):
    def post(self, request: Request) -> Response:
        asked = self.asked()
        revision, description = from_one(asked.get("revision")), described(asked)
        model = MODELS[config_type(asked.get("config_type"))]
        model.roll_back(revision, by=Actor.of(request), description=description, tags=texts(asked, "tags"))
        return Response(None)


class OneRevision(ConfigView):
    def delete(self, request: Request, kind: str, revision: int) -> Response:
        known_revision(kind, revision).mark_deleted(by=Actor.of(request))
        return Response(None)


class Tags(ConfigView):
    def post(self, request: Request, kind: str, revision: int) -> Response:
        asked = self.asked()
        add, remove = texts(asked, "set_tags"), texts(asked, "delete_tags")
        if not (add or remove):
            raise Unprocessable("set_tags or delete_tags must name a tag.")
        known_revision(kind, revision).tag(by=Actor.of(request), add=add or [], remove=remove or [])
        return Response(None)


class Diff(ConfigView):
    def get(self, request: Request) -> Response:
        ask = request.GET
        kind = config_type(ask.get("config_type"))
        numbers = [number(ask.get(name, ""), name, least=1) for name in ("first_revision", "second_revision")]
        first, second = [shown_whole(Revision.known(kind, one), older=self.older) for one in numbers]
        return Response({"first_data": first, "second_data": second})


def shown_whole(revision: Revision, *, older: bool) -> Any:
    """The configuration of the type as it was."""
    found = revision.snapshot
    if revision.config_type == ConfigType.ROLE:
        return [shown_role(name, configured, older=older) for name, configured in found.items()]
    return {"pools": {name: shown_pool(name, configured) for name, configured in found.items()}}


def config_type(text: Any) -> str:
    """Of a query or a body: Unprocessable for what is no type at all."""
    if not isinstance(text, str) or text.upper() not in {*ConfigType.values, *ELSEWHERE}:
        raise Unprocessable(f"The config type must be one of {', '.join(ConfigType.values)}.")
    return named_type(text)


def known_revision(kind: str, revision: int) -> Revision:
    which = from_one(revision)
    return Revision.known(named_type(kind), which)


def from_one(revision: Any) -> int:
    if not isinstance(revision, int) or isinstance(revision, bool) or revision < 1:
        raise Unprocessable("revision must be a number from 1.")
    return revision


def number(text: str, name: str, *, least: int, most: int = 10**18) -> int:
    """Raises Unprocessable for what is none, or out of bounds."""
    if not re.fullmatch("[0-9]{1,18}", text) or not least <= int(text) <= most:
        raise Unprocessable(f"{name} must be a number from {least}" + (f" to {most}." if most < 10**18 else "."))
    return int(text)


def boolean(text: str, name: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise Unprocessable(f"{name} must be true or false.")
    return text.lower() == "true"


def instant(text: str, name: str) -> datetime:
    """UTC where no zone is said. In an address a `+` that was not escaped has become a space."""
    try:
        found = datetime.fromisoformat(re.sub(r"(T.*) (?=[0-9]{2}:?[0-9]{2}$)", r"\1+", text))
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Unprocessable(f"{name} must be a time such as 2026-12-31T23:59:59, in UTC.") from None
