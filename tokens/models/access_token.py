from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from osmo_portal.events.actor import Actor
from osmo_portal.events.trail import AuditedModel, audited, record
from profiles import names
from profiles.models import Role, RoleAssignment, User
from profiles.rules import require_reason
from tokens import rules, secrets
from tokens.models.brief import FETCHED_ROLES, PutRole
from tokens.models.last_use import LastUse
from tokens.models.purged_secret import LABEL_LENGTH, PurgedSecret
from tokens.models.secret import Secret
from tokens.models.token_role import TokenRole
from tokens.models.token_set import DEFAULT_GRACE, MAX_GRACE, AccessTokenQuerySet, State
from tokens.secrets import Plaintext


class AccessToken(AuditedModel):
    """A credential of a user, or of a service account. Its kind is its owner's. It is never edited, and its record is
    deleted by `purge` alone.

    `issued_at` is the instant from which the maximum lifetime counts: creation, import, or the last rotation that
    set a new expiry. `plaintext` is set on what `issue` and `rotate` return, and nowhere else; `old_secret_ends` on
    what `rotate` returns.
    """

    plaintext: Plaintext
    old_secret_ends: datetime

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="tokens")
    name = models.CharField(max_length=names.MAX_LENGTH, validators=[names.token_name])
    description = models.TextField(blank=True, max_length=names.MAX_TEXT)
    created_at = models.DateTimeField(null=True, help_text="Unknown for imported tokens.")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    issued_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    rotations = models.PositiveIntegerField(default=0)
    suspended_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    ended_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    end_reason = models.TextField(blank=True)

    objects = AccessTokenQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["owner", "name"], condition=Q(ended_at=None), name="token_name_unique_while_not_ended"
            ),
            models.CheckConstraint(
                condition=Q(created_at=None) | Q(expires_at__gt=F("created_at")), name="token_expires_after_creation"
            ),
        ]
        indexes = [
            models.Index(fields=["expires_at", "id"], name="token_expiry"),
            models.Index(fields=["name", "id"], name="token_name"),
            models.Index(fields=["owner", "id"], name="token_owner"),
            models.Index(fields=["issued_at", "id"], name="token_issue"),
            models.Index(fields=["created_by", "id"], name="token_issuer"),
            # Lists of what is rare, or leaves out what may be most of the table.
            models.Index(fields=["id"], condition=Q(ended_at=None), name="token_listed"),
            models.Index(fields=["id"], condition=Q(ended_at__isnull=False), name="token_revoked"),
            models.Index(fields=["id"], condition=Q(ended_at=None, suspended_at__isnull=False), name="token_suspended"),
            # What the first page counts is answered from this one alone.
            models.Index(
                fields=["expires_at", "id", "issued_at", "suspended_at"],
                condition=Q(ended_at=None),
                name="token_expiry_while_not_ended",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.owner.username}/{self.name}" if self.owner_id else self.name

    def state(self, at: datetime | None = None) -> State:
        """What stands on the token itself. Whether it may do anything also depends on its owner and roles."""
        if self.ended_at:
            return State.REVOKED
        if (at or timezone.now()) >= self.expires_at:
            return State.EXPIRED
        return State.SUSPENDED if self.suspended_at else State.ACTIVE

    def end_within(self, days: int, at: datetime | None = None) -> datetime:
        """When it ends at the latest if it may live so many days: never before now."""
        return min(self.expires_at, max(self.issued_at + timedelta(days=days), at or timezone.now()))

    @property
    def role_names(self) -> list[str]:
        """The roles it was given and its owner still holds: what it carries now. Sorted."""
        return sorted(role.role_name for role in self.put_roles() if role.is_effective)

    @property
    def lost_role_names(self) -> list[str]:
        return sorted(role.role_name for role in self.put_roles() if not role.is_effective)

    def put_roles(self) -> Iterable[Any]:
        """TokenRoles, whether they still count or not: as `with_state` fetched them, or as they are now. PutRoles, of
        which less is known, where the token was fetched `in_brief`."""
        fetched: list[TokenRole | PutRole] | None = self.__dict__.get(FETCHED_ROLES)
        return self.roles.select_related("assignment__role") if fetched is None else fetched

    @property
    def end(self) -> datetime:
        return self.ended_at or self.expires_at

    def remains_of(self, secret: Secret) -> PurgedSecret:
        """What is kept of a secret of this token when the token is purged."""
        return PurgedSecret(
            digest=secret.digest,
            token_id=self.pk,
            label=str(self)[:LABEL_LENGTH],
            ended_at=min(self.end, secret.retires_at or self.end),
            purged_at=timezone.now(),
        )

    # Ways in for one token.

    @classmethod
    def issue(
        cls,
        *,
        by: Actor,
        owner: User,
        name: str,
        expires: date | str,
        roles: Iterable[str] = (),
        description: str = "",
    ) -> "AccessToken":
        """A new token of `owner` that dies at 00:00 UTC of the day `expires`; its secret is in `plaintext`.

        Raises PermissionDenied where `by` has no power for it, and ValidationError for anything wrong with the
        request, in the order in which the released servers check: roles, name, day, a name that is taken.
        """
        assignments = rules.assignments_to_carry(by, owner, list(roles))
        given = [assignment.role for assignment in assignments]
        rules.check_name(name)
        day = rules.parse_day(expires) if isinstance(expires, str) else expires
        now = timezone.now()
        expires_at = rules.check_expiry(day, given, by=by, now=now)
        token = cls(owner=owner, name=name, created_at=now, issued_at=now, created_by=by.user, expires_at=expires_at)
        token.description = names.clean_text(description, field="description")
        with audited():
            _lock_owner(owner, assignments)
            same = cls.objects.listed().filter(owner=owner, name=name).first()
            if same:
                exists = {"name": f"Token name {name} already exists."}
                raise ValidationError(exists, code="conflict", params={"token": same.pk})
            token.save()
            TokenRole.objects.bulk_create(TokenRole(token=token, assignment=a) for a in assignments)
            LastUse.objects.create(token=token)
            token._give_secret(slot=0)
            roles_given = sorted(role.name for role in given)
            record("token.issued", by, token, roles=roles_given, expires_at=expires_at.isoformat())
        return token

    @classmethod
    def issue_with_account(
        cls, *, by: Actor, name: str, expires: date | str, roles: Iterable[str], description: str = ""
    ) -> "AccessToken":
        """A service token of the service account of the same name, as the 6.0 clients have it.

        The account is made where it does not exist, and given the roles that it lacks; all of it or nothing.
        """
        if not by.is_administrator:
            raise PermissionDenied("Only an administrator may issue service tokens.")
        wanted = list(roles)
        rules.check_role_names(wanted)
        rules.check_name(name)
        with audited():
            account = User.objects.named(name).first() or User.create_service_account(by=by, username=name)
            if not account.is_service_account:
                message = f"{name} is the name of a person. Choose another name for the service token."
                raise ValidationError({"name": message}, code="conflict")
            for role in wanted:
                account.assign_role(role, by=by)
            return cls.issue(by=by, owner=account, name=name, expires=expires, roles=wanted, description=description)

    def rotate(
        self,
        *,
        by: Actor,
        grace: timedelta = DEFAULT_GRACE,
        expires: date | str | None = None,
        end_old_at_first_use: bool = False,
        reason: str = "",
        operation: str = "",
    ) -> "AccessToken":
        """A new secret, in `plaintext`, that works at once. The old one works until `grace` ends (0: no longer).

        With `expires` the token gets a new last day, checked as for a new token. Of two rotations that began from the
        same state one wins; while two secrets live, only a rotation with grace 0 is possible and ends both.
        """
        tie: dict[str, Any] = {"operation": operation} if operation else {}
        with audited():
            token = self._locked()
            token._check_may_be_rotated(by, grace)
            if token.rotations != self.rotations:
                raise ValidationError(
                    "The token was rotated by somebody else just now. Look at it again.", code="conflict"
                )
            now = timezone.now()
            old_end = token.expires_at
            token._set_expiry(expires, by)
            token.old_secret_ends = min(now + grace, old_end)
            slot = token._retire_secrets(now, token.old_secret_ends, end_old_at_first_use)
            token.rotations += 1
            token.save(update_fields=["rotations", "expires_at", "issued_at"])
            token._give_secret(slot)
            record(
                "token.rotated",
                by,
                token,
                reason=names.clean_text(reason, field="reason"),
                grace_seconds=int(grace.total_seconds()),
                expires_at=[old_end.isoformat(), token.expires_at.isoformat()],
                **tie,
            )
        return token

    def check_rotation(self, actor: Actor, grace: timedelta = DEFAULT_GRACE) -> None:
        """Raises what `rotate` by the actor would raise now. Changes nothing."""
        self._check_may_be_rotated(actor, grace)
        if grace:
            _check_room(list(self.secrets.live().order_by("created_at")))

    def revoke(self, *, by: Actor, reason: str) -> None:
        """Ends the token for good. The portal refuses it and its JWTs at once."""
        reason = require_reason(reason)
        with audited():
            token = self._locked()
            token._check_may_be_ended(by, "revoke")
            token.ended_at, token.ended_by, token.end_reason = timezone.now(), by.user, reason
            token.save(update_fields=["ended_at", "ended_by", "end_reason"])
            record("token.revoked", by, token, reason=reason)

    def suspend(self, *, by: Actor, reason: str) -> None:
        """Stops the token until it is resumed."""
        with audited():
            token = self._locked()
            token._check_may_be_ended(by, "suspend")
            if token.state() != State.ACTIVE:
                raise ValidationError(f"The token is {token.state()} already.", code="conflict")
            token.suspended_at = timezone.now()
            token.save(update_fields=["suspended_at"])
            record("token.suspended", by, token, reason=require_reason(reason))

    def resume(self, *, by: Actor, reason: str) -> None:
        """Lets a suspended token work again. A revoked or expired one stays dead."""
        with audited():
            # A deactivation at the same time comes before, and is seen, or after, and suspends again.
            User.objects.select_for_update(no_key=True).get(pk=self.owner_id)
            token = self._locked()
            token._check_may_be_handled(by, "resume")
            if token.state() != State.SUSPENDED:
                raise ValidationError(f"The token is {token.state()}, not suspended.", code="conflict")
            token.suspended_at = None
            token.save(update_fields=["suspended_at"])
            record("token.resumed", by, token, reason=require_reason(reason))

    # How the ways in do it.

    def _locked(self) -> "AccessToken":
        """This token as it is now, its row locked until the transaction ends."""
        return AccessToken.objects.select_for_update(of=("self",), no_key=True).select_related("owner").get(pk=self.pk)

    def _check_may_be_handled(self, by: Actor, verb: str) -> None:
        if not rules.manageable_tokens(by).filter(pk=self.pk).exists():
            raise PermissionDenied(
                f"You may not {verb} this token: it is not yours, or it carries more than you could grant."
            )
        if not self.owner.is_active or self.owner.deleted_at:
            raise ValidationError(f"The owner {self.owner} is not active.", code="conflict")
        lifetime = timedelta(days=rules.maximum_days(self._roles_given()))
        if timezone.now() >= self.issued_at + lifetime:
            raise ValidationError(
                "The token has reached the maximum lifetime of its roles. Issue a new one.", code="conflict"
            )
        rules.refuse_outliving(self.expires_at, by)

    def _check_may_be_rotated(self, by: Actor, grace: timedelta) -> None:
        if not timedelta(0) <= grace <= MAX_GRACE:
            raise ValidationError({"grace": f"The grace must lie between 0 and {MAX_GRACE.days} days."})
        self._check_may_be_handled(by, "rotate")
        if self.state() != State.ACTIVE:
            raise ValidationError(f"The token is {self.state()}. Issue a new one.", code="conflict")

    def _check_may_be_ended(self, by: Actor, verb: str) -> None:
        if not rules.endable_tokens(by).filter(pk=self.pk).exists():
            raise PermissionDenied(f"You may not {verb} this token.")
        if self.ended_at:
            raise ValidationError("The token has been revoked already.", code="conflict")

    def _roles_given(self) -> list[Role]:
        return [role.assignment.role for role in self.roles.select_related("assignment__role")]

    def _set_expiry(self, expires: date | str | None, by: Actor) -> None:
        if expires is None:
            return
        day = rules.parse_day(expires) if isinstance(expires, str) else expires
        self.expires_at = rules.check_expiry(day, self._roles_given(), by=by)
        self.issued_at = timezone.now()

    def _retire_secrets(self, now: datetime, retires_at: datetime, end_at_first_use: bool) -> int:
        """Retires the live secrets; returns the slot that is free for the new one."""
        live = list(self.secrets.select_for_update(no_key=True).live(now).order_by("created_at"))
        immediate = retires_at <= now
        if not immediate:
            _check_room(live)
        self.secrets.exclude(slot=None).exclude(pk__in=[s.pk for s in live]).update(slot=None)
        self.secrets.filter(pk__in=[s.pk for s in live]).update(
            retires_at=retires_at, retires_with_next=end_at_first_use, **({"slot": None} if immediate else {})
        )
        return 1 if live and live[0].slot == 0 and not immediate else 0

    def _give_secret(self, slot: int) -> None:
        self.plaintext = secrets.generate()
        Secret.objects.create(
            token=self, slot=slot, digest=secrets.digest(self.plaintext), hint=secrets.hint(self.plaintext)
        )


def _check_room(live: list[Secret]) -> None:
    """Refuses a third live secret."""
    if len(live) > 1:
        end = live[0].retires_at
        message = f"Two secrets live already; the older one ends at {end:%Y-%m-%d %H:%M} UTC."
        message += " Wait, or rotate with grace 0."
        raise ValidationError(message, code="conflict")


def _lock_owner(owner: User, assignments: list[RoleAssignment]) -> None:
    """Holds the owner as it was checked, so that a deactivation or a removal of a role comes before or after."""
    locked = User.objects.select_for_update(of=("self",), no_key=True).get(pk=owner.pk)
    if not locked.is_active or locked.deleted_at:
        raise ValidationError({"owner": f"User {owner} is not active."}, code="inactive")
    effective = RoleAssignment.objects.effective().filter(pk__in=[a.pk for a in assignments])
    if effective.count() != len(assignments):
        raise ValidationError({"roles": f"User {owner} has just lost a role. Try again."}, code="conflict")
