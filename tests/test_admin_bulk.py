"""Bulk operations in the console: looked at first, then done to exactly that set, by who may, once, and told."""

import html
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from osmo_portal.console.timeline import timeline
from osmo_portal.events import chain
from osmo_portal.events.actor import Actor
from osmo_portal.events.models import Event
from profiles.models import User
from tests import dump
from tests.bulk import many_tokens
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast
from tests.console import Answer, form_errors, text, visitor
from tokens.admin import bulk
from tokens.models import AccessToken, BulkChunk, BulkOperation, batches

PREVIEW = reverse("admin:tokens_accesstoken_bulk")
LIST = reverse("admin:tokens_accesstoken_changelist")
PAST = reverse("admin:tokens_bulkoperation_changelist")
DONE = "tokens.bulk_executed"


def page(operation: BulkOperation, slug: str = "change") -> str:
    return reverse(f"admin:tokens_bulkoperation_{slug}", args=[operation.pk])


def look(client: Client, do: str = "revoke", *, at: str = "", accountable: str = "", **filters: str) -> Answer:
    return client.post(f"{PREVIEW}?{urlencode(filters)}", {"do": do, "at": at, "accountable": accountable})


def looked(client: Client, do: str = "revoke", **words: str) -> BulkOperation:
    answer = look(client, do, **words)
    operation = BulkOperation.objects.latest("pk")
    assert (answer.status_code, answer["Location"]) == (302, page(operation, "execute"))
    return operation


def execute(client: Client, operation: BulkOperation, **changed: Any) -> Answer:
    values = {"digest": operation.digest, "reason": "spring", "count": str(operation.count), **changed}
    return client.post(page(operation, "execute"), values)


def go_on(client: Client, operation: BulkOperation, accept: str = bulk.JSON) -> Answer:
    return client.post(page(operation, "continue"), headers={"accept": accept})


def done(client: Client, operation: BulkOperation) -> BulkOperation:
    assert execute(client, operation).status_code == 302
    while go_on(client, operation).json()["going_on"]:
        pass
    return BulkOperation.objects.get(pk=operation.pk)


