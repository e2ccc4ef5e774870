"""What roles allow: both forms of policies, the probes made on released servers, the strict reading."""

import pytest

from profiles.policies import (
    Decision,
    Effect,
    HttpAction,
    Operation,
    Policy,
    PolicyError,
    RolePolicies,
    SemanticAction,
    decide,
    decide_request,
    describe,
    globs,
    grants_pool_access,
    is_plain,
    may,
    normalise,
    parse,
    reachable_pools,
)

SUBMIT, EXEC, PORT_FORWARD = Operation


def role(*policies, name="osmo-x"):
    return RolePolicies(name, parse(list(policies)))


def allow(*actions, on=()):
    return {"effect": "Allow", "actions": list(actions), "resources": list(on)}


def deny(*actions, on=()):
    return {"effect": "Deny", "actions": list(actions), "resources": list(on)}


def http(*paths):
    return {"actions": list(paths)}


def allowed(action, resource, *roles):
    return decide(action, resource, allow=roles, deny=roles).allowed


def request_allowed(method, path, *roles):
    return decide_request(method, path, allow=roles, deny=roles).allowed


def may_on(pool, *roles):
    return [operation.value for operation in Operation if may(operation, pool, allow=roles, deny=roles)]


ADMIN = role(allow("*:*", on=["*"]), allow(), name="osmo-admin")
POOL_ROLE = role(allow("workflow:*", on=["pool/my_pool*"]), name="osmo-my_pool")
OLD_POOL_ROLE = role(http("http:/api/pool/my_pool*:Post", "http:/api/profile/*:*"), name="osmo-my_pool")
OLD_ADMIN = role(
    http("http:*:*", "http:!/api/agent/*:*", "http:!/api/logger/*:*", "http:!/api/router/*/*/backend/*:*"),
    name="osmo-admin",
)
OLD_BACKEND = role(
    http(
        "http:/api/agent/listener/*/*/be:*",
        "http:/api/agent/worker/*/*/be:*",
        "http:/api/pool/*:Get",
        "http:/api/configs/backend:Get",
        "http:/api/configs/backend*:Get",
        "http:/api/profile/*:*",
    )
)
USER = role(
    allow("app:*", "credentials:*", "dataset:*", "pool:List", "profile:Read", "profile:Update", on=["*"]),
    allow("resources:Read", "user:List", "workflow:List", "workflow:Read", on=["*"]),
    name="osmo-user",
)


# Reading and storing


def test_a_policy_of_the_newer_form_is_read():
    policies = parse([{"effect": "Deny", "actions": ["workflow:*"], "resources": ["pool/a*", "*"]}])

    assert policies == (Policy(Effect.DENY, (SemanticAction("workflow", "*"),), ("pool/a*", "*")),)


def test_effect_and_resources_may_be_left_out():
    assert parse([{"actions": []}]) == (Policy(Effect.ALLOW, (), ()),)


def test_a_lone_star_is_every_action():
    assert parse([allow("*")]) == parse([allow("*:*")])


@pytest.mark.parametrize(
    "action",
    [
        {"base": "http", "path": "/api/pool/team-a*", "method": "Post"},
        {"base": "http", "path": "/api/pool/team-a*", "method": "POST"},
        "http:/api/pool/team-a*:post",
    ],
)
def test_each_spelling_of_an_http_action_is_the_same_action(action):
    assert parse([http(action)])[0].actions == (HttpAction("/api/pool/team-a*", "Post"),)


def test_a_path_with_an_exclamation_mark_denies():
    assert parse([http("http:!/api/agent/*:*")])[0].actions == (HttpAction("/api/agent/*", "*", denies=True),)


def test_the_path_of_a_text_action_ends_at_the_last_colon():
    assert parse([http("http:/api/a:b:get")])[0].actions == (HttpAction("/api/a:b", "Get"),)


def test_forms_may_be_mixed_and_actions_are_stored_sorted_with_denies_before_other_paths():
    sent = [{"actions": ["workflow:Read", "http:/api/x:*", "app:*", "http:*:GET", "http:!/api/y:*"]}]

    assert normalise(sent) == [
        {
            "effect": "Allow",
            "actions": [
                "app:*",
                {"base": "http", "path": "!/api/y", "method": "*"},
                {"base": "http", "path": "*", "method": "Get"},
                {"base": "http", "path": "/api/x", "method": "*"},
                "workflow:Read",
            ],
            "resources": [],
        }
    ]


def test_the_order_of_policies_and_resources_is_kept():
    sent = [deny("a:B", on=["pool/z", "pool/a"]), allow("a:B", on=["*"])]

    assert normalise(sent) == sent


@pytest.mark.parametrize("method", ["*", "get", "Post", "PUT", "patch", "delete", "websocket"])
def test_each_method_of_the_released_servers_is_known(method):
    stored = normalise([http(f"http:/x:{method}")])

    assert stored[0]["actions"][0]["method"] == method.capitalize()


