"""The list of tokens: its columns, its filters, what it answers to nonsense, its search, and its pages."""

import re
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from django.db import connection
from django.http import QueryDict
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from osmo_portal.console.section import Section
from osmo_portal.events.trail import audited, record
from profiles.models import Pool, Role, User
from tests.bulk import many_tokens
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tests.console import Answer, sections, text, visitor
from tests.snapshot import scene
from tokens import search
from tokens.models import AccessToken, LastUse, TokenRole

LIST = reverse("admin:tokens_accesstoken_changelist")
BIG = 120  # more than two pages


def open_list(name: str = "grace", **query: Any) -> Answer:
    return visitor(name).get(LIST, query, follow=True)


def listed(name: str = "grace", **query: Any) -> list[str]:
    return sorted(token.name for token in open_list(name, **query).context["cl"].result_list)


def shown(page: Answer, column: str) -> list[str]:
    cells = re.findall(rf'<t[dh] class="field-{column}">(.*?)</t[dh]>', text(page), re.DOTALL)
    return [" ".join(re.sub("<[^>]+>", " ", cell).split()) for cell in cells]


def set_past_the_ways_in(token: AccessToken, **fields: Any) -> None:
    AccessToken._base_manager.filter(pk=token.pk).update(**fields)


def tokens_section() -> Section:
    return next(section for section in sections() if section.model is AccessToken)


# Columns.


def test_a_row_tells_what_is_asked_of_a_token(cast: Cast) -> None:
    token = cast.service_token("deploy", [POOL_ROLE], days=4)
    LastUse.objects.filter(token=token).update(at=timezone.now() - timedelta(hours=2))

    page = open_list()

    assert shown(page, "title") == ["deploy"]
    assert shown(page, "state") == ["active"]
    assert shown(page, "owner_link") == ["robot"]
    assert shown(page, "carried") == [POOL_ROLE]
    assert shown(page, "pools") == ["my_pool"]
    assert shown(page, "expires") == [f"{in_days(4)} 00:00 UTC in 3 days"]
    assert shown(page, "used")[0].endswith("UTC 2 hours ago")
    assert shown(page, "issue") == [f"grace {in_days(0)}"]


def test_pools_beyond_three_are_counted(cast: Cast) -> None:
    for number in range(5):
        Pool.create(by=cast.by("grace"), name=f"my_pool-{number}")
    cast.service_token("deploy", [POOL_ROLE])

    assert shown(open_list(), "pools") == ["my_pool, my_pool-0, my_pool-1 +3"]


def test_the_pools_are_those_that_the_token_reaches_now(cast: Cast) -> None:
    by = cast.by("grace")
    Pool.create(by=by, name="my_pool-2")
    deny = {"effect": "Deny", "actions": ["workflow:*"], "resources": ["pool/my_pool-2"]}
    Role.create(by=by, name="not-two", policies=[deny])
    fenced = User.create_service_account(by=by, username="fenced", purpose="x", roles=[POOL_ROLE, "not-two"])
    cast.service_token("open", [POOL_ROLE])
    cast.service_token("fenced", [POOL_ROLE], owner=fenced.username)
    cast.service_token("plain", [PLAIN_ROLE])
    loser = User.create_service_account(by=by, username="loser", purpose="x", roles=[POOL_ROLE])
    cast.service_token("lost", [POOL_ROLE], owner=loser.username)
    loser.remove_role(POOL_ROLE, by=by, reason="x")
    loser.assign_role(POOL_ROLE, by=by)
    cast.user_token("ada", "hers")

    page = open_list(o="0")

    assert dict(zip(shown(page, "title"), shown(page, "pools"), strict=True)) == {
        "open": "my_pool, my_pool-2",
        "fenced": "my_pool",
        "plain": "none",
        "lost": "none",
        "hers": "none",
    }


