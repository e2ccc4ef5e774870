"""PostgreSQL finds by an index whatever the lists of tokens ask for, and never reads a table of tokens from one end to
the other.

The planner is free: what it would rather read whole, it does. Twenty thousand tokens are too few for it to mind, so the
pages that hold them are filled by a tenth: to read a table whole is then as dear as with ten times as many, and to look
a row up costs what it always does. The figures of the first page are not asked for: they are counted once a minute.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.template.response import SimpleTemplateResponse
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.response import Response

from osmo_portal.console import paging
from osmo_portal.events.actor import Actor, Door
from profiles.models import User
from tests.bench import console, plans, seed
from tests.bench.places import LIST
from tests.console import visitor
from tests.wire import Wire
from tokens import search
from tokens.admin.filters import FILTERS
from tokens.admin.section import AccessTokenSection
from tokens.models import AccessToken

TOKENS = 20_000
SCALE = 1_000_000 // TOKENS
PAGE = 5  # tokens
# Pages hold the least that PostgreSQL can be told to; and no other VACUUM looks at rows that ours must see.
STORED = {"fillfactor": 10, "autovacuum_enabled": "false"}
# Not a pattern that begins with a star: it is compared with every name.
ALONE = ("ordering=-expires_at", "name=build-arm-0", "name=build-arm-*", "q=nightly", "q=zebra")
WITHOUT = {  # what would be read whole, had the database not these indexes
    "token_expiry, token_expiry_while_not_ended": "expiring=7",
    "token_name": "o=0",
    "token_issue": "o=7",
}

Ask = Callable[[str], Any]


@pytest.fixture
def ask(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    """Gets an address of the portal of a company, as its administrator. Committed, because VACUUM wants no
    transaction: until it ran, no index answers alone."""
    if connection.vendor != "postgresql":
        pytest.skip("about the planner of PostgreSQL")
    for name, count in {"PEOPLE": 1_000, "ACCOUNTS": 500, "ROLES": 60, "POOLS": 20}.items():
        monkeypatch.setattr(seed, name, count)
    for table in plans.TABLES:
        _execute(f"ALTER TABLE {table} SET ({', '.join(f'{name} = {value}' for name, value in STORED.items())})")
    _execute("SET synchronous_commit = on")  # what is not on the disk yet, VACUUM does not take for seen by all
    seed.seed(TOKENS, events=0)
    # What is counted, what is few, and a page: smaller, as the company is smaller than one with a million tokens.
    monkeypatch.setattr(AccessTokenSection, "list_per_page", PAGE)
    monkeypatch.setattr(paging, "COUNTED", paging.COUNTED // SCALE)
    monkeypatch.setattr(search, "FEW", search.FEW // SCALE)
    # Queries are wanted, and not pages.
    for answer in (SimpleTemplateResponse, Response):
        monkeypatch.setattr(answer, "rendered_content", "")
    client = visitor("grace", SERVER_NAME=console.HOST)
    grace, day = User.objects.get(username="grace"), timezone.now().date() + timedelta(days=9)
    token = AccessToken.issue(by=Actor.acting_as(grace, Door.ADMIN), owner=grace, name="laptop", expires=day)
    wire = Wire(str(token.plaintext))
    yield lambda address: wire.get(address) if address == LIST else client.get(address)
    _execute("RESET synchronous_commit")
    for table in plans.TABLES:
        _execute(f"ALTER TABLE {table} RESET ({', '.join(STORED)})")


def _execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def lists() -> Iterator[str]:
    """Of the console and of the API: each filter with values of each sort, each order, searches."""
    pages = [*console._token_lists(), *console._searches()]
    yield from (page.url for page in pages if page.post is None)
    yield from (f"/api/v1/tokens?{query}&page_size={PAGE}" for query in ALONE)
    for offered in FILTERS:
        for value in console._values(offered.parameter_name):
            yield f"/api/v1/tokens?{offered.parameter_name}={value}&page_size={PAGE}"
    yield LIST


def asked(ask: Ask, addresses: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each address with each query that it makes."""
    for address in addresses:
        with CaptureQueriesContext(connection) as queries:
            assert ask(address).status_code == 200, address
        yield from ((address, query["sql"]) for query in queries)


def test_no_list_of_tokens_reads_a_table_whole(ask: Ask) -> None:
    seen = {(address, sql): plans.read_whole(sql) for address, sql in asked(ask, lists())}

    assert {(address, *tables, shortened(sql)) for (address, sql), tables in seen.items() if tables} == set()
    assert sum(any(table in sql for table in plans.TABLES) for _, sql in seen) > 300
    missed = [query for indexes, query in WITHOUT.items() if not found_out(ask, indexes, query)]
    assert missed == []


def shortened(sql: str) -> str:
    return re.sub(r"SELECT .*? FROM", "SELECT … FROM", re.sub(r"\{[\d,]{40,}\}", "{…}", sql), count=1)[:600]


def found_out(ask: Ask, indexes: str, query: str) -> bool:
    """Whether the list would be caught, had the database not these indexes."""
    with transaction.atomic():
        _execute(f"DROP INDEX {indexes}")
        caught = any(plans.read_whole(sql) for _, sql in asked(ask, [f"/admin/tokens/accesstoken/?{query}"]))
        transaction.set_rollback(True)
    return caught
