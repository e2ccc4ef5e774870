"""What becomes of the rows of an OSMO database, whatever stands in them. Without any database."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles import names
from tests.osmo import allow
from tokens import rules
from tokens.importing.findings import Kind
from tokens.importing.plan import Here, Incoming, KnownPool, KnownRole, KnownUser, Plan, Wishes
from tokens.importing.source import PersonRow, PoolRow, RoleRow, TokenRow

NOW = datetime(2027, 3, 4, 15, 30, tzinfo=UTC)
END = datetime(2027, 4, 1)  # noqa: DTZ001  (as OSMO keeps it)
ANYTHING = st.text(max_size=40) | st.sampled_from(["ci", "CI", "user", "x" * 300, "-", "", "a\0b", "ada", "bob"])
MAYBE = st.none() | ANYTHING


class Story:
    """A plan, and what it noted."""

    def __init__(self, here: Here | None = None, **wishes: Any) -> None:
        self.noted: list[tuple[Kind, str, str]] = []
        self.here = here or Here(users={"grace": KnownUser("grace")}, roles={"osmo-user": KnownRole([])})
        self.plan = Plan(self.here, Wishes("grace", **wishes), self._note, now=NOW)

    def _note(self, kind: Kind, subject: object, told: str) -> None:
        self.noted.append((kind, str(subject), told))

    def token(self, owner: str, name: str = "laptop", *roles: str, **more: Any) -> Incoming | None:
        values = {"digest": name.encode().ljust(32)[:32], "expires_at": END, "description": "", **more}
        return self.plan.token(TokenRow(owner, name, roles=list(roles) or ["osmo-user"], **values), set(), set())


@given(
    st.lists(st.tuples(MAYBE, MAYBE, st.sampled_from(["USER", "SERVICE"]), st.lists(MAYBE, max_size=3)), max_size=30),
    st.booleans(),
)
def test_whatever_comes_keeps_the_rules(rows: list[Any], convert: bool) -> None:
    story = Story(convert_wide=convert)
    story.plan.role(RoleRow("ci", "", [allow("workflow:*")]))
    for owner in dict.fromkeys(row[0] for row in rows if row[0]):
        story.plan.person(PersonRow(owner))

    tokens = [
        story.plan.token(TokenRow(owner, name, bytes([n]) * 32, END, name, roles, kind), set(), set())
        for n, (owner, name, kind, roles) in enumerate(rows)
    ]

    come = [token for token in tokens if token]
    accounts = [token.arrival.username for token in come if token.arrival]
    assert len({(token.owner, token.name) for token in come}) == len(come)
    assert len({account.lower() for account in accounts}) == len(accounts)
    for token in come:
        rules.check_name(token.name)
        assert names.user_id.fits(token.owner)
        assert len(token.owner) <= names.MAX_LENGTH
        assert names.clean_text(token.description, field="description") == token.description
        assert token.roles
        assert set(token.roles) <= ({"ci", "osmo-user"} if token.arrival else {"osmo-user"})


@given(MAYBE, MAYBE, st.recursive(st.none() | st.booleans() | ANYTHING, lambda inner: st.lists(inner, max_size=3)))
def test_any_role_and_pool_can_be_asked_about(name: str | None, text: str | None, policies: Any) -> None:
    story = Story()

    role = story.plan.role(RoleRow(name, text, policies, text, [text or ""]))
    pool = story.plan.pool(PoolRow(name, text, text, None, None, policies))

    assert role is None or (names.role_name.fits(role.name) and len(role.name) <= names.MAX_LENGTH)
    assert pool is None or (names.pool_name.fits(pool.name) and len(pool.name) <= names.MAX_LENGTH)


def test_every_row_is_counted_once() -> None:
    story = Story(Here(users={"grace": KnownUser("grace"), "bob": KnownUser("bob", is_service=True)}))
    for name in ("ada", "bob", "no good"):
        story.plan.person(PersonRow(name))
    digests = {b"1" * 32}
    for owner, digest in [("ada", b"1" * 32), ("ada", b"2" * 32), ("bob", b"3" * 32), ("eve", b"4" * 32)]:
        story.plan.token(TokenRow(owner, "laptop", digest, END, "", ["osmo-user"]), digests, set())

    table = story.plan.table()

    assert table["people"] == {"new": 1, "here": 0, "left out": 2}
    assert table["tokens"] == {"new": 1, "here": 1, "left out": 2}


@pytest.mark.parametrize(("days", "allowed"), [(0, None), (1, 1), (365, 365), (366, 365)])
def test_ends_at_the_edges(days: int, allowed: int | None) -> None:
    story = Story()
    story.plan.person(PersonRow("ada"))

    token = story.token("ada", expires_at=datetime(2027, 3, 4) + timedelta(days=days))  # noqa: DTZ001

    ends = token.expires_at if token else None
    assert ends == (None if allowed is None else datetime(2027, 3, 4, tzinfo=UTC) + timedelta(days=allowed))


def test_a_role_that_only_the_portal_has_is_unknown_to_the_source() -> None:
    story = Story(Here(users={"grace": KnownUser("grace")}, roles={"team": KnownRole([allow("*:*")])}))

    assert story.token("ci", "ci", "team", kind="SERVICE") is None
    assert [kind for kind, *_ in story.noted] == [Kind.LOST_ROLES, Kind.LEFT_OUT]


def test_numbers_are_not_looked_for_from_the_beginning_each_time() -> None:
    """A hostile source may call all its tokens alike."""
    story = Story()
    story.plan.person(PersonRow("ada"))

    found = [story.token("ada", "…", digest=n.to_bytes(32)) for n in range(20_000)]

    assert [token.name for token in found[:3] + found[-1:] if token] == ["token", "token-2", "token-3", "token-20000"]


def test_pools_that_the_portal_describes_in_the_same_way_are_not_worth_a_word() -> None:
    here = Here(users={"grace": KnownUser("grace")}, pools={"team": KnownPool("Arms", "near", maintenance=True)})
    story = Story(here)

    assert story.plan.pool(PoolRow("team", "Arms", "near", maintenance=True, online=False)) is None
    assert story.noted == []