def test_what_has_ended_reaches_no_pool(cast: Cast) -> None:
    cast.service_token("gone", [POOL_ROLE]).revoke(by=cast.by("grace"), reason="x")

    assert shown(open_list(state="revoked"), "pools") == ["–"]


def test_the_list_costs_the_same_for_one_token_and_for_sixty(cast: Cast) -> None:
    """Session and user; roles and groups of who asks; the page, its users, uses and roles, its count; pools, holders,
    osmo-default."""
    client = visitor("grace")
    many_tokens(cast.robot, 1)
    client.get(LIST)

    one = queries_of(client)
    for number in range(3):
        account = User.create_service_account(
            by=cast.by("grace"), username=f"bot-{number}", purpose="x", roles=[POOL_ROLE, PLAIN_ROLE]
        )
        many_tokens(account, 20, f"t{number}")

    assert len(queries_of(client)) == len(one) == 12, "\n".join(queries_of(client))


def queries_of(client: Client, **query: Any) -> list[str]:
    with CaptureQueriesContext(connection) as seen:
        client.get(LIST, query)
    return [one["sql"] for one in seen.captured_queries]


@pytest.mark.parametrize("query", [{}, {"state": "any"}, {"q": "bulk"}, {"used": "never"}, {"last": "1"}, {"o": "5"}])
def test_no_table_is_counted_and_no_rows_are_skipped(cast: Cast, query: dict[str, str]) -> None:
    many_tokens(cast.robot, BIG)

    queries = queries_of(visitor("grace"), **query)

    counts = [sql for sql in queries if "COUNT(" in sql]
    assert len(counts) == ("q" not in query)  # what a search finds is fetched, and needs no count
    assert all("LIMIT 1001)" in count for count in counts)
    assert not [sql for sql in queries if "OFFSET" in sql]
    assert len([sql for sql in queries if "LIMIT 51" in sql]) == 1


# Filters.


@pytest.fixture
def some(cast: Cast) -> Cast:
    """Tokens that differ in what the filters ask for."""
    scene("a token list", lambda: _some(cast))
    return cast


def _some(cast: Cast) -> None:
    by, now = cast.by("grace"), timezone.now()
    cast.service_token("soon", [POOL_ROLE], days=5)
    cast.service_token("later", [PLAIN_ROLE], days=60)
    cast.user_token("ada", "hers", days=200)
    cast.service_token("gone").revoke(by=by, reason="x")
    cast.service_token("paused", [PLAIN_ROLE], days=25).suspend(by=by, reason="x")
    past = cast.service_token("past", [PLAIN_ROLE])
    midnight = datetime.combine(now.date(), time.min, UTC)
    old = now - timedelta(days=200)
    set_past_the_ways_in(past, created_at=old, issued_at=old, expires_at=midnight)
    User.create_service_account(
        by=by, username="other", accountable=User.objects.get(username="mallory"), purpose="x", roles=[PLAIN_ROLE]
    )
    olives = cast.service_token("olives", [PLAIN_ROLE], days=80, owner="other")
    set_past_the_ways_in(olives, created_by=cast.olive, created_at=old, issued_at=old)
    LastUse.objects.filter(token=olives).update(at=now - timedelta(days=100))
    LastUse.objects.filter(token__name="soon").update(at=now)


