"""What the pages of users, which know nothing of tokens, tell about them."""

from django.db.models import Count, Min

from osmo_portal.console.section import Panel
from osmo_portal.events.actor import Actor
from profiles.admin.users import Stakes, UserSection
from profiles.models import User
from tokens import rules
from tokens.models import AccessToken

SHOWN = 50


def tokens_panel(user: User, by: Actor) -> Panel:
    mine = AccessToken.objects.owned_by(user).with_state()[: SHOWN + 1]
    may_issue = user.is_service_account and user.is_active and not user.deleted_at
    context = {
        "tokens": mine[:SHOWN],
        "more": len(mine) > SHOWN,
        "owner": user,
        "may_issue": may_issue and rules.may_issue_service_tokens(by),
    }
    return Panel("Access tokens", "portal/panels/tokens.html", context)


def what_happens_to_tokens(user: User) -> str:
    count = AccessToken.objects.owned_by(user).live().count()
    if not count:
        return "No live token is hit."
    many = f"{count} live tokens are" if count > 1 else "1 live token is"
    return f"{many} suspended. Reactivating resumes none: each has to be resumed by hand."


def live_tokens(users: list[int]) -> Stakes:
    """How many live tokens each has, and when the first of them expires. One query; who has none is left out."""
    live = AccessToken.objects.live().filter(owner__in=users).order_by()
    counted = live.values_list("owner").annotate(Count("pk"), Min("expires_at"))
    return {owner: (count, first) for owner, count, first in counted}


UserSection.stakes = staticmethod(live_tokens)
UserSection.panels = [*UserSection.panels, tokens_panel]
UserSection.consequences = [*UserSection.consequences, what_happens_to_tokens]