@pytest.mark.parametrize(
    ("policies", "complaint"),
    [
        (None, "Policies: missing is not a list"),
        ({"actions": []}, "Policies: of type dict is not a list"),
        ("*:*", r"Policies: '\*:\*' is not a list"),
        ([[]], "Policy 1 is of type list. Write an object"),
        ([allow(), 7], "Policy 2 is of type int. Write an object"),
        ([{}], "Policy 1 has no actions"),
        ([{"actions": [], "Effect": "Deny"}], "unknown key 'Effect'. Known are actions, effect, resources"),
        ([{"actions": "workflow:*"}], "Policy 1: actions: 'workflow:.*' is not a list"),
        ([{"actions": [], "resources": "*"}], "Policy 1: resources: '.*' is not a list"),
        ([{"actions": [], "resources": None}], "Policy 1: resources: missing is not a list"),
        ([{"actions": [], "effect": "allow"}], 'effect is \'allow\'. Write "Allow" or "Deny"'),
        ([{"actions": [], "effect": None}], "effect is missing"),
        ([{"actions": [], "effect": ["Deny"]}], "effect is of type list"),
        ([allow("nonsense")], "action 'nonsense' is not understood. Write \"type:Action\""),
        ([allow("workflow:create")], "is not understood"),
        ([allow("Workflow:Create")], "is not understood"),
        ([allow("workflow:Create:Now")], "is not understood"),
        ([allow("workflow:Cr*")], "is not understood"),
        ([allow("")], "an action is ''. Write a text"),
        ([allow(7)], "an action is of type int. Write a text"),
        ([allow(None)], "an action is missing"),
        ([allow("work\x00flow:Create")], "without spaces and control characters"),
        ([allow("workflow:Create\n")], "without spaces and control characters"),
        ([allow("workflow: Create")], "without spaces and control characters"),
        ([http("http:/x:fetch")], r"method 'fetch' is not known. Write one of \*, Get, Post"),
        ([http("http:/x")], "method '/x' is not known"),
        ([http("http:Read")], "method 'Read' is not known"),
        ([http("http:api/pool:get")], "path 'api/pool' matches nothing. Begin it with"),
        ([http("http::get")], "path '' matches nothing"),
        ([http("http:!!/x:get")], "path '!/x' matches nothing"),
        ([http({"path": "/x", "method": "Get"})], 'base of an action is missing. Write "http"'),
        ([http({"base": "tcp", "path": "/x", "method": "Get"})], "base of an action is 'tcp'"),
        ([http({"base": "http", "method": "Get"})], "path of an action is missing"),
        ([http({"base": "http", "path": "/x"})], "method of an action is missing"),
        ([http({"base": "http", "path": "/\ud800", "method": "Get"})], "without spaces"),
        ([http({"base": "http", "path": "/x", "method": "Get", "host": "y"})], "unknown key 'host'"),
        ([allow("a:B", on=["my_pool"])], "resource 'my_pool' has no type. Write \"type/name\""),
        ([allow("a:B", on=["pool/a b"])], "without spaces"),
        ([allow("a:B", on=["pool/" + "x" * 496])], "a resource has 501 characters, at most 500"),
        ([allow("a:B", on=[{}])], "a resource is of type dict"),
        ([allow()] * 101, "Policies: 101 are too many, at most 100"),
        ([allow(*["a:B"] * 201)], "Policy 1: actions: 201 are too many, at most 200"),
        ([allow(on=["*"] * 101)], "Policy 1: resources: 101 are too many, at most 100"),
    ],
)
def test_what_is_not_right_is_named_with_what_to_write_instead(policies, complaint):
    with pytest.raises(PolicyError, match=complaint):
        parse(policies)


def test_a_complaint_does_not_repeat_a_long_text():
    with pytest.raises(PolicyError) as caught:
        parse([{"actions": [], "k" * 10_000: 1}])

    assert len(str(caught.value)) < 200


def test_the_largest_role_is_read():
    action = "http:/" + "x" * 489 + ":post"
    policies = parse([allow(*[action] * 200, on=["pool/" + "x" * 495] * 100)] * 100)

    assert (len(action), len(policies), len(policies[99].actions)) == (500, 100, 200)


# The newer form


@pytest.mark.parametrize(
    ("written", "asked", "expected"),
    [
        ("workflow:Create", "workflow:Create", True),
        ("workflow:Create", "workflow:CreateAll", False),
        ("workflow:*", "workflow:Create", True),
        ("*:Create", "workflow:Create", True),
        ("*:*", "workflow:Create", True),
        ("*", "workflow:Create", True),
        ("workflow:Create", "workflow:create", False),
        ("workflow:Delete", "workflow:Create", False),
        ("*:Delete", "workflow:Create", False),
        ("flow:*", "workflow:Create", False),
    ],
)
def test_an_action_matches_in_whole_or_by_a_star_for_a_half(written, asked, expected):
    assert allowed(asked, "pool/x", role(allow(written, on=["*"]))) is expected


