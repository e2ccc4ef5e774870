import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple, Self

from django.conf import settings
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connection, models
from django.db.models import Exists, ExpressionWrapper, F, OuterRef, Q
from django.db.models.functions import Cast, Greatest
from django.utils import timezone
from django.utils.crypto import get_random_string

from osmo_portal.events import rows
from osmo_portal.events.actor import Actor
from osmo_portal.events.models import EventLine, Line
from osmo_portal.events.trail import AuditedModel, AuditedQuerySet, audited, record
from profiles import names
from profiles.models import Kind, Role, RoleAssignment, User
from profiles.reach import roles_reaching
from profiles.rules import require_administrator, require_reason
from tokens import rules, secrets
from tokens.models.keys import Keys
from tokens.models.last_use import LastUse
from tokens.models.purged_secret import LABEL_LENGTH, PurgedSecret
from tokens.models.secret import Secret
from tokens.secrets import Plaintext

DEFAULT_GRACE = timedelta(hours=24)
MAX_GRACE = timedelta(days=30)
MIN_RETENTION = timedelta(days=30)
BATCH_SIZES = {"postgresql": 1_000, "sqlite": 10_000}
STEP = 1_000  # tokens that are rotated one by one from one look at the table
PURGED_AT_ONCE = 1_000  # a deletion takes longer than a change, and others wait for it
Progress = Callable[[int], None]
MAX_STARS = 3  # each one more multiplies the work of a regular expression by the length of a name


class State(models.TextChoices):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    EXPIRED = "expired"
    REVOKED = "revoked"


