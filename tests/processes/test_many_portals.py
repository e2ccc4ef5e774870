"""Several portals on one PostgreSQL behind one nginx are one portal: real gunicorn processes, a real nginx."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from django.db import connection
from django.utils import timezone

from osmo_portal.events.actor import Actor
from osmo_portal.events.models import Event
from tests.bench.places import EXCHANGE, LIST, PROFILE
from tests.cast import Cast
from tests.faults.processes import database_url
from tests.portals import Portal, serving
from tests.processes import nginx
from tokens.models import AccessToken, SigningKey

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(nginx.BINARY is None, reason="There is no nginx here (Debian: apt-get install nginx)."),
]


class Many:
    """Several portals, the address of the nginx before them, and ways to ask each."""

    def __init__(self, portals: list[Portal], front: str) -> None:
        self.portals = portals
        self.front = httpx.Client(base_url=front)
        self.each = [httpx.Client(base_url=portal.url) for portal in portals]

    def exchange(self, token: AccessToken) -> list[httpx.Response]:
        return [client.post(EXCHANGE, json={"token": token.plaintext}) for client in self.each]

    def profile(self, jwt: str) -> list[httpx.Response]:
        return [client.get(PROFILE, headers={"authorization": f"Bearer {jwt}"}) for client in self.each]


@pytest.fixture(params=[2, 4])
def many(request: pytest.FixtureRequest, cast: Cast, tmp_path: Path) -> Iterator[Many]:
    if connection.vendor != "postgresql":
        pytest.skip("Several portals share a PostgreSQL; SQLite is for one machine.")
    with (
        serving(request.param, database_url(), tmp_path, WEB_WORKERS=1) as portals,
        nginx.in_front_of(portals, tmp_path) as front,
    ):
        many = Many(portals, front)
        yield many
        for client in (many.front, *many.each):
            client.close()


def said(answers: list[httpx.Response]) -> set[tuple[int, str]]:
    return {(answer.status_code, answer.text) for answer in answers}


def test_they_are_one_portal(many: Many, cast: Cast) -> None:
    """One test, because starting them is what takes the time."""
    asked_in_turn_they_answer_alike(many, cast)
    what_one_revokes_all_refuse_at_once(many, cast)
    what_one_rotates_and_suspends_counts_in_all(many, cast)
    a_voided_key_signs_and_opens_nothing_anywhere(many, cast)
    of_two_equal_names_one_is_taken(many, cast)
    no_path_forges_a_line_of_the_log(many)
    assert not Event.objects.filter(action__startswith="signing_key.created")[1:].exists()


def asked_in_turn_they_answer_alike(many: Many, cast: Cast) -> None:
    token = cast.service_token("alike")
    answers = [many.front.post(EXCHANGE, json={"token": token.plaintext}) for _ in range(2 * len(many.portals))]
    jwts = [answer.json()["token"] for answer in answers]

    assert len({answer.headers["x-served-by"] for answer in answers}) == len(many.portals)
    shown = [answer for jwt in jwts for answer in many.profile(jwt)]
    assert len(shown) == 2 * len(many.portals) ** 2
    assert len(said(shown)) == 1
    assert shown[0].json()["profile"]["username"] == "robot"


def what_one_revokes_all_refuse_at_once(many: Many, cast: Cast) -> None:
    for number, client in enumerate(many.each):
        token, own = cast.user_token("ada", f"revoked-{number}"), cast.user_token("ada", f"own-{number}")
        jwt, mine = (many.exchange(one)[0].json()["token"] for one in (token, own))
        assert {answer.status_code for answer in many.profile(jwt)} == {200}

        ended = client.delete(f"{LIST}/{token.name}", headers={"authorization": f"Bearer {mine}"})

        assert ended.status_code == 200
        assert said(many.profile(jwt)) == {(401, many.profile(jwt)[0].text)}
        assert "has been revoked" in many.profile(jwt)[0].json()["message"]
        assert {answer.status_code for answer in many.exchange(token)} == {400}
        refused = Event.objects.filter(action="exchange.refused.revoked", object_id=token.pk)
        assert refused.count() == 1, "one alarm, however many portals"


def what_one_rotates_and_suspends_counts_in_all(many: Many, cast: Cast) -> None:
    token = cast.service_token("rotated")
    jwt = many.exchange(token)[0].json()["token"]
    fresh = AccessToken.objects.get(pk=token.pk).rotate(by=cast.by("grace"), grace=timedelta(0))
    assert {answer.status_code for answer in many.exchange(token)} == {400}
    assert {answer.status_code for answer in many.profile(jwt)} == {401}
    assert {answer.status_code for answer in many.exchange(fresh)} == {200}

    AccessToken.objects.get(pk=token.pk).suspend(by=cast.by("grace"), reason="x")
    assert {answer.status_code for answer in many.exchange(fresh)} == {400}
    AccessToken.objects.get(pk=token.pk).resume(by=cast.by("grace"), reason="x")
    assert {answer.status_code for answer in many.exchange(fresh)} == {200}


def a_voided_key_signs_and_opens_nothing_anywhere(many: Many, cast: Cast) -> None:
    token = cast.service_token("voided")
    old = [answer.json()["token"] for answer in many.exchange(token)]

    SigningKey.rotate(by=Actor.shell(), void=True)

    assert {answer.status_code for jwt in old for answer in many.profile(jwt)} == {401}
    new = [answer.json()["token"] for answer in many.exchange(token)]
    assert {answer.status_code for jwt in new for answer in many.profile(jwt)} == {200}


def of_two_equal_names_one_is_taken(many: Many, cast: Cast) -> None:
    mine = many.exchange(cast.user_token("ada", "hers"))[0].json()["token"]
    day = timezone.now().date() + timedelta(days=9)

    def issue(client: httpx.Client) -> int:
        address = f"{LIST}/user/same?expires_at={day}"
        return client.post(address, headers={"authorization": f"Bearer {mine}"}).status_code

    with ThreadPoolExecutor() as pool:
        statuses = sorted(pool.map(issue, many.each))

    assert statuses == [200, *[400] * (len(many.portals) - 1)]


def log_once_it_says(word: str, portal: Portal) -> str:
    """A request is logged after it was answered, so the line may come a moment later."""
    for _ in range(100):
        written = portal.log.read_text()
        if word in written:
            break
        time.sleep(0.1)
    return written


def no_path_forges_a_line_of_the_log(many: Many) -> None:
    for client in many.each:
        client.get("/x%0aforged%1b[31m?access_token=not-for-the-log")

    for portal in many.portals:
        request = '"GET /x\\nforged\\x1b[31m" 404'
        written = log_once_it_says(request, portal)
        assert request in written
        assert "not-for-the-log" not in written
        assert not [line for line in written.splitlines() if line.startswith("forged")]
        assert f'"POST {EXCHANGE}" 200' in written