@pytest.mark.parametrize(
    ("written", "asked", "expected"),
    [
        ("pool/team-a*", "pool/team-a-gpu", True),
        ("pool/team-a*", "pool/team-a", True),
        ("pool/team-a*", "pool/team-b", False),
        ("pool/team-a", "pool/team-a-gpu", False),
        ("pool/*", "pool/anything", True),
        ("pool/*", "backend/anything", False),
        ("*", "pool/anything", True),
        ("pool/*-gpu", "pool/a-gpu", True),
        ("pool/a?", "pool/ab", False),
        ("pool/[ab]", "pool/a", False),
        ("pool/[ab]", "pool/[ab]", True),
        ("pool/A", "pool/a", False),
        ("pool/a", None, False),
        ("*", None, True),
        ("**", None, True),
        ("pool/*", None, False),
    ],
)
def test_in_a_resource_only_the_star_is_special(written, asked, expected):
    open_ = allowed("workflow:Create", asked, role(allow("workflow:*", on=[written])))
    denied = not allowed("workflow:Create", asked, ADMIN, role(deny("workflow:*", on=[written])))

    assert (open_, denied) == (expected, expected)


def test_an_allow_without_resources_does_not_reach_a_scoped_target():
    assert not allowed("workflow:Create", "pool/x", role(allow("workflow:*")))


def test_an_allow_without_resources_reaches_what_has_no_resource():
    assert allowed("profile:Read", None, role(allow("profile:Read")))


def test_a_deny_without_resources_denies_a_scoped_target():
    assert not allowed("workflow:Create", "pool/x", ADMIN, role(deny("workflow:Create")))


def test_a_deny_without_resources_denies_what_has_no_resource():
    assert not allowed("profile:Read", None, ADMIN, role(deny("profile:Read")))


def test_an_http_action_has_no_say_about_a_semantic_action():
    assert not allowed("workflow:Create", "pool/x", role(http("http:*:*")))


@pytest.mark.parametrize("same_role", [True, False])
def test_a_deny_wins_whatever_the_order(same_role):
    policies = [allow("*:*", on=["*"]), deny("workflow:Create", on=["pool/secret"])]
    roles = [role(*policies)] if same_role else [role(policy) for policy in policies]
    backward = [role(*policies[::-1])] if same_role else roles[::-1]

    for order in (roles, backward):
        assert not allowed("workflow:Create", "pool/secret", *order)
        assert allowed("workflow:Create", "pool/open", *order)


def test_a_deny_counts_from_a_role_that_the_token_does_not_carry():
    secretive = role(deny("workflow:*", on=["pool/my_pool_secret"]))

    decision = decide("workflow:Create", "pool/my_pool_secret", allow=[POOL_ROLE], deny=[secretive])

    assert not decision


def test_an_allow_counts_only_from_a_role_that_the_token_carries():
    assert not decide("workflow:Create", "pool/my_pool", allow=[], deny=[POOL_ROLE])


def test_a_deny_counts_from_a_role_that_the_token_carries():
    both = role(allow("*:*", on=["*"]), deny("workflow:*", on=["pool/x"]))

    assert not decide("workflow:Create", "pool/x", allow=[both], deny=[])


def test_roles_may_come_from_generators():
    decision = decide("workflow:Create", "pool/my_pool", allow=(r for r in [POOL_ROLE]), deny=(r for r in [USER]))

    assert decision


# Reasons


@pytest.mark.parametrize(
    ("decision", "reason"),
    [
        (
            decide("workflow:Create", "pool/my_pool", allow=[POOL_ROLE], deny=[]),
            "Role osmo-my_pool allows workflow:* on pool/my_pool*.",
        ),
        (
            decide("workflow:Create", "pool/x", allow=[ADMIN], deny=[role(deny("workflow:*"))]),
            "Role osmo-x denies workflow:* on everything.",
        ),
        (
            decide("profile:Read", None, allow=[role(allow("profile:Read"))], deny=[]),
            "Role osmo-x allows profile:Read where no resource is named.",
        ),
        (
            decide("profile:Read", None, allow=[ADMIN], deny=[]),
            "Role osmo-admin allows every action on everything.",
        ),
        (decide("profile:Read", None, allow=[], deny=[ADMIN]), "No role allows it."),
        (
            may(SUBMIT, "my_pool", allow=[OLD_POOL_ROLE], deny=[]),
            "Role osmo-my_pool allows POST /api/pool/my_pool*.",
        ),
        (
            may(
                EXEC,
                "x",
                allow=[ADMIN],
                deny=[role(deny("workflow:Exec")), role(deny("workflow:*"), name="y")],
            ),
            "Role osmo-x denies workflow:Exec on everything.",
        ),
        (
            decide_request("GET", "/api/agent/x", allow=[OLD_ADMIN], deny=[]),
            "Role osmo-admin denies any request to /api/agent/*.",
        ),
        (
            decide_request("GET", "/api/../x", allow=[ADMIN], deny=[]),
            "The path has dot segments or control characters, or does not begin with a slash.",
        ),
    ],
)
def test_a_decision_gives_its_reason(decision, reason):
    assert decision.reason == reason


