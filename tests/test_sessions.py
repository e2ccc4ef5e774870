"""Browser sessions in the database: whoever reads the table is signed in by nothing in it."""

from datetime import timedelta

from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from osmo_portal.signin.sessions import SessionStore
from tests.cast import Cast


def signed_in(cast: Cast) -> tuple[Client, str]:
    """A browser, and the key in its cookie."""
    client = Client()
    client.force_login(cast.grace)
    return client, client.cookies["sessionid"].value


def status(key: str | None) -> int:
    """What a browser with that cookie gets of a page of the console."""
    client = Client()
    client.cookies["sessionid"] = str(key)
    return client.get("/admin/tokens/accesstoken/").status_code


def test_what_the_table_holds_opens_no_session(cast: Cast) -> None:
    _, key = signed_in(cast)
    kept = Session.objects.get()

    assert key not in repr(vars(kept))
    assert status(key) == 200
    assert status(kept.session_key) == 302


def test_signing_out_ends_it(cast: Cast) -> None:
    client, key = signed_in(cast)

    client.post("/admin/logout/")

    assert status(key) == 302
    assert not Session.objects.exists()


def test_it_ends_with_its_time(cast: Cast) -> None:
    _, key = signed_in(cast)
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))

    assert status(key) == 302


def test_another_key_keeps_what_it_knows(cast: Cast) -> None:
    client, key = signed_in(cast)
    session = client.session

    session.cycle_key()
    session.save()

    assert status(session.session_key) == 200
    assert status(key) == 302
    assert Session.objects.count() == 1


def test_nobody_chooses_the_key_of_a_session(db: None) -> None:
    chosen = SessionStore("x" * 32)
    chosen["some"] = "thing"
    chosen.save()

    assert chosen.session_key
    assert chosen.session_key != "x" * 32
    assert chosen.exists(chosen.session_key)
    assert not chosen.exists("x" * 32)
    chosen.flush()
    assert chosen.is_empty()
    assert not Session.objects.exists()
