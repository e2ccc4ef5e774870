from collections.abc import Iterable, Sequence, Sized
from typing import Any, ClassVar, Self

from django.apps import apps
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.hashers import check_password, make_password
from django.contrib.auth.models import Group, PermissionsMixin
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.functional import cached_property

from osmo_portal.compiled import Compiled, Given
from osmo_portal.events.actor import ADMINISTRATOR_ROLE, AUDITORS, OPERATORS, Actor
from osmo_portal.events.models import Event, EventLine
from osmo_portal.events.trail import AuditedModel, AuditedQuerySet, audited, record
from profiles import names
from profiles.models.assignment import RoleAssignment
from profiles.models.role import Role
from profiles.rules import USER_ROLE, require_administrator, require_reason
from profiles.signals import password_changed, user_deactivated, user_deleted


class Kind(models.TextChoices):
    PERSON = "person"
    SERVICE = "service", "service account"


# Asked by every page and every call of whoever is signed in.
_USER = Given("user", models.BigIntegerField())
_HELD_ROLE_NAMES = Compiled(lambda: RoleAssignment.objects.effective().filter(user=_USER).values_list("role__name"))
_GROUP_NAMES = Compiled(lambda: Group.objects.filter(user=_USER).values_list("name"))


class UserQuerySet(AuditedQuerySet["User"]):
    def existing(self) -> Self:
        return self.filter(deleted_at=None)

    def active(self) -> Self:
        return self.existing().filter(is_active=True)

    def people(self) -> Self:
        return self.existing().filter(kind=Kind.PERSON)

    def service_accounts(self) -> Self:
        return self.existing().filter(kind=Kind.SERVICE)

    def named(self, username: str) -> Self:
        """The existing user of that id, in whatever case it was written. At most one."""
        if not names.user_id.fits(username):
            return self.none()
        return self.existing().annotate(folded=Lower("username")).filter(folded=username.lower())

    def ever_named(self, username: str) -> Self:
        """As `named`, and those of exactly that id that were deleted: what they did is still to be found."""
        if not names.user_id.fits(username):
            return self.none()
        existing = self.existing().annotate(folded=Lower("username")).filter(folded=username.lower())
        exactly = Q(username=username, kind__in=Kind.values)  # by the index on both
        return self.filter(exactly | Q(pk__in=existing.values("pk")))

    def holding(self, *role_names: str) -> Self:
        """Users who hold one of the roles now."""
        assignments = apps.get_model("profiles", "RoleAssignment").objects.effective()
        return self.filter(models.Exists(assignments.filter(user=models.OuterRef("pk"), role__name__in=role_names)))

    def administrators(self) -> Self:
        return self.active().filter(kind=Kind.PERSON).holding(ADMINISTRATOR_ROLE)

    def left_behind(self) -> Self:
        """Service accounts whose accountable person is gone, or that have none."""
        gone = Q(accountable=None) | Q(accountable__is_active=False) | Q(accountable__deleted_at__isnull=False)
        return self.service_accounts().filter(gone)

    def hand_over(self, *, to: "User", by: Actor, reason: str, operation: str) -> dict[int, str | None]:
        """Makes `to` accountable for these service accounts, in one transaction. It changes no right.

        Returns who was accountable for each, by its key. What the same `operation` has handed over before counts too.
        """
        require_administrator(by, "choose who is accountable")
        person, reason = _accountable_person(to), require_reason(reason)
        with audited():
            locked = self.service_accounts().select_for_update(of=("self",), no_key=True).select_related("accountable")
            accounts = list(locked.order_by("pk"))
            former = {account.pk: _label(account.accountable) for account in accounts if account.accountable != person}
            if former:
                User.objects.filter(pk__in=former).update(accountable=person)
                lines = [
                    EventLine(object_id=a.pk, object_label=a.username, **_passed(former[a.pk], person))
                    for a in accounts
                    if a.pk in former
                ]
                label = how_many(lines, "service account")
                record("users.handed_over", by, User(), label=label, reason=reason, lines=lines, operation=operation)
            return former | _handed_over_before(operation, [a.pk for a in accounts if a.pk not in former])

    def bring_in(self, users: "Sequence[tuple[User, Sequence[Role]]]", *, by: Actor, operation: str) -> None:
        """Makes users who come from another system, each with its roles; people get osmo-user as well. No passwords.

        One event tells of them all. Raises ValidationError, and makes none, where one could not be made by itself.
        """
        require_administrator(by, "import users")
        unusable = make_password(None)
        for user, _ in users:
            _prepare_newcomer(user, by, unusable)
        with names.taken({"username": "One of the users exists already."}), audited():
            _hold_accountable_people(user for user, _ in users)
            self.insert_many([user for user, _ in users])
            given = apps.get_model("profiles", "RoleAssignment").objects.give_newcomers(users, by=by)
            lines = [(user.pk, user.username, "", ", ".join(given[user.pk])[:64]) for user, _ in users]
            label = how_many(lines, "user")
            record("users.imported", by, User(), label=label, lines=lines, operation=operation)

    def leavers(self) -> Self:
        """People who are gone and still accountable for service accounts, who left first first. `left` is the number of
        the event that says so; of imported ones there is none."""
        mine = self.model._default_manager.service_accounts().filter(accountable=models.OuterRef("pk"))
        said = Event.objects.filter(object_type="user", object_id=models.OuterRef("pk"), action="user.deactivated")
        gone = self.filter(Q(is_active=False) | Q(deleted_at__isnull=False), kind=Kind.PERSON)
        left = models.Subquery(said.order_by("-pk").values("pk")[:1])
        return gone.filter(models.Exists(mine)).annotate(left=left).order_by(F("left").asc(nulls_first=True), "pk")


