"""`python -m tests.browser.weights` prints what each page weighs, as a table in Markdown."""

from typing import Any

from playwright.sync_api import Browser, sync_playwright

from tests.browser.chromium import FLAGS, chromium
from tests.browser.portal import portal


def main() -> None:
    with portal() as demo, sync_playwright() as playwright:
        from tests.cast import Cast
        from tests.furniture import furnish

        furnish(Cast())
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        rows = [*_rows(browser, "grace", demo.url, "admin/"), *_rows(browser, "ada", demo.url, "me/")]
        browser.close()
    print("| page | KB | requests |\n| --- | --: | --: |")
    for route, weight, requests in rows:
        print(f"| `/{route}` | {weight / 1000:.0f} | {requests} |")
    weight, requests = max(row[1] for row in rows), max(row[2] for row in rows)
    print(f"\n{len(rows)} pages, at most {weight / 1000:.0f} KB and {requests} requests.")


def _rows(browser: Browser, name: str, url: str, below: str) -> list[tuple[str, int, int]]:
    """Each with an empty cache, as on a first visit."""
    from tests.browser.pages import pages_of, sign_in, weighed

    rows = []
    for route, addresses in pages_of(name).items():
        if route.startswith(below):
            context = browser.new_context(base_url=url)
            sign_in(context, name, url)
            page: Any = context.new_page()
            page.goto(addresses[0], wait_until="networkidle")
            rows.append((route, *weighed(page)))
            context.close()
    return rows


if __name__ == "__main__":
    main()