def states() -> dict[str, str]:
    return {token.name: str(token.state()) for token in AccessToken.objects.all()}


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three tokens a batch, one batch a request."""
    monkeypatch.setattr(bulk, "SLICE", 0)
    for vendor in batches.BATCH_SIZES:
        monkeypatch.setitem(batches.BATCH_SIZES, vendor, 3)


# The list leads to it.


@pytest.mark.parametrize(("name", "offers"), [("grace", 5), ("olive", 4), ("audrey", 0)])
def test_the_list_offers_what_the_visitor_may_do(cast: Cast, name: str, offers: int) -> None:
    cast.service_token()

    answer = visitor(name).get(LIST, {"state": "active", "q": "ci", "p": "1"})

    offer = answer.context["bulk"]
    assert len(offer["actions"]) == offers
    assert ("With all filtered tokens" in text(answer)) == bool(offers)
    assert offer["carried"] == [("state", "active"), ("q", "ci")]
    assert PAST in text(answer)


def test_the_page_says_which_filters_count_and_changes_nothing(cast: Cast) -> None:
    cast.service_token()
    client = visitor("grace")
    before = dump.tables()

    answer = client.get(PREVIEW, {"state": "active", "role": POOL_ROLE, "do": "suspend"})

    assert answer.context["filters"] == ["state: active", f"role: {POOL_ROLE}"]
    assert answer.context["form"].initial["do"] == "suspend"
    assert dump.tables() == before


# Looking.


def test_a_preview_counts_names_and_samples(cast: Cast) -> None:
    for number in range(12):
        cast.service_token(f"t{number}", [POOL_ROLE, PLAIN_ROLE] if number < 3 else None)
    cast.user_token("ada", "hers")

    operation = looked(visitor("grace"))

    assert (operation.count, operation.affected, operation.beyond) == (13, 13, 0)
    assert operation.seen["owners"] == [["robot", 12], ["ada", 1]]
    assert sorted(operation.seen["roles"]) == [[POOL_ROLE, 12], ["osmo-user", 1], [PLAIN_ROLE, 3]]
    assert len(operation.seen["sample"]) == 10
    assert len(operation.digest) == 64


def test_a_preview_is_an_event_and_changes_no_token(cast: Cast) -> None:
    cast.service_token()
    tokens = list(AccessToken.objects.values())

    operation = looked(visitor("grace"), state="active", role=POOL_ROLE)

    assert list(AccessToken.objects.values()) == tokens
    event = Event.objects.get(action="tokens.bulk_previewed")
    assert (event.actor, event.object_type, event.object_id) == ("grace", "bulkoperation", operation.pk)
    assert event.changes["filters"] == ["state=active", f"role={POOL_ROLE}"]
    assert (event.changes["bulk_action"], event.changes["count"]) == ("revoke", 1)
    assert event.changes["set_digest"] == operation.digest


def test_the_preview_shows_what_will_happen_before_it_asks_for_a_reason(cast: Cast) -> None:
    cast.service_token("one")
    cast.service_token("two").suspend(by=cast.by("grace"), reason="x")
    client = visitor("grace")

    answer = client.get(page(looked(client, "suspend"), "execute"))

    shown = text(answer)
    assert "1 of 2" in shown
    assert "1, because they are not live" in shown
    assert "robot/one" in shown
    assert list(answer.context["form"].fields) == ["digest", "reason", "count"]


def test_the_counts_are_the_same_number_of_queries_for_few_and_for_many(cast: Cast) -> None:
    client = visitor("grace")
    counts = []
    for size in (2, 60):
        many_tokens(cast.robot, size, f"b{size}")
        with CaptureQueriesContext(connection) as queries:
            look(client)
        counts.append(len(queries))

    # Session, user, roles, groups; the set (one step and the empty one after), how many change, names of the owners,
    # roles, the newest and these in full; the operation, the trail's lock (PostgreSQL) and head, the event.
    assert counts[0] == counts[1]


def test_the_digest_knows_the_set_and_what_the_operation_depends_on(cast: Cast) -> None:
    client, by = visitor("grace"), cast.by("grace")
    first, second = cast.service_token("one"), cast.service_token("two")

    def digest() -> str:
        return looked(client, state="active").digest if AccessToken.objects.live().exists() else ""

    seen = [digest()]
    assert digest() == seen[0]
    AccessToken.objects.filter(pk=first.pk).expire(by=by, at=timezone.now() + timedelta(days=2), reason="x")
    seen.append(digest())
    second.suspend(by=by, reason="x")
    seen.append(digest())
    cast.service_token("three")
    seen.append(digest())

    assert len({*seen}) == 4


# What the filters say is what counts.

BAD = [
    "rolee=osmo-my_pool",
    "role__name=osmo-my_pool",
    "owner__username=robot",
    "state=nonsense",
    "state=",
    "role=",
    "role=%20",
    "q=",
    "q=%20%20",
    "q=/",
    "state=active&state=revoked",
    "role=osmo-my_pool&role=team-reader",
    "kind=robot",
    "expiring=8",
    "expiring=-1",
    "used=maybe",
    "pk__in=1",
    "id=1",
    "select_across=1",
    "state=active&x",
    "STATE=active",
    "q=osmo_0123456789",
    "_to_field=id",
    "pool=nothing",
    "issuer=nobody",
    "accountable=nobody",
    "expires_from=soon",
    "expires_to=2026-13-01",
    "unused_since=-1",
    "over_lifetime=maybe",
]


@pytest.mark.parametrize("query", BAD)
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_filter_that_is_not_understood_is_refused_and_never_widens_the_set(
    cast: Cast, query: str, method: str
) -> None:
    cast.service_token()
    client = visitor("grace")
    before = dump.tables()

    answer = getattr(client, method)(f"{PREVIEW}?{query}", {"do": "revoke"} if method == "post" else None)

    assert answer.status_code == 400
    assert "Nothing was looked at or changed" in text(answer)
    assert dump.tables() == before


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, {"pooled", "plain", "hers", "paused"}),
        ({"state": "active"}, {"pooled", "plain", "hers"}),
        ({"state": "revoked"}, {"gone"}),
        ({"state": "suspended"}, {"paused"}),
        ({"kind": "person"}, {"hers"}),
        ({"role": PLAIN_ROLE}, {"plain"}),
        ({"owner": "ada"}, {"hers"}),
        ({"expiring": "7"}, {"pooled"}),
        ({"used": "never", "kind": "service", "state": "active"}, {"pooled", "plain"}),
        ({"q": "pool"}, {"pooled"}),
    ],
)
def test_the_set_is_what_the_list_shows(cast: Cast, filters: dict[str, str], names: set[str]) -> None:
    cast.service_token("pooled", [POOL_ROLE], days=3)
    cast.service_token("plain", [PLAIN_ROLE])
    cast.user_token("ada", "hers")
    cast.service_token("gone").revoke(by=cast.by("grace"), reason="x")
    cast.service_token("paused").suspend(by=cast.by("grace"), reason="x")
    client = visitor("grace")

    shown = client.get(LIST, filters).context["cl"].result_list
    answer = look(client, "hand-over", accountable="mallory", **filters)

    assert {token.name for token in shown} == names
    if answer.status_code == 302:
        operation = BulkOperation.objects.latest("pk")
        assert {one["label"].split("/")[1] for one in operation.seen["sample"]} == names
        assert operation.count == len(names)
    else:
        assert names == {"hers"}  # of a person: there is nothing to hand over
        assert "None of these 1 tokens would change" in text(answer)


def test_an_empty_set_is_told_and_nothing_is_kept(cast: Cast) -> None:
    answer = look(visitor("grace"))

    assert "No token matches." in str(form_errors(answer))
    assert not BulkOperation.objects.exists()


# Doing.


@pytest.mark.parametrize(
    ("do", "before", "after"), [("revoke", "active", "revoked"), ("suspend", "active", "suspended")]
)
def test_an_operation_does_it_to_the_set_and_to_nothing_else(cast: Cast, do: str, before: str, after: str) -> None:
    for name in ("one", "two"):
        cast.service_token(name)
    cast.user_token("ada", "hers")
    client = visitor("olive")

    operation = done(client, looked(client, do, kind="service"))

    assert states() == {"one": after, "two": after, "hers": before}
    assert (operation.stage, operation.changed, operation.left_alone, operation.remaining) == ("finished", 2, 0, 0)


def test_tokens_end_at_an_instant_and_are_only_ever_shortened(cast: Cast) -> None:
    short, long = cast.service_token("short", days=2), cast.service_token("long", days=30)
    at = (timezone.now() + timedelta(days=9)).replace(second=0, microsecond=0)
    client = visitor("grace")

    operation = done(client, looked(client, "expire", at=f"{at:%Y-%m-%dT%H:%M}"))

    ends = dict(AccessToken.objects.values_list("name", "expires_at"))
    assert ends == {"short": short.expires_at, "long": at} != {"long": long.expires_at}
    assert (operation.changed, operation.left_alone) == (1, 1)


@pytest.mark.parametrize("at", ["2020-01-01T00:00", "soon", "2026-13-01T00:00"])
def test_an_instant_that_is_over_or_none_is_refused(cast: Cast, at: str) -> None:
    cast.service_token()

    assert "at" in form_errors(look(visitor("grace"), "expire", at=at))


def test_without_an_instant_tokens_end_at_once(cast: Cast) -> None:
    cast.service_token()
    client = visitor("grace")

    done(client, looked(client, "expire"))

    assert states() == {"ci": "expired"}


def test_accounts_are_handed_over_with_a_line_for_each_token_of_the_set(cast: Cast) -> None:
    tokens = [cast.service_token(name) for name in ("one", "two")]
    hers = cast.user_token("ada", "hers")
    client = visitor("grace")

    operation = done(client, looked(client, "hand-over", accountable="mallory"))

    assert User.objects.get(username="robot").accountable == cast.mallory
    assert (operation.changed, operation.left_alone) == (2, 1)
    for token in tokens:
        entry = timeline(token)[0]
        assert (entry.event.action, entry.event.reason) == ("tokens.handed_over", "spring")
        assert entry.line
        assert (entry.line.before, entry.line.after) == ("ada", "mallory")
    assert timeline(cast.robot)[0].event.action == "users.handed_over"
    assert timeline(hers)[0].event.action == "token.issued"


@pytest.mark.usefixtures("small_batches")
def test_an_account_whose_tokens_lie_in_several_batches_is_handed_over_once(cast: Cast) -> None:
    tokens = many_tokens(cast.robot, 7)
    client = visitor("grace")

    operation = done(client, looked(client, "hand-over", accountable="mallory"))

    assert operation.changed == 7
    assert Event.objects.filter(action="users.handed_over").count() == 1
    lines = [entry.line for token in tokens for entry in timeline(token)]
    assert {(line.before, line.after) for line in lines if line} == {("ada", "mallory")}
    assert len(lines) == 7


@pytest.mark.parametrize("person", ["", "robot", "nobody"])
def test_an_accountable_person_is_asked_for(cast: Cast, person: str) -> None:
    cast.service_token()

    answer = look(visitor("grace"), "hand-over", accountable=person)

    assert "accountable" in form_errors(answer)
    assert not BulkOperation.objects.exists()


@pytest.mark.parametrize("reason", ["", "  ", "a\0b", "x" * 2_001])
def test_a_reason_is_required(cast: Cast, reason: str) -> None:
    cast.service_token()
    client = visitor("grace")
    operation = looked(client)

    answer = execute(client, operation, reason=reason)

    assert "reason" in form_errors(answer)
    assert BulkOperation.objects.get().stage == "previewed"
    assert states() == {"ci": "active"}


@pytest.mark.parametrize("typed", ["", "1", "99", "101", "many"])
def test_the_number_of_a_large_set_has_to_be_typed(cast: Cast, typed: str) -> None:
    many_tokens(cast.robot, 100)
    client = visitor("grace")
    operation = looked(client, owner="robot")

    assert "count" in form_errors(execute(client, operation, count=typed))
    assert execute(client, operation, count="1 00").status_code == 302


@pytest.mark.parametrize(
    "change",
    [
        lambda cast: cast.service_token("new"),
        lambda cast: AccessToken.objects.earliest("pk").revoke(by=cast.by("grace"), reason="x"),
        lambda cast: AccessToken.objects.earliest("pk").suspend(by=cast.by("grace"), reason="x"),
        lambda cast: AccessToken.objects.all().expire(by=cast.by("grace"), reason="x"),
    ],
    ids=["one more", "one less", "one suspended", "all expired"],
)
def test_a_set_that_has_changed_since_is_refused_with_nothing_changed(
    cast: Cast, change: Callable[[Cast], Any]
) -> None:
    for name in ("one", "two"):
        cast.service_token(name)
    client = visitor("grace")
    operation = looked(client)
    change(cast)
    before = dump.tables()

    answer = execute(client, operation)

    assert "The set has changed since the preview" in str(form_errors(answer))
    assert "Preview it again" in text(answer)
    assert 'class="button default' not in text(answer), "what would be refused again is not offered"
    assert dump.tables() == before
    assert not BulkChunk.objects.exists()


@pytest.mark.parametrize(
    ("do", "words"),
    [
        ("expire", {"at": f"{timezone.now() + timedelta(days=3):%Y-%m-%dT%H:%M}"}),
        ("expire", {}),
        ("hand-over", {"accountable": "mallory"}),
        ("revoke", {"state": "active"}),
    ],
)
def test_what_was_refused_is_previewed_again_by_one_button(cast: Cast, do: str, words: dict[str, str]) -> None:
    cast.service_token("one")
    client = visitor("grace")
    first = looked(client, do, **words)
    cast.service_token("two")
    page_again = text(execute(client, first))

    (button,) = re.findall(r'formaction="([^"]+)">Preview it again', page_again)
    fields = dict(re.findall(r'<input type="hidden"\s+name="(\w+)"\s+value="([^"]*)"', page_again))
    answer = client.post(html.unescape(button), fields)

    second = BulkOperation.objects.latest("pk")
    assert answer["Location"] == page(second, "execute")
    assert second.count == 2
    for same in ("action", "at", "accountable", "filters"):
        assert getattr(second, same) == getattr(first, same), same


def test_the_refusal_says_how_many_it_was_and_is(cast: Cast) -> None:
    cast.service_token("one")
    client = visitor("grace")
    operation = looked(client)
    cast.service_token("two")

    (message,) = form_errors(execute(client, operation))["__all__"]

    assert message == "The set has changed since the preview: it was 1 token, now 2. Look again."


def test_another_digest_than_that_of_the_preview_is_refused(cast: Cast) -> None:
    cast.service_token()
    client = visitor("grace")
    operation = looked(client)

    for digest in ("", "0" * 64, operation.digest.upper()):
        assert form_errors(execute(client, operation, digest=digest))
    assert states() == {"ci": "active"}


def test_a_recent_sign_in_is_required(cast: Cast, time_machine_days: Callable[[float], None]) -> None:
    cast.service_token(days=60)
    client = visitor("grace")
    operation = looked(client)
    time_machine_days(0.02)

    for answer in (client.get(page(operation, "execute")), execute(client, operation)):
        assert answer["Location"].startswith(reverse("admin:confirm"))
    assert BulkOperation.objects.get().stage == "previewed"


def test_what_was_sent_twice_is_begun_once(cast: Cast) -> None:
    cast.service_token()
    client = visitor("grace")
    operation = looked(client)
    execute(client, operation)

    again = execute(client, operation)

    assert again["Location"] == page(operation)
    assert BulkChunk.objects.count() == 1
    done_once = go_on(client, operation).json()
    assert done_once == {"handled": 1, "count": 1, "going_on": False}
    assert go_on(client, operation).status_code == 302
    assert Event.objects.filter(action=DONE).count() == 1


# Who may.


def test_an_auditor_is_refused_every_step_and_reads_the_report(cast: Cast) -> None:
    cast.service_token()
    operation = looked(visitor("grace"))
    audrey = visitor("audrey")

    assert audrey.get(PREVIEW).status_code == look(audrey).status_code == 403
    for slug in ("execute", "continue", "stop"):
        assert audrey.get(page(operation, slug)).status_code == 403
        assert audrey.post(page(operation, slug), {"reason": "x", "digest": operation.digest}).status_code == 403
    assert audrey.get(page(operation)).status_code == audrey.get(PAST).status_code == 200
    assert states() == {"ci": "active"}


@pytest.mark.parametrize("name", ["ada", ""])
def test_a_stranger_sees_nothing_of_it(cast: Cast, name: str) -> None:
    cast.service_token()
    operation = looked(visitor("grace"))
    client = visitor(name) if name else Client()

    for address in (PREVIEW, PAST, page(operation), page(operation, "execute"), page(operation, "continue")):
        assert client.get(address).status_code == client.post(address).status_code == 302
    assert BulkOperation.objects.count() == 1


def test_an_operator_hands_nothing_over(cast: Cast) -> None:
    cast.service_token()

    answer = look(visitor("olive"), "hand-over", accountable="mallory")

    assert "do" in form_errors(answer)
    assert not BulkOperation.objects.exists()


def test_nobody_goes_on_from_a_preview_of_somebody_else(cast: Cast) -> None:
    cast.service_token()
    operation = looked(visitor("olive"))

    for name in ("grace", "audrey"):
        assert execute(visitor(name), operation).status_code == 403
    assert BulkOperation.objects.get().stage == "previewed"


def test_an_operator_resumes_only_what_he_could_grant(cast: Cast) -> None:
    """R5: what is beyond is counted in the preview, told there, and left alone."""
    for name, roles in (("strong", [POOL_ROLE]), ("weak", [PLAIN_ROLE])):
        cast.service_token(name, roles).suspend(by=cast.by("grace"), reason="x")
    cast.user_token("ada", "hers").suspend(by=cast.by("grace"), reason="x")
    client = visitor("olive")

    operation = looked(client, "resume", state="suspended")
    shown = text(client.get(page(operation, "execute")))
    operation = done(client, operation)

    assert (operation.count, operation.affected, operation.beyond) == (3, 1, 2)
    assert "2 suspended tokens will not be resumed." in shown
    assert (operation.changed, operation.left_alone) == (1, 2)
    assert states() == {"strong": "suspended", "weak": "active", "hers": "suspended"}


def test_an_administrator_resumes_what_one_by_one_could_be_resumed(cast: Cast, time_machine: Any) -> None:
    tokens = {name: cast.service_token(name, days=60) for name in ("fine", "over", "revoked", "ended")}
    AccessToken._base_manager.filter(pk=tokens["over"].pk).update(issued_at=timezone.now() - timedelta(days=366))
    hers = cast.user_token("ada", "hers", days=60)
    for token in [*tokens.values(), hers]:
        token.suspend(by=cast.by("grace"), reason="x")
    cast.ada.deactivate(by=cast.by("grace"), reason="left")
    tokens["revoked"].revoke(by=cast.by("grace"), reason="x")
    AccessToken.objects.filter(pk=tokens["ended"].pk).expire(by=cast.by("grace"), reason="x")
    client = visitor("grace")

    done(client, looked(client, "resume"))

    assert states() == {
        "fine": "active",
        "over": "suspended",
        "revoked": "revoked",
        "ended": "expired",
        "hers": "suspended",
    }


@pytest.mark.usefixtures("small_batches")
def test_rights_that_are_lost_midway_stop_it(cast: Cast) -> None:
    many_tokens(cast.robot, 7)
    client = visitor("olive")
    operation = looked(client, "suspend")
    execute(client, operation)
    assert go_on(client, operation).json()["handled"] == 3

    User.objects.get(username="olive").put_into_groups([], by=cast.by("grace"))
    answer = go_on(client, operation)

    assert answer.status_code in (302, 403)
    assert AccessToken.objects.in_state("suspended").count() == 3
    with pytest.raises(Exception, match="Only administrators and operators"):
        BulkOperation.objects.get().run(by=cast.by("olive"))
    assert AccessToken.objects.in_state("suspended").count() == 3


# Interrupted, continued, stopped.


@pytest.mark.usefixtures("small_batches")
def test_it_goes_on_where_it_stood(cast: Cast) -> None:
    many_tokens(cast.robot, 7)
    client = visitor("olive")
    operation = looked(client)
    execute(client, operation)

    assert AccessToken.objects.listed().count() == 7
    assert go_on(client, operation).json() == {"handled": 3, "count": 7, "going_on": True}
    shown = client.get(page(operation))
    assert shown.context["original"].stage == "running"
    assert 'max="7"' in text(shown)
    assert "Continue" in text(shown)
    assert go_on(client, operation, "text/html")["Location"] == page(operation)
    assert go_on(client, operation).json() == {"handled": 7, "count": 7, "going_on": False}
    assert AccessToken.objects.listed().count() == 0
    assert "Continue" not in text(client.get(page(operation)))


@pytest.mark.usefixtures("small_batches")
def test_a_batch_that_breaks_is_undone_and_done_again(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    many_tokens(cast.robot, 7)
    client = visitor("grace")
    operation = looked(client)
    execute(client, operation)
    go_on(client, operation)

    with monkeypatch.context() as patch:
        patch.setattr(BulkOperation, "_do", lambda self, chunk, by: _do_and_die(self, chunk, by))
        with pytest.raises(RuntimeError, match="the worker was killed"):
            go_on(client, operation)
    assert AccessToken.objects.in_state("revoked").count() == 3
    while go_on(client, operation).json()["going_on"]:
        pass

    assert BulkOperation.objects.get().changed == 7
    assert sorted(Event.objects.filter(action="tokens.revoked").values_list("object_label", flat=True)) == [
        "1 token",
        "3 tokens",
        "3 tokens",
    ]
    assert list(chain.faults()) == []


_do = BulkOperation._do


def _do_and_die(operation: BulkOperation, chunk: BulkChunk, by: Actor) -> None:
    _do(operation, chunk, by)
    raise RuntimeError("the worker was killed")


@pytest.mark.usefixtures("small_batches")
def test_what_it_does_does_not_shift_the_set(cast: Cast) -> None:
    """The filter is about what the operation changes: each batch makes the list behind it shorter."""
    many_tokens(cast.robot, 10)
    client = visitor("grace")

    operation = done(client, looked(client, "suspend", state="active"))

    assert (operation.changed, operation.left_alone) == (10, 0)


@pytest.mark.usefixtures("small_batches")
def test_tokens_that_come_meanwhile_are_not_touched_and_ended_ones_are_left(cast: Cast) -> None:
    tokens = many_tokens(cast.robot, 7)
    client = visitor("grace")
    operation = looked(client, "suspend")
    execute(client, operation)
    go_on(client, operation)

    cast.service_token("new")
    tokens[-1].revoke(by=cast.by("ada"), reason="leaked")
    while go_on(client, operation).json()["going_on"]:
        pass

    operation.refresh_from_db()
    assert (operation.changed, operation.left_alone) == (6, 1)
    assert states()["new"] == "active"
    assert states()[tokens[-1].name] == "revoked"


@pytest.mark.usefixtures("small_batches")
def test_an_administrator_may_go_on_for_somebody_else_and_another_operator_not(cast: Cast) -> None:
    many_tokens(cast.robot, 4)
    cast.mallory.put_into_groups(["operators"], by=cast.by("grace"))
    olive = visitor("olive")
    operation = looked(olive)
    execute(olive, operation)

    assert go_on(visitor("mallory"), operation).status_code == 403
    assert go_on(visitor("grace"), operation).json()["handled"] == 3


@pytest.mark.usefixtures("small_batches")
def test_what_the_shell_began_is_shown_and_an_administrator_goes_on_with_it(cast: Cast) -> None:
    many_tokens(cast.robot, 10)
    tokens, by = AccessToken.objects.listed(), Actor.shell()
    filters = {"kind": "service", "name-glob": "bulk-*", "ids-from": "10 numbers (0123456789ab)"}
    operation = BulkOperation.look(tokens, actor=by, action="revoke", filters=filters)
    operation.begin(tokens, by=by, reason="spring")
    operation.run(by=by, seconds=0)
    grace, olive = visitor("grace"), visitor("olive")

    for shown in (text(grace.get(PAST)), text(grace.get(page(operation)))):
        assert "the shell" in shown
        assert "name-glob: bulk-*" in shown
        assert "ids-from: 10 numbers (0123456789ab)" in shown
    assert f"manage.py revoke_tokens --continue {operation.pk}" in text(olive.get(page(operation)))
    assert go_on(olive, operation).status_code == 403
    while go_on(grace, operation).json()["going_on"]:
        pass

    operation.refresh_from_db()
    assert (operation.stage, operation.changed) == ("finished", 10)
    assert "of 10 tokens" in text(grace.get(page(operation)))


@pytest.mark.usefixtures("small_batches")
def test_stopping_leaves_the_rest_alone_for_good(cast: Cast) -> None:
    many_tokens(cast.robot, 7)
    client = visitor("grace")
    operation = looked(client)
    execute(client, operation)
    go_on(client, operation)

    answer = client.post(page(operation, "stop"), {"reason": "wrong ones"}, follow=True)

    assert "4 tokens were not handled." in text(answer)
    assert go_on(client, operation).status_code == 302
    assert AccessToken.objects.listed().count() == 4
    event = Event.objects.get(action="tokens.bulk_stopped")
    assert (event.reason, event.changes["changed"], event.changes["not_reached"]) == ("wrong ones", 3, 4)
    assert not BulkChunk.objects.exists()


@pytest.mark.parametrize("slug", ["continue", "stop"])
def test_what_was_not_begun_is_neither_continued_nor_stopped(cast: Cast, slug: str) -> None:
    cast.service_token()
    client = visitor("grace")
    operation = looked(client)

    answer = client.post(page(operation, slug), {"reason": "x"})

    assert answer.status_code == 302
    assert BulkOperation.objects.get().stage == "previewed"
    assert states() == {"ci": "active"}


# What is told.


@pytest.mark.usefixtures("small_batches")
def test_one_event_tells_of_the_operation_and_a_line_of_each_token(cast: Cast) -> None:
    tokens = many_tokens(cast.robot, 7)
    client = visitor("olive")

    operation = done(client, looked(client, owner="robot"))

    event = Event.objects.get(action=DONE)
    assert (event.actor, event.reason, event.object_id) == ("olive", "spring", operation.pk)
    assert event.changes["filters"] == ["owner=robot"]
    figures = {name: event.changes[name] for name in ("count", "changed", "left_alone")}
    assert figures == {"count": 7, "changed": 7, "left_alone": 0}
    assert event.changes["set_digest"] == operation.digest
    assert event.changes["seconds"] >= 0
    batches = Event.objects.filter(action="tokens.revoked")
    assert {batch.changes["operation"] for batch in batches} == {event.changes["operation"]}
    for token in tokens:
        assert [entry.event.action for entry in timeline(token) if entry.line] == ["tokens.revoked"]
    assert list(chain.faults()) == []


def test_the_report_stays(cast: Cast) -> None:
    cast.service_token("one")
    client = visitor("grace")
    looked(client)
    operation = done(client, looked(client, owner="robot"))

    listed = visitor("audrey").get(PAST)
    report = text(visitor("audrey").get(page(operation)))

    assert [one.pk for one in listed.context["cl"].result_list] == [operation.pk]
    assert "spring" in report
    assert operation.digest in report
    assert "tokens bulk executed" in report
    assert "owner: robot" in report


def test_hostile_names_are_shown_as_text(cast: Cast) -> None:
    payload = "<script>alert(1)</script>"
    token = cast.service_token()
    AccessToken._base_manager.filter(pk=token.pk).update(name=payload)
    User._base_manager.filter(pk=cast.robot.pk).update(username=payload)
    client = visitor("grace")
    operation = looked(client, state="active")

    shown = text(client.get(page(operation, "execute")))
    done(client, operation)
    shown += text(client.get(page(operation)))

    assert "&lt;script&gt;alert(1)" in shown
    assert "<script>alert" not in shown


def test_a_hostile_filter_is_shown_as_text(cast: Cast) -> None:
    for query in ({"q": "<script>alert(1)</script>"}, {"role": "<img src=x>"}, {"<svg>": "x"}):
        shown = text(visitor("grace").get(PREVIEW, query))

        assert "<script>alert" not in shown
        assert "<img src=x" not in shown
        assert "<svg>" not in shown


def test_its_pages_stand_under_access_tokens(cast: Cast) -> None:
    cast.service_token("ci")
    client = visitor("grace")
    operation = looked(client)

    for shown in (client.get(page(operation, "execute")), client.get(PAST)):
        assert re.findall(r'aria-current="page">([^<]*)<', text(shown)) == ["Access tokens"]
