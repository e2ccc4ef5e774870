"""Many keys as one parameter of a query."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.cast import Cast
from tokens.models import AccessToken
from tokens.models.keys import Keys


def test_what_has_one_of_the_keys_is_found(cast: Cast) -> None:
    first, _, third = cast.service_token("one"), cast.service_token("two"), cast.service_token("three")

    found = AccessToken.objects.filter(pk__in=Keys([first.pk, third.pk, third.pk, 2**62]))

    assert set(found) == {first, third}


def test_no_key_finds_nothing(cast: Cast) -> None:
    cast.service_token()

    assert not AccessToken.objects.filter(pk__in=Keys([])).exists()


@pytest.mark.parametrize("count", [1, 5_000])
def test_a_query_has_one_parameter_however_many_keys(cast: Cast, count: int) -> None:
    with CaptureQueriesContext(connection) as queries:
        list(AccessToken.objects.filter(pk__in=Keys(range(count))).values_list("pk"))

    _, values = AccessToken.objects.filter(pk__in=Keys(range(count))).query.sql_with_params()
    assert len(queries) == len(values) == 1