def how_many(lines: Sized, word: str) -> str:
    """The label of an event about all of them."""
    return f"{len(lines)} {word}{'s' if len(lines) > 1 else ''}"


class UserManager(BaseUserManager.from_queryset(UserQuerySet)):  # type: ignore[misc]
    def get_by_natural_key(self, username: str | None) -> "User":
        user: User = self.people().named(username or "").get()
        return user


class User(AuditedModel, AbstractBaseUser, PermissionsMixin):
    """An identity: a person, or a service account (no password, no sign-in, an accountable person).

    Users are never deleted: `deleted_at` ends one, its name is free again, and a new record has a new id.
    """

    is_superuser = None  # power comes from roles alone
    user_permissions = None  # type: ignore[assignment]
    last_login = None  # Django would write it past the audit trail

    username = models.CharField("user id", max_length=names.MAX_LENGTH, validators=[names.user_id])
    kind = models.CharField(max_length=16, choices=Kind.choices, default=Kind.PERSON)
    display_name = models.CharField(max_length=names.MAX_LENGTH, blank=True)
    email = models.EmailField(blank=True)
    purpose = models.TextField(blank=True, max_length=names.MAX_TEXT)
    accountable = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="accounts", verbose_name="accountable person"
    )
    is_active = models.BooleanField("active", default=True)
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="+")
    last_signed_in_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)

    objects = UserManager()

    USERNAME_FIELD = "username"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        ordering = ["username"]
        constraints = [
            models.UniqueConstraint(
                Lower("username"), condition=Q(deleted_at=None), name="user_id_unique_ignoring_case"
            ),
            models.CheckConstraint(
                condition=Q(kind=Kind.PERSON) | Q(password__startswith="!"),  # noqa: S106
                name="service_account_has_no_password",
            ),
            models.CheckConstraint(
                condition=Q(kind=Kind.SERVICE) | Q(accountable=None), name="person_has_no_accountable_person"
            ),
            models.CheckConstraint(
                condition=Q(accountable=None) | ~Q(accountable=F("id")), name="user_is_not_accountable_for_itself"
            ),
        ]
        indexes = [models.Index(fields=["kind", "username"], name="user_kind")]

    def __str__(self) -> str:
        return self.username

    def clean(self) -> None:
        self.display_name = names.clean_text(self.display_name, field="display_name", limit=names.MAX_LENGTH)
        self.purpose = names.clean_text(self.purpose, field="purpose")

    # What the user holds. Cached on the instance, which lives for one request.

    @cached_property
    def held_role_names(self) -> frozenset[str]:
        held = _HELD_ROLE_NAMES.rows(user=self.pk) if self.is_active else []
        return frozenset(name for (name,) in held)

    @cached_property
    def group_names(self) -> frozenset[str]:
        if not self.is_active or self.is_service_account:
            return frozenset()
        return frozenset(name for (name,) in _GROUP_NAMES.rows(user=self.pk))

    def held_roles(self) -> models.QuerySet[Role]:
        return Role.objects.existing().filter(assignments__in=self.assignments.effective())

    @property
    def is_service_account(self) -> bool:
        return self.kind == Kind.SERVICE

    @property
    def is_administrator(self) -> bool:
        return ADMINISTRATOR_ROLE in self.held_role_names

    @property
    def is_staff(self) -> bool:
        """Whether the console opens for this person. It follows from role and groups, not from a flag of its own."""
        if self.is_service_account or not self.is_active:
            return False
        return self.is_administrator or bool(self.group_names & {OPERATORS, AUDITORS})

    def has_perm(self, perm: str, obj: Any = None) -> bool:
        if not self.is_active or self.is_service_account:
            return False
        return self.is_administrator or super().has_perm(perm, obj)

    def has_module_perms(self, app_label: str) -> bool:
        return self.is_active and (self.is_administrator or super().has_module_perms(app_label))

    def check_password(self, raw_password: str | None) -> bool:
        """As Django's, but an upgraded hash is not stored: that would be a change without an actor."""
        return check_password(raw_password, self.password)

    # Ways in.

    @classmethod
    def create_person(
        cls,
        *,
        by: Actor,
        username: str,
        display_name: str = "",
        email: str = "",
        password: str | None = None,
        roles: Iterable[str] = (),
    ) -> "User":
        """A person. Every person gets the role osmo-user."""
        require_administrator(by, "create people")
        user = cls(username=username, kind=Kind.PERSON, display_name=display_name, email=email)
        user.password = make_password(password)
        return user._created(by, [USER_ROLE, *(name for name in roles if name != USER_ROLE)])

    @classmethod
    def create_service_account(
        cls,
        *,
        by: Actor,
        username: str,
        accountable: "User | None" = None,
        purpose: str = "",
        display_name: str = "",
        email: str = "",
        roles: Iterable[str] = (),
    ) -> "User":
        """A service account. Without `accountable` it is the caller, or the caller's own accountable person."""
        require_administrator(by, "create service accounts")
        user = cls(username=username, kind=Kind.SERVICE, display_name=display_name, email=email)
        user.purpose = purpose
        user.accountable = _accountable_person(accountable or _person_behind(by))
        user.password = make_password(None)
        return user._created(by, roles)

    def _created(self, by: Actor, roles: Iterable[str]) -> "User":
        exists = {"username": f"User {self.username[:100]} already exists."}
        self.created_by = by.user
        self.full_clean(exclude=["password"], validate_constraints=False)
        if User.objects.named(self.username).exists():
            raise ValidationError(exists, code="conflict")
        with names.taken(exists), audited():
            self.save()
            record("user.created", by, self, kind=self.kind, accountable=_label(self.accountable))
            for name in roles:
                self.assign_role(name, by=by)
        return self

    def assign_role(self, role: str, *, by: Actor) -> Any:
        """Gives the role, unless it is held already. A role given again gives nothing back to older tokens."""
        require_administrator(by, "assign roles")
        with audited():
            self._lock()  # one assignment at a time
            return self.assignments.give(self, role, by=by)

    def remove_role(self, role: str, *, by: Actor, reason: str = "") -> None:
        """Takes the role from the user and thereby, at once, from all of the user's tokens."""
        require_administrator(by, "remove roles")
        with audited():
            if role == ADMINISTRATOR_ROLE:
                self._refuse_if_last_administrator()
            self.assignments.take(self, role, by=by, reason=reason)

    def deactivate(self, *, by: Actor, reason: str) -> None:
        """No sign-in any more; live tokens are suspended in the same transaction. Reactivating resumes none."""
        require_administrator(by, "deactivate users")
        reason = require_reason(reason)
        with audited():
            self._refuse_if_last_administrator()
            self._lock()
            self._switch(active=False, by=by, reason=reason)
            user_deactivated.send(User, user=self, by=by, reason=reason)

    def reactivate(self, *, by: Actor, reason: str) -> None:
        require_administrator(by, "reactivate users")
        with audited():
            self._lock()
            self._switch(active=True, by=by, reason=require_reason(reason))

    def mark_deleted(self, *, by: Actor, reason: str) -> None:
        """Ends the record for good: it stays, its name is free again. Deactivates first."""
        require_administrator(by, "delete users")
        with audited():
            self._refuse_if_last_administrator()  # before the own lock, as deactivate has it: else two wait mutually
            if self._lock().is_active:
                self.deactivate(by=by, reason=reason)
            self.deleted_at = timezone.now()
            self.save(update_fields=["deleted_at"])
            record("user.deleted", by, self, reason=require_reason(reason))
            user_deleted.send(User, user=self, by=by, reason=reason)

    def hand_over(self, *, to: "User", by: Actor, reason: str = "") -> None:
        """Makes another person accountable for this service account. It changes no right."""
        require_administrator(by, "choose who is accountable")
        if not self.is_service_account:
            raise ValidationError({"accountable": "Only a service account has an accountable person."})
        reason = names.clean_text(reason, field="reason")
        with audited():
            person = _lock_accountable(to)
            before, self.accountable = self._lock().accountable, person
            self.save(update_fields=["accountable"])
            record("user.handed_over", by, self, reason=reason, accountable=[_label(before), _label(person)])

    def hand_over_accounts(self, *, to: "User", by: Actor, reason: str) -> int:
        """Makes another person accountable for every service account of this one, who may have left. It changes no
        right. Returns how many."""
        require_administrator(by, "choose who is accountable")
        reason = require_reason(reason)
        with audited():
            person = _lock_accountable(to)
            mine = User.objects.service_accounts().filter(accountable=self)
            accounts = list(mine.select_for_update(no_key=True).order_by("pk"))
            if person == self or not accounts:
                raise ValidationError(
                    {"to": f"There is nothing to hand over from {self} to {person}."}, code="conflict"
                )
            User.objects.filter(pk__in=[account.pk for account in accounts]).update(accountable=person)
            lines = [_handed_over(account, self, person) for account in accounts]
            who = [_label(self), _label(person)]
            record("user.accounts_handed_over", by, self, reason=reason, lines=lines, accountable=who)
        return len(accounts)

    def describe(self, *, by: Actor, **texts: str) -> None:
        """Changes display_name, email or purpose."""
        require_administrator(by, "change users")
        names.only(texts, "display_name", "email", "purpose")
        before = {name: getattr(self, name) for name in texts}
        for name, text in texts.items():
            setattr(self, name, text)
        self.full_clean(exclude=["password"], validate_unique=False, validate_constraints=False)
        with audited():
            self._lock()
            self.save(update_fields=list(texts))
            record("user.changed", by, self, **{n: [before[n], getattr(self, n)] for n in texts})

    def change_password(self, raw_password: str | None, *, by: Actor) -> None:
        """Sets the password of a person: the own one, or as an administrator another's. None makes it unusable."""
        if by.user != self or by.token:
            require_administrator(by, "set another person's password")
        if self.is_service_account:
            raise ValidationError("A service account has no password.")
        with audited():
            self.password = make_password(raw_password)
            self.save(update_fields=["password"])
            record("user.password_changed", by, self)
            password_changed.send(User, user=self, by=by)

    def put_into_groups(self, groups: Iterable[str], *, by: Actor) -> None:
        """Makes a person an operator, an auditor, both or neither."""
        require_administrator(by, "choose operators and auditors")
        if self.is_service_account:
            raise ValidationError({"groups": "A service account is neither operator nor auditor."})
        wanted = Group.objects.filter(name__in=_known_groups(groups))
        with audited():
            self._lock()
            before = sorted(self.groups.values_list("name", flat=True))
            self.groups.set(wanted)
            record("user.groups_changed", by, self, groups=[before, sorted(group.name for group in wanted)])
        self.__dict__.pop("group_names", None)

    def signed_in(self, *, by: Actor) -> None:
        with audited():
            self.last_signed_in_at = timezone.now()
            self.save(update_fields=["last_signed_in_at"])
            record("signin.succeeded", by, self)

    def _lock(self) -> "User":
        """The user as stored, held until the transaction ends. A deleted one is not changed any more."""
        # Without the key: who writes this user as `created_by` of something need not wait, and no two wait mutually.
        stored: User = User.objects.select_for_update(no_key=True).get(pk=self.pk)
        if stored.deleted_at:
            raise ValidationError(f"The user {stored} was deleted.", code="conflict")
        return stored

    def _switch(self, *, active: bool, by: Actor, reason: str) -> None:
        self.is_active = active
        self.save(update_fields=["is_active"])
        record("user.reactivated" if active else "user.deactivated", by, self, reason=reason)
        self.__dict__.pop("held_role_names", None)
        self.__dict__.pop("group_names", None)

    def _refuse_if_last_administrator(self) -> None:
        """Locks the administrators' rows, so that two of them cannot remove each other at the same time."""
        known = User.objects.administrators().values("pk")
        list(User.objects.filter(pk__in=known).select_for_update(no_key=True).order_by("pk"))
        if list(User.objects.administrators()) == [self]:  # asked again: the lock may have waited for a removal
            raise ValidationError("This is the last active administrator. Make another one first.", code="last")


