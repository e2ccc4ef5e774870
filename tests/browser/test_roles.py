"""Roles and pools in a real browser: the editor with its preview, the generator, the matrix on a narrow screen."""

import json
from collections.abc import Callable

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from profiles.models import Pool, Role
from tests.cast import PASSWORD, PLAIN_ROLE, POOL_ROLE, Cast
from tests.console import address
from tests.troupe import allow
from tokens.models import AccessToken

SIZES = pytest.mark.parametrize("width", [1280, 390])


@pytest.fixture
def stage(transactional_db: None) -> Cast:
    return Cast()


@pytest.fixture
def sign_in(page: Page) -> Callable[[str], None]:
    def sign_in(name: str) -> None:
        page.goto("/")
        page.get_by_label("User id").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name="Console")).to_be_visible()

    return sign_in


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


@SIZES
def test_a_role_is_changed_after_a_look_at_who_is_hit(
    stage: Cast, page: Page, sign_in: Callable[[str], None], width: int
) -> None:
    token = stage.service_token(days=60)
    role = Role.objects.get(name=POOL_ROLE)
    page.set_viewport_size({"width": width, "height": 900})
    sign_in("grace")

    page.goto(address(role))
    page.get_by_role("link", name="Change", exact=True).click()
    page.get_by_label("Policies").fill('[{"effect": "Allow"\n "actions": []}]')
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_text("This is not JSON (line 2, column 2")).to_be_visible()
    expect(page.get_by_label("Policies")).to_have_value('[{"effect": "Allow"\n "actions": []}]')
    assert fits(page)

    page.get_by_label("Policies").fill(json.dumps([allow("workflow:Create", "pool/my_pool")]))
    page.get_by_label("Maximum lifetime").fill("10")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", name="Who is hit if you save this")).to_be_visible()
    expect(page.get_by_role("heading", name="pool my_pool: exec, port-forward")).to_be_visible()
    expect(page.get_by_text("Tokens that are shortened, for good")).to_be_visible()
    assert fits(page)
    assert not Role.objects.exclude(max_token_days=None).exists()

    page.get_by_role("button", name="Save").first.click()
    expect(page.get_by_text(f"The role {POOL_ROLE} is changed.")).to_be_visible()
    role.refresh_from_db()
    assert (role.max_token_days, role.described) == (10, ["pool my_pool: submit"])
    assert AccessToken.objects.get(pk=token.pk).expires_at < token.expires_at


def test_a_text_that_was_edited_after_the_look_is_shown_again(
    stage: Cast, page: Page, sign_in: Callable[[str], None]
) -> None:
    role = Role.objects.get(name=PLAIN_ROLE)
    sign_in("grace")
    page.goto(address(role, "edit"))
    page.get_by_label("Policies").fill("[]")
    page.get_by_role("button", name="Continue").click()

    page.get_by_label("Policies").fill(json.dumps([allow("workflow:*", "*")]))
    page.get_by_role("button", name="Save").last.click()

    expect(page.get_by_role("alert")).to_contain_text("This differs from what you looked at.")
    expect(page.get_by_text("It becomes a pool role.")).to_be_visible()
    role.refresh_from_db()
    assert not role.grants_pools


@SIZES
def test_a_pool_gets_its_role(stage: Cast, page: Page, sign_in: Callable[[str], None], width: int) -> None:
    pool = Pool.create(by=stage.by("grace"), name="lab")
    page.set_viewport_size({"width": width, "height": 900})
    sign_in("grace")

    page.goto(address(pool))
    page.get_by_role("link", name="Make a pool role").click()
    expect(page.get_by_label("Name of the role")).to_have_value("osmo-lab")
    page.get_by_label("port-forward").uncheck()
    assert fits(page)
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_text("pool lab: submit, exec")).to_be_visible()
    assert fits(page)
    page.get_by_role("button", name="Make a pool role").first.click()

    expect(page.get_by_role("heading", level=1)).to_have_text("osmo-lab")
    assert Role.objects.get(name="osmo-lab").described == ["pool lab: submit, exec"]


def test_the_pool_is_completed_while_it_is_typed(stage: Cast, page: Page, sign_in: Callable[[str], None]) -> None:
    sign_in("grace")
    page.goto(reverse("admin:profiles_role_pool-role"))

    page.get_by_label("Pool", exact=True).press_sequentially("my")

    expect(page.locator("datalist option")).to_have_attribute("value", "my_pool")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_roles_stay_beside_the_matrix_on_a_narrow_screen(
    stage: Cast, page: Page, sign_in: Callable[[str], None], scheme: str
) -> None:
    for number in range(25):
        Pool.create(by=stage.by("grace"), name=f"pool-with-a-long-name-{number:02}")
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": 390, "height": 900})
    sign_in("audrey")

    page.goto(reverse("admin:profiles_role_changelist"))
    page.get_by_role("link", name="Access matrix").click()
    table = page.get_by_role("region", name="Access matrix")
    table.evaluate("region => region.scrollLeft = 500")

    role = table.get_by_role("rowheader", name=POOL_ROLE)
    region, header = table.bounding_box(), role.bounding_box()
    assert region
    assert header
    assert abs(header["x"] - region["x"]) < 3
    assert header["width"] < 180
    assert fits(page)
    page.get_by_role("link", name="Later pools").click()
    expect(table.get_by_role("columnheader", name="pool-with-a-long-name-24")).to_be_attached()
