"""What holds for whatever policies: reading never breaks, a deny wins, and power only shrinks."""

import fnmatch
import itertools
import json
from contextlib import suppress

from hypothesis import assume, example, given
from hypothesis import strategies as st

from profiles.policies import (
    Effect,
    HttpAction,
    Operation,
    PolicyError,
    RolePolicies,
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

POOLS = ["a", "ab", "b", "default", "secret"]
KINDS = ["workflow", "pool", "config", "user", "auth", "internal", "profile", "*"]
VERBS = ["Create", "Exec", "Rsync", "PortForward", "Read", "List", "Update", "Token", "*"]
RESOURCES = ["*", "pool/*", "pool/a", "pool/a*", "pool/*b", "pool/secret", "config/role", "*b", "p*/a"]
PATHS = [
    "*",
    "/api/*",
    "/api/pool/*",
    "/api/pool/a*",
    "/api/pool/?/workflow",
    "/api/pool/[ab]/workflow*",
    "/api/pool/[!a]*/workflow",
    "/api/workflow/*",
    "/api/workflow/*/exec/*",
    "/api/workflow/w/rsync/task/t",
    "/api/workflow/*/portforward/*",
    "/api/profile/*",
    "/api/configs/role",
    "/api/configs*",
    "/api/auth/*",
    "/api/*/[a-z]*/workflow",
]
METHODS = ["*", "Get", "Post", "put", "DELETE", "websocket"]
REQUESTS = [
    ("GET", "/api/pool"),
    ("POST", "/api/pool/a/workflow"),
    ("POST", "/api/pool/secret/workflow/"),
    ("POST", "/api/workflow/w/exec/task/t"),
    ("POST", "/api/workflow/w/portforward/t"),
    ("GET", "/api/configs/role/x"),
    ("PUT", "/api/configs/role"),
    ("POST", "/api/auth/user/ada/access_token/x"),
    ("GET", "/api/auth/user"),
    ("GET", "/api/profile/settings?x=y"),
]

semantic_actions = st.builds("{}:{}".format, st.sampled_from(KINDS), st.sampled_from(VERBS)) | st.just("*")
http_paths = st.builds("{}{}".format, st.sampled_from(["", "", "!"]), st.sampled_from(PATHS))
http_actions = st.builds("http:{}:{}".format, http_paths, st.sampled_from(METHODS)) | st.fixed_dictionaries(
    {"base": st.just("http"), "path": http_paths, "method": st.sampled_from(METHODS)}
)
policy_objects = st.fixed_dictionaries(
    {"actions": st.lists(semantic_actions | http_actions, max_size=4)},
    optional={
        "effect": st.sampled_from(["Allow", "Allow", "Deny"]),
        "resources": st.lists(st.sampled_from(RESOURCES), max_size=3),
    },
)
role_objects = st.lists(policy_objects, max_size=3)
roles = st.builds(RolePolicies, st.sampled_from(["osmo-a", "osmo-b"]), role_objects.map(parse))
role_lists = st.lists(roles, max_size=4)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
almost_policies = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "effect": json_values | st.just("Allow"),
            "actions": json_values | st.lists(json_values | semantic_actions | http_actions, max_size=3),
            "resources": json_values | st.lists(json_values | st.sampled_from(RESOURCES), max_size=3),
        },
    ),
    max_size=3,
)
awkward_texts = st.text(st.sampled_from("http:*!/[]aZ \n\0\ud800é"), max_size=12)
awkward_policies = st.builds(
    lambda action, resource, method: [
        {"actions": [action, {"base": "http", "path": action, "method": method}], "resources": [resource]}
    ],
    awkward_texts,
    awkward_texts,
    awkward_texts,
)
places = st.lists(st.sampled_from([*"abc**?", "[ab]", "[!a]", "[a-c]", "[!a-c]", "[c-a]"]), max_size=3)
glob_texts = st.text(st.sampled_from("ab-]![*?"), max_size=7)


def answers(*, allow, deny):
    """Every question there is, as a set of those answered yes."""
    found = {
        (action, resource)
        for action in ("workflow:Create", "config:Read", "profile:Read", "auth:Token", "user:Delete")
        for resource in (None, "pool/a", "pool/secret", "config/role")
        if decide(action, resource, allow=allow, deny=deny)
    }
    found |= {request for request in REQUESTS if decide_request(*request, allow=allow, deny=deny)}
    for operation in Operation:
        found |= {(operation, pool) for pool in reachable_pools(POOLS, operation, allow=allow, deny=deny)}
    return found


@given(json_values | almost_policies | awkward_policies)
def test_reading_raises_nothing_but_a_policy_error(value):
    with suppress(PolicyError):
        assert parse(normalise(value)) == parse(value)


@given(role_objects)
def test_what_is_stored_says_what_was_sent_and_stays_as_it_is(sent):
    stored = normalise(sent)

    assert parse(stored) == parse(sent)
    assert normalise(stored) == stored
    assert json.loads(json.dumps(stored)) == stored
    assert [policy["effect"] for policy in stored] == [policy.get("effect", "Allow") for policy in sent]


@given(role_lists, role_lists, st.sampled_from(["*:*", "http:*:*", "http:!*:*"]))
def test_a_deny_of_everything_leaves_nothing(allow, deny, action):
    denied = RolePolicies("osmo-no", parse([{"effect": "Deny", "actions": [action, "*:*", "http:*:*"]}]))

    assert answers(allow=allow, deny=[*deny, denied]) == set()
    assert answers(allow=[denied, *allow], deny=deny) == set()


@given(role_lists, role_lists, roles)
def test_one_more_role_among_the_denies_never_allows_more(allow, deny, more):
    assert answers(allow=allow, deny=[*deny, more]) <= answers(allow=allow, deny=deny)


