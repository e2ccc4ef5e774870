"""The role page, the policy editor, and the generator of pool roles."""

import json
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from osmo_portal.events.models import Event
from profiles.models import Pool, Role, RoleAssignment, User
from tests.bulk import many_tokens
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast
from tests.console import Answer, address, form_errors, last_event, look_and_save, text, visitor
from tests.troupe import allow, http

NEW = "admin:profiles_role_new"
GENERATOR = "admin:profiles_role_pool-role"
GENERATED = {"pool": "my_pool", "operations": ["submit", "exec", "port-forward"], "name": "", "max_token_days": ""}


def write(policies: str, **fields: str) -> Answer:
    """What the editor says about a text, before anything is made."""
    data = {"name": "new-role", "description": "", "policies": policies, "max_token_days": "", **fields}
    return visitor("grace").post(reverse(NEW), data)


def generate(page: str = "", **fields: Any) -> Answer:
    return look_and_save(visitor("grace"), page or reverse(GENERATOR), {**GENERATED, **fields})


# What the editor says.


@pytest.mark.parametrize(
    ("policies", "said"),
    [
        ([allow("workflow:*", "pool/my_pool")], [("new", "pool my_pool: submit, exec, port-forward")]),
        (
            [http("/api/pool/my_pool/workflow")],
            [("new", "pool my_pool: submit"), ("new", "POST /api/pool/my_pool/workflow")],
        ),
        ([], []),
    ],
    ids=["actions and resources", "http", "nothing"],
)
def test_what_is_written_is_told_in_words_before_anything_is_made(
    cast: Cast, policies: list[Any], said: list[tuple[str, str]]
) -> None:
    answer = write(json.dumps(policies))

    assert answer.context["edit"].words == said
    assert "Nobody holds it yet, so nobody is hit." in text(answer)
    assert not Role.objects.filter(name="new-role").exists()


@pytest.mark.parametrize(
    ("policies", "said"),
    [
        ("[\n {]", "This is not JSON (line 2, column 3: "),
        ("[\n {]", "The line reads: {]"),
        ('[{"actions": ["workflow:Create"] "resources": []}]', "column 34"),
        ('[{"actions": [], "effect": "Deny", "effect": "Allow"}]', "The key “effect” stands twice in one object."),
        ("{}", "Policies: of type dict is not a list. Write [...]."),
        ('[{"effect": "allow", "actions": []}]', 'Policy 1: the effect is \'allow\'. Write "Allow" or "Deny".'),
        ('[{"actions": []}, {"resources": []}]', 'Policy 2 has no actions. Write "actions": [...]'),
        ('[{"actions": [], "ressources": []}]', "Policy 1 has the unknown key 'ressources'. Known are actions, effect"),
        ('[{"actions": ["workflow:create"]}]', "Policy 1"),
        ('[{"actions": ["workflow:Create"], "resources": ["my_pool"]}]', 'Write "type/name", for example'),
        ('[{"actions": [{"base": "http", "path": "/x", "method": "Fetch"}]}]', "the method 'Fetch' is not known."),
    ],
)
def test_what_is_wrong_is_told_in_words_and_what_was_typed_stays(cast: Cast, policies: str, said: str) -> None:
    answer = write(policies, description="kept as well")

    assert said in form_errors(answer)["policies"][0]
    assert answer.context["form"]["policies"].value() == policies
    assert "kept as well" in text(answer)


def test_the_editor_shows_no_line_of_many_thousand_characters(cast: Cast) -> None:
    answer = write('["' + "x" * 100_000)

    assert len(form_errors(answer)["policies"][0]) < 300


def test_what_is_stored_is_shown_as_it_will_be(cast: Cast) -> None:
    answer = write('[{"actions": ["http:/api/pool/lab*:post"]}]')

    assert json.loads(answer.context["stored"])[0]["actions"] == [
        {"base": "http", "path": "/api/pool/lab*", "method": "Post"}
    ]


