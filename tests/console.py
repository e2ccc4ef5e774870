"""The console as its visitors meet it: a signed-in client, addresses, and every page that there is."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.db import OperationalError
from django.test import Client
from django.urls import reverse

from osmo_portal.console.change import Change
from osmo_portal.console.section import Section
from osmo_portal.events.models import Event
from profiles.models import Person, ServiceAccount, User
from tests.cast import Cast
from tokens import outlook
from tokens.models import AccessToken, BulkOperation

Answer = Any  # an HttpResponse with what the test client adds to it

ISSUE = "admin:tokens_accesstoken_issue"


def hold_the_count(monkeypatch: pytest.MonkeyPatch, *, fails: bool = False) -> threading.Event:
    """Keeps the figures of the first page from being counted until the event is set, or for half a minute."""
    go, count = threading.Event(), outlook.count

    def count_slowly() -> outlook.Outlook:
        go.wait(30)
        if fails:
            raise OperationalError("gone")
        return count()

    monkeypatch.setattr(outlook, "count", count_slowly)
    return go


def counting() -> list[threading.Thread]:
    """The threads that count the figures of the first page."""
    return [thread for thread in threading.enumerate() if thread.name == outlook.AT_WORK]


def wait_for_the_count() -> None:
    for thread in counting():
        thread.join()


def visitor(name: str, **defaults: Any) -> Client:
    """A browser in which `name` is signed in."""
    client = Client(**defaults)
    client.force_login(User.objects.get(username=name))
    return client


def address(record: Any, slug: str = "change") -> str:
    """The page of a record, or of a change to it."""
    kind = type(record)._meta.model_name
    if isinstance(record, User):
        kind = "serviceaccount" if record.is_service_account else "person"
    return reverse(f"admin:{record._meta.app_label}_{kind}_{slug}", args=[record.pk])


def text(answer: Answer) -> str:
    return str(answer.content.decode())


def look_and_save(client: Client, page: str, data: dict[str, Any]) -> Answer:
    """Posts the form and, where it shows first what it will do, posts what was shown."""
    shown = client.post(page, data)
    if shown.status_code != 200 or not shown.context.get("edit"):
        return shown
    return client.post(page, {**data, "seen": shown.context["form"]["seen"].value()})


def listed(client: Client, url: str) -> int:
    """How many records the list at the address says there are; the leaver queue tells them by leaver."""
    page: Answer = client.get(url)
    assert page.status_code == 200, url
    if "leavers" in page.context:
        return sum(leaver.count for leaver in page.context["leavers"])
    return int(page.context["cl"].result_count)


def form_errors(answer: Answer) -> dict[str, list[str]]:
    """What the form that is shown again says is wrong."""
    assert answer.status_code == 200, answer.status_code
    return dict(answer.context["form"].errors)


def sections() -> Iterator[Section]:
    for model in filter(admin.site.is_registered, apps.get_models()):
        section = admin.site.get_model_admin(model)
        assert isinstance(section, Section)
        yield section


def changes() -> list[tuple[Section, type[Change]]]:
    return [(s, change) for s in sections() for change in [*s.list_changes, *s.record_changes]]


def a_record_of(section: Section, cast: Cast) -> Any:
    """Some record of the section; there is one of each kind."""
    if section.model in (Person, ServiceAccount):
        return cast.mallory if section.model is Person else cast.robot
    if section.model in (AccessToken, BulkOperation) and not cast.robot.tokens.exists():
        cast.service_token()
    if section.model is BulkOperation and not BulkOperation.objects.exists():
        BulkOperation.preview(
            AccessToken.objects.listed(), by=cast.by("grace"), action="revoke", filters={"q": "robot"}
        )
    return section.model._default_manager.order_by("-pk")[0]


def change_address(section: Section, change: type[Change], cast: Cast) -> str:
    args = [a_record_of(section, cast).pk] if change in section.record_changes else []
    return section.address(change.slug, *args)


def last_event() -> Event:
    event = Event.objects.first()
    assert event is not None
    return event
