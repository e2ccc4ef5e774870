"""The ways in of pools: who may, what is asked for, names that are free again."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, ValidationError

from osmo_portal.events.actor import Actor
from osmo_portal.events.models import Event
from profiles.models import Pool
from tests import dump
from tests.cast import Cast


@pytest.mark.parametrize(
    "caller",
    [
        lambda cast: cast.by("ada"),
        lambda cast: cast.by("olive"),
        lambda cast: cast.by("audrey"),
        lambda cast: cast.by("robot"),
        lambda cast: cast.with_token(cast.user_token("grace")),
        lambda cast: Actor.shell(),
    ],
    ids=["person", "operator", "auditor", "account", "administrator's user token", "shell"],
)
def test_pools_are_an_administrators(cast: Cast, caller: Callable[[Cast], Actor]) -> None:
    by = caller(cast)
    before = dump.tables()

    for attempt in (
        lambda: Pool.create(by=by, name="new"),
        lambda: cast.pool.change(by=by, maintenance=True),
        lambda: cast.pool.mark_deleted(by=by, reason="x"),
    ):
        with pytest.raises(PermissionDenied, match="Only an administrator may"):
            attempt()

    assert dump.tables() == before


@pytest.mark.django_db
def test_a_pool_named_default_is_there_from_the_start() -> None:
    pool = Pool.objects.get()

    assert (pool.name, pool.backend, pool.status) == ("default", "default", "OFFLINE")


@pytest.mark.parametrize(
    ("online", "maintenance", "status"),
    [
        (True, False, "ONLINE"),
        (False, False, "OFFLINE"),
        (True, True, "MAINTENANCE"),
        (False, True, "MAINTENANCE"),
    ],
)
def test_the_status_follows_from_backend_and_maintenance(
    cast: Cast, online: bool, maintenance: bool, status: str
) -> None:
    cast.pool.change(by=cast.by("grace"), online=online, maintenance=maintenance)

    assert cast.pool.status == Pool.objects.get(name="my_pool").status == status


def test_a_change_saves_what_was_asked_for_and_not_what_else_the_object_holds(cast: Cast) -> None:
    loaded_before = Pool.objects.get(name="my_pool")
    cast.pool.change(by=cast.by("grace"), total_capacity=64)
    loaded_before.name = "other"

    loaded_before.change(by=cast.by("grace"), maintenance=True)

    pool = Pool.objects.get(name="my_pool")
    assert (pool.total_capacity, pool.maintenance) == (64, True)


@pytest.mark.parametrize("field", ["name", "deleted_at", "created_at", "id", "nonsense"])
def test_nothing_else_is_changed(cast: Cast, field: str) -> None:
    before = dump.tables()

    with pytest.raises(TypeError, match="not changed this way"):
        cast.pool.change(by=cast.by("grace"), **{field: "x"})

    assert dump.tables() == before


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "NUL": ({"description": "a\0b"}, "description"),
    "a lone surrogate": ({"description": "a\ud800b"}, "description"),
    "ANSI": ({"backend": "\x1b[2J"}, "backend"),
    "long": ({"description": "x" * 2_001}, "description"),
    "a long backend": ({"backend": "x" * 255}, "backend"),
    "no backend": ({"backend": ""}, "backend"),
    "negative": ({"total_capacity": -1}, "total_capacity"),
    "huge": ({"quota_limit": 10**30}, "quota_limit"),
    "no number": ({"quota_used": "many"}, "quota_used"),
    "no truth": ({"online": "perhaps"}, "online"),
}


@pytest.mark.parametrize(("fields", "wrong"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_told_and_changes_nothing(cast: Cast, fields: dict[str, Any], wrong: str) -> None:
    before = dump.tables()

    for attempt in (
        lambda: Pool.create(by=cast.by("grace"), name="new", **fields),
        lambda: cast.pool.change(by=cast.by("grace"), **fields),
    ):
        with pytest.raises(ValidationError) as refusal:
            attempt()
        assert set(refusal.value.message_dict) == {wrong}
    assert dump.tables() == before


@pytest.mark.parametrize(
    "name",
    ["", " ", "1pool", "-x", "x-", "a b", "x\n", "a\0b", "a\ud800", "pööl", "a/b", "a@b", "x" * 255],
    ids=lambda text: ascii(text[:12]),
)
def test_a_name_out_of_the_pattern_is_refused(cast: Cast, name: str) -> None:
    before = dump.tables()

    with pytest.raises(ValidationError) as refusal:
        Pool.create(by=cast.by("grace"), name=name)

    assert set(refusal.value.message_dict) == {"name"}
    assert dump.tables() == before


def test_a_name_that_is_taken_is_told(cast: Cast) -> None:
    with pytest.raises(ValidationError) as refusal:
        Pool.create(by=cast.by("grace"), name="my_pool")

    assert refusal.value.message_dict == {"name": ["Pool my_pool already exists."]}


def test_deletion_frees_the_name_and_a_new_pool_is_another(cast: Cast) -> None:
    cast.pool.mark_deleted(by=cast.by("grace"), reason="sold")

    fresh = Pool.create(by=cast.by("grace"), name="my_pool")

    assert fresh.pk != cast.pool.pk
    assert {pool.name for pool in Pool.objects.existing()} == {"default", "my_pool"}
    assert Event.objects.get(action="pool.deleted").reason == "sold"


def test_a_deleted_pool_is_neither_changed_nor_deleted_again(cast: Cast) -> None:
    loaded_before = Pool.objects.get(name="my_pool")
    cast.pool.mark_deleted(by=cast.by("grace"), reason="sold")
    before = dump.tables()

    for attempt in (
        lambda: loaded_before.change(by=cast.by("grace"), maintenance=True),
        lambda: loaded_before.mark_deleted(by=cast.by("grace"), reason="again"),
    ):
        with pytest.raises(ValidationError, match="The pool my_pool was deleted"):
            attempt()

    assert dump.tables() == before


@pytest.mark.parametrize("reason", ["", " ", "a\0b"])
def test_why_a_pool_is_deleted_is_asked_for(cast: Cast, reason: str) -> None:
    with pytest.raises(ValidationError, match="reason"):
        cast.pool.mark_deleted(by=cast.by("grace"), reason=reason)

    assert Pool.objects.existing().filter(name="my_pool").exists()
