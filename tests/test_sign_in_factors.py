"""Second factors: adding, using, losing them; who must have one; what is stored of them."""

import re
import time
from collections.abc import Callable
from io import StringIO
from typing import Any
from urllib.parse import urlencode

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from osmo_portal.events.models import Event
from osmo_portal.signin.factors import FactorAdapter
from profiles.models import User
from tests.cast import PASSWORD, Cast
from tests.console import Answer, address, form_errors, last_event, text, visitor

LOGIN, INDEX, CONFIRM = reverse("admin:login"), reverse("admin:index"), reverse("admin:confirm")
OWN, APP, REMOVE_APP = reverse("mfa_index"), reverse("mfa_activate_totp"), reverse("mfa_deactivate_totp")
KEY, CODES, STEP = reverse("add_key"), reverse("new_codes"), reverse("mfa_authenticate")
MINE = reverse("my_tokens")
SECTIONS = 'id="sections"'
CLOSES = "the console and My tokens close until you add another"


def code_of(secret: str) -> str:
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30))


def add_app(client: Client) -> tuple[str, list[str]]:
    """The secret of the app that was added, and the recovery codes that the answer showed."""
    secret = client.get(APP).context["form"].secret
    answer = client.post(APP, {"code": code_of(secret)})
    assert answer.status_code == 200, "the codes are shown"
    return secret, re.findall(r"^(?:.*>)?(\d{10})", text(answer), re.MULTILINE)


def sign_in(name: str, client: Client, **more: str) -> Answer:
    return client.post(LOGIN, {"username": name, "password": PASSWORD, **more})


@pytest.fixture
def grace(cast: Cast) -> dict[str, Any]:
    """What grace has who added an app."""
    secret, codes = add_app(visitor("grace"))
    return {"secret": secret, "codes": codes}


def wait_for_a_new_code(go: Callable[[float], None]) -> None:
    go(125 / 86_400)


def test_an_app_is_added_with_an_event_and_with_recovery_codes(cast: Cast) -> None:
    client = visitor("grace")

    secret, codes = add_app(client)

    assert len(set(codes)) == 10
    event = last_event()
    assert (event.action, event.actor, event.object_label) == ("factor.added", "grace", "grace")
    assert event.changes == {"factor": "authenticator app"}
    assert "Authenticator app" in text(client.get(OWN))
    assert "10 left" in text(client.get(OWN))
    assert codes[0] not in text(client.get(OWN)) + text(client.get(CODES))
    assert secret not in text(client.get(OWN))


def test_a_wrong_code_adds_nothing(cast: Cast) -> None:
    client = visitor("grace")
    client.get(APP)

    answer = client.post(APP, {"code": "000000"})

    assert "code" in form_errors(answer)
    assert not Authenticator.objects.exists()


def test_what_is_secret_is_stored_encrypted_also_while_it_waits(cast: Cast) -> None:
    client = visitor("grace")
    waiting = client.get(APP).context["form"].secret
    assert waiting not in repr([session.get_decoded() for session in Session.objects.all()])

    secret, codes = add_app(client)

    stored = repr([*Authenticator.objects.values_list("data", flat=True)])
    app = Authenticator.objects.get(type="totp")
    assert FactorAdapter().decrypt(app.data["secret"]) == secret
    assert secret not in stored
    assert not [code for code in codes if code in stored]
    assert secret not in repr([*Event.objects.values()])
    assert "app_to_add" not in client.session


def test_with_a_factor_the_password_alone_opens_nothing(grace: dict[str, Any]) -> None:
    client = Client()

    answer = sign_in("grace", client)

    assert answer["Location"] == STEP
    assert "_auth_user_id" not in client.session
    assert client.get(INDEX).status_code == 302
    assert client.get("/api/v1/tokens").status_code == 401
    assert last_event().action != "signin.succeeded"


