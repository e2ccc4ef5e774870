"""The page with a secret: what it holds, for the shell, for Kubernetes, for paper."""

import re
from typing import Any

import pytest
import yaml

from profiles.models import User
from tests.cast import PLAIN_ROLE, Cast, in_days
from tests.console import ISSUE, Answer, address, text, visitor
from tests.test_admin_issue import issue, secret_in
from tokens.kubernetes import safe_name
from tokens.models import AccessToken

KUBERNETES_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def manifest_in(answer: Answer) -> Any:
    (source,) = re.findall(r'<pre id="manifest"[^>]*>(.*?)</pre>', text(answer), re.DOTALL)
    return yaml.safe_load(source.replace("&quot;", '"'))


def test_the_page_holds_a_manifest_that_kubernetes_can_read(cast: Cast) -> None:
    answer = issue(visitor("grace"))

    manifest = manifest_in(answer)

    assert (manifest["apiVersion"], manifest["kind"], manifest["type"]) == ("v1", "Secret", "Opaque")
    assert manifest["metadata"] == {"name": "osmo-robot-deploy"}
    assert manifest["stringData"] == {"OSMO_TOKEN": secret_in(answer)}


def test_a_rotated_token_gets_a_manifest_of_the_same_name_with_the_new_secret(cast: Cast) -> None:
    token = cast.service_token()

    answer = visitor("grace").post(address(token, "rotate"), {"grace": "0", "rotations": 0})

    assert manifest_in(answer)["metadata"]["name"] == "osmo-robot-ci"
    assert manifest_in(answer)["stringData"] == {"OSMO_TOKEN": secret_in(answer)}


def test_names_that_kubernetes_would_refuse_are_made_safe(cast: Cast) -> None:
    by = cast.by("grace")
    User.create_service_account(by=by, username="CI.Bot@example.com", purpose="x", roles=[PLAIN_ROLE])

    answer = issue(visitor("grace"), owner="CI.Bot@example.com", name="Deploy_East", roles=[PLAIN_ROLE])

    assert manifest_in(answer)["metadata"]["name"] == "osmo-ci-bot-example-com-deploy-east"


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("osmo-robot-ci", "osmo-robot-ci"),
        ("osmo-A__b", "osmo-a-b"),
        ("osmo-x-", "osmo-x"),
        ("osmo-é\n: {", "osmo"),
        ("osmo-" + "a" * 247 + "-b", "osmo-" + "a" * 247),
        ("osmo-" + "a" * 600, "osmo-" + "a" * 248),
    ],
)
def test_a_safe_name_is_one(text: str, safe: str) -> None:
    assert safe_name(text) == safe
    assert KUBERNETES_NAME.fullmatch(safe)
    assert len(safe) <= 253


def test_the_page_names_the_token_its_roles_and_its_end(cast: Cast) -> None:
    shown = " ".join(text(issue(visitor("grace"), roles=[PLAIN_ROLE])).split())

    assert "<dt>Token</dt> <dd> robot/deploy </dd>" in shown
    assert f"<dt>Roles</dt> <dd> {PLAIN_ROLE} </dd>" in shown
    assert f"<dt>Expires</dt> <dd> {in_days(30)} 00:00 UTC </dd>" in shown


def test_the_way_on_leads_to_the_token(cast: Cast) -> None:
    shown = " ".join(text(issue(visitor("grace"))).split())

    token = AccessToken.objects.get()
    assert f'<a class="button" data-saved href="{address(token)}">I saved it: on to the token</a>' in shown


def test_the_secret_is_on_the_page_three_times_and_in_no_attribute(cast: Cast) -> None:
    answer = issue(visitor("grace"))

    secret = secret_in(answer)
    assert text(answer).count(secret) == 3  # by itself, in the login line, in the manifest
    assert not re.search(rf'="[^"]*{secret}', text(answer))


def test_a_message_leaves_the_name_of_a_token_as_it_is(cast: Cast) -> None:
    token = cast.service_token()

    answer = visitor("grace").post(address(token, "suspend"), {"reason": "wait"}, follow=True)

    assert "robot/ci is suspended." in text(answer)
    assert "Robot/ci" not in text(answer)


def test_a_message_is_escaped(cast: Cast) -> None:
    """Tags of names are text, as everywhere."""
    from osmo_portal.events.trail import audited, record

    token, by = cast.service_token(), cast.by("grace")
    with audited():
        AccessToken.objects.filter(pk=token.pk).update(name="<b>x</b>")
        record("token.renamed", by, token)

    answer = visitor("grace").post(address(token, "suspend"), {"reason": "wait"}, follow=True)

    assert "robot/&lt;b&gt;x&lt;/b&gt; is suspended." in text(answer)


def test_the_page_is_reached_by_no_get(cast: Cast) -> None:
    from django.urls import reverse

    issue(visitor("grace"))
    token = AccessToken.objects.get()

    for url in (address(token), address(token, "rotate"), address(token, "history"), reverse(ISSUE)):
        assert not re.search(r"osmo_[0-9A-Za-z]{49}", text(visitor("grace").get(url, {"owner": "robot"})))