@pytest.mark.parametrize("name", ["osmo-user", "osmo-default"])
@pytest.mark.parametrize("policy", [allow("workflow:Exec", "pool/lab"), http("/api/pool/*")], ids=["actions", "http"])
def test_what_everybody_has_never_opens_a_pool(cast: Cast, name: str, policy: dict[str, Any]) -> None:
    role = Role.objects.get(name=name)
    data = {"description": "", "policies": json.dumps([*role.policies, policy]), "max_token_days": ""}

    answer = look_and_save(visitor("grace"), address(role, "edit"), data)

    assert "must not give pool access: every person holds it." in form_errors(answer)["policies"][0]
    role.refresh_from_db()
    assert not role.grants_pools


# The role page.


def test_the_page_tells_why_operators_may_not_grant_a_role(cast: Cast) -> None:
    by = cast.by("grace")
    policies = [allow("workflow:Create", "pool/lab"), allow("auth:Token dataset:Read", "*")]
    role = Role.create(by=by, name="mixed", policies=policies)
    client = visitor("olive")

    page = text(client.get(address(role)))

    assert "no, only administrators may, because it gives" in page
    assert "workflow:Create on pool/lab" in page
    assert "auth:Token on everything" in page
    assert '<div class="line">dataset:Read on everything</div>' not in page
    assert "only administrators may" not in text(client.get(address(Role.objects.get(name=PLAIN_ROLE))))


def test_the_page_tells_who_holds_a_role_and_which_tokens_carry_it(cast: Cast) -> None:
    cast.service_token("ci")
    cast.service_token("held").suspend(by=cast.by("grace"), reason="x")
    role = Role.objects.get(name=POOL_ROLE)

    page = visitor("audrey").get(address(role))

    panels = {panel.title: panel.context for panel in page.context["panels"]}
    assert [a.user.username for a in panels["Who holds it"]["assignments"]] == ["robot"]
    assert panels["Live tokens that carry it"]["crowd"].names == ["robot/ci"]
    assert f"{reverse('admin:tokens_accesstoken_changelist')}?state=active&amp;role={POOL_ROLE}" in text(page)


def test_the_page_of_a_deleted_role_names_nobody(cast: Cast) -> None:
    cast.service_token()
    role = Role.objects.get(name=POOL_ROLE)
    role.mark_deleted(by=cast.by("grace"), reason="x")

    page = text(visitor("grace").get(address(role)))

    assert "The role is deleted: nobody holds it." in page
    assert "No live token carries it." in page


def test_the_role_that_counts_for_everybody_says_so(cast: Cast) -> None:
    page = text(visitor("grace").get(address(Role.objects.get(name="osmo-default"))))

    assert "because it counts for everybody" in page


def test_the_role_page_costs_the_same_however_many_hold_it(cast: Cast) -> None:
    cast.service_token()
    role = Role.objects.get(name=POOL_ROLE)
    client = visitor("grace")

    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            client.get(address(role))
        return len(seen)

    queries()  # what each process asks for once
    few = queries()
    many = User._base_manager.bulk_create(
        User(username=f"crowd-{n}", kind="service", password="!", accountable=cast.ada) for n in range(45)
    )
    RoleAssignment._base_manager.bulk_create(RoleAssignment(user=user, role=role) for user in many)
    many_tokens(cast.robot, 60)

    # The session, its person, roles and groups (4); the role; who holds it; tokens in sight, those that carry it, and
    # ten of their names (3); the history: events, and lines of batches (2).
    assert queries() == few == 11


def test_more_holders_than_fit_are_counted_but_not_shown(cast: Cast) -> None:
    role = Role.objects.get(name=POOL_ROLE)
    many = User._base_manager.bulk_create(
        User(username=f"crowd-{n}", kind="service", password="!", accountable=cast.ada) for n in range(55)
    )
    RoleAssignment._base_manager.bulk_create(RoleAssignment(user=user, role=role) for user in many)

    page = visitor("grace").get(address(role))

    assert "56 hold it; the first 50 are shown." in " ".join(text(page).split())


# The generator.


