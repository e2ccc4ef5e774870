"""Pools as `osmo pool list` reads them (wire.md section 9)."""

import pytest

from profiles.models import Pool
from tests.cast import Cast
from tests.wire import Wire

pytestmark = pytest.mark.django_db
NOTHING = dict.fromkeys(["quota_used", "quota_free", "quota_limit", "total_usage", "total_capacity", "total_free"], "0")


@pytest.fixture
def ada(cast: Cast) -> Wire:
    by = cast.by("grace")
    cast.pool.change(by=by, quota_limit=8, quota_used=3, total_usage=5, total_capacity=16)
    Pool.create(by=by, name="a_pool", quota_limit=2, total_usage=1, total_capacity=16, maintenance=True)
    Pool.create(by=by, name="far", backend="west", quota_limit=4, quota_used=4, total_usage=4, total_capacity=4)
    return Wire(cast.user_token().plaintext)


def names(answer) -> list[list[str]]:
    return [[pool["name"] for pool in node_set["pools"]] for node_set in answer.json()["node_sets"]]


def test_pools_of_one_backend_are_one_node_set(ada):
    assert names(ada.get("/api/pool_quota?all_pools=True")) == [["a_pool", "default", "my_pool"], ["far"]]


def test_named_pools_only_and_unknown_ones_left_out(ada):
    assert names(ada.get("/api/pool_quota?pools=far&pools=nope&pools=my_pool&all_pools=False")) == [
        ["my_pool"],
        ["far"],
    ]


def test_nothing_left_is_an_empty_list_with_complete_sums(ada):
    answer = ada.get("/api/pool_quota?pools=nope&all_pools=False").json()

    assert answer == {"node_sets": [], "resource_sum": NOTHING}


def test_figures_are_strings_and_complete(ada):
    (node_set,) = ada.get("/api/pool_quota?pools=my_pool").json()["node_sets"]
    (pool,) = node_set["pools"]

    assert pool["resource_usage"] == {
        "quota_used": "3",
        "quota_free": "5",
        "quota_limit": "8",
        "total_usage": "5",
        "total_capacity": "16",
        "total_free": "11",
    }
    assert pool["action_permissions"] == dict.fromkeys(["execute", "portforward", "cancel", "rsync"], "PRIVATE")
    assert pool["topology_keys"] == []


def test_quota_adds_up_and_machines_count_once_a_backend(ada):
    assert ada.get("/api/pool_quota?all_pools=True").json()["resource_sum"] == {
        "quota_used": "7",
        "quota_free": "7",
        "quota_limit": "14",
        "total_usage": "9",
        "total_capacity": "20",
        "total_free": "15",
    }


def test_the_status_of_a_pool(ada):
    node_sets = ada.get("/api/pool_quota").json()["node_sets"]

    status = {pool["name"]: pool["status"] for node_set in node_sets for pool in node_set["pools"]}

    assert status == {"a_pool": "MAINTENANCE", "default": "OFFLINE", "my_pool": "ONLINE", "far": "OFFLINE"}


def test_pools_by_name_without_usage(ada):
    pools = ada.get("/api/pool?pools=my_pool").json()["pools"]

    assert list(pools) == ["my_pool"]
    assert "resource_usage" not in pools["my_pool"]
    assert list(ada.get("/api/pool?all_pools=false").json()["pools"]) == ["default"]


def test_a_word_that_is_no_boolean_is_422(ada):
    assert ada.get("/api/pool_quota?all_pools=maybe").status_code == 422


def test_strangers_see_no_pools():
    assert Wire().get("/api/pool_quota").status_code == 401