def test_the_code_of_the_app_completes_the_sign_in_and_leads_on(
    cast: Cast, grace: dict[str, Any], time_machine_days: Callable[[float], None]
) -> None:
    wait_for_a_new_code(time_machine_days)
    client = Client()
    roles = reverse("admin:profiles_role_changelist")
    sign_in("grace", client, next=roles)

    answer = client.post(STEP, {"code": code_of(grace["secret"])})

    assert answer["Location"] == roles
    assert (last_event().action, last_event().actor) == ("signin.succeeded", "grace")
    assert client.get(roles).status_code == 200


def test_a_code_works_once(cast: Cast, grace: dict[str, Any], time_machine_days: Callable[[float], None]) -> None:
    wait_for_a_new_code(time_machine_days)
    code = code_of(grace["secret"])
    for client, expected in ((Client(), 302), (Client(), 200)):
        sign_in("grace", client)
        assert client.post(STEP, {"code": code}).status_code == expected

    time_machine_days(31 / 86_400)
    late = Client()
    sign_in("grace", late)
    assert late.post(STEP, {"code": code}).status_code == 200, "it would still be good, but it was used"


def test_a_recovery_code_works_once(cast: Cast, grace: dict[str, Any]) -> None:
    for expected in (302, 200):
        client = Client()
        sign_in("grace", client)
        assert client.post(STEP, {"code": grace["codes"][0]}).status_code == expected


def test_a_wrong_code_is_an_event_and_too_many_are_refused(cast: Cast, grace: dict[str, Any]) -> None:
    client = Client()
    sign_in("grace", client)

    answers = [client.post(STEP, {"code": "0"}) for _ in range(11)]

    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    assert answers[-1]["Retry-After"] == "900"
    assert (last_event().action, last_event().actor) == ("signin.failed", "(not signed in)")
    assert (last_event().object_label, last_event().changes) == ("grace", {"step": "second factor"})


def test_the_second_step_is_only_for_who_took_the_first(cast: Cast) -> None:
    assert Client().get(STEP)["Location"] == LOGIN
    assert Client().post(STEP, {"code": "000000"})["Location"] == LOGIN


def test_who_is_deactivated_between_the_steps_stays_out(cast: Cast, grace: dict[str, Any]) -> None:
    cast._person("second", roles=["osmo-admin"])
    client = Client()
    sign_in("grace", client)
    cast.grace.deactivate(by=cast.by("second"), reason="left")

    signed_in = Event.objects.filter(action="signin.succeeded").count()

    answer = client.post(STEP, {"code": grace["codes"][0]})

    assert answer["Location"] == LOGIN
    assert "You cannot sign in here." in text(client.get(LOGIN))
    assert "_auth_user_id" not in client.session
    assert Event.objects.filter(action="signin.succeeded").count() == signed_in


def test_the_app_is_removed_and_the_codes_with_it(cast: Cast) -> None:
    client = visitor("olive")
    add_app(client)

    answer = client.post(REMOVE_APP)

    assert answer["Location"] == OWN
    assert not Authenticator.objects.exists()
    assert (last_event().action, last_event().changes) == ("factor.removed", {"factor": "authenticator app"})
    assert sign_in("olive", Client())["Location"] == INDEX


def test_new_codes_end_the_old_ones(cast: Cast) -> None:
    client = visitor("grace")
    _, old = add_app(client)

    answer = client.post(CODES)

    fresh = re.findall(r"\d{10}", text(answer))
    assert not set(fresh) & set(old)
    assert last_event().changes == {"factor": "recovery codes"}
    for code, expected in ((old[0], 200), (fresh[0], 302)):
        stranger = Client()
        sign_in("grace", stranger)
        assert stranger.post(STEP, {"code": code}).status_code == expected


def test_there_are_no_codes_without_a_factor(cast: Cast) -> None:
    assert "__all__" in form_errors(visitor("grace").post(CODES))


@pytest.mark.parametrize("page", [APP, KEY, CODES])
def test_changing_factors_wants_a_recent_sign_in(
    cast: Cast, page: str, time_machine_days: Callable[[float], None]
) -> None:
    client = visitor("grace")
    time_machine_days(0.02)

    for answer in (client.get(page), client.post(page, {"code": "1"})):
        assert answer["Location"].startswith(CONFIRM)
    assert Client().get(page)["Location"].startswith(LOGIN)


