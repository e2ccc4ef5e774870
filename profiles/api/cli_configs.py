"""Roles and pools by `osmo config`, and their history. For administrators.

6.0 and 6.1, known by their credential header, are shown policies in their own form; what comes in may have either.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, ClassVar, NoReturn

from django.core.exceptions import ValidationError
from django.http import Http404
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from osmo_portal.api import WireView, json_object
from osmo_portal.events.actor import Actor
from osmo_portal.problems import TooLarge, Unprocessable
from profiles.api.configured import asked_pool, asked_role, merged, shown_pool, shown_role
from profiles.api.permissions import OnlyAdministratorsConfigure
from profiles.models import ConfigType, Pool, Revision, Role
from profiles.models.revision import Account, Configured, newest_at, revised

MAX_BODY = 4 * 1024 * 1024  # all roles at once, with what policies stand for
MAX_COUNT = 1_000
MAX_SNAPSHOTS = 20  # revisions whose whole configuration is in one answer
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
MODELS: dict[str, type[Configured]] = {ConfigType.ROLE: Role, ConfigType.POOL: Pool}


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


class NamedConfigs(ConfigView):
    """What roles and pools have in common here."""

    model: ClassVar[type[Configured]]
    unknown: ClassVar[str]

    def known(self, name: str) -> Any:
        found = self.model.named(name)
        if found is None:
            raise ValidationError(self.unknown.format(name[:100]))
        return found

    def account(self, asked: dict[str, Any], default: str, name: str = "") -> Account:
        return Account(name, described(asked) or default, texts(asked, "tags"))

    def asked_of(self, name: str) -> tuple[Any, Account]:
        """What one is to become, and what is said with it."""
        asked, kind = self.asked(), self.model.config_type.lower()
        if "configs" not in asked:
            raise Unprocessable(f"configs is missing: the {kind}.")
        return asked["configs"], self.account(asked, f"Put complete {kind} {name}", name)

    def end(self, name: str) -> Response:
        by = Actor.of(self.request)
        account = self.account(self.asked(), f"Delete {self.model.config_type.lower()} {name}", name)
        with revised(self.model.config_type, account, by=by):
            self.known(name).mark_deleted(by=by, reason=account.description)
        return Response(None)


class Roles(NamedConfigs):
    model, unknown = Role, "Role {} does not exist."

    def get(self, request: Request) -> Response:
        roles = Role.objects.existing().order_by("name")
        return Response([shown_role(role.name, role.configuration, older=self.older) for role in roles])

    def put(self, request: Request) -> Response:
        """Makes and changes the roles that are named, all or none. The others stay."""
        asked = self.asked()
        configs = asked.get("configs")
        if not isinstance(configs, list):
            raise Unprocessable("configs must be a list of roles.")
        roles = [asked_role(body, older=self.older) for body in configs]
        self.put_down(roles, self.account(asked, "Put complete roles"))
        return Response(None)

    def put_down(self, roles: list[tuple[str, dict[str, Any]]], account: Account) -> None:
        by = Actor.of(self.request)
        refuse_twice(name for name, _ in roles)
        with revised(ConfigType.ROLE, account, by=by):
            for name, fields in roles:
                Role.put(by=by, name=name, reason=account.description, **fields)


class OneRole(Roles):
    def get(self, request: Request, name: str) -> Response:  # type: ignore[override]
        role = self.known(name)
        return Response(shown_role(role.name, role.configuration, older=self.older))

    def put(self, request: Request, name: str) -> Response:  # type: ignore[override]
        body, account = self.asked_of(name)
        self.put_down([asked_role(body, older=self.older, name=name)], account)
        return Response(None)

    def delete(self, request: Request, name: str) -> Response:
        return self.end(name)


class Pools(NamedConfigs):
    model, unknown = Pool, "Pool {} not found."

    def get(self, request: Request) -> Response:
        pools = Pool.objects.existing().order_by("name")
        return Response({"pools": {pool.name: self.shown(pool) for pool in pools}})

    def put(self, request: Request) -> Response:
        """Makes and changes the pools that are named, all or none. The others stay."""
        asked = self.asked()
        configs = asked.get("configs")
        if isinstance(configs, dict) and set(configs) == {"pools"} and isinstance(configs["pools"], dict):
            # As it was shown, unless it is a pool of that name.
            configs = configs if "backend" in configs["pools"] else configs["pools"]
        if not isinstance(configs, dict):
            raise Unprocessable("configs must be an object: the pools by their names.")
        self.put_down(configs, self.account(asked, "Set all pool configurations"))
        return Response(None)

    def put_down(self, pools: dict[str, Any], account: Account) -> None:
        by = Actor.of(self.request)
        with revised(ConfigType.POOL, account, by=by):
            for name, body in pools.items():
                pool = Pool.named(name)
                fields = asked_pool(body, name=name, now=pool.configuration if pool else None)
                Pool.put(by=by, name=name, reason=account.description, **fields)

    def shown(self, pool: Pool) -> dict[str, Any]:
        return {**shown_pool(pool.name, pool.configuration), "status": pool.status}


class OnePool(Pools):
    def get(self, request: Request, name: str) -> Response:  # type: ignore[override]
        return Response(self.shown(self.known(name)))

    def put(self, request: Request, name: str) -> Response:  # type: ignore[override]
        body, account = self.asked_of(name)
        self.put_down({name: body}, account)
        return Response(None)

    def patch(self, request: Request, name: str) -> Response:
        """Answers with the whole pool."""
        asked = self.asked()
        if not isinstance(asked.get("configs_dict"), dict):
            raise Unprocessable("configs_dict must be an object: what changes of the pool.")
        account = self.account(asked, f"Patch pool {name}", name)
        with revised(ConfigType.POOL, account, by=Actor.of(request)):
            shown = shown_pool(name, self.known(name).configuration)
            self.put_down({name: merged(shown, asked["configs_dict"])}, account)
        return Response(self.shown(self.known(name)))

    def delete(self, request: Request, name: str) -> Response:
        return self.end(name)


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


class OtherConfigs(ConfigView):
    """Whatever else the released servers configure."""

    def get(self, request: Request, kind: str, rest: str = "") -> Response:
        named_type(kind)
        raise Http404

    put = patch = post = delete = get


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


def known_revision(kind: str, revision: int) -> Revision:
    which = from_one(revision)
    return Revision.known(named_type(kind), which)


def from_one(revision: Any) -> int:
    if not isinstance(revision, int) or isinstance(revision, bool) or revision < 1:
        raise Unprocessable("revision must be a number from 1.")
    return revision


def refuse_twice(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValidationError(f"{name[:100]} is listed twice.")
        seen.add(name)


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
