from datetime import datetime, timedelta
from typing import Self

from django.db import models
from django.db.models import ExpressionWrapper, F
from django.utils import timezone

from osmo_portal.events.trail import AuditedModel, AuditedQuerySet
from profiles.models import RoleAssignment


class TokenRoleQuerySet(AuditedQuerySet["TokenRole"]):
    def exceeded(self, at: datetime | None = None) -> Self:
        """On tokens that have neither ended nor expired, and are dated to live longer than this role allows."""
        days = ExpressionWrapper(F("assignment__role__max_token_days"), models.IntegerField())
        allowed = ExpressionWrapper(days * timedelta(days=1), models.DurationField())
        limited = self.filter(assignment__role__max_token_days__isnull=False).alias(
            lifetime=F("token__expires_at") - F("token__issued_at")
        )
        return limited.filter(token__ended_at=None, token__expires_at__gt=at or timezone.now(), lifetime__gt=allowed)


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
    def is_effective(self) -> bool:
        return self.assignment.removed_at is None and self.assignment.role.deleted_at is None
