"""What each page of the console asks the database does not grow with the tokens."""

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast
from tests.console import a_record_of, sections, visitor
from tests.snapshot import scene

FEW, MANY = 2, 12
AT_MOST = 25


def issue(cast: Cast, numbers: range) -> None:
    for number in numbers:
        cast.service_token(f"s{number}", [POOL_ROLE, PLAIN_ROLE])
        cast.service_token(f"e{number}", days=5).revoke(by=cast.by("grace"), reason="x")
        cast.user_token("mallory", f"u{number}")


def addresses(cast: Cast) -> list[str]:
    """Of every list, and of one record of each kind with its history and the changes to it."""
    leavers = f"{reverse('admin:profiles_serviceaccount_changelist')}?state=left-behind"
    found = [reverse("admin:index"), reverse("admin:profiles_role_matrix"), leavers, reverse("my_tokens")]
    for section in sections():
        record = a_record_of(section, cast)
        found += [section.address("changelist"), section.address("change", record.pk)]
        found += [section.address("history", record.pk)]
        found += [section.address(change.slug) for change in section.list_changes]
        found += [section.address(change.slug, record.pk) for change in section.record_changes]
    return found


def counted(client: Client, path: str) -> int:
    cache.clear()  # the first page keeps its figures for a minute
    with CaptureQueriesContext(connection) as seen:
        client.get(path)
    return len(seen)


@pytest.mark.parametrize("name", ["grace", "olive", "audrey"])
def test_no_page_asks_more_for_more_tokens(cast: Cast, name: str) -> None:
    scene("few tokens", lambda: issue(cast, range(FEW)))
    pages, client = addresses(cast), visitor(name)
    few = {page: counted(client, page) for page in pages}

    scene("many tokens", lambda: issue(cast, range(FEW, MANY)))

    many = {page: counted(client, page) for page in pages}
    assert len(pages) > 50
    assert {page: (few[page], many[page]) for page in pages if many[page] > few[page]} == {}
    assert {page: count for page, count in many.items() if count > AT_MOST} == {}
