"""A pasted secret or digest finds its token, and gets nowhere else: no address, log, event or session."""

import logging
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from osmo_portal.events.models import Event
from profiles.models import User
from tests.cast import POOL_ROLE, Cast
from tests.console import Answer, address, last_event, text, visitor
from tokens import secrets
from tokens.models import AccessToken, LastUse, Secret

FIND = reverse("admin:tokens_accesstoken_find")
LIST = reverse("admin:tokens_accesstoken_changelist")
UNKNOWN = secrets.generate()


def find(pasted: str, name: str = "grace", client: Client | None = None, **fields: str) -> Answer:
    return (client or visitor(name)).post(FIND, {"q": str(pasted), **fields})


def found(answer: Answer) -> Any:
    assert answer.status_code == 200, answer.status_code
    return answer.context["token"]


def has_secret(token: AccessToken, plaintext: str) -> None:
    """As an imported token has one."""
    Secret._base_manager.filter(token=token).update(digest=secrets.digest(plaintext), hint=plaintext[-4:])


def test_a_secret_leads_to_its_token(cast: Cast) -> None:
    cast.service_token("other")
    token = cast.service_token("ci", [POOL_ROLE])
    LastUse.objects.filter(token=token).update(at=timezone.now() - timedelta(hours=3), ip="192.0.2.7")

    answer = find(token.plaintext)

    assert found(answer) == token
    page = text(answer)
    for told in ("robot/ci", "ada is accountable", POOL_ROLE, "3 hours ago", "192.0.2.7", "badge-live"):
        assert told in page
    assert address(token) in page
    assert answer.context["revoke_url"] == address(token, "revoke")


@pytest.mark.parametrize(
    "written", ["{}", "  {}\n", '"{}"', "export OSMO_TOKEN={}", "osmo login x --token {} && ls", "my-{}"]
)
def test_it_is_found_in_what_was_pasted_around_it(cast: Cast, written: str) -> None:
    token = cast.service_token()

    assert found(find(written.format(token.plaintext))) == token


@pytest.mark.parametrize("spelled", [str.lower, str.upper])
def test_a_digest_leads_to_the_token(cast: Cast, spelled: Any) -> None:
    token = cast.service_token()

    assert found(find(spelled(secrets.digest(token.plaintext).hex()))) == token


@pytest.mark.parametrize("plaintext", ["0123456789abcdef" * 4, "aZ_-" * 10 + "abc"])
def test_secrets_of_imported_tokens_are_found(cast: Cast, plaintext: str) -> None:
    token = cast.service_token()
    has_secret(token, plaintext)

    assert found(find(plaintext)) == token
    assert found(find(secrets.digest(plaintext).hex())) == token


@pytest.mark.parametrize(
    ("grace", "state"), [(timedelta(0), "retired"), (timedelta(hours=1), "in its grace"), (None, "live")]
)
def test_it_says_what_the_secret_itself_is_good_for(cast: Cast, grace: timedelta | None, state: str) -> None:
    token = cast.service_token()
    if grace is not None:
        token.rotate(by=cast.by("grace"), grace=grace)

    answer = find(token.plaintext)

    assert found(answer) == token
    assert answer.context["secret_state"] == state


def test_a_revoked_token_is_found_and_not_revoked_again(cast: Cast) -> None:
    token = cast.service_token()
    token.revoke(by=cast.by("grace"), reason="x")

    answer = find(token.plaintext)

    assert found(answer) == token
    assert answer.context["revoke_url"] == ""
    assert "badge-revoked" in text(answer)


def test_an_unknown_secret_is_said_to_be_unknown(cast: Cast) -> None:
    answer = find(UNKNOWN)

    assert found(answer) is None
    assert "Nobody has this secret" in text(answer)


@pytest.mark.parametrize(
    "broken",
    [UNKNOWN[:-1], UNKNOWN[:30], "osmo_x", "a" * 43, "0" * 63 + "g", "b" * 64],
    ids=["one short", "half", "hardly begun", "like an old one", "nearly a digest", "like a digest"],
)
def test_what_is_nearly_a_secret_gets_into_no_address_either(cast: Cast, broken: str) -> None:
    answer = find(broken)

    assert found(answer) is None
    assert broken not in text(answer)


# Events.


def test_the_look_up_stands_in_the_tokens_history(cast: Cast) -> None:
    token = cast.service_token()

    find(token.plaintext, "olive")

    event = last_event()
    assert (event.action, event.object_id, event.object_label) == ("secret.looked_up", token.pk, "robot/ci")
    assert event.actor == "olive"
    assert event.changes == {"secret": Secret.objects.get().pk}