def test_a_decision_is_as_true_as_it_allows():
    assert Decision(True, "")
    assert not Decision(False, "")


# Requests, 6.0 form


@pytest.mark.parametrize(
    ("path", "method", "request_", "expected"),
    [
        ("/api/pool", "*", "GET /api/pool", True),
        ("/api/pool", "*", "WEBSOCKET /api/pool", True),
        ("/api/pool", "Get", "get /api/pool", True),
        ("/api/pool", "Get", "HEAD /api/pool", False),
        ("/api/pool", "Get", "POST /api/pool", False),
        ("/api/pool", "*", "GET /api/pool/", False),
        ("/api/pool", "*", "GET /api/pool?all_pools=True", True),
        ("/api/pool", "*", "GET /api/pool#here", True),
        ("/api/pool", "*", "GET //api//pool", True),
        ("/api/pool", "*", "GET /api/Pool", False),
        ("/api/pool", "*", "GET /api/%70ool", True),
        ("/api/pool/*", "*", "GET /api/pool/a/b/c", True),
        ("/api/pool/*", "*", "GET /api/pool", False),
        ("/api/pool/a?", "*", "GET /api/pool/ab", True),
        ("/api/pool/a?", "*", "GET /api/pool/a", False),
        ("/api/pool/[ab]", "*", "GET /api/pool/b", True),
        ("/api/pool/[!ab]", "*", "GET /api/pool/b", False),
        ("*", "*", "GET /whatever", True),
        ("*", "*", "GET /", True),
        ("*", "*", "GET /api/../secret", False),
        ("*", "*", "GET /api/%2e%2e/secret", False),
        ("*", "*", "GET /api/./secret", False),
        ("*", "*", "GET /api/%00", False),
        ("*", "*", "GET api", False),
        ("*", "*", "GET ", False),
    ],
)
def test_a_request_matches_an_http_action_by_method_and_path(path, method, request_, expected):
    asked_method, _, asked_path = request_.partition(" ")

    assert request_allowed(asked_method, asked_path, role(http(f"http:{path}:{method}"))) is expected


def test_a_denied_path_wins_over_other_policies_and_roles():
    secretive = role(http("http:!/api/pool/secret*:*"), http("http:/api/pool/*:*"))

    assert not request_allowed("POST", "/api/pool/secret/workflow", secretive, OLD_ADMIN, ADMIN)
    assert request_allowed("POST", "/api/pool/open/workflow", secretive)


def test_the_effect_deny_turns_each_http_action_into_a_deny():
    policy = {"effect": "Deny", "actions": ["http:/api/a:*", "http:!/api/b:*"]}

    assert not request_allowed("GET", "/api/a", ADMIN, role(policy))
    assert not request_allowed("GET", "/api/b", ADMIN, role(policy))


def test_a_denied_path_is_denied_with_a_slash_at_its_end_too():
    assert not request_allowed("GET", "/api/pool/", ADMIN, role(http("http:!/api/pool:*")))


def test_a_denied_method_leaves_the_others():
    read_only = role(http("http:/api/pool*:*", "http:!/api/pool*:Post"))

    assert request_allowed("GET", "/api/pool/x", read_only)
    assert not request_allowed("POST", "/api/pool/x/workflow", read_only)


def test_the_administrator_of_6_0_does_not_reach_what_its_denies_exclude():
    assert request_allowed("DELETE", "/api/configs/role/x", OLD_ADMIN)
    assert not request_allowed("GET", "/api/agent/listener/x", OLD_ADMIN)
    assert not request_allowed("GET", "/api/router/a/b/backend/c", OLD_ADMIN)


# Requests, newer form