@given(role_lists, role_lists, st.data())
def test_one_role_less_never_allows_more_while_its_denies_stay(allow, deny, data):
    assume(allow)
    gone = data.draw(st.sampled_from(allow))
    left = [role for role in allow if role is not gone]

    assert answers(allow=left, deny=[*deny, gone]) <= answers(allow=allow, deny=deny)


@given(role_lists, st.data())
def test_a_token_with_some_of_the_roles_is_never_wider_than_its_owner(held, data):
    carried = [role for role in held if data.draw(st.booleans())]

    assert answers(allow=carried, deny=held) <= answers(allow=held, deny=held)


@given(role_lists, role_lists, st.randoms())
def test_the_order_of_roles_and_policies_does_not_matter(allow, deny, random):
    def shuffled(items):
        return random.sample(items, len(items))

    def mixed(roles_):
        return [RolePolicies(role.role, tuple(shuffled(role.policies))) for role in shuffled(roles_)]

    assert answers(allow=mixed(allow), deny=mixed(deny)) == answers(allow=allow, deny=deny)


@given(role_lists, role_lists)
def test_all_pools_at_once_are_answered_like_one_by_one(allow, deny):
    for operation in Operation:
        one_by_one = [pool for pool in POOLS if may(operation, pool, allow=allow, deny=deny)]

        assert reachable_pools(iter(POOLS), operation, allow=iter(allow), deny=iter(deny)) == one_by_one


@given(role_lists, role_lists, st.sampled_from(POOLS))
def test_a_pool_is_open_for_submitting_exactly_if_the_request_is(allow, deny, pool):
    asked = decide_request("POST", f"/api/pool/{pool}/workflow", allow=allow, deny=deny)

    assert may(Operation.SUBMIT, pool, allow=allow, deny=deny) == asked


@given(roles, st.sampled_from(POOLS) | st.text(max_size=5), st.sampled_from(Operation))
def test_whoever_may_do_something_on_a_pool_holds_a_pool_role(role, pool, operation):
    if may(operation, pool, allow=[role], deny=[]):
        assert grants_pool_access(role.policies)


@given(role_objects)
def test_a_plain_role_gives_no_pools_and_no_privileges(sent):
    policies = parse(sent)
    role = RolePolicies("osmo-x", policies)
    assume(is_plain(policies))

    assert not grants_pool_access(policies)
    for method, path in REQUESTS:
        if not path.startswith(("/api/pool", "/api/profile")) and (method, path[:12]) != (
            "GET",
            "/api/configs",
        ):
            assert not decide_request(method, path, allow=[role], deny=[])


@given(role_objects, policy_objects)
def test_one_more_policy_never_makes_a_role_plain_nor_takes_its_pools(sent, more):
    assert is_plain(parse([*sent, more])) <= is_plain(parse(sent))
    assert grants_pool_access(parse([*sent, more])) >= grants_pool_access(parse(sent))


@given(role_objects)
def test_words_name_pools_exactly_for_allows_that_reach_some(sent):
    policies = parse(sent)
    text = "\n".join(describe(policies))
    denies = any(
        policy.effect is Effect.DENY or (isinstance(action, HttpAction) and action.denies)
        for policy in policies
        for action in policy.actions
    )

    assert ("no access to: " in text) is denies
    if any(may(op, pool, allow=[RolePolicies("x", policies)], deny=[]) for op in Operation for pool in POOLS):
        assert text.startswith("pool ") or "\npool " in text or "every pool: " in text


@given(st.text(max_size=8), st.text(max_size=30), role_lists)
def test_a_request_of_any_text_is_answered(method, path, held):
    decide_request(method, path, allow=held, deny=held)
    decide(method, path, allow=held, deny=held)


@given(
    st.sampled_from(["", "/api", "//api/pool"]),
    st.lists(st.sampled_from(["..", ".", "%2e%2E", "%2e"]), min_size=1),
    st.sampled_from(["", "/", "/x", "?y=z"]),
)
def test_no_path_with_dot_segments_is_allowed(start, dots, end):
    policies = parse([{"actions": ["*:*", "http:*:*"], "resources": ["*"]}])
    everything = [RolePolicies("osmo-admin", policies)]

    assert decide_request("GET", start + "/x" + end, allow=everything, deny=[])
    assert not decide_request("GET", "/".join([start, *dots]) + end, allow=everything, deny=[])


@given(glob_texts, st.text(st.sampled_from("ab-]![*?"), max_size=4))
@example("[a-c-e]", "-")
@example("[--a]", "a")
@example("[!", "[!")
def test_a_pattern_overlaps_a_text_exactly_if_it_matches_it(pattern, text):
    literal = "".join(f"[{c}]" if c in "[*?" else c for c in text)

    assert globs.overlap(pattern, literal) == fnmatch.fnmatchcase(text, pattern) == globs.matches(pattern, text)


def some_text_matches(left, right):
    """By trial. Two patterns of three places each need no more than four characters, two beside each star."""
    texts = itertools.chain.from_iterable(itertools.product("abcd", repeat=length) for length in range(5))
    return any(globs.matches(left, text) and globs.matches(right, text) for text in map("".join, texts))


@given(places.map("".join), places.map("".join))
def test_two_patterns_overlap_exactly_if_some_text_matches_both(left, right):
    expected = some_text_matches(left, right)

    assert globs.overlap(left, right) is expected
    assert globs.overlap(right, left) is expected


@given(st.text(st.sampled_from("a/*?"), max_size=6), st.text(st.sampled_from("a/*"), max_size=5))
def test_a_template_overlaps_fewer_patterns_than_the_pattern_it_looks_like(pattern, template):
    assert globs.overlap_path(pattern, template) <= globs.overlap(pattern, template)
