"""Single sign-on, against a provider on this host: whom it signs in, and what of its answers is not believed."""

import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from allauth.mfa.models import Authenticator
from cryptography.hazmat.primitives.asymmetric import rsa
from django.test import Client
from django.urls import reverse

from osmo_portal.events.models import Event
from osmo_portal.signin.models import ProviderSubject
from profiles.models import User
from tests.cast import PLAIN_ROLE, Cast
from tests.console import Answer, address, form_errors, last_event, text, visitor
from tests.oidc_provider import CLIENT, SECRET, Provider, provider

LOGIN, INDEX, CONFIRM = reverse("admin:login"), reverse("admin:index"), reverse("admin:confirm")
START, BACK = reverse("sso"), reverse("sso_back")


@pytest.fixture
def there(settings: Any) -> Iterator[Provider]:
    with provider() as made:
        settings.OIDC_ISSUER, settings.OIDC_CLIENT_ID, settings.OIDC_CLIENT_SECRET = made.issuer, CLIENT, SECRET
        settings.OIDC_NAME = "Example ID"
        yield made


def bind(cast: Cast, there: Provider, name: str = "grace", subject: str = "s-1") -> None:
    user = User.objects.get(username=name)
    ProviderSubject.bind(user, issuer=there.issuer, subject=subject, by=cast.by("grace"))


def come(there: Provider, client: Client, back: str = "", code: str = "right") -> Answer:
    """The whole way there and back."""
    state = there.visit(client.get(START, {"next": back})["Location"])
    return client.get(BACK, {"state": state, "code": code})


def turned_away(client: Client, answer: Answer) -> str:
    """Where nobody was signed in: what the page of the sign-in says."""
    assert answer["Location"] == LOGIN
    assert "_auth_user_id" not in client.session
    return text(client.get(LOGIN))


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_who_is_bound_to_the_subject_signs_in(cast: Cast, there: Provider, algorithm: str) -> None:
    bind(cast, there)
    there.algorithm = algorithm
    client = Client()
    assert "Sign in with Example ID" in text(client.get(LOGIN))

    answer = come(there, client, back=INDEX)

    assert answer["Location"] == INDEX
    assert client.get(INDEX).status_code == 200
    assert (last_event().action, last_event().actor) == ("signin.succeeded", "grace")
    assert there.query["redirect_uri"] == f"http://127.0.0.1:8000{BACK}"


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"aud": "another client"},
        {"aud": [CLIENT, "another"], "azp": "another"},
        {"nonce": "another"},
        {"nonce": None},
        {"exp": 1},
        {"exp": None},
        {"iat": None},
        {"iat": 99_999_999_999},
        {"sub": None},
    ],
    ids=lambda claims: "-".join(map(str, claims.items())),
)
def test_a_token_that_does_not_fit_signs_nobody_in(cast: Cast, there: Provider, claims: dict[str, Any]) -> None:
    bind(cast, there)
    there.claims = claims
    client = Client()

    assert "cannot be believed" in turned_away(client, come(there, client))


def test_a_token_signed_by_somebody_else_signs_nobody_in(cast: Cast, there: Provider) -> None:
    bind(cast, there)
    there.key = rsa.generate_private_key(65537, 2048)
    client = Client()

    assert "cannot be believed" in turned_away(client, come(there, client))


@pytest.mark.parametrize("algorithm", ["HS256", "none"])
def test_a_token_without_a_signature_of_the_provider_signs_nobody_in(
    cast: Cast, there: Provider, algorithm: str
) -> None:
    bind(cast, there)
    there.algorithm, there.key = algorithm, "x" * 32 if algorithm == "HS256" else ""
    client = Client()

    assert "cannot be believed" in turned_away(client, come(there, client))


def test_another_issuer_in_the_discovery_is_not_believed(cast: Cast, there: Provider) -> None:
    there.announced = "https://evil.example"
    client = Client()

    assert "cannot be believed" in turned_away(client, client.get(START))


def test_a_state_of_another_browser_is_refused_and_each_is_good_once(cast: Cast, there: Provider) -> None:
    bind(cast, there)
    mine, theirs = Client(), Client()
    state = there.visit(theirs.get(START)["Location"])

    assert "begun elsewhere" in turned_away(mine, mine.get(BACK, {"state": state, "code": "right"}))
    assert theirs.get(BACK, {"state": state, "code": "right"})["Location"] == INDEX
    theirs.post(reverse("admin:logout"))
    assert "begun elsewhere" in turned_away(theirs, theirs.get(BACK, {"state": state, "code": "right"}))


def test_a_wrong_code_and_a_refusal_there_sign_nobody_in(cast: Cast, there: Provider) -> None:
    bind(cast, there)
    client = Client()

    assert "Example ID did not complete the sign-in" in turned_away(client, come(there, client, code="wrong"))
    state = there.visit(client.get(START)["Location"])
    refused = client.get(BACK, {"state": state, "error": "access_denied"})
    assert "given up, or refused there" in turned_away(client, refused)


