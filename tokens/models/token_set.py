import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from django.conf import settings
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Greatest
from django.db.models.query import ModelIterable
from django.utils import timezone
from django.utils.crypto import get_random_string

from osmo_portal.events import rows
from osmo_portal.events.actor import Actor
from osmo_portal.events.models import EventLine
from osmo_portal.events.trail import AuditedQuerySet, audited, record
from profiles import names
from profiles.models import Kind, Role, User
from profiles.reach import roles_reaching
from profiles.rules import require_administrator, require_reason
from tokens import rules
from tokens.models import batches
from tokens.models.arriving import COLUMNS, Arriving, bring_what_belongs_to, check_arrival, held_assignments
from tokens.models.batches import PURGED_AT_ONCE, Progress, how_many
from tokens.models.brief import FETCHED_ROLES, complete
from tokens.models.keys import Keys
from tokens.models.last_use import LastUse
from tokens.models.secret import Secret
from tokens.models.token_role import TokenRole

if TYPE_CHECKING:
    from tokens.models.access_token import AccessToken

DEFAULT_GRACE = timedelta(hours=24)
MAX_GRACE = timedelta(days=30)
MIN_RETENTION = timedelta(days=30)
STEP = 1_000  # tokens that are rotated one by one from one look at the table
MAX_STARS = 3  # each one more multiplies the work of a regular expression by the length of a name


class State(models.TextChoices):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    EXPIRED = "expired"
    REVOKED = "revoked"


