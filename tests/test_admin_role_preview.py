"""Who is hit if a role is changed or deleted: as each user and each token by itself would be asked."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from osmo_portal.events.models import Event
from profiles.impact import COUNTED, Crowd, RoleEdit
from profiles.models import Pool, Role, RoleAssignment, User
from tests import troupe
from tests.bulk import many_tokens
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast, in_days
from tests.console import Answer, address, form_errors, last_event, look_and_save, text, visitor
from tests.troupe import Reached, allow, deny, http
from tokens.models import AccessToken

EDITS: dict[str, tuple[str, list[dict[str, Any]] | None]] = {
    "wider": ("submits", [allow("workflow:*", "pool/*")]),
    "narrower": ("labs", [allow("workflow:Create", "pool/lab")]),
    "elsewhere": ("labs", [allow("workflow:*", "pool/farm")]),
    "nothing": ("labs", []),
    "a deny more": ("labs", [allow("workflow:*", "pool/lab*"), deny("workflow:PortForward", "pool/lab")]),
    "a deny less": ("no-entry", []),
    "a narrower deny": ("no-exec", [deny("workflow:Rsync", "pool/lab")]),
    "a deny of all": ("frozen", [deny("*:*")]),
    "the older form": ("labs", [http("/api/pool/lab*"), http("/api/workflow/*/portforward/*")]),
    "an older deny": ("older", [http("!/api/pool/lab/workflow"), http("/api/workflow/*/exec/*")]),
    "everything": ("no-exec", [allow("*:*", "*")]),
    "for everybody": ("osmo-default", [deny("workflow:Exec", "*")]),
    "for everybody, all": ("osmo-default", [deny("*:*", "pool/lab*"), allow("profile:*", "*")]),
    "the people's": ("osmo-user", [deny("workflow:Create", "*")]),
    "a role deleted": ("labs", None),
    "a deny deleted": ("no-entry", None),
    "a role without a say": (PLAIN_ROLE, [allow("dataset:*", "*")]),
}


def change(role: Role, policies: Any = None, days: int | str = "") -> dict[str, Any]:
    """What the form of the role is filled with."""
    return {
        "description": role.description,
        "policies": json.dumps(role.policies if policies is None else policies),
        "max_token_days": days,
    }


def preview(role: Role, policies: Any = None, days: int | str = "", name: str = "grace") -> Answer:
    return visitor(name).post(address(role, "edit"), change(role, policies, days))


def told(answer: Answer) -> dict[str, Crowd | None]:
    return {notice.text: notice.crowd for notice in answer.context["edit"].told}


def told_hits(edit: RoleEdit) -> dict[tuple[str, str], Reached]:
    found: dict[tuple[str, str], Reached] = {}
    for hit in edit.hits:
        for line in hit.lines:
            assert line.crowd.count == len(line.crowd.names), "the troupe is too large for this test"
            found.setdefault((line.verb, line.kind), set()).update(
                (who, pool, operation.value)
                for who in line.crowd.names
                for pool in hit.step.pools
                for operation in hit.step.operations
            )
    return found


@pytest.mark.parametrize("edited", EDITS)
def test_those_who_gain_and_lose_are_told_exactly(cast: Cast, edited: str) -> None:
    troupe.enter(cast)
    name, policies = EDITS[edited]
    role = Role.objects.get(name=name)
    users, tokens = troupe.reached()
    users_then, tokens_then = troupe.reached({name: policies})

    edit = RoleEdit(role, None if policies is None else role.altered(policies=policies))

    expected = {
        ("gain", "user"): users_then - users,
        ("lose", "user"): users - users_then,
        ("gain", "live token"): tokens_then - tokens,
        ("lose", "live token"): tokens - tokens_then,
    }
    assert told_hits(edit) == {kind: who for kind, who in expected.items() if who}
    assert bool(edit.hits) == (edited != "a role without a say")


@pytest.mark.parametrize("edited", EDITS)
def test_what_was_told_is_what_happens(cast: Cast, edited: str) -> None:
    troupe.enter(cast)
    name, policies = EDITS[edited]
    role = Role.objects.get(name=name)
    _, predicted = troupe.reached({name: policies})

    if policies is None:
        look_and_save(visitor("grace"), address(role, "delete-record"), {"reason": "x"})
    else:
        look_and_save(visitor("grace"), address(role, "edit"), change(role, policies))

    assert troupe.reached()[1] == predicted


def test_pools_in_which_the_same_happens_stand_together(cast: Cast) -> None:
    by = cast.by("grace")
    for number in range(8):
        Pool.create(by=by, name=f"p{number}")
        Role.create(by=by, name=f"r{number}", policies=[allow("workflow:*", f"pool/p{number}")])

    edit = preview(Role.objects.get(name=POOL_ROLE), [allow("workflow:*", "pool/p*")]).context["edit"]

    assert [str(hit.step) for hit in edit.hits] == [
        "pool my_pool: submit, exec, port-forward",
        "pools p0, p1, p2, p3, p4 and 3 more: submit, exec, port-forward",
    ]


def test_pools_beyond_what_is_counted_are_named(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    troupe.enter(cast)
    monkeypatch.setattr("profiles.impact.STEPS", 1)
    monkeypatch.setattr("profiles.impact.POOLS", 3)

    answer = preview(Role.objects.get(name="submits"), [])

    edit = answer.context["edit"]
    named = [pool for hit in edit.hits for pool in hit.step.pools] + edit.uncounted
    assert sorted(named) == ["default", "farm", "lab", "lab-gpu", "my_pool"]
    assert "Not counted here, but concerned as well" in text(answer)


def test_a_preview_changes_nothing(cast: Cast) -> None:
    role = Role.objects.get(name=POOL_ROLE)
    client = visitor("grace")
    events = Event.objects.count()

    answer = client.post(address(role, "edit"), change(role, [], 5))

    role.refresh_from_db()
    assert role.policies
    assert role.max_token_days is None
    assert Event.objects.count() == events
    assert "Nothing was changed." in text(answer)


def test_words_tell_what_comes_and_goes(cast: Cast) -> None:
    role = Role.objects.get(name=POOL_ROLE)

    answer = preview(role, [*role.policies, allow("pool:List", "*")])

    assert answer.context["edit"].words == [
        ("stays", "pool my_pool*: submit, exec, port-forward"),
        ("new", "pool:List on everything"),
    ]


# The lifetime.


def test_tokens_that_are_shortened_are_told_with_their_new_end(cast: Cast) -> None:
    long, suspended = cast.service_token("long", days=60), cast.service_token("waits", days=60)
    cast.service_token("short", days=5)
    cast.service_token("other", roles=[PLAIN_ROLE], days=60)
    suspended.suspend(by=cast.by("grace"), reason="x")
    role = Role.objects.get(name=POOL_ROLE)

    crowd = told(preview(role, days=10))["Tokens that are shortened, for good"]

    assert crowd
    assert crowd.count == 2
    assert crowd.names[0] == f"robot/long ({in_days(60)} → {in_days(10)})"
    look_and_save(visitor("grace"), address(role, "edit"), change(role, days=10))
    shortened = AccessToken.objects.filter(
        expires_at__lt=timezone.now() + timedelta(days=11), name__in=["long", "waits"]
    )
    assert set(shortened) == {long, suspended}


def test_a_raised_maximum_shortens_none(cast: Cast) -> None:
    role = Role.objects.get(name=POOL_ROLE)
    role.change(by=cast.by("grace"), max_token_days=20)
    cast.service_token(days=20)

    crowd = told(preview(role, days=40))["Tokens that are shortened, for good"]

    assert crowd is not None
    assert not crowd


def test_a_description_alone_is_saved_at_once_and_shortens_nothing(cast: Cast) -> None:
    role = Role.objects.get(name=POOL_ROLE)
    client = visitor("grace")

    answer = client.post(address(role, "edit"), {**change(role), "description": "for the lab"})

    assert answer["Location"] == address(role)
    assert last_event().changes == {"description": ["", "for the lab"]}


def test_saving_what_stands_there_already_writes_no_event(cast: Cast) -> None:
    role = Role.objects.get(name=POOL_ROLE)
    client = visitor("grace")
    events = Event.objects.count()

    answer = client.post(address(role, "edit"), change(role), follow=True)

    assert "nothing was to be changed" in text(answer)
    assert Event.objects.count() == events


# Whose it is to grant.


def test_a_role_that_becomes_a_pool_role_leaves_the_operators_hands(cast: Cast) -> None:
    cast.service_token("reads", roles=[PLAIN_ROLE])
    cast.service_token("both", roles=[PLAIN_ROLE, POOL_ROLE])
    role = Role.objects.get(name=PLAIN_ROLE)

    found = told(preview(role, [allow("workflow:*", "pool/my_pool")]))

    assert "It becomes a pool role." in found
    assert "Only administrators may grant it, not operators." in found
    crowd = found["Tokens that operators can no longer rotate and resume"]
    assert crowd
    assert crowd.names == ["robot/reads"]


def test_what_operators_can_no_longer_handle_is_what_they_are_refused(cast: Cast) -> None:
    token = cast.service_token("reads", roles=[PLAIN_ROLE])
    role = Role.objects.get(name=PLAIN_ROLE)
    olive = visitor("olive")
    assert olive.get(address(token, "rotate")).status_code == 200

    look_and_save(visitor("grace"), address(role, "edit"), change(role, [allow("workflow:*", "pool/my_pool")]))

    assert olive.get(address(token, "rotate")).status_code == 403


def test_a_role_that_becomes_plain_comes_into_the_operators_hands(cast: Cast) -> None:
    cast.service_token("deploys", roles=[POOL_ROLE])

    found = told(preview(Role.objects.get(name=POOL_ROLE), [allow("dataset:Read", "*")]))

    assert "It stops being a pool role." in found
    assert "Operators may grant it, not only administrators." in found
    crowd = found["Tokens that operators can now rotate and resume"]
    assert crowd
    assert crowd.names == ["robot/deploys"]


# Deleting.


def test_deleting_tells_which_tokens_stop_working(cast: Cast) -> None:
    cast.service_token("only", roles=[POOL_ROLE])
    cast.service_token("both", roles=[POOL_ROLE, PLAIN_ROLE])
    role = Role.objects.get(name=POOL_ROLE)

    page = visitor("grace").get(address(role, "delete-record"))

    found = told(page)
    stops, carry = found["Live tokens that stop working: they have no other role"], found["Live tokens that carry it"]
    assert stops
    assert carry
    assert stops.names == ["robot/only"]
    assert carry.names == ["robot/both", "robot/only"]
    assert "Users who hold it" in text(page)


@pytest.mark.parametrize("seen", ["", "new.0", "x" * 200, "\ud83d"])
def test_nothing_is_deleted_that_was_not_looked_at(cast: Cast, seen: str) -> None:
    role = Role.objects.get(name=POOL_ROLE)

    answer = visitor("grace").post(
        address(role, "delete-record"), {"reason": "x", "seen": seen.encode("utf-8", "replace")}
    )

    assert answer.status_code == 200
    role.refresh_from_db()
    assert role.deleted_at is None


# Exactly what was seen.


def test_another_text_than_the_one_looked_at_is_shown_first(cast: Cast) -> None:
    role = Role.objects.get(name=POOL_ROLE)
    client = visitor("grace")
    seen = client.post(address(role, "edit"), change(role, [])).context["form"]["seen"].value()

    answer = client.post(address(role, "edit"), {**change(role, [allow("*:*", "*")]), "seen": seen})

    assert "This differs from what you looked at." in text(answer)
    assert answer.context["edit"].words[0] == ("new", "every pool: submit, exec, port-forward")
    role.refresh_from_db()
    assert role.policies != [allow("*:*", "*")]
    shown = answer.context["form"]["seen"].value()
    client.post(address(role, "edit"), {**change(role, [allow("*:*", "*")]), "seen": shown})
    role.refresh_from_db()
    assert role.policies == [allow("*:*", "*")]


@pytest.mark.parametrize("slug", ["edit", "delete-record"])
def test_a_role_that_changed_in_between_is_looked_at_again(cast: Cast, slug: str) -> None:
    role = Role.objects.get(name=POOL_ROLE)
    client = visitor("grace")
    data = {**change(role, []), "reason": "x"}
    first = client.post(address(role, slug), data)
    seen = first.context["form"]["seen"].value()
    role.change(by=cast.by("grace"), policies=[allow("workflow:Create", "pool/lab")])

    answer = client.post(address(role, slug), {**data, "seen": seen})

    assert "Somebody changed the role since you looked." in text(answer)
    assert ("goes", "pool lab: submit") in answer.context["edit"].words
    role.refresh_from_db()
    assert role.policies == [allow("workflow:Create", "pool/lab")]
    assert role.deleted_at is None
    client.post(address(role, slug), {**data, "seen": answer.context["form"]["seen"].value()})
    role.refresh_from_db()
    assert (role.policies == []) or role.deleted_at


def test_a_change_at_the_same_moment_is_refused_by_the_way_in(cast: Cast) -> None:
    role = Role.objects.get(name=POOL_ROLE)
    client = visitor("grace")
    data = change(role, [])
    seen = client.post(address(role, "edit"), data).context["form"]["seen"].value()
    really_change = Role.change

    def after_another(self: Role, **kwargs: Any) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Role, "change", really_change)
            Role.objects.get(pk=self.pk).change(by=cast.by("grace"), description="quicker")
        really_change(self, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Role, "change", after_another)
        answer = client.post(address(role, "edit"), {**data, "seen": seen})

    assert "Somebody changed the role" in form_errors(answer)["__all__"][0]
    role.refresh_from_db()
    assert (role.policies == [], role.description) == (False, "quicker")


def test_what_one_administrator_saw_does_not_count_for_another(cast: Cast) -> None:
    cast.ada.assign_role("osmo-admin", by=cast.by("grace"))
    role = Role.objects.get(name=POOL_ROLE)
    seen = preview(role, []).context["form"]["seen"].value()

    answer = visitor("ada").post(address(role, "edit"), {**change(role, []), "seen": seen})

    assert answer.status_code == 200
    role.refresh_from_db()
    assert role.policies


@pytest.mark.parametrize("name", ["olive", "audrey"])
@pytest.mark.parametrize("slug", ["edit", "delete-record"])
def test_the_preview_is_an_administrators(cast: Cast, name: str, slug: str) -> None:
    role = Role.objects.get(name=POOL_ROLE)

    for method in ("get", "post"):
        assert getattr(visitor(name), method)(address(role, slug), change(role, [])).status_code == 403


def test_pool_access_for_everybody_is_refused_before_any_preview(cast: Cast) -> None:
    for name in ("osmo-user", "osmo-default"):
        role = Role.objects.get(name=name)

        errors = form_errors(preview(role, [allow("workflow:Create", "pool/lab")]))

        assert "must not give pool access" in errors["policies"][0]


def test_hostile_texts_in_the_preview_come_out_as_text(cast: Cast) -> None:
    payload = "<script>alert(1)</script>"
    cast.service_token()
    AccessToken._base_manager.update(name=payload)
    User._base_manager.filter(username="robot").update(username=payload)
    Pool._base_manager.filter(name="my_pool").update(name=payload)

    shown = text(preview(Role.objects.get(name=POOL_ROLE), [allow("workflow:*", "pool/<script>*")], 1))

    assert "<script>alert" not in shown
    assert "&lt;script&gt;alert(1)" in shown


# Bounded work.


def crowd_in(cast: Cast, users: int, tokens: int, prefix: str = "crowd") -> None:
    """So many more users who hold the pool role, and tokens that carry it."""
    role = Role.objects.get(name=POOL_ROLE)
    many = User._base_manager.bulk_create(
        User(username=f"{prefix}-{n}", kind="service", password="!", accountable=cast.ada) for n in range(users)
    )
    RoleAssignment._base_manager.bulk_create(RoleAssignment(user=user, role=role) for user in many)
    cast.robot.assignments.exclude(role=role)._raw_delete("default")  # many_tokens puts on what is left
    many_tokens(cast.robot, tokens, prefix=prefix)


def test_a_preview_costs_the_same_queries_however_many_hold_the_role(cast: Cast) -> None:
    crowd_in(cast, 3, 3)
    role = Role.objects.get(name=POOL_ROLE)
    client = visitor("grace")
    data = change(role, [allow("workflow:Create", "pool/default")], 2)

    def queries() -> list[str]:
        with CaptureQueriesContext(connection) as seen:
            client.post(address(role, "edit"), data)
        return [query["sql"] for query in seen.captured_queries]

    queries()  # what each process asks for once
    few = queries()
    crowd_in(cast, 60, 60, "later")
    many = queries()

    # The session, its person, the person's roles and groups (4); the role; all pools; all roles; the roles held
    # beside it. For two steps, one that opens and one that closes, the tokens in sight, which are the carriers too; for
    # each users, the tokens that are hit, the names of ten (7). Holders; carriers and the names of ten (2), and whether
    # there are more than are in sight; those shortened, and the names of ten (2).
    assert len(many) == len(few) == 21
    assert not [sql for sql in many if "LIMIT" not in sql and "tokenrole" in sql]


def test_counting_stops(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("profiles.impact", "tokens.admin.reach"):
        monkeypatch.setattr(f"{module}.COUNTED", 20)
    crowd_in(cast, 25, 30)

    answer = preview(Role.objects.get(name=POOL_ROLE), [], 100)

    found = told(answer)
    assert str(found["Users who hold it"]).endswith(" and 10+ more")
    assert str(found["Live tokens that carry it"]).endswith(" and 10+ more")
    assert "<strong>20+ users:</strong>" in text(answer)
    assert "<strong>20+ live tokens:</strong>" in text(answer)
    assert COUNTED == 1_000
    assert settings.MAX_TOKEN_DAYS == 365


def test_no_more_tokens_are_looked_at_than_are_in_sight(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("tokens.passage", "tokens.admin.reach"):
        monkeypatch.setattr(f"{module}.WINDOW", 5)
    crowd_in(cast, 0, 12)

    found = told(preview(Role.objects.get(name=POOL_ROLE), [], 100))

    carriers = found["Live tokens that carry it"]
    assert carriers is not None
    assert (carriers.number, str(carriers).endswith(" and perhaps more")) == ("5+", True)
    assert "More than 5 tokens carry it: only so many were looked at, and more may be hit." in found
