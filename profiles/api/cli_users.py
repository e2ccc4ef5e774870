"""Users and their roles, as 6.2 and later clients handle them; 6.0 and 6.1 ask for nothing of it. For administrators.

The released servers end these sentences without a full stop, and say of a user that is foreign or not there the same.
"""

import re
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from osmo_portal.api import WireView, json_object
from osmo_portal.events.actor import Actor
from osmo_portal.problems import Unprocessable
from profiles import names, rules
from profiles.api.permissions import OnlyAdministratorsHandleUsers
from profiles.models import Role, RoleAssignment, User
from profiles.models.assignment import RoleAssignmentQuerySet
from profiles.models.user import UserQuerySet

REASON = "With the osmo command line."
DEFAULT_COUNT = 100
MAX_COUNT = 1_000  # users in one answer, and in one request that assigns a role
LAST_INDEX = 10**9


class UsersView(WireView):
    permission_classes = [IsAuthenticated, OnlyAdministratorsHandleUsers]

    def handle_exception(self, exc: Exception) -> Response:
        response = super().handle_exception(exc)
        if response.status_code == 400:
            response.data["message"] = response.data["message"].removesuffix(".")
        return response


class Users(UsersView):
    def get(self, request: Request) -> Response:
        count = _number(request, "count", default=DEFAULT_COUNT, largest=MAX_COUNT)
        start = _number(request, "start_index", default=1, largest=LAST_INDEX)
        found = _asked_for(request)
        page = found.select_related("created_by").order_by("-created_at", "-pk")[start - 1 : start - 1 + count]
        users = [_user(user) for user in page]
        return Response(
            {
                "total_results": found.count(),
                "start_index": start,
                "items_per_page": len(users),
                "users": users,
            }
        )

    def post(self, request: Request) -> Response:
        """Makes a service account, or a person without password where the id looks like a person's."""
        asked = _body(request)
        username, roles = _text(asked, "id"), _texts(asked, "roles", default=[])
        if not names.user_id.fits(username):
            raise ValidationError(f"Username {username[:100]} must match regex {names.USER_ID}")
        make = User.create_person if re.search(settings.PERSON_ID_PATTERN, username) else User.create_service_account
        return Response(_user(make(by=Actor.of(request), username=username, roles=roles)))


class OneUser(UsersView):
    def get(self, request: Request, user_id: str) -> Response:
        user = known_user(user_id, by=Actor.of(request))
        return Response({**_user(user), "roles": _roles_of(user)})

    def delete(self, request: Request, user_id: str) -> Response:
        """The tokens end with their user."""
        known_user(user_id, by=Actor.of(request)).mark_deleted(by=Actor.of(request), reason=REASON)
        return Response(None)


class RolesOfUser(UsersView):
    def get(self, request: Request, user_id: str) -> Response:
        user = known_user(user_id, by=Actor.of(request))
        return Response({"user_id": user.username, "roles": _roles_of(user)})

    def post(self, request: Request, user_id: str) -> Response:
        """Assigns a role. One that is held already stays as it was assigned."""
        role = _text(_body(request), "role_name")
        user = known_user(user_id, by=Actor.of(request))
        assignment = user.assign_role(role, by=Actor.of(request))
        return Response({"user_id": user.username, **_assigned(assignment)})


class RoleOfUser(UsersView):
    def delete(self, request: Request, user_id: str, role: str) -> Response:
        """Whoever does not hold the role, or is not there, needs no removal."""
        user = _found(user_id, by=Actor.of(request))
        if user and _effective(user.assignments.all()).filter(role__name=role).exists():
            user.remove_role(role, by=Actor.of(request), reason=REASON)
        return Response(None)


