from typing import Any

from tokens.me.pages import PLACE, Page


class ApiPage(Page):
    """The API, described and to be tried, as the person of the session. Its routes ask what that person may do."""

    template_name = "me/api.html"

    def shown(self) -> dict[str, Any]:
        return {"title": "API", "section_url": PLACE.address("changelist"), "section_title": PLACE.heading}