class AccessTokenQuerySet(AuditedQuerySet["AccessToken"]):
    def listed(self) -> Self:
        """Not ended. An expired token stays listed and keeps its name until it is deleted."""
        return self.filter(ended_at=None)

    def live(self, at: datetime | None = None) -> Self:
        return self.listed().filter(suspended_at=None, expires_at__gt=at or timezone.now())

    def in_state(self, state: str, at: datetime | None = None) -> Self:
        now = at or timezone.now()
        if state == State.REVOKED:
            return self.exclude(ended_at=None)
        if state == State.EXPIRED:
            return self.listed().filter(expires_at__lte=now)
        if state == State.SUSPENDED:
            return self.listed().filter(expires_at__gt=now, suspended_at__isnull=False)
        return self.live(now)

    def owned_by(self, *users: User | str) -> Self:
        """Tokens of the users: users, or their ids as they are written."""
        return self.filter(owner__in=_users(users))

    def numbered(self, numbers: Iterable[int]) -> Self:
        """Tokens of these numbers, however many: to the database they are one parameter."""
        return self.filter(pk__in=Keys(numbers))

    def of_kind(self, kind: str) -> Self:
        return self.filter(owner__kind=kind)

    def carrying(self, role_names: Iterable[str]) -> Self:
        """Tokens on which one of the roles was put, whether their owner still holds it or not."""
        put = TokenRole.objects.filter(token=OuterRef("pk"), assignment__role__name__in=[*role_names])
        return self.filter(Exists(put))

    def with_any(self, roles: Iterable[Role]) -> Self:
        """As `carrying`, with the roles at hand: a database plans better for numbers than for names to be looked up."""
        put = TokenRole.objects.filter(token=OuterRef("pk"), assignment__role__in=[role.pk for role in roles])
        return self.filter(Exists(put))

    def given(self, role: Role) -> Self:
        """Tokens on which this very role was put, and not one of its name that was deleted."""
        return self.with_any([role])

    def issued_by(self, *users: User | str) -> Self:
        """Tokens that one of the users made: users, or their ids as they are written."""
        return self.filter(created_by__in=_users(users))

    def accountable_to(self, *people: User | str) -> Self:
        """Tokens of the service accounts that one of the people is accountable for."""
        return self.filter(owner__accountable__in=_users(people))

    def expiring_between(self, start: datetime | None, end: datetime | None) -> Self:
        """Tokens that end from `start` on and before `end`, whatever their state. None is no bound."""
        found = self.filter(expires_at__gte=start) if start else self
        return found.filter(expires_at__lt=end) if end else found

    def issued_before(self, instant: datetime) -> Self:
        """By the instant from which the maximum lifetime counts: creation, import, or rotation to a new last day."""
        return self.filter(issued_at__lt=instant)

    def expired_yesterday(self, at: datetime | None = None) -> Self:
        """Expired in the 24 hours before: those whose last day was yesterday (UTC), since tokens end at 00:00."""
        now = at or timezone.now()
        return self.listed().filter(expires_at__gt=now - timedelta(days=1), expires_at__lte=now)

    def expiring_within(self, days: int, at: datetime | None = None) -> Self:
        now = at or timezone.now()
        return self.live(now).filter(expires_at__lte=now + timedelta(days=days))

    def over_lifetime(self, at: datetime | None = None) -> Self:
        """Not ended, and dated to live longer than the strictest maximum of the portal and of their roles allows.

        At use the maximum counts, so they end before the day that stands on them.
        """
        now = at or timezone.now()
        dated = AccessToken.objects.outliving(now).alias(lifetime=F("expires_at") - F("issued_at"))
        over = dated.filter(lifetime__gt=timedelta(days=settings.MAX_TOKEN_DAYS)).order_by().values("pk")
        # Either is found by its own index. With OR between them a database reads every token.
        return self.filter(pk__in=over.union(TokenRole.objects.exceeded(now).order_by().values("token")))

    def exceeding(self, days: int, at: datetime | None = None) -> Self:
        """Not ended, and dated to live longer than `days` from their issue. Suspended ones too: resumed after the
        maximum was raised again, they would have come back from the dead."""
        return self.outliving(at or timezone.now()).filter(expires_at__gt=F("issued_at") + timedelta(days=days))

    def never_used(self) -> Self:
        return self.filter(Exists(LastUse.objects.filter(token=OuterRef("pk"), at=None)))

    def unused_since(self, instant: datetime) -> Self:
        """Not exchanged since then, and not made since then either: a new token had no chance yet."""
        idle = LastUse.objects.filter(Q(at=None) | Q(at__lt=instant), token=OuterRef("pk"))
        return self.filter(Exists(idle), issued_at__lt=instant)

    def reaching(self, pool_name: str) -> Self:
        """Tokens on which a role was put that allows to submit to, enter or forward from the pool."""
        return self.carrying(roles_reaching(pool_name))

    def ended_before(self, instant: datetime) -> Self:
        """Revoked or deleted before then, or expired before then and not deleted since."""
        return self.filter(Q(ended_at__lt=instant) | Q(ended_at=None, expires_at__lt=instant))

    def outliving(self, instant: datetime) -> Self:
        return self.listed().filter(expires_at__gt=instant)

    def named_like(self, glob: str) -> Self:
        """Names that match a pattern in which `*` stands for anything and `?` for one character; case counts."""
        if len(re.findall(r"\*+", glob)) > MAX_STARS:
            raise ValidationError({"name": f"Use at most {MAX_STARS} stars: more take too long to search."})
        glob = re.sub(r"\*+", "*", glob)
        pattern = "".join({"*": ".*", "?": "."}.get(c, "\\" + c if not c.isalnum() else c) for c in glob)
        return self.filter(name__regex=f"^{pattern}$")

    def with_state(self) -> Self:
        """With what `state`, `role_names` and lists ask of each token: two queries, however many tokens."""
        roles = TokenRole.objects.select_related("assignment__role")
        return self.select_related("owner", "last_use").prefetch_related(models.Prefetch("roles", roles))

    def within_lifetime(self, at: datetime | None = None) -> Self:
        """Tokens that have not reached the maximum lifetime of the portal and of the roles put on them."""
        now = at or timezone.now()
        over = Q(issued_at__lte=now - timedelta(days=settings.MAX_TOKEN_DAYS))
        for days in filter(None, Role.objects.order_by().values_list("max_token_days", flat=True).distinct()):
            bound = TokenRole.objects.filter(token=OuterRef("pk"), assignment__role__max_token_days=days)
            over |= Q(Exists(bound), issued_at__lte=now - timedelta(days=days))
        return self.exclude(over)

    def resumable(self, actor: Actor, at: datetime | None = None) -> Self:
        """Suspended tokens that the actor may resume one by one: what AccessToken.resume checks, as a set."""
        return self.in_state(State.SUSPENDED, at)._handled_by(actor, at)

    def rotatable(self, actor: Actor, grace: timedelta = DEFAULT_GRACE, at: datetime | None = None) -> Self:
        """Active tokens that the actor may rotate one by one: what AccessToken.rotate checks, as a set."""
        found = self.live(at)._handled_by(actor, at)
        # The newest has no end: a live one that has is a second, and there is no room for a third.
        retiring = Secret.objects.live(at).filter(token=OuterRef("pk"), retires_at__isnull=False)
        return found.exclude(Exists(retiring)) if grace else found

    def not_rotatable(self, actor: Actor, grace: timedelta = DEFAULT_GRACE, at: datetime | None = None) -> Self:
        """The other active ones."""
        rotatable = AccessToken.objects.rotatable(actor, grace, at).filter(pk=OuterRef("pk"))
        return self.live(at).exclude(Exists(rotatable))

    def not_rotated_since(self, instant: datetime) -> Self:
        made_since = Secret.objects.filter(token=OuterRef("pk"), created_at__gte=instant)
        return self.exclude(Exists(made_since), rotations__gt=0)

    def _handled_by(self, actor: Actor, at: datetime | None) -> Self:
        within_power = rules.manageable_tokens(actor).values("pk")
        active = Q(owner__is_active=True, owner__deleted_at=None)
        return self.within_lifetime(at).filter(active, pk__in=within_power)

    def of_accounts(self) -> Self:
        """Tokens of service accounts that exist, and so can be handed over."""
        return self.of_kind(Kind.SERVICE).filter(owner__deleted_at=None)

    # Ways in for sets. `operation` is the name that ties the events of one operation together; each call is one.
    # `batch_size` is how many tokens a commit is about; by default what was measured to be best for the database.

    def expire(
        self,
        *,
        by: Actor,
        at: datetime | None = None,
        reason: str,
        progress: Progress | None = None,
        operation: str = "",
        batch_size: int | None = None,
    ) -> int:
        """Lets tokens end at `at` (default now) that would live longer. It only ever shortens. Returns how many.

        `progress` is told after each batch how many are done.
        """
        require_power_over_sets(by)
        now = timezone.now()
        values = {"expires_at": max(at or now, now)}
        later = self.outliving(values["expires_at"])
        return later._in_batches("tokens.expired", by, require_reason(reason), values, operation, batch_size, progress)

    def revoke(self, *, by: Actor, reason: str, operation: str = "", batch_size: int | None = None) -> int:
        """Ends tokens for good. Returns how many."""
        require_power_over_sets(by)
        ended = {"ended_at": timezone.now(), "ended_by": by.user, "end_reason": require_reason(reason)}
        return self.listed()._in_batches("tokens.revoked", by, ended["end_reason"], ended, operation, batch_size)

    def suspend(self, *, by: Actor, reason: str, operation: str = "", batch_size: int | None = None) -> int:
        """Stops live tokens until each is resumed. Returns how many."""
        require_power_over_sets(by)
        values = {"suspended_at": timezone.now()}
        return self.live()._in_batches("tokens.suspended", by, require_reason(reason), values, operation, batch_size)

    def resume(self, *, by: Actor, reason: str, operation: str = "", batch_size: int | None = None) -> int:
        """Lets those suspended tokens work again that `by` may resume; others stay as they are. Returns how many."""
        require_power_to_resume(by)
        values = {"suspended_at": None}
        batches = self.resumable(by)._in_batches
        return batches("tokens.resumed", by, require_reason(reason), values, operation, batch_size, hold_owners=True)

    def rotate(
        self,
        *,
        by: Actor,
        keep: Callable[["AccessToken"], None],
        refused: Callable[["AccessToken", Exception], None],
        reason: str,
        grace: timedelta = DEFAULT_GRACE,
        progress: Progress | None = None,
    ) -> int:
        """Gives each token a new secret, one after the other, each in a transaction of its own. Returns how many.

        `keep` gets each token with its `plaintext` before its rotation commits, and must have the secret safe when it
        returns: so whatever is killed, and when, no secret is lost whose predecessor retires. The other order would
        lose one. What was kept last may be a secret that never came to work, beside an old one that goes on working.
        What `keep` raises undoes that rotation and ends the run.

        `refused` is told of each token that cannot be rotated, and why; then the others follow, unless it raises.
        """
        words: dict[str, Any] = {"by": by, "grace": grace, "reason": require_reason(reason)}
        words["operation"] = get_random_string(16)
        # The set as it is now: who issues a token meanwhile does not find its secret retired.
        keys, count = list(self.order_by("pk").values_list("pk", flat=True)), 0
        for start in range(0, len(keys), STEP):
            tokens = AccessToken.objects.filter(pk__in=keys[start : start + STEP]).select_related("owner")
            for done, token in enumerate(tokens.order_by("pk"), start + 1):
                try:
                    with audited():
                        keep(token.rotate(**words))
                    count += 1
                except (PermissionDenied, ValidationError) as error:
                    refused(token, error)
                if progress:
                    progress(done)
        return count

    def hand_over(self, *, to: User, by: Actor, reason: str, operation: str = "") -> int:
        """Makes `to` accountable for the service accounts that own the tokens. No right changes.

        Returns how many tokens. All in one transaction: give it a set of bounded size.
        """
        operation = operation or get_random_string(16)
        with audited():
            tokens = list(self.of_accounts().select_related("owner").order_by("pk"))
            owners = User.objects.filter(pk__in={token.owner_id for token in tokens})
            former = owners.hand_over(to=to, by=by, reason=reason, operation=operation)
            lines = [
                EventLine(
                    object_id=token.pk,
                    object_label=str(token)[:600],
                    before=(former[token.owner_id] or "nobody")[:64],
                    after=to.username[:64],
                )
                for token in tokens
                if token.owner_id in former
            ]
            if lines:
                details = {"label": _how_many(lines), "reason": reason, "operation": operation}
                record("tokens.handed_over", by, AccessToken(), lines=lines, **details)
        return len(lines)

    def bring_in(self, arriving: Sequence["Arriving"], *, by: Actor, operation: str) -> None:
        """Tokens of another system, whose secrets go on working. One event tells of them all.

        When they were made is not known, so their lifetime counts from now. Raises ValidationError, and makes none,
        where one of them breaks a rule for tokens, or its digest is known here, be it of a token that ended.
        """
        require_administrator(by, "import tokens")
        now = timezone.now()
        taken = {"name": "The portal has a token of one of the names, or with one of the digests, already."}
        with names.taken(taken), audited():
            held = _held_assignments(arriving)
            _check_arrival(arriving, held, now)
            if Secret.objects.held(one.digest for one in arriving):
                raise ValidationError(taken, code="conflict")
            tokens = [one.as_token(now) for one in arriving]
            self.insert_many(tokens)
            _bring_what_belongs_to(tokens, arriving, held)
            lines = [
                EventLine(object_id=token.pk, object_label=str(token)[:600], after=token.expires_at.isoformat())
                for token in tokens
            ]
            record("tokens.imported", by, AccessToken(), label=_how_many(lines), lines=lines, operation=operation)

    def cap_lifetime(self, days: int, *, by: Actor, reason: str, progress: Progress | None = None) -> int:
        """Shortens tokens that would live longer than `days` from their issue. Returns how many."""
        require_power_over_sets(by)
        latest = F("issued_at") + timedelta(days=days)
        values = {"expires_at": Greatest(latest, timezone.now())}
        return self.exceeding(days)._in_batches("tokens.expired", by, reason, values, progress=progress)

    def purge(
        self,
        *,
        by: Actor,
        before: datetime,
        reason: str,
        batch_size: int = PURGED_AT_ONCE,
        progress: Progress | None = None,
    ) -> int:
        """Deletes the records of tokens that ended before `before`, with all that hangs on them. Returns how many.

        Their digests are kept as PurgedSecret, and events stay. Each batch commits with its event, so what was broken
        off is gone on with by calling it again. Raises ValidationError where `before` is less than MIN_RETENTION ago.
        """
        require_power_to_purge(by)
        refuse_early_purge(before)
        gone = self.ended_before(before).select_related("owner").select_for_update(of=("self",)).order_by("pk")
        gone = gone.only("name", "expires_at", "suspended_at", "ended_at", "owner__username")
        details = {"reason": require_reason(reason), "operation": get_random_string(16)}
        done, last = 0, 0
        while True:
            with audited():
                batch = list(gone.filter(pk__gt=last)[:batch_size])
                if batch:
                    last = batch[-1].pk
                    _purge_batch(batch, by, ended_before=before.isoformat(), **details)
            done += len(batch)
            if progress:
                progress(done)
            if len(batch) < batch_size:
                return done

    def _in_batches(
        self,
        action: str,
        by: Actor,
        reason: str,
        values: dict[str, Any],
        operation: str = "",
        batch_size: int | None = None,
        progress: Progress | None = None,
        hold_owners: bool = False,
    ) -> int:
        """Each batch commits with its event, so readers and other writers wait for one batch at most.

        Sizes were measured: on PostgreSQL small batches keep waits short, on SQLite large ones cost less.
        """
        size = batch_size or BATCH_SIZES[connection.vendor]
        operation, done, last = operation or get_random_string(16), 0, 0
        while True:
            with audited():
                rest = self.prefetch_related(None).filter(pk__gt=last).order_by("pk")
                if hold_owners:
                    rest = rest.filter(owner__in=_held_owners(rest[:size]))
                locked = rest.select_for_update(of=("self",), no_key=True)
                batch: list[Found] = list(locked.values_list(*FOUND)[:size])
                if batch:
                    last = batch[-1][0]
                    _change_batch(batch, action, by, reason, values, operation)
            done += len(batch)
            if progress:
                progress(done)
            if len(batch) < size:
                return done