class UsersOfRole(UsersView):
    def get(self, request: Request, role: str) -> Response:
        _refuse_unknown_role(role)
        holders = _effective(RoleAssignment.objects.filter(role__name=role, user__deleted_at=None))
        users = [
            {"user_id": held.user.username, "assigned_by": name_of(held.assigned_by), "assigned_at": held.assigned_at}
            for held in holders.select_related("user").order_by("-assigned_at", "-pk")
        ]
        return Response({"role_name": role, "users": users})

    def post(self, request: Request, role: str) -> Response:
        """Assigns the role to each user, one after the other. Who cannot get it is told as failed."""
        asked = _texts(_body(request), "user_ids")
        _refuse_unknown_role(role)
        if len(asked) > MAX_COUNT:
            raise ValidationError(f"Assign a role to at most {MAX_COUNT} users at once.")
        if not all(user_id.strip() for user_id in asked):
            raise ValidationError("User ID must not be empty")
        outcome: dict[str, list[str]] = {"assigned": [], "already_assigned": [], "failed": []}
        for user_id in asked:
            outcome[_give(role, user_id, by=Actor.of(request))].append(user_id)
        return Response({"role_name": role, **outcome})


def _give(role: str, user_id: str, *, by: Actor) -> str:
    """Which list of the answer the user belongs to."""
    user = _found(user_id, by=by)
    if user is None:
        return "failed"
    if _effective(user.assignments.all()).filter(role__name=role).exists():
        return "already_assigned"
    try:
        user.assign_role(role, by=by)
    except ValidationError:
        return "failed"
    return "assigned"


def known_user(user_id: str, *, by: Actor) -> User:
    """The user of that id, in any case. Raises ValidationError where there is none that the caller may know of."""
    if not user_id.strip():
        raise ValidationError("User ID must not be empty")
    user = _found(user_id, by=by)
    if user is None:
        raise ValidationError(f"User {user_id[:100]} not found")
    return user


def _found(user_id: str, *, by: Actor) -> User | None:
    return rules.visible_users(by).select_related("created_by").named(user_id).first()


def _asked_for(request: Request) -> UserQuerySet:
    found: UserQuerySet = rules.visible_users(Actor.of(request))
    if request.GET.get("id_prefix"):
        found = found.filter(username__istartswith=request.GET["id_prefix"])
    roles = request.GET.getlist("roles")
    return found.holding(*roles) if roles else found


def _refuse_unknown_role(role: str) -> None:
    if not Role.objects.existing().filter(name=role).exists():
        raise ValidationError(f"Role {role[:100]} does not exist")


def _user(user: User) -> dict[str, Any]:
    return {"id": user.username, "created_at": user.created_at, "created_by": name_of(user.created_by)}


def name_of(user: User | None) -> str:
    """Who did something, as clients show it: nobody in particular is the system."""
    return user.username if user else "system"


def _roles_of(user: User) -> list[dict[str, Any]]:
    return [_assigned(held) for held in _effective(user.assignments.all()).order_by("role__name")]


def _effective(assignments: RoleAssignmentQuerySet) -> RoleAssignmentQuerySet:
    return assignments.effective().select_related("role", "assigned_by")


def _assigned(held: RoleAssignment) -> dict[str, Any]:
    return {
        "role_name": held.role.name,
        "assigned_by": name_of(held.assigned_by),
        "assigned_at": held.assigned_at,
    }


def _number(request: Request, name: str, *, default: int, largest: int) -> int:
    """Between 1 and `largest`, whatever was asked for, as on the released servers. Raises Unprocessable."""
    asked = request.GET.get(name, str(default))
    if not re.fullmatch("[+-]?[0-9]{1,18}", asked):
        raise Unprocessable(f"{name} must be a number.")
    return min(max(int(asked), 1), largest)


def _body(request: Request) -> dict[str, Any]:
    return json_object(request._request.body)


def _text(body: dict[str, Any], name: str) -> str:
    if not isinstance(body.get(name), str):
        raise Unprocessable(f"{name} is missing, or is no text.")
    return str(body[name])


def _texts(body: dict[str, Any], name: str, default: list[str] | None = None) -> list[str]:
    texts = default if body.get(name) is None else body[name]
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise Unprocessable(f"{name} must be a list of texts.")
    return texts
