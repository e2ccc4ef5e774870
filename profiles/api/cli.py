"""Version, login information, profile and pools, as the released clients ask for them."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from osmo_portal.api import WireView, json_object
from osmo_portal.events.actor import Actor
from osmo_portal.problems import Unprocessable
from profiles.api.configured import open_pool
from profiles.api.permissions import ServiceAccountsReadTheirProfile
from profiles.models import Pool, Settings
from profiles.reach import submit_pools

LOGIN_KEYS = (
    "device_endpoint",
    "device_client_id",
    "browser_endpoint",
    "browser_client_id",
    "token_endpoint",
    "logout_endpoint",
)
FIGURES = ("quota_used", "quota_free", "quota_limit", "total_usage", "total_capacity", "total_free")


@csrf_exempt
@require_safe
def version(request: HttpRequest) -> JsonResponse:
    return JsonResponse(_version())


@csrf_exempt
@require_safe
def client_version(request: HttpRequest) -> HttpResponse:
    if request.META.get("HTTP_ACCEPT", "").startswith("text/plain"):
        return HttpResponse(settings.CLI_VERSION, content_type="text/plain")
    return JsonResponse(_version())


@csrf_exempt
@require_safe
def login_information(request: HttpRequest) -> JsonResponse:
    """Older clients ask before every kind of login. All six keys are there; login by token needs none of them."""
    information: dict[str, str | None] = dict.fromkeys(LOGIN_KEYS)
    if settings.TERMINAL_DAYS:
        information["device_client_id"] = "osmo-cli"
        information["device_endpoint"] = settings.PORTAL_URL + reverse("device_authorization")
        information["token_endpoint"] = settings.PORTAL_URL + reverse("token_endpoint")
    return JsonResponse(information)


def _version() -> dict[str, str]:
    major, minor, revision = settings.CLI_VERSION.split(".")
    return {"major": major, "minor": minor, "revision": revision, "hash": ""}


class ProfileSettings(WireView):
    permission_classes = [IsAuthenticated, ServiceAccountsReadTheirProfile]

    def get(self, request: Request) -> Response:
        by = Actor.of(request)
        mine = Settings.of(by.user)
        profile = {
            "username": by.user.username,
            "email_notification": mine.email_notification,
            "slack_notification": mine.slack_notification,
            "bucket": mine.bucket,
            "pool": mine.pool,
        }
        return Response(
            {
                "profile": profile,
                "roles": sorted(by.roles),
                "pools": submit_pools(by.user),
                "token": _token(by.token),
            }
        )

    def post(self, request: Request) -> Response:
        by = Actor.of(request)
        Settings.change(by.user, by=by, **_changes(json_object(request._request.body)))
        return Response(None)


def _token(token: Any) -> dict[str, Any] | None:
    """None for a person who is signed in without one."""
    return token and {"name": token.name, "expires_at": token.expires_at.strftime("%Y-%m-%dT%H:%M:%S")}


def _changes(body: dict[str, Any]) -> dict[str, Any]:
    """Unknown keys and null are left out, as the released servers have it."""
    changes: dict[str, Any] = {}
    for name in ("email_notification", "slack_notification"):
        if body.get(name) is not None:
            changes[name] = _boolean(name, body[name])
    for name in ("bucket", "pool"):
        if body.get(name) is not None:
            if not isinstance(body[name], str):
                raise Unprocessable(f"{name} must be text.")
            changes[name] = body[name]
    return changes


def _boolean(name: str, value: Any) -> bool:
    known = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    found = known.get(str(value).lower())
    if found is None:
        raise Unprocessable(f"{name} must be true or false.")
    return found


class PoolQuota(WireView):
    def get(self, request: Request) -> Response:
        """Pools of one backend share their machines: one element of `node_sets` each. All figures are text."""
        pools = sorted(_asked_for(request), key=lambda pool: (pool.backend, pool.name))
        node_sets = [
            {"pools": [{**open_pool(pool), "resource_usage": _usage(pool)} for pool in of_backend]}
            for _, of_backend in groupby(pools, key=lambda pool: pool.backend)
        ]
        return Response({"node_sets": node_sets, "resource_sum": _sum(pools)})


class Pools(WireView):
    def get(self, request: Request) -> Response:
        pools = {pool.name: {**open_pool(pool), "resources": {"gpu": None}} for pool in _asked_for(request)}
        return Response({"pools": pools})


def _asked_for(request: Request) -> Iterable[Pool]:
    """Everybody signed in sees all pools, as on the released servers; names that do not exist are left out."""
    everything = Pool.objects.existing().order_by("name")
    names = request.GET.getlist("pools")
    if names:
        return everything.filter(name__in=names)
    if "all_pools" in request.GET and not _boolean("all_pools", request.GET["all_pools"]):
        return everything.filter(name="default")
    return everything


def _figures(pool: Pool) -> dict[str, int]:
    return {
        "quota_used": pool.quota_used,
        "quota_free": max(pool.quota_limit - pool.quota_used, 0),
        "quota_limit": pool.quota_limit,
        "total_usage": pool.total_usage,
        "total_capacity": pool.total_capacity,
        "total_free": max(pool.total_capacity - pool.total_usage, 0),
    }


def _usage(pool: Pool) -> dict[str, str]:
    return {name: str(figure) for name, figure in _figures(pool).items()}


def _sum(pools: list[Pool]) -> dict[str, str]:
    """Quota adds up over pools; machines are counted once a backend, at their largest."""
    figures = [(pool.backend, _figures(pool)) for pool in pools]
    total = {name: sum(of_pool[name] for _, of_pool in figures) for name in FIGURES}
    for name in ("total_usage", "total_capacity", "total_free"):
        largest: dict[str, int] = {}
        for backend, of_pool in figures:
            largest[backend] = max(largest.get(backend, 0), of_pool[name])
        total[name] = sum(largest.values())
    return {name: str(figure) for name, figure in total.items()}
