import json
from typing import Any

import pytest

from tests.cli.conftest import Osmo, Portal

QUOTA = "GET /api/pool_quota"
SERVICE = {"major": "6", "minor": "0", "revision": "0", "hash": ""}
CLIENT_LINE = "OSMO client version:  6.0.0\n"


def usage(used: int) -> dict[str, str]:
    names = ("quota_used", "quota_free", "quota_limit", "total_usage", "total_capacity", "total_free")
    return {name: str(used + index) for index, name in enumerate(names)}


def pool(name: str, used: int) -> dict[str, Any]:
    return {"name": name, "description": f"the {name}", "status": "ONLINE", "resource_usage": usage(used)}


def quota(*node_sets: list[dict[str, Any]]) -> dict[str, Any]:
    return {"node_sets": [{"pools": pools} for pools in node_sets], "resource_sum": usage(100)}


def test_pools_are_listed_with_what_is_used(osmo: Osmo, logged_in: Portal) -> None:
    logged_in.on(QUOTA, quota([pool("alpha", 0), pool("beta", 10)], [pool("gamma", 20)]))

    result = osmo("pool", "list")

    assert result.stdout.splitlines() == [
        "Pool   Description  Status  GPU [#]",
        "                            Quota Used  Quota Limit  Total Usage  Total Capacity",
        "================================================================================",
        "alpha  the alpha    ONLINE  0           2            3            4",
        "beta   the beta     ONLINE  10          12           13           14 (shared)",
        "gamma  the gamma    ONLINE  20          22           23           24",
        "================================================================================",
        "                            100         102          103          104",
    ]
    assert logged_in.lines() == [f"{QUOTA}?all_pools=True"]


def test_pools_are_listed_with_what_is_free(osmo: Osmo, logged_in: Portal) -> None:
    logged_in.on(QUOTA, quota([pool("alpha", 0), pool("beta", 10)]))

    result = osmo("pool", "list", "--mode", "free")

    assert result.stdout.splitlines() == [
        "Pool   Description  Status  GPU [#]",
        "                            Quota Free  Total Free",
        "===================================================",
        "alpha  the alpha    ONLINE  1           5",
        "beta   the beta     ONLINE  11          15 (shared)",
        "===================================================",
        "                            101         105",
    ]


@pytest.mark.parametrize("flags", [["--pool", "alpha", "zeta"], ["--pool", "alpha", "--pool", "zeta"]])
def test_only_the_named_pools_are_asked_for_and_a_missing_one_is_named(
    osmo: Osmo, logged_in: Portal, flags: list[str]
) -> None:
    logged_in.on(QUOTA, quota([pool("alpha", 0)]))

    result = osmo("pool", "list", *flags)

    assert "alpha" in result.stdout
    assert (result.stderr, result.returncode) == ("Pools zeta not found\n", 0)
    assert logged_in.lines() == [f"{QUOTA}?pools=alpha&pools=zeta&all_pools=False"]


@pytest.mark.parametrize(
    ("flags", "printed"), [([], "No pools available\n"), (["--pool", "x", "y"], "Pools x, y not found\n")]
)
def test_no_pool_is_not_an_error(osmo: Osmo, logged_in: Portal, flags: list[str], printed: str) -> None:
    logged_in.on(QUOTA, quota())

    result = osmo("pool", "list", *flags)

    assert (result.stdout, result.stderr, result.returncode) == (printed, "", 0)


def test_pools_as_json_are_the_portals_answer(osmo: Osmo, logged_in: Portal) -> None:
    answer = quota([pool("alpha", 0)])
    logged_in.on(QUOTA, answer)

    result = osmo("pool", "list", "-t", "json")

    assert result.stdout == json.dumps(answer, indent=4) + "\n"


def test_the_version_of_client_and_portal_is_shown_without_credentials(osmo: Osmo, logged_in: Portal) -> None:
    logged_in.on("GET /api/version", SERVICE)

    text, as_json = osmo("version"), osmo("version", "-t", "json")

    assert text.stdout == CLIENT_LINE + "OSMO service version: 6.0.0\n"
    assert as_json.stdout == json.dumps({"client": SERVICE, "service": SERVICE}, indent=4) + "\n"
    assert not {"authorization", "x-osmo-auth", "x-osmo-client-version"} & logged_in.asked[0].headers.keys()


@pytest.mark.parametrize("status", [401, 404])
def test_the_version_of_a_portal_that_does_not_tell_is_left_out(osmo: Osmo, logged_in: Portal, status: int) -> None:
    logged_in.on("GET /api/version", b"no", status=status)

    assert osmo("version").stdout == CLIENT_LINE
    assert json.loads(osmo("version", "-t", "json").stdout) == {"client": SERVICE}


def test_the_version_of_the_client_is_shown_without_a_login(osmo: Osmo) -> None:
    result = osmo("version")

    assert (result.stdout, result.stderr, result.returncode) == (CLIENT_LINE, "", 0)


def test_a_broken_portal_is_not_passed_over_by_version(osmo: Osmo, logged_in: Portal) -> None:
    logged_in.on("GET /api/version", b"down", status=503)

    assert osmo("version").returncode == 10