@pytest.mark.parametrize(
    ("request_", "action", "resource"),
    [
        ("GET /api/auth/access_token", "auth:Token", None),
        ("DELETE /api/auth/access_token/user/laptop", "auth:Token", None),
        ("POST /api/auth/user/ada/access_token/laptop", "auth:Token", "user/ada"),
        ("GET /api/auth/user/ada@example.com/access_token", "auth:Token", "user/ada@example.com"),
        ("GET /api/auth/login", "auth:Login", None),
        ("GET /api/auth/keys/", "auth:Login", None),
        ("POST /api/auth/jwt/access_token", "auth:Refresh", None),
        ("GET /api/auth/jwt/refresh_token?x=y", "auth:Refresh", None),
        ("GET /api/profile/settings", "profile:Read", None),
        ("POST /api/profile/settings", "profile:Update", None),
        ("GET /api/pool", "pool:List", None),
        ("GET /api/pool/", "pool:List", None),
        ("get //api/pool_quota", "pool:List", None),
        ("GET /api/configs", "config:Read", "config/"),
        ("GET /api/configs/role", "config:Read", "config/role"),
        ("GET /api/configs/role/osmo-x", "config:Read", "config/role"),
        ("PUT /api/configs/role", "config:Update", "config/role"),
        ("PATCH /api/configs/pool/x", "config:Update", "config/pool"),
        ("GET /api/users", "user:List", None),
        ("GET /api/resources/x", "resources:Read", None),
        ("GET /api/workflow", "workflow:List", None),
        ("GET /api/tag", "workflow:List", None),
        ("GET /api/bucket", "dataset:List", None),
        ("GET /api/bucket/b/dataset/d", "dataset:Read", "bucket/b"),
        ("POST /api/bucket/b/dataset/d", "dataset:Write", "bucket/b"),
        ("DELETE /api/bucket/b", "dataset:Delete", "bucket/b"),
        ("POST /api/app", "app:Create", None),
        ("PATCH /api/credentials/c", "credentials:Update", None),
        ("POST /api/pool/x/workflow", "workflow:Create", "pool/x"),
        ("POST /api/pool/x/workflow/w/restart", "workflow:Create", "pool/x"),
        ("GET /health", "system:Health", None),
        ("GET /api/version", "system:Version", None),
        ("GET /api/router/version", "system:Version", None),
        ("GET /client/version", "system:Version", None),
        ("WEBSOCKET /api/agent/listener/be", "internal:Operator", "backend/be"),
        ("WEBSOCKET /api/agent/worker/be/more", "internal:Operator", "backend/be"),
        ("WEBSOCKET /api/logger/workflow/w/osmo_ctrl/t", "internal:Logger", "backend/t"),
        ("WEBSOCKET /api/router/exec/w/backend/k", "internal:Router", "backend/k"),
    ],
)
def test_a_request_stands_for_an_action_on_a_resource(request_, action, resource):
    method, _, path = request_.partition(" ")
    exact = role(allow(action, on=[resource] if resource else []))
    elsewhere = role(allow(action, on=["other/place"]))
    others = role({"actions": ["other:Thing"], "resources": ["*"]})

    assert request_allowed(method, path, exact)
    assert not request_allowed(method, path, elsewhere)
    assert not request_allowed(method, path, others)
    assert not request_allowed(method, path, ADMIN, role(deny(action, on=[resource or "*"])))
    assert not request_allowed(method, path, ADMIN, role(deny(action)))
    assert request_allowed(method, path, ADMIN, role(deny(action, on=["other/place"])))


NO_ACTION = [
    "GET /api/auth/user",
    "GET /api/auth/user/ada",
    "POST /api/auth/user/ada/roles",
    "GET /api/auth/roles/osmo-x",
    "POST /api/configs/history/rollback",
    "DELETE /api/configs/role/osmo-x",
    "PUT /api/configs",
    "POST /api/users",
    "HEAD /api/pool",
    "GET /api/pool/x/workflow",
    "POST /api/pool//workflow",
    "POST /api/pool/a/b/workflow",
    "GET /api/agent/listener",
    "POST /api/auth/login",
    "HEAD /api/workflow/w/exec/task/t",
    "GET /api/plugins/configs",
    "GET /",
]


@pytest.mark.parametrize("request_", NO_ACTION)
def test_a_request_without_action_is_open_to_everything_on_everything_alone(request_):
    method, _, path = request_.partition(" ")

    assert request_allowed(method, path, ADMIN)
    assert not request_allowed(method, path, role(allow("*:*", on=["pool/x"])))
    assert not request_allowed(method, path, role(allow("*:*", on=["*/*"])))
    assert not request_allowed(method, path, role(allow("*:*")))
    assert not request_allowed(method, path, role(allow("auth:*", "config:*", "workflow:*", on=["*"])))
    assert not request_allowed(method, path, ADMIN, role(deny("*:*")))
    assert request_allowed(method, path, ADMIN, role(deny("*:*", on=["pool/x"])))


def test_the_newer_administrator_reaches_the_agents_unless_denied():
    assert request_allowed("GET", "/api/agent/listener/be", ADMIN)
    assert not request_allowed("GET", "/api/agent/listener/be", ADMIN, role(deny("internal:*")))


def test_one_kind_of_configuration_does_not_open_the_list_of_all():
    assert not request_allowed("GET", "/api/configs", role(allow("config:Read", on=["config/backend"])))
    assert not request_allowed("GET", "/api/configs", role(allow("config:Read")))
    assert request_allowed("GET", "/api/configs", role(allow("config:Read", on=["config/*"])))


def test_a_token_for_oneself_does_not_open_the_tokens_of_others():
    assert not request_allowed("POST", "/api/auth/user/grace/access_token/x", role(allow("auth:Token")))


