"""`osmo config` beyond the rows of the conformance suite: what was shown goes back, what stands behind an answer."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from osmo_portal.events.models import Event
from profiles.api import config_view
from profiles.models import Pool, Revision, Role
from profiles.policies import normalise
from tests import dump
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast
from tests.test_policies_properties import role_objects
from tests.wire import Wire, refused

pytestmark = pytest.mark.django_db
ROLE, POOL, HISTORY = "/api/configs/role", "/api/configs/pool", "/api/configs/history"
SPEC: dict[str, Any] = {
    "name": "gpu",
    "backend": "kube",
    "description": "the large one",
    "enable_maintenance": False,
    "default_platform": "h100",
    "default_exec_timeout": "60d",
    "resources": {"gpu": {"guarantee": 16, "maximum": 32, "weight": 2}},
    "common_default_variables": {"USER_CPU": 1},
    "common_pod_template": ["default_user", {"spec": {"env": [{"name": "KEY", "value": "hunter2-secret"}]}}],
    "platforms": {
        "h100": {
            "description": "eight each",
            "allowed_mounts": ["/mnt"],
            "override_pod_template": ["hunter2-secret"],
            "tolerations": [{"key": "gpu"}],
        }
    },
    "a_key_of_a_later_release": {"x": [1, 2.5, None, True]},
}


@pytest.fixture
def secret(cast: Cast) -> str:
    return str(cast.administrator_token().plaintext)


@pytest.fixture
def older(secret: str) -> Wire:
    return Wire(secret)


@pytest.fixture
def newer(secret: str) -> Wire:
    return Wire(secret, header="authorization")


def ok(answer: Any) -> Any:
    assert answer.status_code == 200, answer.content
    return answer.json()


def configuration() -> list[Any]:
    return [[(one.pk, one.configuration) for one in model.objects.order_by("pk")] for model in (Role, Pool)]


def test_whatever_roles_there_are_go_back_as_both_clients_were_shown_them(older: Wire, newer: Wire) -> None:
    """Those of a new portal, of the cast, and 200 made-up ones."""
    made: list[Any] = []

    @settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(role_objects)
    def collect(policies: Any) -> None:
        made.append({"name": f"made-{len(made)}", "policies": policies})

    collect()
    ok(newer.call("PUT", ROLE, {"configs": made}))
    before, revisions = configuration(), Revision.objects.count()

    for wire in (older, newer):
        shown = ok(wire.get(ROLE))
        assert len(shown) == 7 + len(made) >= 200
        assert ok(wire.call("PUT", ROLE, {"configs": shown})) is None
        for role in shown[:8]:
            assert ok(wire.get(f"{ROLE}/{role['name']}")) == role
            assert ok(wire.call("PUT", f"{ROLE}/{role['name']}", {"configs": role})) is None
        (entry,) = ok(wire.get(f"{HISTORY}?config_types=ROLE&omit_data=False&order=DESC&limit=1"))["configs"]
        assert entry["data"] == shown
        assert ok(wire.call("PUT", ROLE, {"configs": entry["data"]})) is None

    assert (configuration(), Revision.objects.count()) == (before, revisions)


def test_a_pool_goes_back_as_it_was_shown_and_everything_in_it_is_kept(older: Wire, newer: Wire) -> None:
    ok(older.call("PUT", f"{POOL}/gpu", {"configs": SPEC}))
    before, revisions = configuration(), Revision.objects.count()

    for wire in (older, newer):
        shown = ok(wire.get(POOL))
        assert SPEC.items() <= shown["pools"]["gpu"].items()
        for name, pool in shown["pools"].items():
            assert ok(wire.call("PUT", f"{POOL}/{name}", {"configs": pool})) is None
            ok(wire.call("PATCH", f"{POOL}/{name}", {"configs_dict": pool}))
        for sent in (shown["pools"], shown):
            assert ok(wire.call("PUT", POOL, {"configs": sent})) is None
        (entry,) = ok(wire.get(f"{HISTORY}?config_types=POOL&omit_data=False&order=DESC&limit=1"))["configs"]
        assert ok(wire.call("PUT", POOL, {"configs": entry["data"]["pools"]})) is None

    assert (configuration(), Revision.objects.count()) == (before, revisions)


def test_a_patch_changes_what_it_names_however_deep(newer: Wire) -> None:
    ok(newer.call("PUT", f"{POOL}/gpu", {"configs": SPEC}))

    answer = ok(newer.call("PATCH", f"{POOL}/gpu", {"configs_dict": {"platforms": {"h100": {"description": "nine"}}}}))

    changed = {"h100": {**SPEC["platforms"]["h100"], "description": "nine"}}
    assert answer == {**ok(newer.get(f"{POOL}/gpu")), "platforms": changed}
    assert Pool.objects.get(name="gpu").spec["common_pod_template"] == SPEC["common_pod_template"]
    assert "default_queue_timeout" not in Pool.objects.get(name="gpu").spec  # a default is not written down


def test_the_quota_is_the_guarantee_and_the_console_may_change_it(cast: Cast, newer: Wire) -> None:
    ok(newer.call("PUT", f"{POOL}/gpu", {"configs": SPEC}))
    pool = Pool.objects.get(name="gpu")
    assert pool.quota_limit == 16

    pool.change(by=cast.by("grace"), quota_limit=8)

    assert ok(newer.get(f"{POOL}/gpu"))["resources"] == {"gpu": {"guarantee": 8, "maximum": 32, "weight": 2}}
    ok(newer.call("PATCH", f"{POOL}/gpu", {"configs_dict": {"resources": {"gpu": {"guarantee": -1}}}}))
    pool.refresh_from_db()
    assert pool.quota_limit == 0
    assert ok(newer.get(f"{POOL}/gpu"))["resources"]["gpu"]["guarantee"] == -1


def test_templates_and_variables_are_shown_to_administrators_alone(cast: Cast, newer: Wire) -> None:
    ok(newer.call("PUT", f"{POOL}/gpu", {"configs": SPEC, "description": "new"}))
    ada = Wire(cast.user_token().plaintext)

    seen = [ok(ada.get(path)) for path in ("/api/pool?pools=gpu", "/api/pool_quota?pools=gpu&all_pools=False")]

    assert "hunter2" not in json.dumps(seen)
    assert seen[0]["pools"]["gpu"]["platforms"]["h100"] == {
        "description": "eight each",
        "host_network_allowed": False,
        "privileged_allowed": False,
        "allowed_mounts": ["/mnt"],
        "default_mounts": [],
    }
    assert seen[0]["pools"]["gpu"]["default_platform"] == "h100"
    assert "hunter2" not in str([event.changes for event in Event.objects.all()])


def test_older_clients_change_a_role_and_keep_what_they_do_not_know(cast: Cast, older: Wire, newer: Wire) -> None:
    role = {**ok(newer.get(f"{ROLE}/{POOL_ROLE}")), "sync_mode": "force", "external_roles": ["a", "b"]}
    ok(newer.call("PUT", f"{ROLE}/{POOL_ROLE}", {"configs": role}))

    shown = ok(older.get(f"{ROLE}/{POOL_ROLE}"))
    ok(older.call("PUT", f"{ROLE}/{POOL_ROLE}", {"configs": {**shown, "description": "changed"}}))

    assert ok(newer.get(f"{ROLE}/{POOL_ROLE}")) == {**role, "description": "changed"}
    ok(newer.call("PUT", f"{ROLE}/{POOL_ROLE}", {"configs": {**role, "external_roles": []}}))
    assert ok(newer.get(f"{ROLE}/{POOL_ROLE}"))["external_roles"] == []


def test_a_policy_that_an_older_client_edits_becomes_one_of_its_form_and_the_others_stay(older: Wire) -> None:
    two = [
        {"actions": ["dataset:Read"], "resources": ["*"]},
        {"actions": ["workflow:Create"], "resources": ["pool/a"]},
    ]
    ok(older.call("PUT", f"{ROLE}/two", {"configs": {"name": "two", "policies": two}}))
    shown = ok(older.get(f"{ROLE}/two"))
    edited = [shown["policies"][0], {"actions": shown["policies"][1]["actions"][:1]}]

    ok(older.call("PUT", f"{ROLE}/two", {"configs": {**shown, "policies": edited}}))

    path = {"base": "http", "path": "/api/pool/a/workflow", "method": "Post"}
    assert Role.objects.get(name="two").policies == normalise([two[0], {"actions": [path]}])
    half = [{**shown["policies"][1], "actions": [path]}]
    answer = older.call("PUT", f"{ROLE}/two", {"configs": {**shown, "policies": half}})
    assert answer.status_code == 400
    assert "no longer fit to what they stand for" in answer.json()["message"]


def test_all_of_a_list_or_nothing(newer: Wire) -> None:
    before = dump.tables()
    roles = [{"name": "one", "policies": []}, {"name": "two", "policies": [{"actions": ["nonsense"]}]}]
    pools = {"one": {"backend": "b"}, "two": {"backend": "b", "default_platform": "nope"}}
    deep = [
        {"name": "one", "policies": []},
        {"name": "osmo-user", "policies": [{"actions": ["*:*"], "resources": ["*"]}]},
    ]

    for path, configs in ((ROLE, roles), (POOL, pools), (ROLE, deep)):
        assert newer.call("PUT", path, {"configs": configs}).status_code == 400

    assert dump.tables() == before


def test_a_role_that_the_list_does_not_name_stays(newer: Wire) -> None:
    ok(newer.call("PUT", ROLE, {"configs": [{"name": "one", "policies": []}]}))

    assert Role.objects.existing().count() == 8


def test_who_changed_what_and_why_is_in_the_history_and_in_the_trail(newer: Wire) -> None:
    ok(newer.call("PUT", f"{ROLE}/one", {"configs": {"policies": []}, "description": "for team one", "tags": ["t"]}))
    ok(newer.call("DELETE", f"{ROLE}/one", {"description": "gone"}))

    made, gone = ok(newer.get(f"{HISTORY}?name=one"))["configs"]
    assert [made["username"], made["description"], made["tags"]] == ["root-bot", "for team one", ["t"]]
    assert [gone["description"], gone["tags"], gone["revision"]] == ["gone", None, made["revision"] + 1]
    told = Event.objects.filter(object_label="one").order_by("pk")
    assert [(event.action, event.via, event.actor) for event in told] == [
        ("role.created", "cli", "root-bot"),
        ("role.deleted", "cli", "root-bot"),
    ]
    assert told[1].reason == "gone"


def test_the_history_is_asked_by_time_by_tag_and_by_page(newer: Wire) -> None:
    for number in range(3):
        ok(newer.call("PUT", f"{ROLE}/r{number}", {"configs": {"policies": []}, "tags": ["all", str(number)]}))
    entries = ok(newer.get(f"{HISTORY}?config_types=ROLE&order=DESC"))["configs"]
    third, second = entries[0], entries[1]

    def found(query: str) -> list[str]:
        return [entry["name"] for entry in ok(newer.get(f"{HISTORY}?config_types=ROLE&{query}"))["configs"]]

    assert found("tags=all") == ["r0", "r1", "r2"]
    assert found("tags=all&tags=1") == ["r1"]
    assert found("tags=all&limit=1&offset=1") == ["r1"]
    assert found("tags=all&limit=2&order=DESC") == ["r2", "r1"]
    assert found(f"tags=all&created_before={third['created_at']}") == ["r0", "r1"]
    assert found(f"created_after={second['created_at'].replace('T', '+')}") == ["r2"]
    assert found(f"at_timestamp={second['created_at']}%2B00:00") == ["r1"]
    assert found(f"at_timestamp={second['created_at']}+00:00") == ["r1"]
    assert found("at_timestamp=2000-01-01") == []


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=x",
        "offset=-1",
        "order=UP",
        "revision=x",
        "at_timestamp=yesterday",
        "created_before=0001-01-01T00:00:00%2B23:59",
        "created_after=",
    ],
)
def test_what_no_history_can_be_asked_by(newer: Wire, query: str) -> None:
    assert newer.get(f"{HISTORY}?{query}").status_code == 422


def test_not_too_many_whole_configurations_are_put_into_one_answer(newer: Wire) -> None:
    message = "Ask for at most 20 revisions with their data at once."

    refused(newer.get(f"{HISTORY}?omit_data=False&limit=21"), message)


def test_a_large_body_is_for_administrators_and_not_too_large(
    cast: Cast, newer: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    policies = [{"actions": ["pool:List"], "resources": [f"pool/{'x' * 400}{number}" for number in range(100)]}]
    roles = [{"name": f"large-{number}", "policies": policies} for number in range(10)]
    assert len(json.dumps(roles)) > 400_000

    ok(newer.call("PUT", ROLE, {"configs": roles}))
    monkeypatch.setattr(config_view, "MAX_BODY", 100)

    assert newer.call("PUT", ROLE, {"configs": roles}).status_code == 413
    assert Wire(cast.user_token().plaintext).call("PUT", ROLE, {"configs": roles}).status_code == 403


@pytest.mark.parametrize(
    ("path", "configs"),
    [
        (f"{ROLE}/x", None),
        (f"{ROLE}/x", []),
        (f"{ROLE}/x", {"policies": {}}),
        (f"{ROLE}/x", {"policies": [], "description": 5}),
        (f"{ROLE}/x", {"policies": [], "sync_mode": "often"}),
        (f"{ROLE}/x", {"policies": [], "sync_mode": {}}),
        (f"{ROLE}/x", {"policies": [], "external_roles": "a"}),
        (f"{ROLE}/x", {"policies": [], "external_roles": [5]}),
        (f"{ROLE}/x", {"policies": [], "name": 5}),
        (f"{ROLE}/x", {"policies": [], "owner": "mallory"}),
        (f"{ROLE}/x", {"policies": [5]}),
        (f"{ROLE}/x", {"policies": [{"actions": ["a:B"], "stands_for": 5}]}),
        (f"{ROLE}/bad%20name", {"policies": []}),
        (f"{ROLE}/{'x' * 300}", {"policies": []}),
        (ROLE, [5]),
        (ROLE, [{"policies": []}]),
        (f"{POOL}/x", None),
        (f"{POOL}/x", {"backend": 5}),
        (f"{POOL}/x", {"backend": "b", "enable_maintenance": "yes"}),
        (f"{POOL}/x", {"backend": "b", "platforms": []}),
        (f"{POOL}/x", {"backend": "b", "platforms": {"p": 5}}),
        (f"{POOL}/x", {"backend": "b", "platforms": None}),
        (f"{POOL}/x", {"backend": "b", "default_platform": {}}),
        (f"{POOL}/x", {"backend": "b", "resources": 5}),
        (f"{POOL}/x", {"backend": "b", "resources": {"gpu": 5}}),
        (f"{POOL}/x", {"backend": "b", "resources": {"gpu": {"guarantee": "many"}}}),
        (f"{POOL}/x", {"backend": "b", "description": "a\u0007"}),
        (f"{POOL}/x", {"backend": "b", "name": "y"}),
        (f"{POOL}/x", {"backend": "b", "x": "y" * 100_001}),
        (POOL, {"pools": 5}),
        (POOL, {"x": 5}),
    ],
)
def test_what_is_not_understood_is_refused_and_changes_nothing(newer: Wire, path: str, configs: Any) -> None:
    before = dump.tables()

    answer = newer.call("PUT", path, {"configs": configs})

    assert answer.status_code in {400, 422}, answer.content
    assert isinstance(answer.json()["message"], str)
    assert dump.tables() == before


@pytest.mark.parametrize("body", [{"tags": "x"}, {"tags": [5]}, {"tags": ["x" * 101]}, {"description": ["x"]}])
def test_tags_and_descriptions_are_texts(newer: Wire, body: dict[str, Any]) -> None:
    before = dump.tables()

    assert newer.call("PUT", f"{ROLE}/x", {"configs": {"policies": []}, **body}).status_code in {400, 422}

    assert dump.tables() == before


def test_addresses_with_two_slashes_and_names_with_one(newer: Wire) -> None:
    ok(newer.call("PUT", f"http://testserver/{ROLE}/team/a:b", {"configs": {"policies": []}}))

    assert ok(newer.get(f"http://testserver/{ROLE}/team/a:b"))["name"] == "team/a:b"
    diff = "//api/configs/diff?config_type=role&first_revision=1&second_revision=2"
    assert ok(newer.get(f"http://testserver{diff}"))
    assert ok(newer.call("DELETE", f"{ROLE}/team/a:b")) is None


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_what_the_whole_of_roles_does_not_know(newer: Wire, method: str) -> None:
    assert newer.call(method, ROLE, {}).status_code == 405


def test_the_plain_role_is_plain_until_it_is_given_power(newer: Wire) -> None:
    ok(newer.call("PUT", f"{ROLE}/{PLAIN_ROLE}", {"configs": {"policies": [{"actions": ["http:/api/pool/x*:post"]}]}}))

    role = Role.objects.get(name=PLAIN_ROLE)
    assert (role.grants_pools, role.is_plain) == (True, False)