def test_a_code_confirms_who_is_there(
    cast: Cast, grace: dict[str, Any], time_machine_days: Callable[[float], None]
) -> None:
    client = visitor("grace")
    time_machine_days(0.02)

    assert "code" in form_errors(client.post(CONFIRM, {"code": "000000", "next": CODES}))
    assert client.get(CODES).status_code == 302
    assert client.post(CONFIRM, {"code": code_of(grace["secret"]), "next": CODES})["Location"] == CODES
    assert client.get(CODES).status_code == 200


def test_nobody_removes_the_key_of_somebody_else(cast: Cast) -> None:
    theirs = Authenticator.objects.create(user=cast.ada, type="webauthn", data={"name": "k", "credential": {}})

    assert visitor("grace").post(reverse("remove_key", args=[theirs.pk])).status_code == 404


@pytest.mark.parametrize("credential", ["", "{", "{}", "[]", '{"id": 1}', '"x"', '{"response": {}}'])
def test_nonsense_in_place_of_a_key_is_refused(cast: Cast, credential: str) -> None:
    client = visitor("grace")
    client.get(KEY)

    answer = client.post(KEY, {"name": "mine", "credential": credential})

    assert form_errors(answer)
    assert not Authenticator.objects.exists()


@pytest.mark.parametrize("credential", ["", "{", "{}", "[]", '{"id": 1}', '"x"', '{"response": {}}'])
def test_nonsense_in_place_of_a_key_signs_nobody_in(cast: Cast, grace: dict[str, Any], credential: str) -> None:
    client = Client()
    sign_in("grace", client)

    assert client.post(STEP, {"credential": credential}).status_code == 200
    assert "_auth_user_id" not in client.session
    assert form_errors(visitor("grace").post(CONFIRM, {"credential": credential}))


# Who must have one.


@pytest.mark.parametrize(
    ("asked", "who"), [("administrators", ["grace"]), ("staff", ["grace", "olive", "audrey"]), ("none", [])]
)
def test_who_must_have_a_factor_does_nothing_else_until_then(
    cast: Cast, settings: Any, asked: str, who: list[str]
) -> None:
    settings.REQUIRE_MFA = asked

    for name in ("grace", "olive", "audrey"):
        client = visitor(name)
        expected = (302, 403) if name in who else (200, 200)
        assert (client.get(INDEX).status_code, client.get("/api/v1/tokens").status_code) == expected, name
    assert visitor("ada").get(OWN).status_code == 200


def test_it_is_led_to_add_one_and_then_goes_on(cast: Cast, settings: Any) -> None:
    settings.REQUIRE_MFA = "administrators"
    client = visitor("grace")
    events = Event.objects.count()

    assert client.get(INDEX)["Location"] == on_the_way(INDEX)
    assert "Until then the console and My tokens stay closed" in text(client.get(OWN))
    assert SECTIONS not in text(client.get(OWN)) + text(client.get(APP))
    deactivate = address(cast.ada, "deactivate")
    assert client.post(deactivate, {"reason": "x"})["Location"] == on_the_way(deactivate)
    assert client.get(MINE)["Location"] == on_the_way(MINE)
    assert Event.objects.count() == events

    add_app(client)
    assert client.get(INDEX).status_code == client.get(MINE).status_code == 200
    assert SECTIONS in text(client.get(OWN))
    assert client.get("/api/v1/tokens").status_code == 200


def on_the_way(page: str, own: str = OWN) -> str:
    return f"{own}?{urlencode({'next': page})}"


ROLES = reverse("admin:profiles_role_changelist") + "?q=a&o=1"