def test_a_deny_in_one_form_stops_an_allow_in_the_other():
    path = "/api/pool/my_pool/workflow"

    assert request_allowed("POST", path, POOL_ROLE)
    assert request_allowed("POST", path, OLD_POOL_ROLE)
    assert not request_allowed("POST", path, POOL_ROLE, role(http(f"http:!{path}:*")))
    assert not request_allowed("POST", path, OLD_POOL_ROLE, role(deny("workflow:Create", on=["pool/my_pool"])))


def test_a_percent_sign_does_not_lead_around_a_deny():
    secretive = role(deny("workflow:*", on=["pool/secret"]))

    assert not request_allowed("POST", "/api/pool/secre%74/workflow", ADMIN, secretive)


@pytest.mark.parametrize(
    ("path", "action"),
    [
        ("/api/workflow/w/exec/task/t", "workflow:Exec"),
        ("/api/workflow/w/exec", "workflow:Exec"),
        ("/api/workflow/w/rsync/task/t", "workflow:Rsync"),
        ("/api/workflow/w/portforward/t", "workflow:PortForward"),
    ],
)
def test_requests_that_name_no_pool_are_about_any_of_them(path, action):
    """An allow must be for all pools; a deny for one stops them, since it may be that one."""
    old_user = role(http("http:/api/workflow/*:*"))

    assert request_allowed("POST", path, old_user)
    assert request_allowed("POST", path, old_user, role(deny(action, on=["config/x"])))
    assert not request_allowed("POST", path, old_user, role(deny(action, on=["pool/x"])))
    assert not request_allowed("POST", path, old_user, role(deny(action, on=["pool/*"])))
    assert not request_allowed("POST", path, old_user, role(deny(action)))
    assert request_allowed("POST", path, role(allow(action, on=["*"])))
    assert request_allowed("POST", path, role(allow(action, on=["pool/*"])))
    assert not request_allowed("POST", path, role(allow(action, on=["pool/x*"])))
    assert not request_allowed("POST", path, role(allow(action)))


@pytest.mark.parametrize(
    ("request_", "action"),
    [
        ("GET /api/workflow/w", "workflow:Read"),
        ("GET /api/workflow/w/exec/task/t", "workflow:Read"),
        ("PUT /api/workflow/w/tag", "workflow:Update"),
        ("DELETE /api/workflow/w", "workflow:Delete"),
        ("POST /api/workflow/w/cancel", "workflow:Cancel"),
        ("WEBSOCKET /api/workflow/w/exec/task/t", "workflow:Exec"),
        ("WEBSOCKET /api/router/exec/w/client/k", "workflow:Exec"),
        ("WEBSOCKET /api/router/rsync/w/client/k", "workflow:Rsync"),
        ("WEBSOCKET /api/router/portforward/w/client/k", "workflow:PortForward"),
        ("GET /api/router/webserver/w", "workflow:PortForward"),
        ("POST /api/workflow/w/webserver/t", "workflow:PortForward"),
    ],
)
def test_a_request_about_a_workflow_stands_for_its_action_on_some_pool(request_, action):
    method, _, path = request_.partition(" ")

    assert request_allowed(method, path, role(allow(action, on=["pool/*"])))
    assert not request_allowed(method, path, role(allow(action, on=["pool/x"])))
    assert not request_allowed(method, path, role(allow("workflow:Other", on=["*"])))
    assert not request_allowed(method, path, ADMIN, role(deny(action, on=["pool/x"])))


