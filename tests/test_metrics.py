"""/metrics: for whoever knows the token, the same from all processes, and no dearer with more tokens."""

import json
import logging
import os
import re
import runpy
import subprocess
import sys
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from django.conf import settings as configured
from django.db import OperationalError, connection
from django.test import Client
from gunicorn.config import Config  # type: ignore[import-untyped]
from prometheus_client.parser import text_string_to_metric_families

from osmo_portal.access_log import AccessLog
from osmo_portal.events import verification
from osmo_portal.events.actor import Actor
from osmo_portal.logging import JsonFormatter, request_id
from osmo_portal.metrics import Timing
from tests.cast import POOL_ROLE, Cast, in_days
from tests.test_authz import SUBMIT, ask
from tokens import exchange, secrets

TOKEN = "m" * 32
MONITORING = configured.BASE_DIR / "deploy" / "monitoring"


@pytest.fixture
def scraped(cast: Cast, settings: Any) -> Client:
    settings.METRICS_TOKEN = TOKEN
    settings.MIDDLEWARE = ["osmo_portal.metrics.Timing", *settings.MIDDLEWARE]
    return Client(headers={"authorization": f"Bearer {TOKEN}"})


def figures(client: Client) -> dict[str, float]:
    """Each sample as it is written: name{label="value"}."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    found = {}
    for family in text_string_to_metric_families(answer.content.decode()):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_without_a_token_there_is_nothing(db: None, client: Client) -> None:
    assert client.get("/metrics", headers={"authorization": "Bearer "}).status_code == 404


@pytest.mark.parametrize(
    "sent", [None, "", "Bearer", "Bearer x", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer é"]
)
def test_a_wrong_token_is_refused(scraped: Client, sent: str | None) -> None:
    headers = {} if sent is None else {"authorization": sent}

    answer = Client().get("/metrics", headers=headers)

    assert answer.status_code == 401
    assert "osmo_" not in answer.content.decode().lower().replace("osmo_portal", "")


def test_the_figures_of_the_tables(cast: Cast, scraped: Client) -> None:
    token = cast.service_token(days=2)
    cast.user_token(days=20)
    exchange.exchange(token.plaintext)
    verification.keep_whole(7, 0, by=Actor.shell())

    found = figures(scraped)

    assert found["osmo_database_up"] == 1
    assert found['osmo_tokens{state="live"}'] == 2
    assert found['osmo_tokens{state="ends_within_7_days"}'] == 1
    assert found['osmo_tokens{state="never_used"}'] == 1
    assert found[f'osmo_tokens_by_role{{role="{POOL_ROLE}"}}'] == 1
    assert 0 < found["osmo_next_expiry_seconds"] < 2 * 86_400
    assert 0 <= found["osmo_last_use_age_seconds"] < 60
    assert found["osmo_events"] > 7
    assert found["osmo_trail_faults"] == found["osmo_trail_triggers_missing"] == 0
    assert 0 <= found["osmo_trail_verified_age_seconds"] < 60


def test_of_tokens_that_end_tomorrow_those_count_that_programs_work_with(
    cast: Cast, scraped: Client, time_machine_days: Any
) -> None:
    ends = {name: cast.service_token(name, days=9) for name in ("works", "paused", "goes-on", "idle")}
    ends |= {"hers": cast.user_token(days=9)}
    time_machine_days(8)
    ends |= {"made-for-a-day": cast.service_token("made-for-a-day", days=1)}
    for name, token in ends.items():
        if name != "idle":
            exchange.exchange(token.plaintext)
    ends["paused"].suspend(by=cast.by("grace"), reason="wait")
    ends["goes-on"].rotate(by=cast.by("grace"), expires=in_days(30))

    assert figures(scraped)['osmo_tokens{state="in_use_ends_within_1_day"}'] == 1


def test_within_a_minute_the_tables_are_not_asked_again(scraped: Client, django_assert_num_queries: Any) -> None:
    figures(scraped)

    with django_assert_num_queries(0):
        figures(scraped)


def test_what_became_of_secrets_and_of_questions_is_counted(cast: Cast, scraped: Client) -> None:
    token = cast.service_token()
    before = figures(scraped)

    exchange.exchange(token.plaintext)
    for wrong in ("osmo_x", secrets.generate()):
        with pytest.raises(exchange.Refused):
            exchange.exchange(wrong)
    ask("POST", SUBMIT, token.plaintext)
    ask("DELETE", SUBMIT, token.plaintext)
    ask("POST", SUBMIT)

    after = figures(scraped)
    more = {name: after[name] - before.get(name, 0) for name in after if "_total{" in name}
    assert {name: count for name, count in more.items() if count} == {
        'osmo_exchange_results_total{result="ok"}': 3,
        'osmo_exchange_results_total{result="malformed"}': 1,
        'osmo_exchange_results_total{result="unknown"}': 1,
        'osmo_gateway_decisions_total{answer="200"}': 1,
        'osmo_gateway_decisions_total{answer="403"}': 1,
        'osmo_gateway_decisions_total{answer="401"}': 1,
    }


def test_requests_are_timed_by_the_pattern_of_their_route(scraped: Client) -> None:
    client = Client()
    client.get("/api/auth/access_token/my-secret-name/roles?access_token=osmo_x")
    client.generic("BREW", "/nowhere/osmo_x")

    answer = scraped.get("/metrics").content.decode()

    assert 'route="api/auth/access_token/<str:name>/roles",status="401"' in answer
    assert 'method="other",route="none"' in answer
    assert "osmo_x" not in answer
    assert "my-secret-name" not in answer


def test_a_database_that_is_away_is_told(cast: Cast, scraped: Client) -> None:
    def fail(*arguments: Any) -> None:
        raise OperationalError("connection refused")

    with connection.execute_wrapper(fail):
        found = figures(scraped)

    assert found["osmo_database_up"] == 0
    assert "osmo_events" not in found


def test_without_a_token_nothing_is_timed() -> None:
    assert not configured.METRICS_TOKEN
    assert f"{Timing.__module__}.{Timing.__name__}" not in configured.MIDDLEWARE


def test_processes_count_together(tmp_path: Any) -> None:
    """As gunicorn's do: through the files of PROMETHEUS_MULTIPROC_DIR."""
    count = "from osmo_portal.metrics import EXCHANGES, told; EXCHANGES.labels('ok').inc()"
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}

    def run(code: str) -> str:
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    run(count)
    assert 'osmo_exchange_results_total{result="ok"} 2.0' in run(f"{count}; print(told().decode())")