ALL_BUT_REVOKED = ["hers", "later", "olives", "past", "paused", "soon"]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, ALL_BUT_REVOKED),
        ({"state": "active"}, ["hers", "later", "olives", "soon"]),
        ({"state": "suspended"}, ["paused"]),
        ({"state": "expired"}, ["past"]),
        ({"state": "revoked"}, ["gone"]),
        ({"state": "any"}, sorted([*ALL_BUT_REVOKED, "gone"])),
        ({"kind": "person"}, ["hers"]),
        ({"kind": "service"}, ["later", "olives", "past", "paused", "soon"]),
        ({"role": POOL_ROLE}, ["soon"]),
        ({"role": "osmo-user"}, ["hers"]),
        ({"role": "osmo-admin"}, []),
        ({"pool": "my_pool"}, ["soon"]),
        ({"expiring": "7"}, ["soon"]),
        ({"expiring": "30"}, ["soon"]),
        ({"expiring": "90"}, ["later", "olives", "soon"]),
        ({"expiring": "yesterday"}, ["past"]),
        ({"used": "never"}, ["hers", "later", "past", "paused"]),
        ({"used": "unused-90"}, ["olives", "past"]),
        ({"issuer": "olive"}, ["olives"]),
        ({"issuer": "OLIVE"}, ["olives"]),
        ({"accountable": "mallory"}, ["olives"]),
        ({"accountable": "ada"}, ["later", "past", "paused", "soon"]),
        ({"owner": "ada"}, ["hers"]),
        ({"owner": "other", "state": "expired"}, []),
        ({"over_lifetime": "1"}, []),
    ],
)
def test_the_list_is_filtered(some: Cast, query: dict[str, str], names: list[str]) -> None:
    assert listed(**query) == names


