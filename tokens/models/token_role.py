from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any, Self

from django.db import models
from django.db.models import F
from django.utils import timezone

from osmo_portal.events.trail import AuditedModel, AuditedQuerySet
from profiles.models import RoleAssignment
from tokens.models.keys import Keys


class TokenRoleQuerySet(AuditedQuerySet["TokenRole"]):
    def exceeded(self, at: datetime | None = None) -> list[Self]:
        """On tokens that have neither ended nor expired, and are dated to live longer than this role allows: a
        queryset for each maximum that roles have.

        They name the assignments. From these a database comes to the tokens by an index; else it would read all roles
        of all tokens.
        """
        bound: dict[Any, list[int]] = defaultdict(list)
        limited = RoleAssignment.objects.filter(role__max_token_days__isnull=False).order_by()
        for days, assignment in limited.values_list("role__max_token_days", "pk"):
            bound[days].append(assignment)
        dated = self.alias(lifetime=F("token__expires_at") - F("token__issued_at"))
        living = dated.filter(token__ended_at=None, token__expires_at__gt=at or timezone.now())
        return [
            living.filter(assignment__in=Keys(assignments), lifetime__gt=timedelta(days=days))
            for days, assignments in bound.items()
        ]


def is_effective(removed_at: datetime | None, deleted_at: datetime | None) -> bool:
    """Whether a role on a token counts, by the ends of the owner's assignment and of the role itself."""
    return removed_at is None and deleted_at is None


class TokenRole(AuditedModel):
    """A role on a token, through the owner's assignment: when that ends, the token has lost the role for good."""

    # Both are found by the two indexes below, from which alone lists by role are answered.
    token = models.ForeignKey("tokens.AccessToken", models.PROTECT, related_name="roles", db_index=False)
    assignment = models.ForeignKey(RoleAssignment, models.PROTECT, related_name="token_roles", db_index=False)

    objects = TokenRoleQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["token", "assignment"], name="role_once_on_a_token"),
        ]
        indexes = [models.Index(fields=["assignment", "token", "id"], name="token_role_of_assignment")]

    def __str__(self) -> str:
        return f"{self.assignment.role} on {self.token}"

    @property
    def role_id(self) -> int:
        return self.assignment.role_id

    @property
    def role_name(self) -> str:
        return self.assignment.role.name

    @property
    def is_effective(self) -> bool:
        return is_effective(self.assignment.removed_at, self.assignment.role.deleted_at)
