"""What the pages of roles and pools, which know nothing of tokens, tell about them."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone

from osmo_portal.console.section import Panel
from osmo_portal.events.actor import Actor
from profiles.admin.pools import PoolSection, marks
from profiles.admin.roles import RoleSection
from profiles.impact import COUNTED, NAMED, Crowd, Notice, RoleEdit, Step
from profiles.models import Kind, Pool, Role, RoleAssignment
from profiles.policies import Operation
from profiles.reach import Gates, Reach, any_gate, roles_behind
from tokens import rules, shortening
from tokens.models import AccessToken, TokenRole
from tokens.passage import WINDOW, Sight, live_roles, passing, put_on, within_sight

SHOWN = 50


# Who is hit by a change of a role.


def tokens_between(step: Step, passes: Gates, barred: Gates) -> Crowd:
    """Live tokens that pass by the first gates and not by the second."""
    if not roles_behind(passes):
        return Crowd([], 0)  # shut for everybody
    return _crowd(_concerned(step, passes), passing(passes) & ~passing(barred))


def _concerned(step: Step, passes: Gates) -> Sight:
    """Where the role only allows, tokens that carry it; else any of its holders that pass."""
    if step.role is not None and not step.is_about_denies:
        return _living(step.seen, {step.role} & roles_behind(passes | step.before | step.after))
    return _living(step.seen, roles_behind(passes), step.role)


def _living(seen: dict[Any, Any], roles: Iterable[int], holding_too: int | None = None) -> Sight:
    key = frozenset(roles), holding_too
    if key not in seen:
        seen[key] = within_sight(live_roles(*key))
    return seen[key]  # type: ignore[no-any-return]


def _crowd(sight: Sight, *conditions: Q) -> Crowd:
    """The tokens of the rows, unsorted: to sort them, all would have to be read. A token may have several rows."""
    found = [*sight.rows.filter(*conditions).values_list("token_id", flat=True)[: COUNTED + 1]]
    known = [*dict.fromkeys(found)]
    some = AccessToken.objects.filter(pk__in=known[:NAMED]).select_related("owner")
    return Crowd(sorted(map(str, some)), min(len(known), COUNTED), sight.more or len(found) > COUNTED)


def _given(edit: RoleEdit) -> Sight:
    """One row for each token that has not ended nor expired and that the role was put on, lost since or not."""
    if _given not in edit.seen:
        unexpired = AccessToken.objects.outliving(timezone.now())
        edit.seen[_given] = within_sight(put_on(RoleAssignment.objects.filter(role=edit.before), unexpired))
    return edit.seen[_given]  # type: ignore[no-any-return]


def carried(edit: RoleEdit) -> list[Notice]:
    if edit.before is None:
        return []
    crowd = _crowd(_living(edit.seen, [edit.before.pk]))
    found = [Notice("Live tokens that carry it", crowd)]
    if _given(edit).more:
        found.append(Notice(f"More than {WINDOW:,} tokens carry it: only so many were looked at, and more may be hit."))
    return found


def shortened(edit: RoleEdit) -> list[Notice]:
    """What a lower maximum does to tokens, and until when each of some lives then. As `cap_lifetime` finds them."""
    if not (edit.before and edit.after and edit.after.max_token_days):
        return []
    if edit.after.max_token_days == edit.before.max_token_days:
        return []
    maximum = edit.after.max_token_days
    sight = _given(edit)
    beyond = sight.rows.filter(token__expires_at__gt=F("token__issued_at") + timedelta(days=maximum))
    found = [*beyond.values_list("token_id", flat=True)[: COUNTED + 1]]
    some = AccessToken.objects.filter(pk__in=found[:NAMED]).select_related("owner").order_by("pk")
    lines = [shortening.shortened(token, maximum) for token in some]
    crowd = Crowd(lines, min(len(found), COUNTED), sight.more or len(found) > COUNTED)
    return [Notice("Tokens that are shortened, for good", crowd)]


def handled(edit: RoleEdit) -> list[Notice]:
    """Service tokens that operators may rotate and resume no longer, or from now on."""
    before, after = edit.before, edit.after
    if not (before and after) or before.is_plain == after.is_plain:
        return []
    # By number, and not by a join: SQLite would begin with the roles, for each token anew.
    others = [*Role.objects.filter(is_plain=False).exclude(pk=before.pk).values_list("pk", flat=True)]
    beyond = Exists(TokenRole.objects.filter(token=OuterRef("token"), assignment__role__in=others))
    crowd = _crowd(_given(edit), ~Q(beyond), Q(token__owner__kind=Kind.SERVICE))
    return [Notice(f"Tokens that operators can {'now' if after.is_plain else 'no longer'} rotate and resume", crowd)]


def stopped(edit: RoleEdit) -> list[Notice]:
    """Tokens to which a role that is deleted leaves nothing."""
    if edit.before is None or edit.after is not None:
        return []
    others = TokenRole.objects.filter(
        token=OuterRef("token"), assignment__removed_at=None, assignment__role__deleted_at=None
    ).exclude(assignment__role=edit.before)
    crowd = _crowd(_living(edit.seen, [edit.before.pk]), ~Q(Exists(others)))
    return [Notice("Live tokens that stop working: they have no other role", crowd)]


RoleEdit.counts = [*RoleEdit.counts, ("live token", tokens_between)]
RoleEdit.notices = [*RoleEdit.notices, carried, shortened, handled, stopped]


# Panels.


def carriers_panel(role: Role, by: Actor) -> Panel:
    """Live tokens that carry the role: how many, and some of them."""
    crowd = _crowd(within_sight(live_roles([role.pk])))
    return Panel("Live tokens that carry it", "portal/panels/carriers.html", {"role": role, "crowd": crowd})


def passing_panel(pool: Pool, by: Actor) -> Panel:
    """Live tokens that reach the pool, as far as the page goes, and why."""
    if pool.deleted_at:
        return Panel("Live tokens that reach it", "portal/panels/passing.html", {"deleted": True})
    reach = Reach.now()
    gates = any_gate(reach.gates(pool.name))
    sight = within_sight(live_roles(roles_behind(gates)))
    found = [*sight.rows.filter(passing(gates)).values_list("token_id", flat=True)[: COUNTED + 1]]
    known = [*dict.fromkeys(found)]
    tokens = [*rules.visible_tokens(by).filter(pk__in=known[:SHOWN]).with_state()]
    context = {
        "pool": pool,
        "tokens": _explained(reach, pool, tokens),
        "count": f"{min(len(known), COUNTED):,}{'+' if sight.more or len(found) > COUNTED else ''}",
        "more": len(known) > SHOWN,
        "shown": SHOWN,
        "operations": [*Operation],
    }
    return Panel("Live tokens that reach it", "portal/panels/passing.html", context)


def _explained(reach: Reach, pool: Pool, tokens: list[AccessToken]) -> list[dict[str, Any]]:
    held: dict[int, list[int]] = {token.owner_id: [] for token in tokens}
    effective = RoleAssignment.objects.effective().filter(user__in=[*held]).order_by()
    for user_id, role_id in effective.values_list("user_id", "role_id"):
        held[user_id].append(role_id)
    rows = []
    for token in tokens:
        carries = [role.assignment.role_id for role in token.put_roles() if role.is_effective]
        decisions = reach.explain(pool.name, carried=carries, held=held[token.owner_id])
        rows.append({"token": token, **marks(decisions)})
    return rows


RoleSection.panels = [*RoleSection.panels, carriers_panel]
PoolSection.panels = [*PoolSection.panels, passing_panel]
