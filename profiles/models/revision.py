"""The history of the configuration: what all roles were, and all pools, after each change that was made to them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, NamedTuple, Self

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Max
from django.utils import timezone

from osmo_portal.events.actor import Actor
from osmo_portal.events.trail import AuditedModel, AuditedQuerySet, audited, record
from profiles import names
from profiles.rules import require_administrator

MAX_TAGS = 50
MAX_TAG = 100  # characters


class ConfigType(models.TextChoices):
    ROLE = "ROLE"
    POOL = "POOL"


class RevisionQuerySet(AuditedQuerySet["Revision"]):
    def of(self, config_type: str) -> Self:
        return self.filter(config_type=config_type)

    def shown(self) -> Self:
        return self.filter(deleted_at=None)

    def turn(self, config_type: str) -> Self:
        """The row that every change of the type locks first."""
        return self.filter(config_type=config_type, number=1)

    def tagged(self, tags: Sequence[str]) -> "RevisionQuerySet":
        """Those that have all the tags. SQLite cannot ask that of a list."""
        wanted = {*tags}
        found = [pk for pk, held in self.exclude(tags=None).values_list("pk", "tags") if wanted <= {*(held or [])}]
        return self.filter(pk__in=found)


class Revision(AuditedModel):
    """The configuration of one type after a change, numbered without gaps from 1, the initial one.

    It holds what the change touched; `snapshot` puts the whole together. So a deleted revision is hidden, and stays.
    """

    config_type = models.CharField(max_length=8, choices=ConfigType.choices)
    number = models.PositiveIntegerField()
    name = models.CharField(max_length=names.MAX_LENGTH, blank=True)  # empty where the change was to the whole type
    username = models.CharField(max_length=names.MAX_LENGTH)
    created_at = models.DateTimeField(default=timezone.now)
    description = models.TextField(blank=True, max_length=names.MAX_TEXT)
    tags = models.JSONField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)
    deleted_by = models.CharField(max_length=names.MAX_LENGTH, blank=True)

    objects = RevisionQuerySet.as_manager()

    class Meta:
        ordering = ["config_type", "number"]
        constraints = [models.UniqueConstraint(fields=["config_type", "number"], name="revision_number_unique")]
        indexes = [models.Index(fields=["-created_at", "-id"], name="revision_newest")]

    def __str__(self) -> str:
        return f"{self.config_type}:{self.number}"

    @property
    def snapshot(self) -> dict[str, Any]:
        """What was configured of each role or pool, by name."""
        until = Item.objects.filter(
            revision__config_type=self.config_type, revision__number__lte=self.number
        ).order_by()
        last = until.values("name").annotate(last=Max("pk")).values("last")
        found = Item.objects.filter(pk__in=last, content__isnull=False)
        return {item.name: item.content for item in sorted(found, key=lambda item: item.name)}

    # Ways in.

    @classmethod
    def known(cls, config_type: str, number: int) -> "Revision":
        """Raises ValidationError where there is none that is shown, in the words of the released servers."""
        found = cls.objects.of(config_type).shown().filter(number=min(number, 2**31 - 1)).first()
        if found is None:
            raise ValidationError(f"No config history entry found for type {config_type} at revision {number}")
        return found

    def mark_deleted(self, *, by: Actor) -> None:
        """Hides it from the history. The newest one is what is, and stays."""
        require_administrator(by, "delete revisions")
        with audited():
            revision = self._locked()
            if not Revision.objects.of(self.config_type).filter(number__gt=self.number).exists():
                raise ValidationError(
                    f"Cannot delete the current revision {self.number} for config type {self.config_type}"
                )
            revision.deleted_at, revision.deleted_by = timezone.now(), by.name
            revision.save(update_fields=["deleted_at", "deleted_by"])
            record("revision.deleted", by, revision)

    def tag(self, *, by: Actor, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        require_administrator(by, "tag revisions")
        with audited():
            revision = self._locked()
            before = revision.tags or []
            revision.tags = _clean_tags([*before, *add], but=remove)
            revision.save(update_fields=["tags"])
            record("revision.tagged", by, revision, tags=[before, revision.tags])

    def _locked(self) -> "Revision":
        Revision.objects.select_for_update(no_key=True).get(pk=self.pk)
        return Revision.known(self.config_type, self.number)


class Item(AuditedModel):
    """What a change made of one role or pool; nothing where it is gone."""

    revision = models.ForeignKey(Revision, models.PROTECT, related_name="items")
    name = models.CharField(max_length=names.MAX_LENGTH)
    content = models.JSONField(null=True)

    objects = AuditedQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["revision", "name"], name="item_name_unique")]

    def __str__(self) -> str:
        return f"{self.name} in {self.revision}"


class Account(NamedTuple):
    """What a revision tells of itself: of which one it speaks, why, and under which tags it is found."""

    name: str = ""
    description: str = ""
    tags: Sequence[str] | None = None


@dataclass(slots=True)
class _Draft:
    config_type: str
    contents: dict[str, Any] = field(default_factory=dict)


_open: ContextVar[_Draft | None] = ContextVar("open_revision", default=None)


@contextmanager
def revised(config_type: str, account: Account, *, by: Actor) -> Iterator[_Draft]:
    """A transaction that ends by writing a revision, if something was changed. Nested blocks share the outermost one's.

    All changes of a type wait here for each other, before they lock anything else.
    """
    outer = _open.get()
    if outer and outer.config_type == config_type:
        with audited():
            yield outer
        return
    description = names.clean_text(account.description, field="description")
    tags = None if account.tags is None else _clean_tags(account.tags)
    draft = _Draft(config_type)
    token = _open.set(draft)
    try:
        with audited():
            Revision.objects.turn(config_type).select_for_update(no_key=True).get()
            yield draft
            if draft.contents:
                _write(draft, account._replace(description=description, tags=tags), by)
    finally:
        _open.reset(token)


def _write(draft: _Draft, account: Account, by: Actor) -> None:
    last = Revision.objects.of(draft.config_type).aggregate(last=Max("number"))["last"]
    told = {"name": account.name, "description": account.description, "tags": account.tags}
    revision = Revision(config_type=draft.config_type, number=last + 1, username=by.name, **told)
    revision.save()
    Item.objects.bulk_create(
        Item(revision=revision, name=name, content=content) for name, content in draft.contents.items()
    )


def _clean_tags(tags: Sequence[str], but: Sequence[str] = ()) -> list[str]:
    kept = [*dict.fromkeys(names.clean_text(tag, field="tags", limit=MAX_TAG) for tag in tags)]
    kept = [tag for tag in kept if tag and tag not in but]
    if len(kept) > MAX_TAGS:
        raise ValidationError({"tags": f"A revision has at most {MAX_TAGS} tags, not {len(kept)}."})
    return kept


class Configured(AuditedModel):
    """What `osmo config` handles: a record that has `configured` fields and ends by `deleted_at`.

    `create`, `change` and `mark_deleted` are its ways in; each stands in `revised` and tells the draft what became of
    it.
    """

    config_type: ClassVar[ConfigType]
    configured: ClassVar[tuple[str, ...]]

    class Meta:
        abstract = True

    @property
    def configuration(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.configured}

    def put_down(self, draft: _Draft) -> None:
        me: Any = self
        draft.contents[me.name] = None if me.deleted_at else self.configuration

    @classmethod
    def put(cls, *, by: Actor, name: str, reason: str = "", **fields: Any) -> Self:
        """The one of that name, made, or changed where it is otherwise now."""
        require_administrator(by, "change the configuration")
        with revised(cls.config_type, Account(name, reason), by=by):
            found: Any = cls.named(name)
            if found is None:
                return cls.create(by=by, name=name, **fields)  # type: ignore[attr-defined, no-any-return]
            if found.altered(**fields).configuration != found.configuration:
                found.change(by=by, reason=reason, **fields)
            return found  # type: ignore[no-any-return]

    @classmethod
    def named(cls, name: str) -> Self | None:
        raise NotImplementedError

    @classmethod
    def roll_back(cls, number: int, *, by: Actor, description: str = "", tags: Sequence[str] | None = None) -> None:
        """Makes the configuration what it was at that revision, by the same ways in and their checks.

        One that is gone comes back as a new record: to users and tokens it gives nothing that the old one gave.
        """
        require_administrator(by, "roll back the configuration")
        text = f"Roll back {cls.config_type} to r{number}" + (f": {description}" if description else "")
        with revised(cls.config_type, Account("", text, tags), by=by):
            wanted = cls._rollable(number).snapshot
            everything: Any = cls
            for gone in everything.objects.existing().exclude(name__in=wanted):
                gone.mark_deleted(by=by, reason=text)
            for name, fields in wanted.items():
                again = {} if cls.named(name) else cls.remembered(name)
                cls.put(by=by, name=name, reason=text, **fields, **again)

    @classmethod
    def _rollable(cls, number: int) -> Revision:
        hidden = Revision.objects.of(cls.config_type).exclude(deleted_at=None).filter(number=min(number, 2**31 - 1))
        for revision in hidden:
            raise ValidationError(
                f"Cannot roll back to revision {number} for config type {cls.config_type} "
                f"as it was deleted by {revision.deleted_by}"
            )
        return Revision.known(cls.config_type, number)

    @classmethod
    def remembered(cls, name: str) -> dict[str, Any]:
        """What else is restored of one that comes back."""
        return {}


def newest_at(instant: datetime) -> models.Subquery:
    """The newest revision of each type at that time."""
    then = Revision.objects.shown().filter(config_type=models.OuterRef("config_type"), created_at__lte=instant)
    return models.Subquery(then.order_by("-created_at", "-pk").values("pk")[:1])
