"""What is looked at on a page: its weight, whether it fits the window, and what axe-core finds."""

from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from playwright.sync_api import Page

from tests.browser.pages import MAX_REQUESTS, MAX_WEIGHT, weighed

Look = tuple[Any, Any]  # the size of the window, the colours
DESK: Look = ({"width": 1280, "height": 900}, "light")
TELEPHONE: Look = ({"width": 390, "height": 844}, "dark")

LIGHTEST = 5_000  # bytes; a page without its stylesheet

AXE_CORE = files("axe_playwright_python").joinpath("axe.min.js").read_text()
# All that axe-core looks for by default (WCAG 2.0 and 2.1, A and AA, and its best practices), and the size of targets.
LOOK_FOR_VIOLATIONS = """async () => {
  document.getAnimations().forEach(animation => animation.finish());
  const options = { resultTypes: ["violations"], preload: false, rules: { "target-size": { enabled: true } } };
  const { violations } = await axe.run(document, options);
  return violations.map(({ id, help, nodes }) =>
    `${id}: ${help}: ${nodes.slice(0, 3).map(node => node.html.slice(0, 200)).join(" … ")}`);
}"""


def faults(page: Page, looks: list[Look]) -> Iterator[str]:
    """What is wrong with the page that is open."""
    weight, requests = weighed(page)
    if not LIGHTEST < weight <= MAX_WEIGHT or requests > MAX_REQUESTS:
        yield f"it weighs {weight:,} bytes in {requests} requests"
    page.evaluate(AXE_CORE)
    for window, colours in looks:
        page.set_viewport_size(window)
        page.emulate_media(color_scheme=colours)
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > window["width"]:
            yield f"it is {width} px wide where {window['width']} px are there"
        yield from (f"{colours}, {window['width']} px: {violation}" for violation in page.evaluate(LOOK_FOR_VIOLATIONS))
