"""What Prometheus collects: counters and times, which gunicorn's processes share through files."""

import os
import time
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OURS = CollectorRegistry()

REQUESTS = Histogram(
    "osmo_request_seconds",
    "Time of requests, by the pattern of their route.",
    ["route", "method", "status"],
    registry=OURS,
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
EXCHANGES = Counter(
    "osmo_exchange_results",
    "What became of secrets that were sent, by an exchange or a gateway.",
    ["result"],
    registry=OURS,
)
LISTS = Counter("osmo_lists", "Lists by where they were read, where there is a replica.", ["place"], registry=OURS)
DECISIONS = Counter("osmo_gateway_decisions", "What gateways were told.", ["answer"], registry=OURS)


class Timing:
    """A middleware, only where somebody may ask for metrics. Nothing of an address but its route's pattern is kept."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        begun = time.perf_counter()
        response = self.get_response(request)
        match = request.resolver_match
        route = match.route if match else "none"
        method = request.method if request.method in METHODS else "other"
        REQUESTS.labels(route, method, response.status_code).observe(time.perf_counter() - begun)
        return response


def told(*more: Collector) -> bytes:
    """In Prometheus' text format: ours, of all processes, and what the further collectors find now."""
    registry = CollectorRegistry()
    for collector in more:
        registry.register(collector)
    counted = OURS
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        counted = CollectorRegistry()
        MultiProcessCollector(counted)  # type: ignore[no-untyped-call]
    return generate_latest(counted) + generate_latest(registry)
