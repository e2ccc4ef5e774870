"""The step that asks once more for a sign-in, where the last one is not recent."""

from collections.abc import Callable

import pytest
from django.http import HttpRequest
from django.test import Client
from django.urls import reverse

from osmo_portal.console import recent
from tests.cast import PASSWORD, Cast
from tests.console import form_errors, text, visitor

PAGE = reverse("admin:confirm")
LIST = reverse("admin:tokens_accesstoken_changelist")


def asked(client: Client) -> str:
    """Where a page that wants a recent sign-in sends the visitor; empty where it does not."""
    request = HttpRequest()
    request.session = client.session
    answer = recent.ask(request, LIST)
    return answer.url if answer else ""


def test_who_has_just_signed_in_is_not_asked(cast: Cast) -> None:
    assert asked(visitor("grace")) == ""


def test_who_signed_in_long_ago_confirms_with_the_password(
    cast: Cast, time_machine_days: Callable[[float], None]
) -> None:
    client = visitor("grace")
    time_machine_days(0.02)

    page = asked(client)
    assert f'name="next" value="{LIST}"' in text(client.get(page))
    answer = client.post(page, {"password": PASSWORD})

    assert page.startswith(f"{PAGE}?next=")
    assert answer["Location"] == LIST
    assert asked(client) == ""


def test_a_wrong_password_confirms_nothing(cast: Cast, time_machine_days: Callable[[float], None]) -> None:
    client = visitor("grace")
    time_machine_days(0.02)

    answer = client.post(asked(client), {"password": "wrong"})

    assert "The password is wrong" in form_errors(answer)["password"][0]
    assert asked(client)


@pytest.mark.parametrize("address", ["https://evil.example/", "//evil.example", "javascript:alert(1)"])
def test_it_leads_to_pages_of_this_host_only(cast: Cast, address: str) -> None:
    answer = visitor("grace").post(PAGE, {"password": PASSWORD, "next": address})

    assert answer["Location"] == reverse("admin:index")
