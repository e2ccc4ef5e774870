"""Tokens by words: the beginnings of words in their names and descriptions, and of their owners' user ids.

Case is ignored. PostgreSQL answers from an index of the words (migration 0002), SQLite reads on until it has a page.
"""

import re
from functools import reduce
from itertools import combinations
from operator import and_
from typing import Any

from django.contrib.postgres.search import SearchQuery, SearchVectorField
from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models import BooleanField, F, Func, Q, QuerySet, Value
from django.db.models.functions import Concat, Lower, StrIndex
from django.db.models.lookups import GreaterThan

from profiles.models import User
from tokens.models.token_set import AccessTokenQuerySet

HELP = "The beginnings of words in names and descriptions, and of owners' user ids."
MAX_LENGTH = 254
MAX_TERMS = 8
MAX_OWNERS = 500
MAX_CHOICES = 3  # terms that begin user ids: with each of them the conjunctions double
FEW = 10_000
BETWEEN_WORDS = "_-./:@,;()'\"\n"  # what SQLite takes for the space between two words


class _Words(Func):
    """The very expression of the index."""

    template = "to_tsvector('simple'::regconfig, regexp_replace(%(expressions)s, '[\\W_]+', ' ', 'g'))"
    arg_joiner = " || ' ' || "
    output_field = SearchVectorField()


class _Matches(Func):
    template = "(%(expressions)s)"
    arg_joiner = " @@ "
    output_field = BooleanField()


def search(tokens: AccessTokenQuerySet, text: str) -> AccessTokenQuerySet:
    """Tokens that all of the words are about. Raises ValidationError for what is too long, or fits too many owners."""
    if len(text) > MAX_LENGTH or "\0" in text:
        raise ValidationError(f"Search for at most {MAX_LENGTH} characters.")
    terms = re.split(r"[\s/]+", text.strip(" /\t\r\n").lower())
    if len(terms) > MAX_TERMS:
        raise ValidationError(f"Search for at most {MAX_TERMS} words.")
    terms = [*dict.fromkeys(filter(None, terms))]
    return settled(tokens, tokens.filter(_about(terms))) if terms else tokens


def settled(tokens: AccessTokenQuerySet, about: AccessTokenQuerySet) -> AccessTokenQuerySet:
    """Those of `tokens` that `about` narrows them to, by their keys where they are few.

    A database that is asked for one page in an order thinks that matches lie everywhere, and reads the table in that
    order, taking words from each row. Where all matches lie far down, that is the whole table.
    """
    keys = few(about.order_by().values_list("pk", flat=True))
    if keys is None:
        about.more_than = FEW
        return about
    found = tokens.numbered(keys)
    found.known_count = len(keys)
    return found


def few(keys: QuerySet[Any, int]) -> list[int] | None:
    """The keys, where they are few."""
    found = list(keys[: FEW + 1])
    return found if len(found) <= FEW else None


def _about(terms: list[str]) -> Q:
    """That each term is in the words, or begins the owner's user id.

    As a choice of conjunctions, since PostgreSQL answers each of them from its indexes alone. From a conjunction of
    choices it keeps one for the rows that it has found, and takes the words from each of them anew.
    """
    owners = {term: set(begun) for term in terms if (begun := _owners(term))}
    if len(owners) > MAX_CHOICES:
        return reduce(and_, (_with_words([term]) | Q(owner__in=owners.get(term, ())) for term in terms))
    found = Q(pk__in=[])
    for count in range(len(owners) + 1):
        for meant in combinations(owners, count):
            found |= _of_owners(meant, owners) & _with_words([term for term in terms if term not in meant])
    return found


def _of_owners(meant: tuple[str, ...], owners: dict[str, set[int]]) -> Q:
    return Q(owner__in=set.intersection(*(owners[term] for term in meant))) if meant else Q()


def _owners(beginning: str) -> list[int]:
    """Few enough to be named one by one, so that the index of the tokens' owners is of use."""
    begun = User.objects.order_by().annotate(folded=Lower("username")).filter(folded__startswith=beginning)
    owners = list(begun.values_list("pk", flat=True)[: MAX_OWNERS + 1])
    if len(owners) > MAX_OWNERS:
        raise ValidationError(
            f"More than {MAX_OWNERS} user ids begin with “{beginning}”. Write more of it.", code="too_many"
        )
    return owners


def _with_words(terms: list[str]) -> Q:
    """Where a term has no letter and no digit, nothing has it."""
    of_terms = [re.findall(r"[^\W_]+", term) for term in terms]
    if not all(of_terms):
        return Q(pk__in=[])
    words = [word for of_term in of_terms for word in of_term]
    if not words:
        return Q()
    if connection.vendor == "postgresql":
        begun = SearchQuery(" & ".join(f"{word}:*" for word in words), config="simple", search_type="raw")
        return Q(_Matches(_Words(F("name"), F("description")), begun))
    spaced: Any = Lower(Concat(Value(" "), "name", Value(" "), "description"))
    for character in BETWEEN_WORDS:
        spaced = Func(spaced, Value(character), Value(" "), function="REPLACE")
    found = Q()
    for word in words:
        found &= Q(GreaterThan(StrIndex(spaced, Value(f" {word}")), 0))
    return found