class AccessTokenQuerySet(AuditedQuerySet["AccessToken"]):
    # What was found out with this very queryset: how many there are, or that there are more.
    known_count: int | None = None
    more_than = 0
    brief = False

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

    def numbered(self, numbers: Sequence[int]) -> Self:
        """Tokens of these numbers, however many: to the database they are one parameter.

        Where they all lie far from the end that a list begins at, PostgreSQL would read on until it meets one.
        """
        found = self.filter(pk__in=Keys(numbers))
        return found.filter(pk__range=(min(numbers), max(numbers))) if numbers else found

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

    def with_any_of(self, assignments: Sequence[int]) -> Self:
        """As `with_any`, by the numbers of the assignments, written out: so many that PostgreSQL hashes them, and not
        so many that to plan takes longer than to look up each of their roles."""
        put = TokenRole.objects.filter(token=OuterRef("pk"), assignment__in=assignments)
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
        dated = self.model.objects.outliving(now).alias(lifetime=F("expires_at") - F("issued_at"))
        over = dated.filter(lifetime__gt=timedelta(days=settings.MAX_TOKEN_DAYS)).order_by().values("pk")
        by_role = [found.order_by().values("token") for found in TokenRole.objects.exceeded(now)]
        # Each is found by its own index. With OR between them a database reads every token.
        return self.filter(pk__in=over.union(*by_role))

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

    def used_since(self, instant: datetime) -> Self:
        return self.filter(Exists(LastUse.objects.filter(at__gte=instant, token=OuterRef("pk"))))

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
        """With what `state`, `role_names` and lists ask of each token: three queries, however many tokens.

        Last uses are not joined: for a page far from the first, PostgreSQL would read all that come before.
        """
        roles = models.Prefetch("roles", TokenRole.objects.select_related("assignment__role"), FETCHED_ROLES)
        return self.select_related("owner").prefetch_related("last_use", roles)

    def in_brief(self) -> Self:
        """As `with_state`, with no more of users and roles than lists show: four queries. Fetch a token anew to act on
        it."""
        found = self.select_related(None).prefetch_related(None)
        found.brief = True
        return found

    def _clone(self) -> Self:
        clone: Self = super()._clone()  # type: ignore[misc]
        clone.brief = self.brief
        return clone

    def _fetch_all(self) -> None:
        fetched = self._result_cache is not None
        super()._fetch_all()
        if self.brief and self._result_cache and not fetched and issubclass(self._iterable_class, ModelIterable):
            complete(self._result_cache, self.db)

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
        retiring = Secret.objects.retiring(at).filter(token=OuterRef("pk"))
        return found.exclude(Exists(retiring)) if grace else found

    def not_rotatable(self, actor: Actor, grace: timedelta = DEFAULT_GRACE, at: datetime | None = None) -> Self:
        """The other active ones."""
        rotatable = self.model.objects.rotatable(actor, grace, at).filter(pk=OuterRef("pk"))
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
        return batches.change(
            later, "tokens.expired", by, require_reason(reason), values, operation, batch_size, progress
        )

    def revoke(self, *, by: Actor, reason: str, operation: str = "", batch_size: int | None = None) -> int:
        """Ends tokens for good. Returns how many."""
        require_power_over_sets(by)
        ended = {"ended_at": timezone.now(), "ended_by": by.user, "end_reason": require_reason(reason)}
        return batches.change(self.listed(), "tokens.revoked", by, ended["end_reason"], ended, operation, batch_size)

    def suspend(self, *, by: Actor, reason: str, operation: str = "", batch_size: int | None = None) -> int:
        """Stops live tokens until each is resumed. Returns how many."""
        require_power_over_sets(by)
        values = {"suspended_at": timezone.now()}
        return batches.change(
            self.live(), "tokens.suspended", by, require_reason(reason), values, operation, batch_size
        )

    def resume(self, *, by: Actor, reason: str, operation: str = "", batch_size: int | None = None) -> int:
        """Lets those suspended tokens work again that `by` may resume; others stay as they are. Returns how many."""
        require_power_to_resume(by)
        values = {"suspended_at": None}
        found = self.resumable(by)
        return batches.change(
            found, "tokens.resumed", by, require_reason(reason), values, operation, batch_size, hold_owners=True
        )

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
            tokens = self.model.objects.filter(pk__in=keys[start : start + STEP]).select_related("owner")
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
                details = {"label": how_many(lines), "reason": reason, "operation": operation}
                record("tokens.handed_over", by, self.model(), lines=lines, **details)
        return len(lines)

    def bring_in(self, arriving: Sequence[Arriving], *, by: Actor, operation: str) -> None:
        """Tokens of another system, whose secrets go on working. One event tells of them all.

        When they were made is not known, so their lifetime counts from now. Raises ValidationError, and makes none,
        where one of them breaks a rule for tokens, or its digest is known here, be it of a token that ended.
        """
        require_administrator(by, "import tokens")
        now = timezone.now()
        taken = {"name": "The portal has a token of one of the names, or with one of the digests, already."}
        with names.taken(taken), audited():
            held = held_assignments(arriving)
            check_arrival(arriving, held, now)
            arrived = [*zip(rows.next_keys(self.model, len(arriving)), arriving, strict=True)]
            self.insert_values(COLUMNS, (one.values(key, now) for key, one in arrived))
            bring_what_belongs_to(arrived, held, now)
            lines = [(key, str(one)[:600], "", one.expires_at.isoformat()) for key, one in arrived]
            record("tokens.imported", by, self.model(), label=how_many(lines), lines=lines, operation=operation)

    def cap_lifetime(self, days: int, *, by: Actor, reason: str, progress: Progress | None = None) -> int:
        """Shortens tokens that would live longer than `days` from their issue. Returns how many."""
        require_power_over_sets(by)
        latest = F("issued_at") + timedelta(days=days)
        values = {"expires_at": Greatest(latest, timezone.now())}
        return batches.change(self.exceeding(days), "tokens.expired", by, reason, values, progress=progress)

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
        details = {"reason": require_reason(reason), "ended_before": before.isoformat()}
        return batches.purge(self.ended_before(before), by, batch_size, progress, **details)


def _users(users: Iterable[User | str]) -> list[int]:
    named = [User.objects.ever_named(user) for user in users if isinstance(user, str)]
    return [user.pk for user in users if isinstance(user, User)] + [user.pk for found in named for user in found]


def require_power_over_sets(by: Actor) -> None:
    if not (by.is_administrator or by.is_operator or by.is_shell):
        raise PermissionDenied("Only administrators and operators may change sets of tokens.")


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