def _accountable_person(user: User | None) -> User:
    if user is None or user.is_service_account or not user.is_active or user.deleted_at:
        raise ValidationError({"accountable": "Choose an active person who is accountable for the service account."})
    return user


def _prepare_newcomer(user: User, by: Actor, password: str) -> None:
    """What is checked of each without a query, and what is the same for all."""
    names.user_id(user.username)
    if len(user.username) > names.MAX_LENGTH or (user.accountable_id is None) == user.is_service_account:
        raise ValidationError(f"{user.username[:100]} cannot be imported: too long, or nobody is accountable.")
    user.clean()
    user.created_by_id = by.user and by.user.pk
    user.password = password


def _hold_accountable_people(accounts: Iterable[User]) -> None:
    """Those who will be accountable for the accounts stay active until the transaction ends."""
    wanted = {account.accountable_id for account in accounts if account.accountable_id}
    people = User.objects.active().filter(pk__in=wanted, kind=Kind.PERSON).select_for_update(no_key=True)
    if len(people.order_by("pk").values_list("pk")) != len(wanted):
        _accountable_person(None)


def _passed(before: str | None, to: User) -> dict[str, str]:
    return {"before": (before or "nobody")[:64], "after": to.username[:64]}


def _handed_over_before(operation: str, accounts: list[int]) -> dict[int, str | None]:
    """Who was accountable for the accounts that earlier batches of the operation handed over, as the trail has it."""
    lines = EventLine.objects.filter(
        object_id__in=accounts, event__action="users.handed_over", event__changes__operation=operation
    )
    return dict(lines.values_list("object_id", "before"))


def _lock_accountable(user: User | None) -> User:
    """The person as stored, who stays active until the transaction ends."""
    stored = User.objects.select_for_update(no_key=True).filter(pk=user.pk if user else None).first()
    return _accountable_person(stored)


def _handed_over(account: User, before: User, after: User) -> EventLine:
    names_kept = {"before": before.username[:64], "after": after.username[:64]}  # in full they stand in the event
    return EventLine(object_id=account.pk, object_label=account.username, **names_kept)


def _known_groups(groups: Iterable[str]) -> set[str]:
    wanted = {*groups}
    if wanted - {OPERATORS, AUDITORS}:
        raise ValidationError({"groups": f"Choose among {OPERATORS} and {AUDITORS}."})
    return wanted


def _person_behind(by: Actor) -> User | None:
    """The caller, or the accountable person of a caller that is itself a service account."""
    person: User | None = by.user.accountable if by.user and by.user.is_service_account else by.user
    return person


def _label(user: User | None) -> str | None:
    return user.username if user else None


class Person(User):
    class Meta:
        proxy = True
        verbose_name = "person"
        verbose_name_plural = "people"


class ServiceAccount(User):
    class Meta:
        proxy = True
        verbose_name = "service account"
