"""What the database itself refuses, whatever the code above it does."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from profiles.models import Kind, Pool, Role, RoleAssignment, User
from tests.cast import PASSWORD, PLAIN_ROLE, POOL_ROLE, Cast
from tokens.models import AccessToken, LastUse, Secret, SigningKey, TokenRole
from tokens.secrets import digest


def insert(model: Any, **fields: Any) -> Any:
    """Past every way in."""
    return model._base_manager.bulk_create([model(**fields)])[0]


def update(record: Any, **fields: Any) -> int:
    return type(record)._base_manager.filter(pk=record.pk).update(**fields)


def refused(constraint: str, attempt: Callable[[], Any], *columns: str) -> None:
    """SQLite names the columns of a plain unique constraint, and not the constraint."""
    with pytest.raises(IntegrityError) as error, transaction.atomic():
        attempt()
    names = [constraint, ", ".join(columns)] if connection.vendor == "sqlite" and columns else [constraint]
    assert any(name in str(error.value) for name in names), error.value


def a_token(owner: User, name: str = "ci", **fields: Any) -> AccessToken:
    now = timezone.now()
    return insert(
        AccessToken,
        **{"owner": owner, "name": name, "created_at": now, "issued_at": now, "expires_at": now + timedelta(days=1)}
        | fields,
    )


def test_a_token_name_is_unique_per_owner_while_not_ended(cast: Cast) -> None:
    token = a_token(cast.robot)

    others: list[dict[str, Any]] = [
        {},
        {"suspended_at": timezone.now()},
        {"created_at": None, "expires_at": timezone.now()},
    ]
    for fields in others:
        refused(
            "token_name_unique_while_not_ended",
            partial(a_token, cast.robot, **fields),
            "tokens_accesstoken.owner_id",
            "tokens_accesstoken.name",
        )
    assert a_token(cast.robot, "CI")
    assert a_token(cast.ada)
    assert a_token(cast.robot, ended_at=timezone.now())
    update(token, ended_at=timezone.now())
    assert a_token(cast.robot)


def test_an_ended_token_cannot_come_back_under_a_name_that_is_taken(cast: Cast) -> None:
    ended = a_token(cast.robot, ended_at=timezone.now())
    a_token(cast.robot)

    refused(
        "token_name_unique_while_not_ended",
        lambda: update(ended, ended_at=None),
        "tokens_accesstoken.owner_id",
        "tokens_accesstoken.name",
    )


@pytest.mark.parametrize("life", [timedelta(0), timedelta(microseconds=-1), timedelta(days=-3650)])
def test_a_token_expires_after_its_creation(cast: Cast, life: timedelta) -> None:
    now = timezone.now()
    token = a_token(cast.robot, "fine", created_at=now, expires_at=now + timedelta(microseconds=1))

    refused("token_expires_after_creation", lambda: a_token(cast.robot, created_at=now, expires_at=now + life))
    refused("token_expires_after_creation", lambda: update(token, expires_at=now + life))


def test_an_imported_token_has_no_known_creation(cast: Cast) -> None:
    assert a_token(cast.robot, created_at=None, expires_at=timezone.now() - timedelta(days=1))


def test_a_digest_is_unique(cast: Cast) -> None:
    one, two = a_token(cast.robot, "one"), a_token(cast.robot, "two")
    insert(Secret, token=one, slot=0, digest=digest("same"), hint="same")

    for token, slot in ((two, 0), (one, 1), (one, None)):
        refused(
            "tokens_secret_digest",
            partial(insert, Secret, token=token, slot=slot, digest=digest("same"), hint="same"),
            "tokens_secret.digest",
        )


@pytest.mark.parametrize("slot", [2, 3, 32_767])
def test_there_are_two_slots(cast: Cast, slot: int) -> None:
    token = a_token(cast.robot)

    refused("secret_slot_is_0_or_1", lambda: insert(Secret, token=token, slot=slot, digest=b"x", hint="x"))


def test_a_slot_holds_one_secret_and_a_retired_secret_has_none(cast: Cast) -> None:
    token = a_token(cast.robot)
    for slot in (0, 1, None, None):
        insert(Secret, token=token, slot=slot, digest=digest(f"{Secret.objects.count()}"), hint="x")

    for slot in (0, 1):
        refused(
            "at_most_two_live_secrets",
            partial(insert, Secret, token=token, slot=slot, digest=b"y", hint="y"),
            "tokens_secret.token_id",
            "tokens_secret.slot",
        )


@pytest.mark.parametrize(
    "password", ["", make_password("x", salt="salt", hasher="md5"), "plain text", "pbkdf2_sha256$!"]
)
def test_a_service_account_has_no_usable_password(cast: Cast, password: str) -> None:
    refused("service_account_has_no_password", lambda: update(cast.robot, password=password))
    refused(
        "service_account_has_no_password",
        lambda: insert(User, username="bot", kind=Kind.SERVICE, password=password),
    )


def test_a_person_with_a_password_cannot_become_a_service_account(cast: Cast) -> None:
    cast.ada.change_password(PASSWORD, by=cast.by("ada"))

    refused("service_account_has_no_password", lambda: update(cast.ada, kind=Kind.SERVICE))


def test_a_person_has_no_accountable_person(cast: Cast) -> None:
    refused("person_has_no_accountable_person", lambda: update(cast.ada, accountable=cast.grace))


def test_nobody_is_accountable_for_itself(cast: Cast) -> None:
    refused("user_is_not_accountable_for_itself", lambda: update(cast.robot, accountable=cast.robot))


@pytest.mark.parametrize("username", ["ada", "Ada", "ADA", "aDa"])
def test_a_user_id_is_unique_in_whatever_case(cast: Cast, username: str) -> None:
    refused("user_id_unique_ignoring_case", lambda: insert(User, username=username, password="!x"))
    refused("user_id_unique_ignoring_case", lambda: update(cast.mallory, username=username))
    update(cast.ada, deleted_at=timezone.now())
    assert insert(User, username=username, password="!x")


def test_a_deleted_user_cannot_come_back_under_a_name_that_is_taken(cast: Cast) -> None:
    update(cast.ada, deleted_at=timezone.now())
    insert(User, username="Ada", password="!x")

    refused("user_id_unique_ignoring_case", lambda: update(cast.ada, deleted_at=None))


def test_a_role_is_assigned_once_at_a_time(cast: Cast) -> None:
    role = Role.objects.get(name=POOL_ROLE)

    refused(
        "role_assigned_once_at_a_time",
        lambda: insert(RoleAssignment, user=cast.robot, role=role),
        "profiles_roleassignment.user_id",
        "profiles_roleassignment.role_id",
    )
    RoleAssignment._base_manager.filter(user=cast.robot).update(removed_at=timezone.now())
    assert insert(RoleAssignment, user=cast.robot, role=role)


def test_a_role_stands_once_on_a_token(cast: Cast) -> None:
    token = cast.service_token()
    assignment = RoleAssignment.objects.get(user=cast.robot, role__name=POOL_ROLE)

    refused(
        "role_once_on_a_token",
        lambda: insert(TokenRole, token=token, assignment=assignment),
        "tokens_tokenrole.token_id",
        "tokens_tokenrole.assignment_id",
    )


@pytest.mark.parametrize(("model", "name"), [(Role, PLAIN_ROLE), (Pool, "my_pool")])
def test_names_of_roles_and_pools_are_unique_while_not_deleted(cast: Cast, model: Any, name: str) -> None:
    table = model._meta.db_table

    refused(f"{model._meta.model_name}_name_unique", lambda: insert(model, name=name), f"{table}.name")
    update(model.objects.get(name=name), deleted_at=timezone.now())
    assert insert(model, name=name)


def test_a_key_id_is_unique(cast: Cast) -> None:
    key = SigningKey.current_or_first()

    refused(
        "tokens_signingkey_kid",
        lambda: insert(SigningKey, kid=key.kid, private_key=b"x", signs_from=timezone.now()),
        "tokens_signingkey.kid",
    )


def test_a_token_has_one_record_of_its_last_use(cast: Cast) -> None:
    token = cast.service_token()

    refused("tokens_lastuse_pkey", lambda: insert(LastUse, token=token), "tokens_lastuse.token_id")


@pytest.mark.parametrize(
    "table",
    ["tokens_accesstoken", "profiles_user", "profiles_role", "profiles_roleassignment"],
)
def test_what_others_refer_to_cannot_be_deleted_by_sql(cast: Cast, table: str) -> None:
    cast.service_token()

    def delete() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {table}")  # noqa: S608
            connection.check_constraints()

    with pytest.raises(IntegrityError):
        delete()