def _users(users: Iterable[User | str]) -> list[int]:
    named = [User.objects.ever_named(user) for user in users if isinstance(user, str)]
    return [user.pk for user in users if isinstance(user, User)] + [user.pk for found in named for user in found]


# What a line tells of a token: key, owner, name, and when it expires as the database writes it. Instances of the model,
# and of times, would cost more than to change the rows.
Found = tuple[int, str, str, str]
FOUND: tuple[Any, ...] = ("pk", "owner__username", "name", Cast("expires_at", models.TextField()))


def _change_batch(
    batch: list[Found], action: str, by: Actor, reason: str, values: dict[str, Any], operation: str
) -> None:
    changed = AccessToken.objects.filter(pk__in=Keys(found[0] for found in batch))
    changed.update(**values)
    lines: list[Line] = [
        (pk, f"{owner}/{name}"[:600], _iso(expires), end)
        for (pk, owner, name, expires), end in zip(batch, _ends(batch, changed, values), strict=True)
    ]
    record(action, by, AccessToken(), label=_how_many(lines), reason=reason, lines=lines, operation=operation)


@lru_cache(maxsize=4_096)  # most tokens end at a midnight, and many at the same
def _iso(written: str) -> str:
    """An instant in UTC as the database writes it, in the way of datetime.isoformat()."""
    second, _, fraction = written.removesuffix("+00").replace(" ", "T").partition(".")
    return f"{second}.{fraction:0<6}+00:00" if fraction else f"{second}+00:00"


