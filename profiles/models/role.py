import hashlib
import json
from copy import copy
from typing import Any, Self

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from osmo_portal.events.actor import Actor
from osmo_portal.events.trail import AuditedQuerySet, record
from profiles import names
from profiles.models.revision import Account, ConfigType, Configured, revised
from profiles.policies import (
    PolicyError,
    RolePolicies,
    describe,
    grants_pool_access,
    is_plain,
    normalise,
    parse,
)
from profiles.rules import NEVER_WITH_POOL_ACCESS, require_administrator, require_reason
from profiles.signals import maximum_lifetime_changed


class RoleQuerySet(AuditedQuerySet["Role"]):
    def existing(self) -> Self:
        return self.filter(deleted_at=None)

    def pool_roles(self) -> Self:
        return self.existing().filter(grants_pools=True)

    def plain(self) -> Self:
        """What an operator may grant: no pool access and no power over tokens, roles, users or the platform."""
        return self.existing().filter(is_plain=True)


class SyncMode(models.TextChoices):
    FORCE = "force"
    IMPORT = "import"
    IGNORE = "ignore"


MAX_EXTERNAL_ROLES = 100
CHANGEABLE = ("description", "policies", "max_token_days", "sync_mode", "external_roles")


class Role(Configured):
    """A named set of policies. `grants_pools` and `is_plain` are derived from them whenever they are set.

    Roles are never deleted: `deleted_at` ends one, and with it what it gave; a new role of that name is another.
    """

    name = models.CharField(max_length=names.MAX_LENGTH, validators=[names.role_name])
    description = models.TextField(blank=True, max_length=names.MAX_TEXT)
    policies = models.JSONField(default=list, blank=True)
    immutable = models.BooleanField(default=False, editable=False)
    grants_pools = models.BooleanField("pool role", default=False, editable=False)
    is_plain = models.BooleanField("operators may grant it", default=False, editable=False)
    max_token_days = models.PositiveIntegerField(
        "maximum lifetime of its tokens (days)",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(3650)],
        help_text="Empty: the portal-wide maximum. Lowering it acts on existing tokens at once.",
    )
    # Kept for the released clients. What an identity provider's roles give here is the setting OIDC_ROLE_MAP.
    sync_mode = models.CharField(
        max_length=8, choices=SyncMode.choices, default=SyncMode.IMPORT, db_default=SyncMode.IMPORT, editable=False
    )
    external_roles = models.JSONField(null=True, blank=True, editable=False)  # null: the one of the role's own name
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = RoleQuerySet.as_manager()
    config_type = ConfigType.ROLE
    configured = ("description", "policies", "sync_mode", "external_roles")

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["name"], condition=Q(deleted_at=None), name="role_name_unique"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def parsed(self) -> RolePolicies:
        return RolePolicies(self.name, parse(self.policies))

    @property
    def described(self) -> list[str]:
        """What the role gives, in words for the screen."""
        return describe(self.parsed.policies)

    def clean(self) -> None:
        """Validates and normalises the policies and derives from them. Raises ValidationError in words."""
        self.description = names.clean_text(self.description, field="description")
        if self.external_roles is not None:
            self.external_roles = _clean_external(self.external_roles)
        try:
            self.policies = normalise(self.policies)
            parsed = parse(self.policies)
        except PolicyError as error:
            raise ValidationError({"policies": str(error)}, code="policies") from None
        self.grants_pools = grants_pool_access(parsed)
        self.is_plain = is_plain(parsed)
        if self.grants_pools and self.name in NEVER_WITH_POOL_ACCESS:
            message = (
                f"{self.name} must not give pool access: every person holds it. Make a role of its own for the pool."
            )
            raise ValidationError({"policies": message}, code="pool_access")

    # Ways in.

    @classmethod
    def create(
        cls,
        *,
        by: Actor,
        name: str,
        description: str = "",
        policies: Any = (),
        max_token_days: int | None = None,
        **external: Any,
    ) -> "Role":
        """`external` are `sync_mode` and `external_roles`."""
        require_administrator(by, "create roles")
        names.only(external, "sync_mode", "external_roles")
        limit = {"max_token_days": max_token_days}
        role = cls.drafted(name=name, description=description, policies=policies, **limit, **external)
        account = Account(name, f"Put complete role {name}")
        with names.taken({"name": _exists(name)}), revised(ConfigType.ROLE, account, by=by) as draft:
            role.save()
            record("role.created", by, role, policies=role.policies, max_token_days=role.max_token_days, **external)
            role.put_down(draft)
        return role

    @classmethod
    def drafted(
        cls,
        *,
        name: str,
        description: str = "",
        policies: Any = (),
        max_token_days: int | None = None,
        **external: Any,
    ) -> "Role":
        """The role that `create` would make: checked and derived, not saved."""
        policies = [] if policies in (None, ()) else policies  # an empty object is not a list, and is refused
        role = cls(name=name, description=description, policies=policies, max_token_days=max_token_days, **external)
        role.full_clean(validate_constraints=False)
        if Role.objects.existing().filter(name=name).exists():
            raise ValidationError({"name": _exists(name)}, code="conflict")
        return role

    def altered(self, **fields: Any) -> "Role":
        """This role as `change` would leave it: checked and derived, not saved."""
        names.only(fields, *CHANGEABLE)
        role = copy(self)
        for name, value in fields.items():
            setattr(role, name, value)
        role.full_clean(validate_unique=False, validate_constraints=False)
        return role

    def change(self, *, by: Actor, seen: str | None = None, reason: str = "", **fields: Any) -> None:
        """Changes what is CHANGEABLE. Tokens feel it at their next use.

        With `seen`, a `fingerprint`, only if the role is still the one that was looked at.
        """
        require_administrator(by, "change roles")
        reason = names.clean_text(reason, field="reason")
        names.only(fields, *CHANGEABLE)
        account = Account(self.name, reason or f"Put complete role {self.name}")
        with revised(ConfigType.ROLE, account, by=by) as draft:
            role = self._locked(seen)
            if role.immutable:
                raise ValidationError(f"{role} cannot be changed: the portal stands on it.", code="immutable")
            before = {name: getattr(role, name) for name in fields}
            role = role.altered(**fields)
            role.save(update_fields=[*fields, "grants_pools", "is_plain"])
            changed = {name: [before[name], getattr(role, name)] for name in fields}
            record("role.changed", by, role, reason=reason, **changed)
            if set(fields) & set(self.configured):
                role.put_down(draft)
            if "max_token_days" in fields:
                maximum_lifetime_changed.send(Role, role=role, by=by, reason=reason)
        self.refresh_from_db()

    def mark_deleted(self, *, by: Actor, reason: str, seen: str | None = None) -> None:
        """Ends the role and with it, at once, what it gave to users and tokens. `seen` as for `change`."""
        require_administrator(by, "delete roles")
        reason = require_reason(reason)
        account = Account(self.name, reason)
        with revised(ConfigType.ROLE, account, by=by) as draft:
            role = self._locked(seen)
            if role.immutable or role.name in NEVER_WITH_POOL_ACCESS:
                raise ValidationError(f"{role} cannot be deleted: the portal stands on it.", code="immutable")
            role.deleted_at = timezone.now()
            role.save(update_fields=["deleted_at"])
            record("role.deleted", by, role, reason=reason)
            role.put_down(draft)
        self.refresh_from_db()

    @property
    def fingerprint(self) -> str:
        """Of what the role is now. It differs once anything has been changed."""
        state = [self.pk, *map(self.__dict__.get, CHANGEABLE), str(self.deleted_at)]
        return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()

    @classmethod
    def named(cls, name: str) -> "Role | None":
        return cls.objects.existing().filter(name=name).first() if names.role_name.fits(name) else None

    @classmethod
    def remembered(cls, name: str) -> dict[str, Any]:
        """The maximum lifetime that it had last: coming back, a role must not give more than before."""
        last = cls.objects.filter(name=name).order_by("-deleted_at", "-pk").first()
        return {"max_token_days": last.max_token_days} if last else {}

    def _locked(self, seen: str | None) -> "Role":
        """This role as it is now, and not as the caller once loaded or altered it, until the transaction ends."""
        role = Role.objects.select_for_update(no_key=True).get(pk=self.pk)
        if role.deleted_at:
            raise ValidationError(f"The role {role} was deleted.", code="conflict")
        if seen is not None and role.fingerprint != seen:
            raise ValidationError(f"Somebody changed the role {role} just now. Look at it again.", code="conflict")
        return role


def _clean_external(given: Any) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise ValidationError({"external_roles": "Write a list of names."})
    if len(given) > MAX_EXTERNAL_ROLES:
        raise ValidationError({"external_roles": f"Write at most {MAX_EXTERNAL_ROLES} names, not {len(given)}."})
    return [names.clean_text(name, field="external_roles", limit=names.MAX_LENGTH) for name in given]


def _exists(name: str) -> str:
    return f"Role {name[:100]} already exists."