def test_looking_for_what_nobody_has_is_told_once_a_minute(cast: Cast, time_machine: Any) -> None:
    client = visitor("grace")
    for _ in range(3):
        find(UNKNOWN, client=client)
    assert Event.objects.filter(action="secret.not_found").count() == 1

    time_machine.move_to(timezone.now() + timedelta(minutes=2))
    find(UNKNOWN, client=client)
    find(UNKNOWN, "olive")

    assert [e.actor for e in Event.objects.filter(action="secret.not_found")] == ["olive", "grace", "grace"]


# Where the secret must not get.


@pytest.mark.parametrize("known", [True, False])
def test_a_secret_is_kept_nowhere(cast: Cast, known: bool, caplog: pytest.LogCaptureFixture) -> None:
    secret = str(cast.service_token().plaintext) if known else str(UNKNOWN)
    client = visitor("grace")

    with caplog.at_level(logging.DEBUG):
        answer = find(secret, client=client)

    tail, digest = secret[5:-6], secrets.digest(secret).hex()
    places = [
        text(answer),
        str(answer.headers),
        str(answer.cookies),
        "\n".join(record.getMessage() for record in caplog.records if record.name != "django.db.backends"),
        repr(list(Event.objects.values())),
        repr([session.get_decoded() for session in Session.objects.all()]),
    ]
    for place in places:
        assert tail not in place
        assert digest not in place
    assert "no-store" in answer["Cache-Control"]
    assert answer["Referrer-Policy"] == "no-referrer"


def test_the_page_has_no_form_because_none_would_pass_without_a_referrer(cast: Cast) -> None:
    assert "<form" not in text(find(cast.service_token().plaintext))


def test_the_box_is_sent_by_post(cast: Cast) -> None:
    for name in ("grace", "olive"):
        page = text(visitor(name).get(LIST))
        box = page[page.index('id="changelist-search"') :].partition(">")[0]
        assert 'method="post"' in box
        assert f'action="{FIND}"' in box


@pytest.mark.parametrize("name", ["grace", "audrey"])
@pytest.mark.parametrize("what", ["ours", "imported", "digest"])
@pytest.mark.parametrize("section", ["tokens_accesstoken", "profiles_person"])
def test_a_secret_in_an_address_is_not_searched(cast: Cast, name: str, what: str, section: str) -> None:
    token = cast.service_token()
    written = {"ours": str(token.plaintext), "imported": "Ab_-" * 10 + "xyz", "digest": "0a" * 32}[what]
    client = visitor(name)
    page = reverse(f"admin:{section}_changelist")

    answer = client.get(page, {"q": written, "state": "active"})
    after = client.get(answer["Location"])

    assert answer["Location"] == f"{page}?state=active"
    assert "That looks like a secret" in text(after)
    assert written not in text(after)
    assert not Event.objects.filter(action__startswith="secret.").exists()


# Text.


def test_text_goes_on_to_the_list_with_its_filters(cast: Cast) -> None:
    answer = find(" deploy east ", state="active", o="-5")

    assert answer["Location"] == f"{LIST}?state=active&o=-5&q=deploy+east"
    assert not Event.objects.filter(action__startswith="secret.").exists()


@pytest.mark.parametrize(("written", "where"), [("", LIST), ("   ", LIST), ("nul\0", LIST), ("a b " * 100, LIST)])
def test_what_cannot_be_searched_leads_back_to_the_list(cast: Cast, written: str, where: str) -> None:
    assert find(written)["Location"] == where


def test_who_comes_without_a_form_is_led_to_the_list(cast: Cast) -> None:
    assert visitor("grace").get(FIND, {"q": str(UNKNOWN)})["Location"] == LIST


# Who may.


def test_an_auditor_looks_nothing_up(cast: Cast) -> None:
    token = cast.service_token()
    page = text(visitor("audrey").get(LIST))
    box = page[page.index('id="changelist-search"') :].partition("</form>")[0]

    answer = find(token.plaintext, "audrey")

    assert answer.status_code == 403
    assert "Ask an administrator." in text(answer)
    assert 'method="get"' in box
    assert "pattern=" in box
    assert "Or paste a secret" not in box
    assert not Event.objects.filter(action__startswith="secret.").exists()


@pytest.mark.parametrize("name", ["ada", ""])
def test_a_stranger_looks_nothing_up(cast: Cast, name: str) -> None:
    token = cast.service_token()

    answer = find(token.plaintext, client=visitor(name) if name else Client())

    assert answer.status_code == 302
    assert answer["Location"].startswith(reverse("admin:login"))
    assert not Event.objects.filter(action__startswith="secret.").exists()


def test_the_csrf_token_is_asked_for(cast: Cast) -> None:
    client = visitor("grace", enforce_csrf_checks=True)

    assert find(UNKNOWN, client=client).status_code == 403


def test_an_operator_may_revoke_what_leaked(cast: Cast) -> None:
    token = cast.service_token("strong", [POOL_ROLE])

    answer = find(token.plaintext, "olive")

    assert answer.context["revoke_url"] == address(token, "revoke")
    assert User.objects.get(username="olive").group_names == {"operators"}