def _purge_batch(batch: list["AccessToken"], by: Actor, **details: Any) -> None:
    of = {token.pk: token for token in batch}
    known = Secret.objects.filter(token__in=of).order_by("pk")
    PurgedSecret.objects.bulk_create(of[secret.token_id].remains_of(secret) for secret in known)
    for relation in AccessToken._meta.related_objects:
        _erase(relation.field.model, **{f"{relation.field.name}__in": of})
    _erase(AccessToken, pk__in=of)
    lines = [
        EventLine(object_id=token.pk, object_label=str(token)[:600], before=token.state(), after="purged")
        for token in batch
    ]
    record("tokens.purged", by, AccessToken(), label=_how_many(lines), lines=lines, **details)


def _erase(model: type[models.Model], **which: Any) -> None:
    """In one statement. delete() would read all that refers to the rows first, and refuses audited ones."""
    rows = model._base_manager.filter(**which)
    rows._raw_delete(rows.db)


def _ends(batch: list[Found], changed: AccessTokenQuerySet, values: dict[str, Any]) -> list[str]:
    """When the tokens of the batch expire after the change; read again only where the database worked it out."""
    end = values.get("expires_at")
    if end is None:
        return [_iso(found[3]) for found in batch]
    if isinstance(end, datetime):
        return [end.astimezone(UTC).isoformat()] * len(batch)
    ends = dict(changed.values_list("pk", "expires_at"))
    return [ends[found[0]].isoformat() for found in batch]


