"""Tells people that tokens end soon: what notify_expiring does."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from smtplib import SMTPDataError, SMTPRecipientsRefused
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.mail import EmailMessage, get_connection
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import get_random_string

from osmo_portal.events.actor import Actor
from osmo_portal.events.trail import audited, record
from profiles.models import User
from tokens import webhook
from tokens.models import AccessToken, Notice
from tokens.models.batches import Progress
from tokens.models.notice import TEAM, THRESHOLDS, WEBHOOK, Due, NoticeQuerySet, due
from tokens.webhook import Undelivered

SHOWN = 50  # tokens that one message names
TRIES = 3  # failures in a row after which the mail server is left alone
NO_WAY = "Nobody could be told. Set EMAIL_URL (and NOTIFY_TEAM_EMAIL), or NOTIFY_WEBHOOK_URL."


@dataclass
class Outcome:
    """`notices` are about one token for one recipient each, a message holds all of a recipient. `untold` counts tokens
    that end soon and of which nobody can be told."""

    notices: int = 0
    messages: int = 0
    failed_notices: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    thresholds: Counter[int] = field(default_factory=Counter)
    untold: int = 0

    def facts(self) -> dict[str, Any]:
        return {
            "notices": self.notices,
            "messages": self.messages,
            "failed_notices": self.failed_notices,
            "failed_messages": len(self.failures),
            "thresholds": {str(days): self.thresholds[days] for days in THRESHOLDS},
            "untold_tokens": self.untold,
        }


# What shows how far it is: told of the work and how much it is, it gives what is to be told how much is done, or None.
Watched = Callable[[str, int], AbstractContextManager[Progress | None]]


def _unwatched(words: str, count: int) -> AbstractContextManager[None]:
    return nullcontext()


def foresee(*, by: Actor) -> Outcome:
    """What `notify` would send now. Claims nothing and sends nothing."""
    _require_power(by)
    outcome, recipients = Outcome(), set[str]()
    for fresh, abandoned in _open_notices(outcome):
        again = Notice.objects.filter(pk__in=abandoned).values_list("recipient", "threshold")
        found = [*((notice.recipient, notice.threshold) for notice in fresh), *again]
        recipients.update(recipient for recipient, _ in found)
        outcome.thresholds.update(threshold for _, threshold in found)
        outcome.notices += len(found)
    outcome.messages = len(recipients)
    return outcome


def notify(*, by: Actor, watched: Watched = _unwatched) -> Outcome:
    """Sends each recipient one message with all that is due for him, and notes it.

    Runs at the same time share the work: each notice is claimed by one of them. What cannot be sent now is for the
    next run. The promise is that of Notice.
    """
    _require_power(by)
    run, outcome = get_random_string(16), Outcome()
    Notice.objects.filter(expires_at__lte=timezone.now()).delete()  # of no more use: the token has ended
    for fresh, abandoned in _open_notices(outcome):
        Notice.objects.claim(fresh, abandoned, run=run)
    mail = _Mail()
    held = Notice.objects.held(run)
    with watched("Sending notices", held.count()) as progress:
        for recipient in list(held.order_by("recipient").values_list("recipient", flat=True).distinct()):
            _deliver(held.filter(recipient=recipient), recipient, mail, outcome)
            if progress:
                progress(outcome.notices + outcome.failed_notices)
    mail.close()
    if outcome.notices or outcome.failures:
        with audited():
            label = f"{outcome.notices} notice{'s' * (outcome.notices != 1)}"
            record("tokens.notified", by, AccessToken(), label=label, operation=run, **outcome.facts())
    return outcome


def _require_power(by: Actor) -> None:
    if not (by.is_administrator or by.is_operator or by.is_shell):
        raise PermissionDenied("Only administrators and operators may send notices.")
    if not (settings.SENDS_MAIL or settings.NOTIFY_WEBHOOK_URL):
        raise ValidationError(NO_WAY)


# What is due.


def _open_notices(outcome: Outcome) -> Iterator[tuple[list[Notice], list[int]]]:
    """A step at a time, the notices that nobody has sent or is about to send: new ones, and the keys of others."""
    now = timezone.now()
    people = set[int]()
    if settings.SENDS_MAIL:
        people.update(User.objects.people().active().exclude(email="").values_list("pk", flat=True))
    for step in due(now):
        wanted = [notice for one in step for notice in _notices(one, people)]
        outcome.untold += len(step) - len({notice.token_id for notice in wanted})
        yield Notice.objects.missing(wanted, now)


def _notices(one: Due, people: set[int]) -> Iterator[Notice]:
    recipients = [f"user:{one.person}"] if one.person in people else []
    recipients += [TEAM] if settings.SENDS_MAIL and settings.NOTIFY_TEAM_EMAIL else []
    recipients += [WEBHOOK] if settings.NOTIFY_WEBHOOK_URL else []
    for recipient in recipients:
        yield Notice(token_id=one.token, expires_at=one.expires_at, threshold=one.threshold, recipient=recipient)


# Sending.


def _deliver(held: NoticeQuerySet, recipient: str, mail: "_Mail", outcome: Outcome) -> None:
    count = held.renew()
    if not count:
        return  # another run has taken them over: this one was too slow
    thresholds = Counter(held.values_list("threshold", flat=True))
    try:
        _send(Digest.of(held, count), recipient, mail)
    except Undelivered as error:
        held.give_back()
        outcome.failures[_name(recipient)] = str(error)
        outcome.failed_notices += count
        return
    held.mark_sent()
    outcome.messages += 1
    outcome.notices += count
    outcome.thresholds += thresholds


def _send(digest: "Digest", recipient: str, mail: "_Mail") -> None:
    if recipient == WEBHOOK:
        webhook.post(digest.markdown())
    elif recipient == TEAM:
        mail.send(settings.NOTIFY_TEAM_EMAIL, digest.subject, digest.text(console=True))
    else:
        person = _person(recipient)
        if not (person.is_active and person.email):
            raise Undelivered("the person has left, or has no e-mail address any more")
        mail.send(person.email, digest.subject, digest.text(person=person, console=person.is_staff))


def _person(recipient: str) -> User:
    person: User = User.objects.get(pk=recipient.removeprefix("user:"))
    return person


def _name(recipient: str) -> str:
    names = {TEAM: "the team's address", WEBHOOK: "the webhook"}
    return names.get(recipient) or _person(recipient).username


@dataclass(frozen=True, slots=True)
class Line:
    """`answers` is who answers for a service account."""

    expires_at: datetime
    token: str
    days: int
    answers: str

    @classmethod
    def of(cls, notice: Notice, now: datetime) -> "Line":
        owner = notice.token.owner
        answers = str(owner.accountable or "nobody") if owner.is_service_account else ""
        days = -((now - notice.expires_at) // timedelta(days=1))
        return cls(notice.expires_at, str(notice.token), days, answers)


@dataclass(frozen=True, slots=True)
class Digest:
    """All that one recipient is told by one run: how many tokens, and those that end first."""

    count: int
    lines: list[Line]

    @classmethod
    def of(cls, held: NoticeQuerySet, count: int) -> "Digest":
        now = timezone.now()
        first = held.select_related("token__owner__accountable").order_by("expires_at", "token")[:SHOWN]
        return cls(count, [Line.of(notice, now) for notice in first])

    @property
    def subject(self) -> str:
        many = f"{self.count} access tokens end" if self.count != 1 else "1 access token ends"
        return f"{many} soon, the first on {self.lines[0].expires_at:%Y-%m-%d}"

    @property
    def more(self) -> int:
        return self.count - len(self.lines)

    def text(self, *, person: User | None = None, console: bool = False) -> str:
        mine = settings.PORTAL_URL + reverse("my_tokens") if person else ""
        context = {"digest": self, "person": person, "mine": mine, "console": _console() if console else ""}
        return render_to_string("tokens/mail/expiring.txt", context)

    def markdown(self) -> str:
        """In the markup of Slack."""
        lines = [f"*{self.subject}*"]
        lines += [
            webhook.escaped(f"• {line.expires_at:%Y-%m-%d %H:%M} UTC  {line.token}")
            + (webhook.escaped(f"  ({line.answers} answers for it)") if line.answers else "")
            for line in self.lines
        ]
        lines += [f"… and {self.more} more"] if self.more else []
        return "\n".join([*lines, f"<{_console()}|All that end in the next {THRESHOLDS[-1]} days>"])


def _console() -> str:
    """The console's list of all that end within the widest threshold."""
    query = urlencode({"expiring": THRESHOLDS[-1]})
    return f"{settings.PORTAL_URL}{reverse('admin:tokens_accesstoken_changelist')}?{query}"


class _Mail:
    """One connection for all messages of a run. A server that cannot be used is not asked for every single one."""

    def __init__(self) -> None:
        self._server, self._failures, self._problem = get_connection(), 0, ""

    def send(self, address: str, subject: str, text: str) -> None:
        if self._failures >= TRIES:
            raise Undelivered(self._problem)
        # So that no absence notice is sent in return.
        headers = {"Auto-Submitted": "auto-generated"}
        message = EmailMessage(subject, text, None, [address], headers=headers, connection=self._server)
        try:
            self._server.open()
            message.send()
        except OSError as error:  # those of smtplib are of that kind too
            refused = isinstance(error, SMTPRecipientsRefused | SMTPDataError)
            self._failures = 0 if refused else self._failures + 1
            self._problem = _told(error)
            self.close()
            raise Undelivered(self._problem) from error
        self._failures = 0

    def close(self) -> None:
        self._server.close()


def _told(error: OSError) -> str:
    """One line of what the server said."""
    if isinstance(error, SMTPRecipientsRefused):
        code, said = next(iter(error.recipients.values()))
        return f"refused: {code} {said.decode(errors='replace')}"[:200]
    return f"the mail server failed: {' '.join(str(error).split()) or type(error).__name__}"[:200]
