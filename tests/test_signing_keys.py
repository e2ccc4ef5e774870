"""Signing keys: made on first need, encrypted at rest, rotated with an overlap."""

from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from osmo_portal.events.actor import Actor
from osmo_portal.events.models import Event
from tests import dump
from tests.cast import Cast
from tokens.models import SigningKey
from tokens.models.signing_key import OVERLAP

pytestmark = pytest.mark.django_db


def test_the_first_key_is_made_on_first_need_and_once() -> None:
    assert not SigningKey.objects.exists()

    first = SigningKey.current_or_first()

    assert SigningKey.current_or_first() == first
    assert SigningKey.objects.get() == first
    assert Event.objects.filter(action="signing_key.created", object_id=first.pk).count() == 1


def test_a_key_is_of_the_curve_p_256() -> None:
    key = SigningKey.current_or_first().load()

    assert isinstance(key.curve, ec.SECP256R1)


def test_the_private_half_is_encrypted_with_a_key_from_the_environment(settings: Any) -> None:
    key = SigningKey.current_or_first()
    stored = bytes(SigningKey.objects.get().private_key)

    assert b"PRIVATE" not in stored
    assert "PRIVATE" not in dump.text()
    assert b"PRIVATE" in Fernet(settings.KEY_ENCRYPTION_KEYS[0]).decrypt(stored)
    settings.KEY_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(InvalidToken):
        key.load()


def test_an_older_encryption_key_still_opens_what_it_closed(settings: Any) -> None:
    key = SigningKey.current_or_first()
    old, new = settings.KEY_ENCRYPTION_KEYS[0], Fernet.generate_key().decode()

    settings.KEY_ENCRYPTION_KEYS = [new, old]

    assert key.load()
    following = SigningKey.rotate(by=Actor.shell())
    assert Fernet(new).decrypt(bytes(following.private_key))


def test_a_key_shows_nothing_of_itself() -> None:
    key = SigningKey.current_or_first()

    assert str(key) == key.kid
    assert repr(key) == f"<SigningKey: {key.kid}>"


def test_a_new_key_is_published_before_it_signs_and_the_old_one_after_it_signed() -> None:
    old = SigningKey.current_or_first()

    new = SigningKey.rotate(by=Actor.shell())

    at = new.signs_from
    keys = SigningKey.objects.all()
    microsecond = timedelta(microseconds=1)
    assert at - new.created_at >= OVERLAP - timedelta(seconds=1)
    assert {*keys.published()} == {old, new}
    assert keys.current() == old
    assert keys.current(at - microsecond) == old
    assert keys.current(at) == new
    assert {*keys.published(at + OVERLAP - microsecond)} == {old, new}
    assert {*keys.published(at + OVERLAP)} == {new}


def test_a_rotation_during_a_rotation_leaves_no_gap() -> None:
    first = SigningKey.current_or_first()
    second = SigningKey.rotate(by=Actor.shell())

    third = SigningKey.rotate(by=Actor.shell())

    keys = SigningKey.objects.all()
    assert keys.current() == first
    assert keys.current(third.signs_from) == third
    for minutes in range(0, 300, 10):
        at = timezone.now() + timedelta(minutes=minutes)
        current = keys.current(at)
        assert current in {*keys.published(at)}
    assert {*keys.published(second.signs_from + OVERLAP + OVERLAP)} == {third}


def test_a_rotation_never_lengthens_the_life_of_a_retiring_key() -> None:
    first = SigningKey.current_or_first()
    SigningKey.rotate(by=Actor.shell())
    end = SigningKey.objects.get(pk=first.pk).retired_at

    SigningKey.rotate(by=Actor.shell())

    assert SigningKey.objects.get(pk=first.pk).retired_at == end


def test_voiding_retires_every_key_now_and_signs_with_the_new_one() -> None:
    SigningKey.current_or_first()
    SigningKey.rotate(by=Actor.shell())

    new = SigningKey.rotate(by=Actor.shell(), void=True)

    assert list(SigningKey.objects.published()) == [new]
    assert SigningKey.objects.current() == new


def test_a_rotation_is_told(cast: Cast) -> None:
    rotated, voided = SigningKey.rotate(by=cast.by("grace")), SigningKey.rotate(by=cast.by("grace"), void=True)

    told = Event.objects.filter(action__startswith="signing_key").order_by("pk")
    assert list(told.values_list("action", "object_id", "actor")) == [
        ("signing_key.rotated", rotated.pk, "grace"),
        ("signing_key.voided", voided.pk, "grace"),
    ]


@pytest.mark.parametrize("void", [False, True])
@pytest.mark.parametrize("caller", ["ada", "olive", "audrey", "mallory", "robot"])
def test_the_shell_and_administrators_alone_rotate(cast: Cast, caller: str, void: bool) -> None:
    SigningKey.current_or_first()
    before = dump.tables()

    with pytest.raises(PermissionDenied):
        SigningKey.rotate(by=cast.by(caller), void=void)

    assert dump.tables() == before