def _how_many(lines: Sequence[EventLine | Line]) -> str:
    return f"{len(lines)} token{'s' if len(lines) > 1 else ''}"


def _held_owners(tokens: AccessTokenQuerySet) -> list[int]:
    """The owners, their rows locked: a deactivation at the same time comes before, and is seen, or after, and suspends
    again."""
    owners = {*tokens.values_list("owner", flat=True)}
    held = User.objects.filter(pk__in=owners).select_for_update(no_key=True).order_by("pk")
    return list(held.values_list("pk", flat=True))


class Arriving(NamedTuple):
    """A token that comes from another system: `owner` is a user here, `digest` the 32 bytes kept there."""

    owner: User
    name: str
    expires_at: datetime
    digest: bytes
    roles: Sequence[str]
    description: str = ""

    def as_token(self, now: datetime) -> "AccessToken":
        text = names.clean_text(self.description, field="description")
        return AccessToken(
            owner=self.owner, name=self.name, description=text, issued_at=now, expires_at=self.expires_at
        )


def _held_assignments(arriving: Iterable[Arriving]) -> dict[tuple[int, str], int]:
    """The assignments of the owners, by owner and role. Their rows are locked; who is not active holds nothing."""
    owners = User.objects.active().filter(pk__in={one.owner.pk for one in arriving})
    locked = owners.select_for_update(of=("self",), no_key=True).order_by("pk").values_list("pk", flat=True)
    held = RoleAssignment.objects.effective().filter(user__in=list(locked)).order_by()
    return {(user, role): pk for user, role, pk in held.values_list("user_id", "role__name", "pk")}