def test_a_provider_that_is_away_is_told_and_the_password_goes_on(
    cast: Cast, there: Provider, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.OIDC_ISSUER = "http://127.0.0.1:1"
    client = Client()

    assert "Example ID does not answer" in turned_away(client, client.get(START))
    assert "http://127.0.0.1:1/.well-known/openid-configuration gave no answer (ConnectError)" in caplog.text


def test_who_is_turned_away_is_still_led_where_they_wanted_to_go(cast: Cast, there: Provider, settings: Any) -> None:
    people, client = reverse("admin:profiles_person_changelist"), Client()
    onward = "?" + urlencode({"next": people})

    assert come(there, client, back=people)["Location"] == LOGIN + onward
    assert come(there, visitor("grace"), back=people)["Location"] == CONFIRM + onward
    settings.OIDC_ISSUER = "http://127.0.0.1:1"
    assert client.get(START, {"next": people})["Location"] == LOGIN + onward
    assert visitor("grace").get(START, {"next": people})["Location"] == CONFIRM + onward


def test_nobody_is_known_by_a_mail_address(cast: Cast, there: Provider) -> None:
    there.claims = {"email": "grace@example.com", "email_verified": True, "preferred_username": "grace"}
    client = Client()

    assert "Ask an administrator to bind you" in turned_away(client, come(there, client))
    assert (last_event().action, last_event().object_label) == ("signin.failed", "subject s-1")


def test_a_second_person_of_the_same_mail_address_is_somebody_else(cast: Cast, there: Provider, settings: Any) -> None:
    settings.OIDC_CREATE_PEOPLE = True
    bind(cast, there)
    there.claims = {"sub": "s-2", "email": "grace@example.com", "preferred_username": "gracie"}

    come(there, Client())

    assert ProviderSubject.person(there.issuer, "s-1") == cast.grace
    made = User.objects.get(username="gracie")
    assert ProviderSubject.person(there.issuer, "s-2") == made
    assert made.held_role_names == {"osmo-user"}
    assert not made.has_usable_password()
    assert Event.objects.get(action="user.created", object_label="gracie").actor == f"provider:{there.issuer}"


@pytest.mark.parametrize("name", ["grace", "GRACE", "robot", "", "no spaces", "x" * 300])
def test_a_user_id_that_is_taken_or_none_makes_nobody(cast: Cast, there: Provider, settings: Any, name: str) -> None:
    settings.OIDC_CREATE_PEOPLE = True
    there.claims = {"preferred_username": name}
    users = User.objects.count()
    client = Client()

    assert "cannot be taken here" in turned_away(client, come(there, client))
    assert User.objects.count() == users
    assert not ProviderSubject.objects.exists()


@pytest.mark.parametrize("end", ["deactivate", "mark_deleted"])
def test_who_is_gone_stays_out_and_gets_no_role(cast: Cast, there: Provider, settings: Any, end: str) -> None:
    settings.OIDC_ROLE_CLAIM, settings.OIDC_ROLE_MAP = "groups", {"readers": PLAIN_ROLE}
    there.claims = {"groups": ["readers"]}
    bind(cast, there, "ada")
    getattr(cast.ada, end)(by=cast.by("grace"), reason="left")
    client = Client()

    assert "You cannot sign in here" in turned_away(client, come(there, client))
    assert not User.objects.get(pk=cast.ada.pk).assignments.filter(role__name=PLAIN_ROLE).exists()


def test_a_second_factor_is_asked_for_all_the_same(cast: Cast, there: Provider) -> None:
    bind(cast, there)
    Authenticator.objects.create(user=cast.grace, type="totp", data={"secret": "x"})
    client = Client()

    assert come(there, client)["Location"] == reverse("mfa_authenticate")
    assert "_auth_user_id" not in client.session


@pytest.mark.parametrize("back", ["https://evil.example/", "//evil.example", "javascript:alert(1)"])
def test_it_leads_to_pages_of_this_host_only(cast: Cast, there: Provider, back: str) -> None:
    bind(cast, there)

    assert come(there, Client(), back=back)["Location"] == INDEX


# Roles.


@pytest.fixture
def mapped(settings: Any) -> None:
    settings.OIDC_ROLE_CLAIM = "groups"
    settings.OIDC_ROLE_MAP = {"readers": PLAIN_ROLE, "root": "osmo-admin", "ops": "operators"}


def holds(name: str) -> tuple[set[str], set[str]]:
    user = User.objects.get(username=name)
    return set(user.held_role_names) - {"osmo-user"}, set(user.group_names)


def test_the_claim_gives_and_takes_what_the_map_speaks_of(cast: Cast, there: Provider, mapped: None) -> None:
    bind(cast, there, "audrey")
    cast.audrey.assign_role("osmo-my_pool", by=cast.by("grace"))

    there.claims = {"groups": ["readers", "root", "ops", "unheard of"]}
    come(there, Client())
    assert holds("audrey") == ({"osmo-my_pool", PLAIN_ROLE, "osmo-admin"}, {"auditors", "operators"})

    there.claims = {"groups": "readers"}
    come(there, Client())
    assert holds("audrey") == ({"osmo-my_pool", PLAIN_ROLE}, {"auditors"})

    there.claims = {}
    come(there, Client())
    assert holds("audrey") == ({"osmo-my_pool"}, {"auditors"})
    taken = Event.objects.filter(reason="not claimed at the sign-in")
    assert [event.actor for event in taken] == [f"provider:{there.issuer}"] * 2


def test_a_sign_in_that_changes_no_role_writes_one_event(cast: Cast, there: Provider, mapped: None) -> None:
    bind(cast, there, "ada")
    before = Event.objects.count()

    come(there, Client())

    assert Event.objects.count() == before + 1


def test_the_last_administrator_stays_one(cast: Cast, there: Provider, mapped: None) -> None:
    bind(cast, there)

    come(there, Client())

    assert holds("grace")[0] == {"osmo-admin"}


# Once more, and who binds.


def test_a_recent_sign_in_is_proved_by_signing_in_again(
    cast: Cast, there: Provider, time_machine_days: Callable[[float], None]
) -> None:
    bind(cast, there)
    client = visitor("grace")
    own = reverse("new_codes")
    time_machine_days(0.02)
    assert "Sign in again with Example ID" in text(client.get(CONFIRM))

    answer = come(there, client, back=own)

    assert (there.query["prompt"], there.query["max_age"]) == ("login", "0")
    assert answer["Location"] == own
    assert client.get(own).status_code == 200


@pytest.mark.parametrize("ago", [None, 3_600])
def test_an_old_session_there_proves_nothing(
    cast: Cast, there: Provider, ago: int | None, time_machine_days: Callable[[float], None]
) -> None:
    bind(cast, there)
    client = visitor("grace")
    time_machine_days(0.02)
    there.claims = {"auth_time": ago and int(time.time()) - ago}

    come(there, client)

    assert client.get(reverse("new_codes"))["Location"].startswith(CONFIRM)


def test_only_who_is_bound_is_offered_to_sign_in_again_there(cast: Cast, there: Provider) -> None:
    assert "Sign in again with" not in text(visitor("grace").get(CONFIRM))

    User.create_person(by=cast.by("grace"), username="sonia")
    bind(cast, there, "sonia")
    page = text(visitor("sonia").get(CONFIRM))
    assert "Sign in again with Example ID" in page
    assert "Cancel" in page


def test_who_has_no_password_is_asked_for_no_old_one(cast: Cast, there: Provider) -> None:
    User.create_person(by=cast.by("grace"), username="sonia")
    bind(cast, there, "sonia")
    client = visitor("sonia")

    assert client.get(reverse("admin:password_change"))["Location"] == reverse("mfa_index")
    assert "You have no password. You sign in with Example ID." in text(client.get(reverse("mfa_index")))


def test_to_sign_in_again_as_somebody_else_proves_nothing_and_changes_nobody(
    cast: Cast, there: Provider, time_machine_days: Callable[[float], None]
) -> None:
    bind(cast, there, "ada")
    bind(cast, there, subject="s-2")
    client = visitor("grace")
    own = reverse("new_codes")
    time_machine_days(0.02)

    answer = come(there, client, back=own)

    assert answer["Location"] == f"{CONFIRM}?{urlencode({'next': own})}"
    assert "you signed in as somebody else" in text(client.get(CONFIRM))
    assert client.session["_auth_user_id"] == str(cast.grace.pk)
    assert client.get(own)["Location"].startswith(CONFIRM)


def test_an_administrator_binds_and_unbinds_with_events(cast: Cast, there: Provider) -> None:
    grace = visitor("grace")

    grace.post(address(cast.ada, "bind"), {"subject": "s-1"})
    assert ProviderSubject.person(there.issuer, "s-1") == cast.ada
    assert (last_event().action, last_event().changes["bound_to"]) == ("user.bound", "s-1")
    assert "subject" in form_errors(grace.post(address(cast.mallory, "bind"), {"subject": "s-1"}))

    grace.post(address(cast.ada, "unbind"), {"reason": "left the company"})
    assert ProviderSubject.person(there.issuer, "s-1") is None
    assert (last_event().action, last_event().reason) == ("user.unbound", "left the company")


@pytest.mark.parametrize("name", ["olive", "audrey", "ada"])
def test_nobody_else_binds(cast: Cast, there: Provider, name: str) -> None:
    visitor(name).post(address(cast.ada, "bind"), {"subject": "s-1"})

    assert not ProviderSubject.objects.exists()


def test_without_a_provider_there_is_no_such_page(cast: Cast) -> None:
    assert "sso" not in text(Client().get(LOGIN))
    assert Client().get(START).status_code == Client().get(BACK).status_code == 404
