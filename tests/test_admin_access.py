"""Who may open and use the console, proved on every page that it has."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from osmo_portal.console.change import Change
from osmo_portal.console.section import Section
from osmo_portal.events.models import Event
from profiles.models import User
from tests.cast import PASSWORD, Cast
from tests.console import (
    ISSUE,
    a_record_of,
    address,
    change_address,
    changes,
    sections,
    text,
    visitor,
)
from tokens.exchange import exchange

EVERY_CHANGE = pytest.mark.parametrize(
    ("section", "change"), [pytest.param(s, c, id=f"{s.opts.model_name}-{c.slug}") for s, c in changes()]
)
EVERY_SECTION = pytest.mark.parametrize("section", [pytest.param(s, id=str(s.opts.model_name)) for s in sections()])


def pages(section: Section, cast: Cast) -> list[str]:
    """The list, a record and its history."""
    record = a_record_of(section, cast)
    own = [section.address("changelist"), section.address("change", record.pk), section.address("history", record.pk)]
    return [*own, *([section.address("suggest")] if section.suggest_field else [])]


def test_the_sections_stand_in_the_order_in_which_they_are_needed(cast: Cast) -> None:
    page = visitor("grace").get(reverse("admin:index"))

    (group,) = page.context["available_apps"]
    names = [str(section["name"]) for section in group["models"]]
    assert names == ["Access tokens", "Service accounts", "People", "Roles", "Pools", "Events"]


@EVERY_SECTION
@pytest.mark.parametrize("name", ["grace", "olive", "audrey"])
def test_administrators_operators_and_auditors_read_everything(cast: Cast, section: Section, name: str) -> None:
    client = visitor(name)

    for page in pages(section, cast):
        assert client.get(page).status_code == 200, page


@EVERY_SECTION
def test_anybody_else_is_sent_to_the_sign_in(cast: Cast, section: Section) -> None:
    for client in (visitor("ada"), Client()):
        for page in pages(section, cast):
            answer = client.get(page)
            assert (answer.status_code, answer["Location"].split("?")[0]) == (302, reverse("admin:login")), page


@EVERY_CHANGE
def test_an_auditor_is_refused_every_change(cast: Cast, section: Section, change: type[Change]) -> None:
    page = change_address(section, change, cast)
    client = visitor("audrey")
    events = Event.objects.count()

    for method in ("get", "post", "put", "patch", "delete"):
        assert getattr(client, method)(page).status_code == 403, method
    assert Event.objects.count() == events


@EVERY_SECTION
def test_an_auditor_sees_no_button(cast: Cast, section: Section) -> None:
    record = a_record_of(section, cast)
    client = visitor("audrey")

    for page in (section.address("changelist"), section.address("change", record.pk)):
        assert client.get(page).context["buttons"] == []
        assert 'class="button danger"' not in text(client.get(page))
    assert "remove-role" not in text(client.get(section.address("change", record.pk)))


@EVERY_CHANGE
@pytest.mark.parametrize("name", ["ada", ""])
def test_a_stranger_changes_nothing(cast: Cast, section: Section, change: type[Change], name: str) -> None:
    page = change_address(section, change, cast)
    client = visitor(name) if name else Client()
    events = Event.objects.count()

    answer = client.post(page, {"reason": "because", "name": "x", "username": "x"})

    assert answer.status_code == 302
    assert answer["Location"].startswith(reverse("admin:login"))
    assert Event.objects.count() == events


@EVERY_CHANGE
def test_an_operator_changes_tokens_alone(cast: Cast, section: Section, change: type[Change]) -> None:
    page = change_address(section, change, cast)

    status = visitor("olive").get(page).status_code

    of_tokens = section.opts.model_name == "accesstoken"
    beyond = change.slug in ("rotate", "resume", "new-account")  # the token carries a pool role; an account is made
    assert (status != 403) == (of_tokens and not beyond)


@EVERY_CHANGE
def test_opening_the_page_of_a_change_changes_nothing(cast: Cast, section: Section, change: type[Change]) -> None:
    page = change_address(section, change, cast)
    client = visitor("grace")
    events = Event.objects.count()

    answer = client.get(page, {"reason": "because", "grace": "0", "rotations": "0", "role": "osmo-user"})

    assert answer.status_code in (200, 302, 400)
    assert Event.objects.count() == events


@EVERY_CHANGE
def test_every_form_asks_for_the_csrf_token(cast: Cast, section: Section, change: type[Change]) -> None:
    page = change_address(section, change, cast)
    client = visitor("grace", enforce_csrf_checks=True)

    answer = client.post(page, {"reason": "because"})

    assert answer.status_code == 403
    assert "The form is too old" in text(answer)


@EVERY_CHANGE
def test_an_empty_form_is_shown_again(cast: Cast, section: Section, change: type[Change]) -> None:
    page = change_address(section, change, cast)

    answer = visitor("grace").post(page, {})

    assert answer.status_code in (200, 302)
    if answer.status_code == 200 and change.slug != "issue":
        assert "Nothing was changed." in text(answer)


@EVERY_SECTION
def test_nothing_is_added_edited_or_deleted_by_djangos_own_pages(cast: Cast, section: Section) -> None:
    record = a_record_of(section, cast)
    client = visitor("grace")
    events = Event.objects.count()

    for page in (
        section.address("add"),
        section.address("change", record.pk),
        section.address("delete", record.pk),
    ):
        assert client.post(page, {"post": "yes", "name": "x", "_save": "Save"}).status_code == 403, page
    deleted = client.post(
        section.address("changelist"), {"action": "delete_selected", "_selected_action": record.pk, "post": "yes"}
    )
    assert deleted.status_code in (200, 302, 403)
    assert section.model._default_manager.filter(pk=record.pk).exists()
    assert Event.objects.count() == events
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_other_methods_are_not_understood(cast: Cast, method: str) -> None:
    page = reverse(ISSUE)

    assert getattr(visitor("grace"), method)(page).status_code == 405


# A token opens no page of the console.


def test_neither_a_secret_nor_a_jwt_opens_a_page(cast: Cast) -> None:
    secret = cast.administrator_token().plaintext
    jwt, _expires = exchange(secret)

    for credential in (secret, jwt):
        for headers in (
            {"Authorization": f"Bearer {credential}"},
            {"Authorization": f"Token {credential}"},
            {"x-osmo-auth": credential},
            {"Cookie": f"sessionid={credential}"},
            {"x-osmo-user": "grace", "x-osmo-roles": "osmo-admin"},
        ):
            answer = Client(headers=headers).get(reverse("admin:index"))
            assert answer.status_code == 302, headers.keys()
            assert not (answer.cookies.get("sessionid") and answer.cookies["sessionid"].value)


def test_a_service_account_cannot_sign_in_even_with_its_secret(cast: Cast) -> None:
    secret = cast.administrator_token().plaintext
    client = Client()

    answer = client.post(reverse("admin:login"), {"username": "root-bot", "password": secret})

    assert answer.status_code == 200
    assert "_auth_user_id" not in client.session


def test_a_session_of_a_service_account_opens_nothing(cast: Cast) -> None:
    bot = cast.administrator_token().owner
    client = Client()
    client.force_login(User.objects.get(username="grace"))
    session = client.session
    session["_auth_user_id"] = str(bot.pk)
    session["_auth_user_hash"] = bot.get_session_auth_hash()
    session.save()

    assert client.get(reverse("admin:index")).status_code == 302


# What a lost right does to an open session.


def test_a_deactivated_administrator_is_out_at_once(cast: Cast) -> None:
    User.create_person(by=cast.by("grace"), username="second", password=PASSWORD, roles=["osmo-admin"])
    client = visitor("second")
    assert client.get(reverse("admin:index")).status_code == 200

    User.objects.get(username="second").deactivate(by=cast.by("grace"), reason="left")

    assert client.get(reverse("admin:index")).status_code == 302


def test_an_operator_who_loses_the_group_is_out_at_once(cast: Cast) -> None:
    client = visitor("olive")

    cast.olive.put_into_groups([], by=cast.by("grace"))

    assert client.get(reverse("admin:index")).status_code == 302


# Filters and searches show what is offered, and probe nothing.

PROBES = [
    ("accesstoken", "secrets__digest__startswith", "a"),
    ("accesstoken", "secrets__digest", "a"),
    ("accesstoken", "secrets__hint", "aaaa"),
    ("accesstoken", "owner__password__startswith", "md5"),
    ("accesstoken", "owner__email__contains", "@"),
    ("accesstoken", "end_reason__contains", "x"),
    ("accesstoken", "id__gt", "0"),
    ("person", "password__startswith", "md5"),
    ("person", "password", "x"),
    ("person", "email__startswith", "a"),
    ("person", "tokens__secrets__digest__startswith", "a"),
    ("serviceaccount", "accounts__password__startswith", "a"),
    ("role", "policies__contains", "x"),
    ("event", "hash__startswith", "0"),
    ("event", "changes__contains", "x"),
]


@pytest.mark.parametrize("name", ["grace", "audrey"])
def test_a_filter_that_is_not_offered_is_refused(cast: Cast, name: str) -> None:
    client = visitor(name)
    lists = {section.opts.model_name: section.address("changelist") for section in sections()}

    for kind, lookup, value in PROBES:
        assert client.get(lists[kind], {lookup: value}).status_code == 400, lookup


@EVERY_SECTION
def test_a_list_is_sorted_by_no_column_that_it_does_not_offer(cast: Cast, section: Section) -> None:
    client = visitor("audrey")
    list_page = section.address("changelist")
    own = client.get(list_page).context["cl"].queryset.query.order_by

    for query in ("1", "2.-1", "password", "-99.x"):
        order = client.get(list_page, {"o": query}).context["cl"].queryset.query.order_by
        assert {*order} <= {*own, "-pk"}, query
    assert client.get(list_page, {"_to_field": "password"}).status_code == 400


def test_a_digest_or_a_password_is_shown_on_no_page(cast: Cast) -> None:
    token = cast.service_token()
    digest = bytes(token.secrets.get().digest)
    hashed = cast.grace.password.split("$")[-1]
    client = visitor("grace")

    seen = "".join(text(client.get(page)) for section in sections() for page in pages(section, cast))
    seen += text(client.get(address(token))) + text(client.get(address(cast.grace)))

    assert digest.hex() not in seen
    assert str(digest) not in seen
    assert hashed not in seen
    assert token.plaintext not in seen
    assert token.plaintext[-4:] in seen


# Bad addresses are told from bad forms, and neither breaks the console.

BAD_QUERIES: list[dict[str, Any]] = [
    {"p": "-1"},
    {"p": "99999999999999999999"},
    {"p": "x"},
    {"q": "\N{KEY}" * 2_000},
    {"q": "'; DROP TABLE users; --"},
    {"q": '"' * 5},
    {"state": "nonsense"},
    {"e": "1"},
    {"all": ""},
    {"_popup": "1"},
    {"_facets": "True"},
]


@EVERY_SECTION
def test_a_bad_query_breaks_no_list(cast: Cast, section: Section) -> None:
    client = visitor("grace")

    for query in BAD_QUERIES:
        assert client.get(section.address("changelist"), query).status_code < 500, query


@EVERY_SECTION
def test_a_record_that_is_not_there_breaks_nothing(cast: Cast, section: Section) -> None:
    client = visitor("grace")
    base = section.address("changelist")

    for pk in ("0", "99999999999999999999999", "x", "-1", "%00", "..%2F"):
        for page in ("change", "history", "delete", *(change.slug for change in section.record_changes)):
            status = client.get(f"{base}{pk}/{page}/").status_code
            assert status in (302, 400, 403, 404), (pk, page)


def test_a_nul_character_is_refused_wherever_it_comes(cast: Cast) -> None:
    client = visitor("grace")

    for section in sections():
        assert client.get(f"{section.address('changelist')}?q=%00").status_code == 400


def test_a_body_that_is_too_large_is_refused(cast: Cast) -> None:
    client = visitor("grace", enforce_csrf_checks=True)

    answer = client.post(reverse(ISSUE), {"name": "x" * 300_000})

    assert answer.status_code in (400, 403, 413)


def test_too_many_fields_are_refused(cast: Cast) -> None:
    answer = visitor("grace").post(reverse(ISSUE) + "?owner=robot", {f"f{n}": "x" for n in range(1_100)})

    assert answer.status_code == 400
    assert "cannot be read" in text(answer)