def _check_arrival(arriving: Iterable[Arriving], held: dict[tuple[int, str], int], now: datetime) -> None:
    latest: dict[tuple[str, ...], datetime] = {}
    for one in arriving:
        rules.check_arrival(one.owner, one.name, one.roles, held)
        carried = tuple(one.roles)
        if carried not in latest:
            latest[carried] = rules.latest_end(Role.objects.existing().filter(name__in=carried), now)
        if not now < one.expires_at <= latest[carried]:
            raise ValidationError(f"The token {one.name} has ended, or would live too long.", code="date")
        if len(one.digest) != secrets.DIGEST_LENGTH:
            raise ValidationError(f"The digest of the token {one.name} is none.")


def _bring_what_belongs_to(
    tokens: list["AccessToken"], arriving: Sequence[Arriving], held: dict[tuple[int, str], int]
) -> None:
    pairs = [*zip(tokens, arriving, strict=True)]
    carried = ((token.pk, held[token.owner_id, role]) for token, one in pairs for role in one.roles)
    TokenRole.objects.insert_values(["token", "assignment"], carried)
    rows.insert_values(LastUse, ["token", "agent"], ((token.pk, "") for token in tokens))
    columns = ["token", "slot", "digest", "hint", "created_at", "retires_with_next"]
    values = ((token.pk, 0, one.digest, "", token.issued_at, False) for token, one in pairs)
    Secret.objects.insert_values(columns, values)
    PurgedSecret.objects.refuse(one.digest for one in arriving)


def require_power_over_sets(by: Actor) -> None:
    if not (by.is_administrator or by.is_operator or by.is_shell):
        raise PermissionDenied("Only administrators and operators may end sets of tokens.")


def require_power_to_resume(by: Actor) -> None:
    """As for ending sets, but not for the shell, which only shortens lives."""
    require_power_over_sets(by)
    if by.is_shell:
        raise PermissionDenied("Say who resumes the tokens: the shell may only shorten lives.")


def require_power_to_purge(by: Actor) -> None:
    if not by.is_shell:
        require_administrator(by, "purge the records of tokens")


def refuse_early_purge(before: datetime) -> None:
    if before > timezone.now() - MIN_RETENTION:
        message = f"Records are kept for {MIN_RETENTION.days} days at least after a token has ended."
        raise ValidationError({"before": message})


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
        return sorted(role.assignment.role.name for role in self.roles.all() if role.is_effective)

    @property
    def lost_role_names(self) -> list[str]:
        return sorted(role.assignment.role.name for role in self.roles.all() if not role.is_effective)

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
    token = models.ForeignKey(AccessToken, models.PROTECT, related_name="roles", db_index=False)
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
