"""Who may do what to which token in which state, through REST: a generated matrix against a table of its own (S24)."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from osmo_portal.events.models import Event
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast
from tests.wire import Wire
from tokens.models import AccessToken

pytestmark = pytest.mark.django_db

TOKENS = ["ada's", "pool", "plain"]
# What each caller sees, handles (rotate, resume: no more than it could grant) and ends (suspend, revoke).
POWERS: dict[str, dict[str, list[str]]] = {
    "administrator": {"sees": TOKENS, "handles": TOKENS, "ends": TOKENS},
    "administrator's service token": {"sees": TOKENS, "handles": TOKENS, "ends": TOKENS},
    "administrator's user token": {"sees": [], "handles": [], "ends": []},
    "operator": {"sees": TOKENS, "handles": ["plain"], "ends": TOKENS},
    "operator's user token": {"sees": [], "handles": [], "ends": []},
    "auditor": {"sees": TOKENS, "handles": [], "ends": []},
    "owner": {"sees": TOKENS, "handles": ["ada's"], "ends": TOKENS},
    "owner's user token": {"sees": TOKENS, "handles": ["ada's"], "ends": TOKENS},
    "stranger": {"sees": [], "handles": [], "ends": []},
    "stranger's user token": {"sees": [], "handles": [], "ends": []},
    "service token": {"sees": ["pool", "plain"], "handles": [], "ends": []},
}
STATES = ["active", "suspended", "expired", "revoked"]
# In which states each action is possible at all.
POSSIBLE = {
    "retrieve": STATES,
    "rotate": ["active"],
    "suspend": ["active"],
    "resume": ["suspended"],
    "revoke": ["active", "suspended", "expired"],
}


class Caller:
    def __init__(self, cast: Cast, who: str) -> None:
        sessions = {
            "administrator": "grace",
            "operator": "olive",
            "auditor": "audrey",
            "owner": "ada",
            "stranger": "mallory",
        }
        if who in sessions:
            self.client, self.headers = Client(), {}
            self.client.force_login(getattr(cast, sessions[who]))
        else:
            wire = Wire(self._secret(cast, who), header="authorization")
            self.client, self.headers = wire.client, {"authorization": wire.headers["authorization"]}

    @staticmethod
    def _secret(cast: Cast, who: str) -> str:
        if who == "administrator's service token":
            return cast.administrator_token().plaintext
        if who == "service token":
            return cast.service_token(name="caller", roles=[PLAIN_ROLE], days=60).plaintext
        owner = {"administrator": "grace", "operator": "olive", "owner": "ada", "stranger": "mallory"}[
            who.split("'")[0]
        ]
        return cast.user_token(owner=owner, name="caller", days=60).plaintext

    def call(self, action: str, pk: int) -> Any:
        path = f"/api/v1/tokens/{pk}"
        if action == "retrieve":
            return self.client.get(path, headers=self.headers)
        body = {} if action == "rotate" else {"reason": "matrix"}
        return self.client.post(f"{path}/{action}", body, content_type="application/json", headers=self.headers)


def make(cast: Cast, which: str, state: str) -> AccessToken:
    if which == "ada's":
        token = cast.user_token(name="target")
    else:
        token = cast.service_token(name="target", roles=[POOL_ROLE if which == "pool" else PLAIN_ROLE])
    if state == "suspended":
        token.suspend(by=cast.by("grace"), reason="matrix")
    elif state == "expired":
        AccessToken.objects.filter(pk=token.pk).expire(by=cast.by("grace"), reason="matrix")
    elif state == "revoked":
        token.revoke(by=cast.by("grace"), reason="matrix")
    return token


def expected(who: str, action: str, which: str, state: str) -> int:
    powers = POWERS[who]
    if which not in powers["sees"]:
        # A caller that may change nothing at all is told so before anything is looked up.
        return 403 if who == "service token" and action != "retrieve" else 404
    if action == "retrieve":
        return 200
    allowed = powers["handles"] if action in {"rotate", "resume"} else powers["ends"]
    if which not in allowed:
        return 403
    return 200 if state in POSSIBLE[action] else 409


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("which", TOKENS)
@pytest.mark.parametrize("who", POWERS)
def test_each_caller_does_to_each_token_what_the_table_says(cast: Cast, who, which, state):
    caller = Caller(cast, who)
    token = make(cast, which, state)
    for action in POSSIBLE:
        before = Event.objects.count(), snapshot(token)

        answer = caller.call(action, token.pk)

        assert answer.status_code == expected(who, action, which, state), (action, answer.content)
        if action == "retrieve" or answer.status_code != 200:
            assert (Event.objects.count(), snapshot(token)) == before, action
        else:
            assert Event.objects.count() > before[0]
            token = renew(cast, token, which, state)
        assert ("secret" in answer.json()) == (action == "rotate" and answer.status_code == 200)


def snapshot(token: AccessToken) -> list[Any]:
    fields = AccessToken.objects.filter(pk=token.pk).values_list()
    return [*fields, *token.secrets.order_by("pk").values_list()]


def renew(cast: Cast, token: AccessToken, which: str, state: str) -> AccessToken:
    """Another token like it: the action changed this one."""
    AccessToken.objects.filter(pk=token.pk).revoke(by=cast.by("grace"), reason="matrix")
    return make(cast, which, state)


def test_the_table_says_something_of_every_kind_of_answer():
    statuses = {
        expected(who, action, which, state)
        for who in POWERS
        for action in POSSIBLE
        for which in TOKENS
        for state in STATES
    }

    assert statuses == {200, 403, 404, 409}


def test_an_expired_token_of_the_matrix_is_really_expired(cast: Cast):
    token = make(cast, "pool", "expired")

    assert AccessToken.objects.get(pk=token.pk).expires_at <= timezone.now() < token.expires_at - timedelta(days=1)