@pytest.mark.parametrize("few", [10_000, 3, 1], ids=["by its tokens", "by its assignments", "by itself"])
def test_a_common_role_is_found_as_a_rare_one_is(some: Cast, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr(search, "FEW", few)

    assert listed(role=PLAIN_ROLE) == ["later", "olives", "past", "paused"]
    assert listed(role=PLAIN_ROLE, last="1", state="active") == ["later", "olives"]


def test_a_window_holds_its_first_day_and_not_its_last(some: Cast) -> None:
    assert listed(expires_from=in_days(5).isoformat(), expires_to=in_days(60).isoformat()) == ["paused", "soon"]
    assert listed(expires_from=in_days(60).isoformat()) == ["hers", "later", "olives"]
    assert listed(expires_to=in_days(5).isoformat()) == ["past"]


def test_unused_since_a_day_leaves_out_what_is_newer(some: Cast) -> None:
    assert listed(unused_since=in_days(-90).isoformat()) == ["olives", "past"]
    assert listed(unused_since=in_days(-150).isoformat()) == ["past"]


def test_tokens_beyond_the_lifetime_of_today_are_found(some: Cast, settings: Any) -> None:
    with audited():
        Role.objects.filter(name=POOL_ROLE).update(max_token_days=3)
        record("role.changed", some.by("grace"), Role.objects.get(name=POOL_ROLE))
    settings.MAX_TOKEN_DAYS = 100

    assert listed(over_lifetime="1") == ["hers", "olives", "soon"]


def test_tokens_of_a_deleted_user_are_found_by_the_id_it_had(some: Cast) -> None:
    some.olive.mark_deleted(by=some.by("grace"), reason="left")

    assert listed(issuer="olive") == ["olives"]


# The values that make no sense, and what the list says.
NONSENSE = [
    ({"state": "alive"}, "There is no state “alive”."),
    ({"kind": "robot"}, "There is no kind “robot”."),
    ({"role": "nobodys"}, "There is no role “nobodys”."),
    ({"role": "a b"}, "There is no role “a b”."),
    ({"pool": "nowhere"}, "There is no pool “nowhere”."),
    ({"pool": "ü"}, "There is no pool “ü”."),
    ({"expiring": "8"}, "There is no expiry “8”."),
    ({"expiring": "-7"}, "There is no expiry “-7”."),
    ({"expires_from": "2026-02-30"}, "Expires from: write the day as YYYY-MM-DD"),
    ({"expires_from": "tomorrow"}, "Expires from: write the day as YYYY-MM-DD"),
    ({"expires_to": "20260230"}, "Expires before: write the day as YYYY-MM-DD"),
    ({"expires_to": "2026-W01-1"}, "Expires before: write the day as YYYY-MM-DD"),
    ({"unused_since": "0000-01-01"}, "Unused since: write the day as YYYY-MM-DD"),
    ({"used": "always"}, "There is no last use “always”."),
    ({"issuer": "no one"}, "There is no user “no one”."),
    ({"accountable": "nobody"}, "There is no user “nobody”."),
    ({"owner": "nobody"}, "There is no user “nobody”."),
    ({"over_lifetime": "yes"}, "There is no lifetime “yes”."),
    ({"q": "x." * 128}, "Search for at most 254 characters."),
    ({"q": "one two three four five six seven eight nine"}, "Search for at most 8 words."),
    ({"after": "x"}, "The address of this page is broken."),
    ({"after": "-1"}, "The address of this page is broken."),
    ({"before": "9" * 19}, "The address of this page is broken."),
    ({"after": "²"}, "The address of this page is broken."),
    ({"after": "7000000", "o": "5"}, "The record that this page begins at is not here."),
]


@pytest.mark.parametrize(("query", "said"), NONSENSE, ids=[str(number) for number in range(len(NONSENSE))])
def test_nonsense_is_said_to_be_that_and_lists_nothing(some: Cast, query: dict[str, str], said: str) -> None:
    page = open_list(**query)

    assert page.status_code == 200
    assert page.context["cl"].result_list == []
    assert [fault for fault in page.context["cl"].faults if fault.startswith(said)]
    assert said in text(page)


def test_the_first_and_the_last_day_there_is_break_nothing(some: Cast) -> None:
    assert listed(expires_from="0001-01-01", expires_to="9999-12-31") == ALL_BUT_REVOKED


def test_fields_left_empty_are_left_out_of_the_address(cast: Cast) -> None:
    answer = visitor("grace").get(LIST, {"state": "active", "role": "", "q": "", "expires_from": ""})

    assert (answer.status_code, answer["Location"]) == (302, f"{LIST}?state=active")


def test_what_narrows_the_list_is_removed_one_by_one(some: Cast) -> None:
    page = open_list(state="active", expiring="90", q="o", o="0")

    chips = [(chip["words"], chip["without"]) for chip in page.context["cl"].chips]

    assert chips == [
        ("State: active", "?expiring=90&o=0&q=o"),
        ("Expiry: in the next 90 days", "?o=0&q=o&state=active"),
        ("Search: o", "?expiring=90&o=0&state=active"),
    ]
    assert page.context["cl"].clear_all_filters_qs == "?o=0"


def test_the_filter_form_holds_what_is_chosen_and_keeps_search_and_order(some: Cast) -> None:
    page = text(open_list(role=POOL_ROLE, q="soon", o="0"))

    form = page[page.index('class="filter-form"') :].partition("</form>")[0]
    assert f'value="{POOL_ROLE}"' in form
    assert 'name="q" value="soon"' in form
    assert 'name="o" value="0"' in form
    assert 'data-suggest="/admin/profiles/role/suggest/"' in form


def test_an_empty_list_says_what_to_do(cast: Cast) -> None:
    assert "There is no token yet. Issue one to a service account." in text(open_list())
    assert "No token fits all of this." in text(open_list(kind="person"))


# The set behind a query string.


def filtered(query: str, name: str = "grace") -> list[str]:
    request = visitor(name).get(LIST).wsgi_request
    return sorted(tokens_section().filtered(request, QueryDict(query)).values_list("name", flat=True))


def test_the_set_behind_a_query_string_is_all_pages_of_the_list(some: Cast) -> None:
    many_tokens(some.robot, BIG)

    assert len(filtered("")) == BIG + len(ALL_BUT_REVOKED)
    assert filtered("state=any&q=gone&o=0&after=3&last=1") == ["gone"]
    assert filtered("kind=person") == ["hers"]


@pytest.mark.parametrize("query", ["digest=x", "stat=active", "owner__username=ada", "page=2", "state=x", "role=x"])
def test_the_set_behind_nonsense_is_refused(some: Cast, query: str) -> None:
    from django.core.exceptions import ValidationError

    with pytest.raises(ValidationError):
        filtered(query)


# Searching.


def test_the_search_finds_beginnings_of_words_in_whatever_case(cast: Cast) -> None:
    cast.service_token("deploy-East")
    cast.service_token("night_ly")
    AccessToken.issue(
        by=cast.by("grace"),
        owner=cast.robot,
        name="x",
        expires=in_days(3),
        roles=[PLAIN_ROLE],
        description="Exports the maps\nto Lyon",
    )
    cast.user_token("ada", "laptop")

    assert listed(q="deploy") == ["deploy-East"]
    assert listed(q="EAST") == ["deploy-East"]
    assert listed(q="deploy-e") == ["deploy-East"]
    assert listed(q="ly") == ["night_ly", "x"]
    assert listed(q="ma EXP") == ["x"]
    assert listed(q="ploy") == []
    assert listed(q="Rob") == ["deploy-East", "night_ly", "x"]
    assert listed(q="robot/night") == ["night_ly"]
    assert listed(q="rob dep") == ["deploy-East"]
    assert listed(q="ada") == ["laptop"]


@pytest.mark.parametrize("choices", [0, 3])
def test_each_word_may_be_about_the_token_or_its_owner(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, choices: int
) -> None:
    monkeypatch.setattr("tokens.search.MAX_CHOICES", choices)
    cast.service_token("arm-1")
    cast.service_token("leg-1")
    cast.user_token("ada", "robot-arm")
    cast.user_token("mallory", "arm")

    assert listed(q="rob arm") == ["arm-1", "robot-arm"]
    assert listed(q="arm ada rob") == ["robot-arm"]
    assert listed(q="ada mallory") == []
    assert listed(q="rob rob") == ["arm-1", "leg-1", "robot-arm"]
    assert listed(q="rob ---") == []


def test_the_search_does_not_know_the_end_of_a_secret(cast: Cast) -> None:
    token = cast.service_token()

    assert listed(q=token.plaintext[-4:]) == []


@pytest.mark.parametrize("query", ["%", "_", "---", "' OR 1=1", "a & !b", "a:*", "(", "\\", "<b>", "*", "🤖", "|", "/"])
def test_the_search_takes_everything_for_text(cast: Cast, query: str) -> None:
    cast.service_token("deploy")

    page = open_list(q=query)

    assert page.status_code == 200
    assert page.context["cl"].faults == []
    assert listed(q=query) == (["deploy"] if query == "/" else [])  # which is no word at all


def test_a_beginning_of_too_many_user_ids_is_said_to_be_too_short(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokens.search.MAX_OWNERS", 1)
    cast.service_token("arrow")

    assert "More than 1 user ids begin with “a”." in text(open_list(q="a"))
    assert listed(q="arr") == ["arrow"]


# Pages.


def walk(start: str, label: str, client: Client) -> list[list[int]]:
    """The keys on each page, following the links of that label."""
    pages, query = [], start
    while True:
        cl = client.get(f"{LIST}{query}").context["cl"]
        pages.append([token.pk for token in cl.result_list])
        links = {page["label"]: page["url"] for page in cl.pages}
        if label not in links:
            return pages
        query = links[label]


@pytest.mark.parametrize(
    ("query", "order"),
    [
        ("?state=any", ["-pk"]),
        ("?o=0", ["name", "pk"]),
        ("?o=-0", ["-name", "-pk"]),
        ("?o=5", ["expires_at", "pk"]),
        ("?o=-5", ["-expires_at", "-pk"]),
        ("?o=7", ["issued_at", "pk"]),
        ("?expiring=90&o=-7", ["-issued_at", "-pk"]),
    ],
)
def test_pages_forward_and_back_hold_each_token_once_also_where_many_are_equal(
    cast: Cast, query: str, order: list[str]
) -> None:
    day = timezone.now() + timedelta(days=9)
    for prefix, account in (("a", cast.robot), ("b", cast.robot)):
        many_tokens(account, 60, prefix)
    AccessToken._base_manager.update(expires_at=day)
    client = visitor("grace")
    wanted = list(AccessToken.objects.order_by(*order).values_list("pk", flat=True))

    forward = walk(query, "Next", client)
    backward = walk(f"{query}&last=1", "Previous", client)

    assert [key for page in forward for key in page] == wanted
    assert [len(page) for page in forward] == [50, 50, 20]
    assert backward[0] == wanted[-50:]
    assert backward[1] == wanted[-100:-50]
    assert backward[2] == wanted[:50], "near the beginning: the whole first page"


def test_a_page_stays_where_it_is_when_tokens_are_added(cast: Cast) -> None:
    many_tokens(cast.robot, BIG)
    client = visitor("grace")
    second = client.get(LIST).context["cl"].pages[0]["url"]
    before = [token.pk for token in client.get(f"{LIST}{second}").context["cl"].result_list]

    many_tokens(cast.robot, 10, "new")

    assert [token.pk for token in client.get(f"{LIST}{second}").context["cl"].result_list] == before


def test_the_links_lead_to_the_neighbours_alone(cast: Cast) -> None:
    many_tokens(cast.robot, BIG)
    client = visitor("grace")

    first = client.get(LIST).context["cl"]
    last = client.get(LIST, {"last": "1"}).context["cl"]

    assert [page["label"] for page in first.pages] == ["Next", "Last"]
    assert [page["label"] for page in last.pages] == ["First", "Previous"]
    assert first.how_many == "120 access tokens"


def test_beyond_a_thousand_tokens_are_not_counted(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osmo_portal.console.paging.COUNTED", 100)
    many_tokens(cast.robot, BIG)

    assert "More than 100 access tokens" in text(open_list())


@pytest.mark.parametrize(
    ("few", "counted", "words"),
    [
        (BIG, 1_000, f"{BIG} access tokens"),
        (BIG, 100, "More than 100 access tokens"),
        (BIG - 1, 100, "More than 100 access tokens"),
        (100, 1_000, f"{BIG} access tokens"),
    ],
)
def test_a_search_says_how_many_it_found(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, few: int, counted: int, words: str
) -> None:
    monkeypatch.setattr(search, "FEW", few)
    monkeypatch.setattr("osmo_portal.console.paging.COUNTED", counted)
    many_tokens(cast.robot, BIG)
    cast.service_token("another")

    assert words in text(open_list(q="bulk"))


def test_filters_and_columns_begin_at_the_first_page_again(cast: Cast) -> None:
    many_tokens(cast.robot, BIG)

    page = text(visitor("grace").get(LIST, {"state": "active", "last": "1"}))

    assert re.search(r'href="\?o=0&amp;state=active"', page)
    assert 'name="last"' not in page


def test_every_section_has_the_same_pages(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    for section in sections():
        monkeypatch.setattr(type(section), "list_per_page", 1)
        client, seen, query = visitor("grace"), [], "?"
        wanted = list(section.get_queryset(client.get(LIST).wsgi_request).values_list("pk", flat=True))

        while query:
            cl = client.get(f"{section.address('changelist')}{query}").context["cl"]
            seen += [one.pk for one in cl.result_list]
            query = next((page["url"] for page in cl.pages if page["label"] == "Next"), "")

        assert sorted(seen) == sorted(wanted)


def test_a_token_with_many_roles_is_listed_once(cast: Cast) -> None:
    token = cast.service_token("both", [POOL_ROLE, PLAIN_ROLE])

    assert TokenRole.objects.filter(token=token).count() == 2
    assert listed(role=POOL_ROLE) == listed(pool="my_pool") == listed(q="both") == ["both"]
