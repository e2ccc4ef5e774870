"""The access matrix: what each role, by itself, opens in which pool."""

from typing import Any, NamedTuple

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse

from osmo_portal.console.section import Section
from profiles.models import Pool, Role
from profiles.policies import WAYS, Operation, Says, about_pools

ROLES = 50
POOLS = 20


class Cell(NamedTuple):
    kind: str  # for the stylesheet
    text: str


def cell(says: Says) -> Cell:
    gives = [operation for operation, ways in WAYS.items() if (says.allows - says.denies).intersection(ways)]
    hinders = [o for o, ways in WAYS.items() if o not in gives and says.denies.intersection(ways)]
    denies = [o for o in hinders if says.denies.issuperset(WAYS[o])]
    partly = [o for o in hinders if o not in denies]  # another role may still open a way that is left
    told = [_together(gives)] if gives else []
    told += [f"denies {_together(denies)}"] if denies else []
    told += [f"denies part of {_together(partly)}"] if partly else []
    kind = "denies" if hinders else "all" if len(gives) == len(WAYS) else "some" if gives else "none"
    return Cell(kind, "; ".join(told) or "–")


def _together(operations: list[Operation]) -> str:
    return "all" if len(operations) == len(WAYS) else ", ".join(operations)


class Side:
    """One side of the matrix: a page of those whose names begin as asked for."""

    def __init__(self, request: HttpRequest, name: str, everything: QuerySet, size: int) -> None:
        self.name = name
        self.begun = request.GET.get(name, "").strip()
        found = everything.filter(name__startswith=self.begun)
        self.page = Paginator(found, size).get_page(request.GET.get(f"{name}s"))
        self.shown = [*self.page.object_list]
        self.earlier = self._page(request, self.page.number - 1) if self.page.has_previous() else ""
        self.later = self._page(request, self.page.number + 1) if self.page.has_next() else ""

    def _page(self, request: HttpRequest, number: int) -> str:
        """The same matrix with another page of this side."""
        query = request.GET.copy()
        query[f"{self.name}s"] = str(number)
        return f"?{query.urlencode()}"


def matrix(section: Section, request: HttpRequest) -> TemplateResponse:
    roles = Side(request, "role", Role.objects.existing().order_by("-grants_pools", "name"), ROLES)
    pools = Side(request, "pool", Pool.objects.existing().order_by("name"), POOLS)
    rows: list[tuple[Role, list[Cell]]] = []
    for role in roles.shown:
        says = about_pools(role.parsed.policies)
        rows.append((role, [cell(says(pool.name)) for pool in pools.shown]))
    context: dict[str, Any] = {
        **section.admin_site.each_context(request),
        "title": "Access matrix",
        "opts": section.opts,
        "section_url": section.address("changelist"),
        "sides": [roles, pools],
        "rows": rows,
        "pools": pools.shown,
    }
    return TemplateResponse(request, "portal/matrix.html", context)
