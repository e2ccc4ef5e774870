"""Hostile texts in everything that is stored come out as text, on every page."""

import pytest
from django.urls import reverse
from django.utils.http import urlencode

from osmo_portal.events.trail import audited, record
from profiles.models import Pool, Role, User
from tests.cast import Cast, in_days
from tests.console import ISSUE, a_record_of, sections, text, visitor
from tokens.models import AccessToken, LastUse

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'-alert(1)-'",
    "</textarea><svg onload=alert(1)>",
    "{{ 7|add:7 }}{% debug %}",
    "javascript:alert(1)",
    "<!--<script>",
]

# Each that may end what it stands in, with all others behind it; and the one that has to stand at the beginning.
AT_ONCE = ["".join(HOSTILE), "javascript:alert(1)"]

DANGEROUS = ["<script>alert", "<img src=x", "<svg onload", "<!--<script", 'href="javascript:']


def plant(cast: Cast, payload: str) -> None:
    """The payload wherever a text without a pattern is stored, and, past all checks, in names as well."""
    by = cast.by("grace")
    role = Role.create(by=by, name="planted", description=payload, policies=[])
    Pool.create(by=by, name="planted", description=payload, backend=payload)
    cast.robot.describe(by=by, purpose=payload, display_name=payload)
    cast.ada.describe(by=by, display_name=payload)
    cast.robot.assign_role("planted", by=by)
    token = AccessToken.issue(
        by=by, owner=cast.robot, name="planted", expires=in_days(9), roles=["planted"], description=payload
    )
    token.suspend(by=by, reason=payload)
    LastUse.objects.filter(token=token).update(agent=payload)
    with audited():
        Role.objects.filter(pk=role.pk).update(name=payload[:254])
        User.objects.filter(pk=cast.ada.pk).update(username=payload[:254])
        AccessToken.objects.filter(pk=token.pk).update(name=payload[:254])
        record(payload[:64], by, cast.ada, label=payload, reason=payload, field=[payload, payload + "!"])


@pytest.mark.parametrize("payload", AT_ONCE)
def test_a_hostile_text_is_shown_as_text(cast: Cast, payload: str) -> None:
    plant(cast, payload)
    client = visitor("grace")
    pages = [reverse("admin:index"), f"{reverse(ISSUE)}?owner=robot"]
    for section in sections():
        record = a_record_of(section, cast)
        pages += [section.address("changelist"), section.address("change", record.pk)]
        pages += [section.address("history", record.pk)]
        pages += [section.address(change.slug, record.pk) for change in section.record_changes]
    pages.append(reverse("admin:profiles_person_change", args=[cast.ada.pk]))
    pages.append(reverse("admin:tokens_accesstoken_new-account"))
    pages.append(reverse("admin:tokens_accesstoken_access", args=[AccessToken.objects.get().pk]))
    pages.append(f"{reverse(ISSUE)}?{urlencode({'owner': 'robot', 'summary': '1', 'roles': payload[:254]})}")

    seen = 0
    for page in pages:
        shown = text(client.get(page, follow=True))
        seen += "alert(1)" in shown or "!--" in shown or "|add:7" in shown
        for dangerous in DANGEROUS:
            assert dangerous not in shown, page
        assert "14{%" not in shown
    assert seen > 10


@pytest.mark.parametrize("payload", HOSTILE)
def test_a_hostile_query_is_shown_as_text(cast: Cast, payload: str) -> None:
    client = visitor("grace")
    shown = [text(client.get(reverse(ISSUE), {"owner": payload}))]

    for section in sections():
        names = [offered.parameter_name for offered in section.list_filter]
        answer = client.get(section.address("changelist"), {"q": payload, **dict.fromkeys(names, payload)})
        assert answer.status_code == 200
        shown.append(text(answer))

    for page in shown:
        for dangerous in DANGEROUS:
            assert dangerous not in page
