from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone

from osmo_portal.events.actor import Actor
from osmo_portal.events.trail import AuditedModel, AuditedQuerySet, audited, record
from profiles import names
from profiles.models.role import Role
from profiles.rules import DEFAULT_ROLE, USER_ROLE, require_reason

if TYPE_CHECKING:
    from profiles.models.user import User


class RoleAssignmentQuerySet(AuditedQuerySet["RoleAssignment"]):
    def effective(self) -> Self:
        return self.filter(removed_at=None, role__deleted_at=None)

    def give(self, user: "User", role_name: str, *, by: Actor) -> "RoleAssignment":
        """The effective assignment, made if there is none. User.assign_role is the way in."""
        known = names.role_name.fits(role_name)
        role = Role.objects.existing().filter(name=role_name).first() if known else None
        if role is None:
            raise ValidationError({"roles": f"Role {role_name[:100]} does not exist."}, code="unknown_role")
        if role.name == DEFAULT_ROLE:
            raise ValidationError({"roles": f"{DEFAULT_ROLE} counts for everybody and is assigned to nobody."})
        held = RoleAssignment.objects.effective().filter(user=user, role=role).first()
        if held:
            return held
        assignment = RoleAssignment(user=user, role=role, assigned_by=by.user)
        assignment.save()
        record("role.assigned", by, user, role=role.name)
        user.__dict__.pop("held_role_names", None)
        return assignment

    def give_newcomers(self, users: "Iterable[tuple[User, Sequence[Role]]]", *, by: Actor) -> dict[int, list[str]]:
        """The names of the roles that each user, by its key, has now. UserQuerySet.bring_in is the way in."""
        basic = Role.objects.existing().filter(name=USER_ROLE)
        given = {user.pk: {*roles} if user.is_service_account else {*roles, *basic} for user, roles in users}
        wanted = {role.pk for roles in given.values() for role in roles}
        if Role.objects.existing().exclude(name=DEFAULT_ROLE).filter(pk__in=wanted).count() != len(wanted):
            raise ValidationError({"roles": "One of the roles does not exist any more, or is given to nobody."})
        now, giver = timezone.now(), by.user and by.user.pk
        rows = ((user, role.pk, giver, now) for user, roles in given.items() for role in roles)
        self.insert_values(["user", "role", "assigned_by", "assigned_at"], rows)
        return {user: sorted(role.name for role in roles) for user, roles in given.items()}

    def take(self, user: "User", role_name: str, *, by: Actor, reason: str) -> None:
        """Ends the effective assignment. User.remove_role is the way in."""
        mine = RoleAssignment.objects.effective().filter(user=user, role__name=role_name)
        known = names.role_name.fits(role_name)
        held = mine.select_for_update(of=("self",), no_key=True).first() if known else None
        if held is None:
            raise ValidationError({"role": f"User {user} does not hold the role {role_name[:100]}."}, code="not_held")
        held.removed_at, held.removed_by = timezone.now(), by.user
        held.save(update_fields=["removed_at", "removed_by"])
        record("role.removed", by, user, reason=names.clean_text(reason, field="reason"), role=role_name)
        user.__dict__.pop("held_role_names", None)


class RoleAssignment(AuditedModel):
    """That a user holds a role, since when and by whom. Never deleted: `removed_at` ends it for good."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="assignments")
    role = models.ForeignKey(Role, models.PROTECT, related_name="assignments")
    assigned_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    assigned_at = models.DateTimeField(default=timezone.now)
    removed_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    removed_at = models.DateTimeField(null=True)

    objects = RoleAssignmentQuerySet.as_manager()

    class Meta:
        ordering = ["role__name"]
        constraints = [
            models.UniqueConstraint(
                fields=["user", "role"], condition=Q(removed_at=None), name="role_assigned_once_at_a_time"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} holds {self.role}"

    def end(self, *, by: Actor, reason: str) -> None:
        """As User.remove_role, if it is this assignment by which the user holds the role."""
        with audited():
            counted = RoleAssignment.objects.effective().filter(pk=self.pk).exists()
            if counted:
                self.user.remove_role(self.role.name, by=by, reason=require_reason(reason))
                self.refresh_from_db()
            if not counted or self.removed_at is None:
                raise ValidationError("This assignment does not count any more.", code="conflict")
