"""R4: what a token may do is computed at use: token roles that its owner still holds and that still exist."""

import pytest

from osmo_portal.events.actor import ADMINISTRATOR_ROLE
from profiles.models import Role, User
from tests.cast import PLAIN_ROLE, POOL_ROLE, Cast
from tokens import exchange, jwt, secrets, standing
from tokens.models import AccessToken
from tokens.standing import Refusal


def now(token: AccessToken) -> standing.Standing:
    found = standing.of_secret(secrets.digest(token.plaintext))
    assert found is not None
    return found


def by_jwt(text: str) -> standing.Standing:
    claims, kid = jwt.verify(text)
    found = standing.of_jwt(token_id=claims["osmo_token_id"], secret_id=claims["osmo_secret_id"], kid=kid)
    assert found is not None
    return found


def test_a_token_has_the_roles_that_its_owner_still_holds(cast: Cast) -> None:
    token = cast.service_token(roles=[POOL_ROLE, PLAIN_ROLE])
    both = now(token).roles

    cast.robot.remove_role(POOL_ROLE, by=cast.by("grace"))

    assert both == tuple(sorted([POOL_ROLE, PLAIN_ROLE]))
    assert now(token).roles == (PLAIN_ROLE,)
    assert now(token).refusal is None


def test_what_the_list_shows_shrinks_with_it(cast: Cast) -> None:
    token = cast.service_token(roles=[POOL_ROLE, PLAIN_ROLE])

    cast.robot.remove_role(POOL_ROLE, by=cast.by("grace"))

    shown = AccessToken.objects.with_state().get(pk=token.pk)
    assert (shown.role_names, shown.lost_role_names) == ([PLAIN_ROLE], [POOL_ROLE])


def test_a_jwt_of_before_has_no_more_than_the_token_now(cast: Cast) -> None:
    token = cast.service_token(roles=[POOL_ROLE, PLAIN_ROLE])
    text, _ = exchange.exchange(token.plaintext)

    cast.robot.remove_role(POOL_ROLE, by=cast.by("grace"))

    assert POOL_ROLE in jwt.verify(text)[0]["roles"]
    assert by_jwt(text).roles == (PLAIN_ROLE,)


def test_a_token_without_any_role_left_is_refused_with_its_own_reason(cast: Cast) -> None:
    token = cast.service_token()
    text, _ = exchange.exchange(token.plaintext)

    cast.robot.remove_role(POOL_ROLE, by=cast.by("grace"))

    with pytest.raises(exchange.Refused, match="has no role left"):
        exchange.exchange(token.plaintext)
    assert by_jwt(text).refusal == Refusal.NO_ROLE_LEFT


def test_a_role_given_again_gives_nothing_back(cast: Cast) -> None:
    token = cast.service_token()
    cast.robot.remove_role(POOL_ROLE, by=cast.by("grace"))

    cast.robot.assign_role(POOL_ROLE, by=cast.by("grace"))

    assert POOL_ROLE in User.objects.get(username="robot").held_role_names
    assert now(token).refusal == Refusal.NO_ROLE_LEFT
    assert cast.service_token("second").role_names == [POOL_ROLE]


def test_a_user_token_loses_osmo_user_for_good(cast: Cast) -> None:
    token = cast.user_token()
    cast.ada.remove_role("osmo-user", by=cast.by("grace"))

    cast.ada.assign_role("osmo-user", by=cast.by("grace"))

    assert now(token).refusal == Refusal.NO_ROLE_LEFT


def test_a_deleted_role_is_lost_at_once(cast: Cast) -> None:
    token = cast.service_token(roles=[POOL_ROLE, PLAIN_ROLE])

    Role.objects.get(name=POOL_ROLE).mark_deleted(by=cast.by("grace"), reason="pool is gone")

    assert now(token).roles == (PLAIN_ROLE,)
    assert User.objects.get(username="robot").held_role_names == {PLAIN_ROLE}


def test_a_new_role_of_a_deleted_ones_name_is_another(cast: Cast) -> None:
    token = cast.service_token()
    Role.objects.get(name=POOL_ROLE).mark_deleted(by=cast.by("grace"), reason="pool is gone")

    Role.create(by=cast.by("grace"), name=POOL_ROLE)
    assert now(token).refusal == Refusal.NO_ROLE_LEFT
    assert POOL_ROLE not in User.objects.get(username="robot").held_role_names

    cast.robot.assign_role(POOL_ROLE, by=cast.by("grace"))
    assert now(token).refusal == Refusal.NO_ROLE_LEFT


def test_an_administrators_token_that_lost_the_role_has_no_power_in_a_running_jwt(cast: Cast) -> None:
    token = cast.administrator_token()
    text, _ = exchange.exchange(token.plaintext)

    token.owner.remove_role(ADMINISTRATOR_ROLE, by=cast.by("grace"), reason="too wide")

    assert by_jwt(text).refusal == Refusal.NO_ROLE_LEFT


def test_an_inactive_owner_is_refused(cast: Cast) -> None:
    service, mine = cast.service_token(), cast.user_token()
    text, _ = exchange.exchange(mine.plaintext)

    cast.robot.deactivate(by=cast.by("grace"), reason="decommissioned")
    cast.ada.deactivate(by=cast.by("grace"), reason="left")

    assert now(service).refusal == now(mine).refusal == by_jwt(text).refusal == Refusal.OWNER_INACTIVE


def test_a_deactivated_accountable_person_stops_nothing(cast: Cast) -> None:
    token = cast.service_token()

    cast.ada.deactivate(by=cast.by("grace"), reason="left")

    assert now(token).refusal is None
    assert list(User.objects.left_behind()) == [cast.robot]


def test_a_deleted_owner_has_no_token_left(cast: Cast) -> None:
    token = cast.user_token()

    cast.ada.mark_deleted(by=cast.by("grace"), reason="left")

    assert now(token).refusal == Refusal.REVOKED


def test_a_new_user_of_a_deleted_ones_name_inherits_nothing(cast: Cast) -> None:
    token = cast.user_token()
    cast.ada.mark_deleted(by=cast.by("grace"), reason="left")

    fresh = User.create_person(by=cast.by("grace"), username="ada")

    assert fresh.pk != cast.ada.pk
    assert not AccessToken.objects.owned_by(fresh).exists()
    assert now(token).refusal == Refusal.REVOKED