# What stands in deploy/monitoring.


def expressions() -> list[str]:
    board = json.loads((MONITORING / "dashboard.json").read_text())
    rules = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    shown = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return shown + [rule["expr"] for group in rules for rule in group["rules"]]


def test_every_metric_that_is_shown_or_alerted_on_exists(cast: Cast, scraped: Client) -> None:
    cast.service_token()
    exchange.exchange(cast.user_token().plaintext)
    verification.keep_whole(7, 0, by=Actor.shell())
    ask("GET", "/api/pool")
    scraped.get("/health")
    there = {name.partition("{")[0] for name in figures(scraped)}

    named = {name for expression in expressions() for name in re.findall(r"\bosmo_[a-z0-9_]+", expression)}

    assert len(named) > 10
    assert named <= there


def test_the_files_are_whole() -> None:
    board = json.loads((MONITORING / "dashboard.json").read_text())
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for expression in expressions():
        assert expression.count("(") == expression.count(")"), expression
        assert expression.count("{") == expression.count("}"), expression
    for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
            assert rule["labels"]["severity"] in {"page", "warn"}
            assert rule["annotations"].keys() == {"summary", "description"}


# The log as JSON.


def made(name: str = "tokens", message: str = "said %s", args: Any = ("x",), **more: Any) -> dict[str, Any]:
    record = logging.LogRecord(name, logging.WARNING, __file__, 1, message, args, more.pop("exc_info", None))
    vars(record).update(more)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    return json.loads(line)


def test_a_line_of_json_tells_the_request_that_was_at_work(client: Client) -> None:
    answer = client.get("/health")

    said = made(message="a\nb %s")

    assert said["message"] == "a\nb x"
    assert said["request_id"] == answer["x-request-id"] == request_id.get()
    assert (said["level"], said["logger"]) == ("WARNING", "tokens")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", said["time"])


def test_what_the_server_says_after_a_request_is_not_laid_at_its_door(client: Client) -> None:
    server = Config()
    file = runpy.run_path(str(configured.BASE_DIR / "osmo_portal" / "gunicorn.conf.py"))
    server.set("post_request", file["post_request"])
    client.get("/health")

    server.post_request(None, None, {}, None)

    assert "request_id" not in made("gunicorn.error", "Invalid request from ip=%s", ("192.0.2.1",))


def test_an_error_carries_its_traceback() -> None:
    try:
        int("broken")
    except ValueError:
        said = made(exc_info=sys.exc_info())

    assert "ValueError: invalid literal" in said["exception"]


def test_a_line_of_access_has_no_query_and_no_header(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    log = AccessLog(Config())
    monkeypatch.setattr(log.cfg, "settings", {**log.cfg.settings, "accesslog": SimpleNamespace(get=lambda: "-")})
    monkeypatch.setattr(log.access_log, "info", lambda line, facts: told.append((line, facts)))
    environ = {
        "REMOTE_ADDR": "192.0.2.1",
        "REQUEST_METHOD": "GET",
        "PATH_INFO": '/api/"x\n',
        "QUERY_STRING": "access_token=osmo_x",
        "RAW_URI": "/api?access_token=osmo_x",
        "HTTP_AUTHORIZATION": "Bearer osmo_x",
    }
    response = SimpleNamespace(headers=[("x-request-id", "abc")], status="200 OK", sent=5)

    log.access(response, None, environ, timedelta(milliseconds=3))

    ((line, facts),) = told
    said = made("gunicorn.access", line, (facts,))
    said.pop("time")
    assert said == {
        "level": "WARNING",
        "logger": "gunicorn.access",
        "address": "192.0.2.1",
        "method": "GET",
        "path": '/api/"x\\n',
        "status": "200",
        "bytes": 5,
        "milliseconds": 3,
        "request_id": "abc",
    }