@pytest.mark.parametrize(
    ("wanted", "reached"),
    [(ROLES, ROLES), ("", INDEX), ("https://evil.example/", INDEX), ("//evil.example", INDEX), ("javascript:1", INDEX)],
)
def test_who_had_to_add_a_factor_is_led_on_to_the_page_that_was_wanted(
    cast: Cast, settings: Any, wanted: str, reached: str
) -> None:
    settings.REQUIRE_MFA = "staff"
    client = visitor("olive")

    page = text(client.get(on_the_way(wanted)))
    assert escape(on_the_way(reached, APP)) in page
    assert escape(on_the_way(reached, KEY)) in page
    secret = client.get(on_the_way(wanted, APP)).context["form"].secret
    codes = client.post(on_the_way(wanted, APP), {"code": code_of(secret)})

    assert f'href="{escape(reached if wanted == reached else OWN)}">I have them' in text(codes)
    assert client.get(reached).status_code == 200


def test_the_way_to_the_wanted_page_goes_on_through_a_proof_and_a_cancel(
    cast: Cast, settings: Any, time_machine_days: Callable[[float], None]
) -> None:
    settings.REQUIRE_MFA = "administrators"
    client, wanted = visitor("grace"), on_the_way(ROLES, KEY)
    assert escape(on_the_way(ROLES)) in text(client.get(wanted))
    time_machine_days(0.02)

    assert client.get(wanted)["Location"] == on_the_way(wanted, CONFIRM)


def test_whoever_adds_one_unasked_stays_with_the_own_sign_in(cast: Cast) -> None:
    client = visitor("grace")
    assert "?next" not in text(client.get(on_the_way(ROLES)))
    secret = client.get(APP).context["form"].secret

    assert f'href="{OWN}">I have them' in text(client.post(APP, {"code": code_of(secret)}))


@pytest.mark.parametrize(("name", "asked"), [("grace", True), ("olive", False)])
def test_before_the_last_required_factor_goes_it_is_said_what_closes(
    cast: Cast, settings: Any, name: str, asked: bool
) -> None:
    settings.REQUIRE_MFA = "administrators"
    client = visitor(name)
    add_app(client)
    key = Authenticator.objects.create(user=User.objects.get(username=name), type="webauthn", data={"name": "Blue"})
    pages = (REMOVE_APP, reverse("remove_key", args=[key.pk]))
    assert not [page for page in pages if CLOSES in text(client.get(page))]

    client.post(REMOVE_APP)

    assert (CLOSES in text(client.get(pages[1]))) == asked


def test_recovery_codes_alone_are_no_factor(cast: Cast, settings: Any) -> None:
    settings.REQUIRE_MFA = "administrators"
    Authenticator.objects.create(user=cast.grace, type="recovery_codes", data={"seed": "x", "used_mask": 0})

    assert visitor("grace").get(INDEX)["Location"] == on_the_way(INDEX)


# Who lost them.


def test_an_administrator_takes_away_what_somebody_lost(cast: Cast) -> None:
    add_app(visitor("olive"))
    page = address(cast.olive, "reset-factors")
    assert "Reset second factors" in text(visitor("grace").get(address(cast.olive)))

    assert "reason" in form_errors(visitor("grace").post(page))
    visitor("grace").post(page, {"reason": "phone lost"})

    event = last_event()
    assert (event.action, event.actor, event.object_label) == ("factors.reset", "grace", "olive")
    assert event.reason == "phone lost"
    assert not Authenticator.objects.exists()
    assert "Reset second factors" not in text(visitor("grace").get(address(cast.olive)))


@pytest.mark.parametrize("name", ["olive", "audrey", "ada"])
def test_nobody_else_does(cast: Cast, name: str) -> None:
    add_app(visitor("mallory"))

    answer = visitor(name).post(address(cast.mallory, "reset-factors"), {"reason": "x"})

    assert answer.status_code in (302, 403)
    assert Authenticator.objects.filter(user=cast.mallory, type="totp").exists()


@pytest.mark.parametrize("with_factor", [True, False])
def test_the_way_back_in_ends_at_no_lost_factor(cast: Cast, with_factor: bool) -> None:
    if with_factor:
        add_app(visitor("grace"))

    call_command("recover_admin", "grace", stdout=StringIO(), stderr=StringIO())

    assert not Authenticator.objects.exists()
    assert Event.objects.filter(action="factors.reset", object_label="grace").exists() == with_factor
