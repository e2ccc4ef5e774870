"""The leaver queue: service accounts whose accountable person is gone, by person, who left first first."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet, Window
from django.db.models.functions import RowNumber
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode

from osmo_portal.console.section import Section
from osmo_portal.events.actor import Actor, Door
from osmo_portal.events.models import Event
from profiles.admin.users import UserSection
from profiles.models import User

LEFT_BEHIND = "left-behind"
NO_RIGHT_CHANGES = (
    "No right changes: each account keeps its roles, and its tokens go on working with what they could do before. "
    "The new person may suspend and revoke them."
)
LEAVERS = 20  # on a page
ACCOUNTS = 10  # of each leaver, before "all of them"
ACCOUNTS_OF_ONE = 200


@dataclass(slots=True)
class Leaver:
    """`person` is None where nobody was ever accountable; `left` is the event that tells of the end."""

    person: User | None
    left: Event | None = None
    count: int = 0
    accounts: list[Any] = field(default_factory=list)
    more: str = ""  # the address of the accounts that are not shown


def queue_address(**query: Any) -> str:
    base = reverse("admin:profiles_serviceaccount_changelist")
    return f"{base}?{urlencode({'state': LEFT_BEHIND, **query})}"


def came_from_queue(request: HttpRequest) -> bool:
    """Whether a page was opened from the queue, to which it then leads back."""
    return request.GET.get("from") == "queue"


def leavers_page(section: Section, request: HttpRequest) -> HttpResponse:
    if not section.has_view_permission(request):
        raise PermissionDenied
    number = _number(request.GET.get("page", "")) or 1
    one = _number(request.GET.get("leaver", ""))
    shown = _of_one(one, request.GET.get("after", "")) if one else _all(number)
    further = len(shown) > LEAVERS
    context = {
        **section.admin_site.each_context(request),
        "title": "Leaver queue",
        "opts": section.opts,
        "section_url": section.address("changelist"),
        "leavers": _with_stakes(shown[:LEAVERS]),
        "may_hand_over": Actor.signed_in(request, Door.ADMIN).is_administrator,
        "next_page": queue_address(page=number + 1) if further else "",
        "first_page": queue_address() if one or number > 1 else "",
    }
    return TemplateResponse(request, "portal/leavers.html", context)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else None


def _all(page: int) -> list[Leaver]:
    """The leavers of the page, and one more if there are more; those of nobody come first."""
    start = (page - 1) * LEAVERS
    people = list(User.objects.leavers()[start : start + LEAVERS + 1])
    leavers = _with_accounts(people)
    nobodys = list(_accounts().filter(accountable=None)[:ACCOUNTS_OF_ONE]) if page == 1 else []
    if nobodys:
        leavers.insert(0, Leaver(None, None, len(nobodys), nobodys))
    return leavers


def _of_one(person: int, after: str) -> list[Leaver]:
    people = list(User.objects.leavers().filter(pk=person))
    if not people:
        return []
    mine = _accounts().filter(accountable=person)
    found = list(mine.filter(username__gt=after)[: ACCOUNTS_OF_ONE + 1])
    (leaver,) = _with_accounts(people)
    leaver.accounts, leaver.more = found[:ACCOUNTS_OF_ONE], ""
    if len(found) > ACCOUNTS_OF_ONE:
        leaver.more = queue_address(leaver=person, after=found[ACCOUNTS_OF_ONE - 1].username)
    return [leaver]


def _accounts() -> QuerySet[User]:
    accounts: QuerySet[User] = User.objects.service_accounts().order_by("username")
    return accounts


def _with_accounts(people: list[Any]) -> list[Leaver]:
    """Three queries, however many people and accounts."""
    events = Event.objects.in_bulk([person.left for person in people if person.left])
    mine = _accounts().filter(accountable__in=[person.pk for person in people])
    counts = dict(mine.order_by().values_list("accountable").annotate(Count("pk")))
    place = Window(RowNumber(), partition_by="accountable_id", order_by="username")
    first = list(mine.annotate(place=place).filter(place__lte=ACCOUNTS))
    return [
        Leaver(
            person,
            events.get(person.left),
            counts.get(person.pk, 0),
            [account for account in first if account.accountable_id == person.pk],
            queue_address(leaver=person.pk) if counts.get(person.pk, 0) > ACCOUNTS else "",
        )
        for person in people
    ]


def _with_stakes(leavers: Iterable[Leaver]) -> list[Leaver]:
    """Each account with its number of live tokens and the next expiry among them."""
    known = list(leavers)
    stakes = UserSection.stakes([account.pk for leaver in known for account in leaver.accounts])
    for leaver in known:
        leaver.accounts = [(account, stakes.get(account.pk)) for account in leaver.accounts]
    return known
