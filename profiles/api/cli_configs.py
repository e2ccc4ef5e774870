"""Roles and pools by `osmo config`. For administrators.

6.0 and 6.1, known by their credential header, are shown policies in their own form; what comes in may have either.
"""

from collections.abc import Iterable
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from osmo_portal.events.actor import Actor
from osmo_portal.problems import Unprocessable
from profiles.api.config_view import ConfigView, described, named_type, texts
from profiles.api.configured import asked_pool, asked_role, merged, shown_pool, shown_role
from profiles.models import ConfigType, Pool, Role
from profiles.models.revision import Account, Configured, revised


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


class OtherConfigs(ConfigView):
    """Whatever else the released servers configure."""

    def get(self, request: Request, kind: str, rest: str = "") -> Response:
        named_type(kind)
        raise Http404

    put = patch = post = delete = get


def refuse_twice(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValidationError(f"{name[:100]} is listed twice.")
        seen.add(name)
