"""What happened at the company, played in its order through the ways in: some seven months, the last one in detail."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.contrib.auth.signals import user_login_failed
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import get_random_string
from django.views.decorators.debug import sensitive_variables

from osmo_portal.events.actor import ADMINISTRATOR_ROLE, Actor, Door
from osmo_portal.events.models import Event
from osmo_portal.events.trail import audited, record
from profiles.models import Pool, Role, User
from tokens import exchange
from tokens.demo import company
from tokens.demo.company import Batch
from tokens.models import AccessToken
from tokens.past import put_back

SEEDED = "demo.seeded"
BEGINNING = 215  # days ago
OFFICE, DATA_CENTRE, STRANGER = "10.20.4.17", "10.60.0.23", "203.0.113.77"
AGENT = "osmo-cli/6.0.0"


def is_seeded() -> bool:
    return Event.objects.told(SEEDED).exists()


@sensitive_variables()
def seed() -> dict[str, str]:
    """Passwords by user id, to be shown once. All of it or nothing. Raises ValidationError on a database in use."""
    _refuse_a_database_in_use()
    now = timezone.now()
    story = Story(now, now - timedelta(days=BEGINNING))
    story.write()
    with transaction.atomic():
        with put_back(story.start) as clock:
            for instant, _, happens in sorted(story.steps, key=lambda step: step[:2]):
                clock.move_to(instant)
                happens()
        with audited():
            record(SEEDED, Actor.shell(), AccessToken(), label="the demonstration")
    return story.passwords


def _refuse_a_database_in_use() -> None:
    """Nothing is mixed with real records, and events of the past cannot be put before those that are there."""
    tokens = AccessToken.objects.count()
    if tokens:
        raise ValidationError(f"This database holds real tokens ({tokens:,}). Nothing was written.")
    if User.objects.exists() or Event.objects.exists():
        raise ValidationError("This database is in use: it has users or events. Nothing was written.")


@dataclass
class Story:
    now: datetime
    start: datetime
    steps: list[tuple[datetime, int, Callable[[], Any]]] = field(default_factory=list)
    passwords: dict[str, str] = field(default_factory=dict, repr=False)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)

    def at(self, days_ago: float, happens: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Of what happens at the same time, what was told first comes first."""
        instant = self.now - timedelta(days=days_ago)
        self.steps.append((instant, len(self.steps), partial(happens, *args, **kwargs)))

    def write(self) -> None:
        self._found_the_company()
        for batch in company.OVER_POLICY:
            self._issue_all(batch, portal_days=company.LONG_AGO_DAYS)
        for batch in [*company.BATCHES, *company.USER_TOKENS]:
            self._issue_all(batch, portal_days=365)
        self._live_through_the_month()
        self._sound_alarms()
        self._sign_in()

    # The beginning.

    def _found_the_company(self) -> None:
        self.at(BEGINNING, self._make_the_first_administrator)
        for number, (name, pool) in enumerate(company.POOLS.items()):
            self.at(214 - number / 50, self._make_pool, name, **pool)
        for number, role in enumerate(company.ROLES):
            self.at(213 - number / 50, self._make_role, **role)
        for number, person in enumerate(company.PEOPLE):
            self.at(212 - number / 50, self._make_person, *person)
        for number, account in enumerate(company.ACCOUNTS):
            self.at(211 - number / 50, self._make_account, *account)

    def _make_the_first_administrator(self) -> None:
        User.create_person(
            by=Actor.bootstrap(),
            username=company.ADMINISTRATOR,
            display_name="Maya Torres",
            email="maya@example.com",
            password=self._password(company.ADMINISTRATOR),
            roles=[ADMINISTRATOR_ROLE],
        )

    def _make_pool(self, name: str, *, quota: tuple[int, int], gpus: tuple[int, int], **fields: Any) -> None:
        figures = zip(("quota_used", "quota_limit", "total_usage", "total_capacity"), (*quota, *gpus), strict=True)
        Pool.create(by=_by(company.ADMINISTRATOR), name=name, online=name not in company.OFF, **dict(figures), **fields)

    def _make_role(self, **fields: Any) -> None:
        Role.create(by=_by(company.ADMINISTRATOR), **fields)

    def _make_person(self, name: str, display_name: str, roles: tuple[str, ...], groups: tuple[str, ...]) -> None:
        by = _by(company.ADMINISTRATOR)
        person = User.create_person(
            by=by,
            username=name,
            display_name=display_name,
            email=f"{name}@example.com",
            password=self._password(name),
            roles=roles,
        )
        if groups:
            person.put_into_groups(groups, by=by)

    def _make_account(self, name: str, accountable: str, roles: tuple[str, ...], purpose: str) -> None:
        User.create_service_account(
            by=_by(company.ADMINISTRATOR), username=name, accountable=_user(accountable), purpose=purpose, roles=roles
        )

    def _password(self, name: str) -> str | None:
        """None, which lets nobody in, for those who only play a part."""
        if name not in company.SHOWN:
            return None
        return self.passwords.setdefault(name, get_random_string(20))

    # Tokens.

    def _issue_all(self, batch: Batch, portal_days: int) -> None:
        for number in range(1, batch.many + 1):
            name, apart = batch.name.format(number), (number % 40) / 50
            ends = self.now.date() + timedelta(days=batch.ends + (number - 1) * batch.step)
            self.at(batch.issued - apart, self._issue, batch, name, ends, portal_days)
            if batch.used is not None:
                self.at(batch.used * (1 + number / 100), self._use, f"{batch.owner}/{name}")

    def _issue(self, batch: Batch, name: str, ends: date, portal_days: int) -> None:
        owner = _user(batch.owner)
        by = _by(batch.by if owner.is_service_account else batch.owner)
        with _maximum_of(portal_days):
            token = AccessToken.issue(by=by, owner=owner, name=name, expires=ends, roles=batch.roles)
        self.secrets[f"{batch.owner}/{name}"] = token.plaintext

    def _use(self, label: str, address: str = DATA_CENTRE) -> None:
        with suppress(exchange.Refused):
            exchange.exchange(self.secrets[label], address=address, agent=AGENT)

    def _rotate(self, label: str, *, grace: timedelta) -> None:
        token = _token(label).rotate(by=_by(company.ADMINISTRATOR), grace=grace)
        self.secrets[f"{label} before"], self.secrets[label] = self.secrets[label], token.plaintext

    def _do(self, way: str, label: str, by: str, reason: str) -> None:
        getattr(_token(label), way)(by=_by(by), reason=reason)

    # The last month.

    def _live_through_the_month(self) -> None:
        day, week = timedelta(days=1), timedelta(days=7)
        for days_ago, label, grace in [
            (21, "nightly-training/worker-2", day),
            (16, "grafana/panel-1", timedelta(hours=1)),
            (8, "perception-eval/candidate-3", day),
            (6, "sim-farm/node-04", timedelta(0)),
            (3, "nightly-training/worker-5", week),
            (0.3, "grafana/panel-2", day),
            (0.2, "fleet-munich/amr-007", day),
        ]:
            self.at(days_ago, self._rotate, label, grace=grace)
            self.at(days_ago * 0.97, self._use, label)
        for number in range(1, 6):
            why = "The research sprint is over"
            self.at(22 - number / 20, self._do, "revoke", f"sandbox/notebook-{number}", "olga", why)
        for days_ago, label, by, why in [
            (19, "map-builder/hall-4", "maya", "The hall was sold"),
            (12, "ci/runner-06", "olga", "Printed in the log of a pull request"),
            (5, "fleet-munich/amr-031", "maya", "The robot was scrapped"),
            (2, "fleet-rotterdam/agv-11", "olga", "The robot was stolen at the port"),
        ]:
            self.at(days_ago, self._do, "revoke", label, by, why)
        for days_ago, label, why in [
            (14, "synth-data/renderer-5", "Renders the same scene over and over"),
            (7, "fleet-munich/amr-019", "In repair"),
            (4, "edge-deployer/spare-2", "Nobody knows where it is"),
        ]:
            self.at(days_ago, self._do, "suspend", label, "olga", why)
        self.at(17, self._do, "suspend", "fleet-munich/amr-012", "olga", "In repair")
        self.at(11, self._do, "resume", "fleet-munich/amr-012", "maya", "Back in hall 3")
        for name, days_ago in company.LEFT.items():
            self.at(days_ago, self._leave, name)
        self.at(18, self._remove_role, "map-builder", "osmo-legacy", "The old machines are going")
        self.at(15, self._change_pool, company.IN_MAINTENANCE, maintenance=True)
        self.at(13, self._change_pool, "train-h100", quota_limit=160)
        self.at(10, self._hand_over, "cost-report", "olga")
        self.at(6.5, self._change_role, "ci-runner", description="Pull requests. Its tokens live 60 days at most.")

    def _leave(self, name: str) -> None:
        _user(name).deactivate(by=_by(company.SECOND), reason="Left the company")

    def _remove_role(self, name: str, role: str, reason: str) -> None:
        _user(name).remove_role(role, by=_by(company.ADMINISTRATOR), reason=reason)

    def _change_pool(self, name: str, **fields: Any) -> None:
        Pool.objects.get(name=name).change(by=_by(company.ADMINISTRATOR), **fields)

    def _change_role(self, name: str, **fields: Any) -> None:
        Role.objects.get(name=name).change(by=_by(company.SECOND), **fields)

    def _hand_over(self, name: str, to: str) -> None:
        _user(name).hand_over(to=_user(to), by=_by(company.ADMINISTRATOR))

    # Alarms and sign-ins.

    def _sound_alarms(self) -> None:
        """Secrets that should be gone, used again."""
        for days_ago, label in [(5.5, "sim-farm/node-04"), (4.1, "grafana/panel-1"), (1.3, "sim-farm/node-04")]:
            self.at(days_ago, self._use, f"{label} before")
        for days_ago, label in [(1.9, "fleet-rotterdam/agv-11"), (0.6, "fleet-rotterdam/agv-11"), (9, "ci/runner-06")]:
            self.at(days_ago, self._use, label, address=STRANGER)

    def _sign_in(self) -> None:
        for day in range(30):
            for number, name in enumerate([company.ADMINISTRATOR, company.OPERATOR]):
                self.at(day + 0.05 + number / 9, self._arrive, name)
        for day in range(3, 30, 9):
            self.at(day + 0.4, self._arrive, company.AUDITOR)
        for days_ago, typed in [
            (24, "olga"),
            (23.9, "olga"),
            (12.2, "admin"),
            (12.1, "root"),
            (12, "maya"),
            (2.3, "maya"),
        ]:
            self.at(days_ago, self._fail_to_sign_in, typed)

    def _arrive(self, name: str) -> None:
        user = _user(name)
        user.signed_in(by=Actor.acting_as(user, Door.ADMIN, address=OFFICE))

    def _fail_to_sign_in(self, typed: str) -> None:
        request = HttpRequest()
        request.address = STRANGER  # type: ignore[attr-defined]
        user_login_failed.send(type(self), credentials={"username": typed}, request=request)


@contextmanager
def _maximum_of(days: int) -> Iterator[None]:
    """The portal-wide maximum that was in force when the story took place."""
    present = settings.MAX_TOKEN_DAYS
    settings.MAX_TOKEN_DAYS = days
    try:
        yield
    finally:
        settings.MAX_TOKEN_DAYS = present


def _by(name: str) -> Actor:
    return Actor.acting_as(_user(name), Door.ADMIN, address=OFFICE)


def _user(name: str) -> User:
    user: User = User.objects.existing().get(username=name)
    return user


def _token(label: str) -> AccessToken:
    owner, name = label.split("/")
    return AccessToken.objects.listed().get(owner__username=owner, name=name)