# Operations on pools


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (allow("workflow:*", on=["pool/x"]), ["submit", "exec", "port-forward"]),
        (allow("workflow:Create", on=["pool/x"]), ["submit"]),
        (allow("workflow:Exec", on=["pool/*"]), ["exec"]),
        (allow("workflow:Rsync", on=["*"]), ["exec"]),
        (allow("workflow:PortForward", on=["pool/x*"]), ["port-forward"]),
        (allow("*:Create", on=["pool/x"]), ["submit"]),
        (allow("workflow:Read", "workflow:List", on=["*"]), []),
        (allow("workflow:*", on=["pool/y", "config/x"]), []),
        (allow("workflow:*"), []),
        (http("http:/api/pool/x*:Post"), ["submit"]),
        (http("http:/api/pool/x/workflow:*"), ["submit"]),
        (http("http:/api/pool/*:Get"), []),
        (http("http:/api/pool/x:Post"), []),
        (http("http:/api/pool/y/*:*"), []),
        (http("http:/api/pool/?/workflow:Post"), ["submit"]),
        (http("http:/api/pool/[!x]/workflow:Post"), []),
        (http("http:/api/workflow/*:*"), ["exec", "port-forward"]),
        (http("http:/api/workflow/*:Get"), []),
        (http("http:/api/workflow/my-workflow/exec/*:Post"), ["exec"]),
        (http("http:/api/workflow/*/rsync/task/t:Post"), ["exec"]),
        (http("http:/api/workflow/w/portforward/t:Post"), ["port-forward"]),
        (http("http:/api/workflow/w:Post"), []),
        (http("http:/api/workflow/*/exec/*:Post"), ["exec"]),
        (http("http:/api/workflow/*/exec/group/*:Post"), ["exec"]),
        (http("http:/api/workflow/*/portforward/*:Post"), ["port-forward"]),
        (http("http:/api/workflow/*/logs:*"), ["exec", "port-forward"]),
        (http("http:/api/*:*"), ["submit", "exec", "port-forward"]),
        (http("http:*:Post"), ["submit", "exec", "port-forward"]),
        (http("http:/api/profile/*:*"), []),
        (deny("*:*", on=["*"]), []),
    ],
)
def test_what_a_policy_lets_one_do_on_pool_x(policy, expected):
    assert may_on("x", role(policy)) == expected


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (deny("workflow:Create", on=["pool/x"]), ["exec", "port-forward"]),
        (deny("workflow:*"), []),
        (deny("workflow:*", on=["pool/y*"]), ["submit", "exec", "port-forward"]),
        (deny("workflow:Exec", on=["*"]), ["submit", "exec", "port-forward"]),
        (deny("workflow:Exec", "workflow:Rsync", on=["*"]), ["submit", "port-forward"]),
        (deny("*:*", on=["pool/*"]), []),
        (http("http:!/api/pool/x/workflow:Post"), ["exec", "port-forward"]),
        (http("http:!/api/pool/x*:Get"), ["submit", "exec", "port-forward"]),
        (http("http:!/api/workflow/*:*"), ["submit"]),
        (http("http:!/api/workflow/*/portforward/*:*"), ["submit", "exec"]),
        (http("http:!/api/workflow/one/portforward/*:*"), ["submit", "exec", "port-forward"]),
        (http("http:!/api/workflow/*/exec/*:*"), ["submit", "exec", "port-forward"]),
        (
            http("http:!/api/workflow/*/exec/*:*", "http:!/api/workflow/*/rsync/*:*"),
            ["submit", "port-forward"],
        ),
        (http("http:!*:*"), []),
    ],
)
@pytest.mark.parametrize("everything", [ADMIN, role(http("http:*:*"))], ids=["newer form", "6.0 form"])
def test_what_a_deny_in_either_form_leaves_on_pool_x(everything, policy, expected):
    assert may_on("x", everything, role(policy)) == expected


def test_pools_are_listed_in_the_order_given():
    pools = ["my_pool_b", "other", "my_pool", "my_pool_a", "secret"]
    secretive = role(deny("workflow:*", on=["pool/*_a"]))

    for one in (POOL_ROLE, OLD_POOL_ROLE):
        assert reachable_pools(pools, SUBMIT, allow=[one], deny=[secretive]) == ["my_pool_b", "my_pool"]
    assert reachable_pools(pools, EXEC, allow=[], deny=[ADMIN]) == []


def test_a_pool_with_strange_characters_is_taken_literally():
    assert may_on("a*", role(allow("workflow:*", on=["pool/a"]))) == []
    assert may_on("*", role(http("http:/api/pool/a/workflow:Post"))) == []


# Pool roles and plain roles


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (allow("workflow:*", on=["pool/default"]), True),
        (allow("workflow:Create", on=["*l/d*"]), True),
        (allow("workflow:Create", on=["config/x"]), False),
        (allow("workflow:Create"), True),
        (allow("workflow:Read", on=["*"]), False),
        (allow("*:PortForward", on=["pool/x"]), True),
        (allow("*:*", on=["*"]), True),
        (deny("*:*", on=["*"]), False),
        (http("http:/api/pool/my_pool*:Post"), True),
        (http("http:/api/pool/x/workflow/*/restart:Post"), True),
        (http("http:/api/workflow/w/exec:Post"), True),
        (http("http:/api/workflow/w/exec/new/kind/of/path:Post"), True),
        (http("http:/api/workflow/w/webserver/t:Post"), True),
        (http("http:/api/pool/*:Get"), False),
        (http("http:/api/pool:*"), False),
        (http("http:!/api/pool/*:*"), False),
        (http("http:/api/pool_quota:*"), False),
        (http("http:/api/[o-q]ool/x/workflow:Post"), True),
        (http("http:/api/[!o-q]ool/x/workflow:Post"), False),
    ],
)
def test_a_pool_role_is_one_that_could_reach_some_pool(policy, expected):
    assert grants_pool_access(parse([policy])) is expected


