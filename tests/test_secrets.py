"""Secrets: their format, checksum and digest."""

import hashlib
import re
import string
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokens import secrets

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase


def test_a_secret_looks_as_published() -> None:
    assert re.fullmatch(r"osmo_[0-9A-Za-z]{43}[0-9A-Za-z]{6}", secrets.generate())


def test_a_secret_has_more_than_256_random_bits() -> None:
    assert len(secrets.ALPHABET) ** secrets.BODY_LENGTH > 2**256


def test_secrets_come_from_the_systems_random_source(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def randbelow(limit: int) -> int:
        asked.append(limit)
        return limit - 1

    monkeypatch.setattr("secrets.randbelow", randbelow)

    assert secrets.generate().startswith("osmo_" + "z" * 43)
    assert asked == [62**43]


def test_the_checksum_is_the_crc_32_of_the_body_in_base62() -> None:
    secret = secrets.generate()

    number = 0
    for character in secret[-6:]:
        number = number * 62 + ALPHABET.index(character)

    assert number == zlib.crc32(secret[5:48].encode())


def test_a_small_checksum_is_padded_with_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zlib.crc32", lambda data: 61)

    assert secrets.generate().endswith("00000z")


def test_no_two_secrets_are_the_same() -> None:
    assert len({secrets.generate() for _ in range(1_000)}) == 1_000


@given(st.integers(0, 53), st.sampled_from(ALPHABET + "_-!é\n"))
def test_one_wrong_character_is_refused(position: int, character: str) -> None:
    secret = "osmo_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg"
    secret += secrets._checksum(secret[5:])
    wrong = secret[:position] + character + secret[position + 1 :]

    assert secrets.is_well_formed(secret)
    assert secrets.is_well_formed(wrong) == (wrong == secret)


@given(st.integers(0, 52))
def test_two_characters_in_each_others_place_are_refused(position: int) -> None:
    secret = "osmo_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg"
    secret += secrets._checksum(secret[5:])
    wrong = secret[:position] + secret[position + 1] + secret[position] + secret[position + 2 :]

    assert secrets.is_well_formed(wrong) == (wrong == secret)


@pytest.mark.parametrize("text", ["a1" * 32, "0" * 64, "-_" * 21 + "A", "x" * 43])
def test_secrets_of_imported_tokens_have_no_checksum(text: str) -> None:
    assert secrets.is_well_formed(text)


@pytest.mark.parametrize(
    "text",
    ["", "A1" * 32, "a1" * 31, "a1" * 33, "g" * 64, "x" * 42, "x" * 44, "=" * 43, "x" * 43 + "\n", "osmo_" + "x" * 43],
)
def test_what_is_no_secret_of_any_format_is_refused(text: str) -> None:
    assert not secrets.is_well_formed(text)


@given(st.text())
def test_any_text_can_be_asked_about(text: str) -> None:
    assert not secrets.is_well_formed(text) or re.fullmatch(r"[0-9A-Za-z_-]{43,64}", text)


def test_the_digest_is_the_sha_256_of_the_whole_secret() -> None:
    secret = secrets.generate()

    assert secrets.digest(secret) == hashlib.sha256(secret.encode()).digest()


def test_the_hint_is_the_last_four_characters() -> None:
    assert secrets.hint("osmo_abcdefgh") == "efgh"


def test_a_secret_is_text_for_its_reader() -> None:
    secret = secrets.generate()

    assert str(secret) == f"{secret}" == secret.encode().decode()
    assert len(secret) == 54


def test_a_secret_shows_nothing_of_itself_to_others() -> None:
    secret = secrets.generate()

    assert repr(secret) == repr(f"{secret!r}")[1:-1] == "<secret>"