def test_a_pool_role_is_generated_and_opens_its_pool_alone(cast: Cast) -> None:
    answer = generate(name="opens-my_pool", max_token_days="30")

    role = Role.objects.get(name="opens-my_pool")
    assert answer["Location"] == address(role)
    assert role.described == ["pool my_pool: submit, exec, port-forward"]
    assert role.policies == [allow("workflow:Create workflow:Exec workflow:PortForward workflow:Rsync", "pool/my_pool")]
    assert role.max_token_days == 30
    assert last_event().action == "role.created"


@pytest.mark.parametrize(
    ("operations", "words"),
    [
        (["submit"], ["pool my_pool: submit"]),
        (["exec"], ["pool my_pool: exec"]),
        (["port-forward", "submit"], ["pool my_pool: submit, port-forward"]),
    ],
)
def test_only_the_chosen_operations_are_given(cast: Cast, operations: list[str], words: list[str]) -> None:
    generate(name="some", operations=operations)

    assert Role.objects.get(name="some").described == words


def test_the_name_is_suggested(cast: Cast) -> None:
    Pool.create(by=cast.by("grace"), name="lab")

    generate(pool="lab")

    assert Role.objects.get(name="osmo-lab").grants_pools


def test_nothing_is_generated_before_it_was_shown(cast: Cast) -> None:
    client = visitor("grace")
    events = Event.objects.count()

    answer = client.post(reverse(GENERATOR), {**GENERATED, "name": "some"})

    assert "pool my_pool: submit, exec, port-forward" in text(answer)
    assert "&quot;pool/my_pool&quot;" in text(answer)
    assert Event.objects.count() == events
    assert not Role.objects.filter(name="some").exists()


def test_a_pool_offers_its_own_generator_filled_in(cast: Cast) -> None:
    client = visitor("grace")

    pool = client.get(address(cast.pool))
    page = client.get(address(cast.pool, "pool-role"))
    generate(address(cast.pool, "pool-role"), name="own")

    assert "Make a pool role" in [button["label"] for button in pool.context["buttons"]]
    assert page.context["form"].initial == {"pool": "my_pool", "name": "osmo-my_pool"}
    assert Role.objects.get(name="own").described == ["pool my_pool: submit, exec, port-forward"]


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"pool": "nowhere"}, "pool", "There is no pool with the name nowhere."),
        ({"pool": "a b\0"}, "pool", ""),
        ({"pool": "my_pool*"}, "pool", "There is no pool"),
        ({"pool": ""}, "pool", "required"),
        ({"operations": []}, "operations", "Choose at least one."),
        ({"operations": ["delete"]}, "operations", "Select a valid choice"),
        ({"name": "a b"}, "name", "Use letters"),
        ({"name": "osmo-admin"}, "name", "already exists"),
        ({"name": ""}, "name", f"Role {POOL_ROLE} already exists."),
        ({"name": "some", "max_token_days": "0"}, "max_token_days", "greater"),
    ],
)
def test_a_bad_choice_is_an_error_beside_the_field(cast: Cast, fields: Any, field: str, said: str) -> None:
    roles = Role.objects.count()

    answer = generate(**{"name": "some", **fields})

    errors = form_errors(answer)
    assert set(errors) == {field}
    assert said in errors[field][0]
    assert Role.objects.count() == roles


def test_a_deleted_pool_gets_no_role(cast: Cast) -> None:
    cast.pool.mark_deleted(by=cast.by("grace"), reason="x")

    answer = generate(name="some")

    assert "There is no pool" in form_errors(answer)["pool"][0]
    assert visitor("grace").get(address(cast.pool, "pool-role")).status_code == 302


@pytest.mark.parametrize("name", ["olive", "audrey"])
def test_only_administrators_make_roles(cast: Cast, name: str) -> None:
    client = visitor(name)

    for page in (reverse(NEW), reverse(GENERATOR), address(cast.pool, "pool-role")):
        assert client.get(page).status_code == 403
        assert client.post(page, {**GENERATED, "name": "some", "policies": "[]", "seen": "x"}).status_code == 403
    assert not Role.objects.filter(name="some").exists()