def test_a_deny_does_not_make_a_pool_role_a_plain_one():
    assert grants_pool_access(parse([allow("workflow:*", on=["pool/x"]), deny("workflow:*", on=["*"])]))


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (allow(), True),
        (allow("pool:List", "profile:*", "workflow:Read", "dataset:*", on=["*"]), True),
        (allow("config:Read", "user:List", on=["*"]), True),
        (deny("auth:*", "*:*", on=["*"]), True),
        (allow("config:Update", on=["config/role"]), False),
        (allow("config:*", on=["*"]), False),
        (allow("user:*", on=["*"]), False),
        (allow("auth:Token"), False),
        (allow("auth:Login", on=["*"]), False),
        (allow("internal:Logger", on=["*"]), False),
        (allow("*:Read", on=["*"]), False),
        (allow("*:*", on=["config/x"]), False),
        (allow("workflow:Exec", on=["pool/x"]), False),
        (http("http:/api/profile/*:*", "http:/api/configs/*:Get", "http:/api/users:Get"), True),
        (http("http:!/api/auth/*:*"), True),
        (http("http:/api/router/*/*/client/*:*"), False),
        (http("http:/api/configs/role:Put"), False),
        (http("http:/api/configs/*:*"), False),
        (http("http:/api/users/*:Delete"), False),
        (http("http:/api/auth/user/*:Get"), False),
        (http("http:/api/agent/worker/x:Websocket"), False),
        (http("http:/api/logger/*:*"), False),
        (http("http:/api/router/a/b/backend/c:Get"), False),
        (http("http:/api/*:Get"), False),
        (http("http:*:*"), False),
        (http("http:/api/pool/x*:Post"), False),
    ],
)
def test_a_plain_role_gives_neither_pools_nor_privileges(policy, expected):
    assert is_plain(parse([policy])) is expected


def test_the_user_role_is_plain_and_the_administrator_and_backend_roles_are_not():
    assert is_plain(USER.policies)
    assert not is_plain(ADMIN.policies)
    assert not is_plain(OLD_BACKEND.policies)
    assert not grants_pool_access(OLD_BACKEND.policies)


# Words


@pytest.mark.parametrize(
    ("policies", "lines"),
    [
        ([], []),
        ([allow()], []),
        ([allow("workflow:*", on=["pool/my_pool*"])], ["pool my_pool*: submit, exec, port-forward"]),
        (
            [allow("workflow:Create", "workflow:Rsync", on=["pool/a", "pool/*"])],
            ["pool a: submit, exec", "every pool: submit, exec"],
        ),
        ([allow("workflow:List", "workflow:Read", on=["*"])], ["workflow:List, workflow:Read on everything"]),
        (
            [allow("*:*", on=["*"])],
            ["every pool: submit, exec, port-forward", "every action on everything"],
        ),
        (
            [allow("*:Create", on=["pool/x"])],
            ["pool x: submit", "*:Create on pool/x"],
        ),
        ([allow("workflow:*")], ["workflow:* where no resource is named"]),
        (
            [allow("workflow:*", "pool:List", on=["pool/x"])],
            ["pool x: submit, exec, port-forward", "pool:List on pool/x"],
        ),
        (
            [allow("workflow:Exec", on=["*gpu", "config/x"])],
            ["every pool: exec", "workflow:Exec on *gpu, config/x"],
        ),
        (
            [deny("workflow:*", on=["pool/secret"]), deny("auth:*")],
            ["no access to: workflow:* on pool/secret", "no access to: auth:* on everything"],
        ),
        (
            [http("http:/api/pool/my_pool*:Post", "http:/api/profile/*:*")],
            ["pool my_pool*: submit", "POST /api/pool/my_pool*, any request to /api/profile/*"],
        ),
        (
            [http("http:*:*", "http:!/api/agent/*:*", "http:!/api/x:Get")],
            [
                "every pool: submit, exec, port-forward",
                "any request to *",
                "no access to: any request to /api/agent/*, GET /api/x",
            ],
        ),
        (
            [{"actions": ["app:*", "http:/api/pool/*/workflow:post"], "resources": ["*"]}],
            ["every pool: submit", "app:* on everything", "POST /api/pool/*/workflow"],
        ),
        ([allow("app:*", on=["*"]), allow("app:*", on=["*"])], ["app:* on everything"]),
    ],
)
def test_policies_in_words(policies, lines):
    assert describe(parse(policies)) == lines


# Patterns


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("", "", True),
        ("", "*", True),
        ("", "?", False),
        ("a*", "*b", True),
        ("a*", "b*", False),
        ("*a*", "b?b", True),
        ("*a*", "bb", False),
        ("[a-c]x", "[c-e]?", True),
        ("[a-c]", "[d-e]", False),
        ("[!a]", "a", False),
        ("[!a-c]", "[a-d]", True),
        ("[!b-da]", "[a-d]", False),
        ("[]]", "]", True),
        ("[!]]", "]", False),
        ("[a", "[[]a", True),
        ("[z-a]*", "*", False),
        ("[!z-a]", "?", True),
        ("[a-]", "-", True),
        ("/api/pool/*/workflow", "/api/pool/x*", True),
        ("/api/pool/*/workflow", "/api/pools*", False),
    ],
)
def test_two_patterns_overlap_when_some_text_matches_both(left, right, expected):
    assert globs.overlap(left, right) is expected
    assert globs.overlap(right, left) is expected
