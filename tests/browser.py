"""Pages in a real browser: Debian's Chromium, by Playwright."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

CHROMIUM = "/usr/bin/chromium"
WIDTHS = (1280, 390, 360)  # a desktop's and two phones'
# Whatever a report shows from outside, here is the worst of it.
HOSTILE = (
    "<script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "\"><svg onload=document.title='owned'>",
    "{{ 7 * 7 }}{% for x in y %}",
    "</style></title><style>body{display:none}",
    "javascript:alert(1) https://example.com/x.png",
    "\u202egnp.exe\u2066 \u200f\x00\x1b[31m\x07\ud800",
    "$\\frac{1}{0}$ %s {0} &amp; --> ]]>",
    "w" * 100_000,
    "\u0645\u0631\u062d\u0628\u0627 \u65e5\u672c\u8a9e \U0001f600" + "\u0301" * 500,
    "",
    "_",
)


class Chromium:
    """A browser that opens pages and holds them to what every report promises."""

    def __init__(self, browser):
        self._browser = browser

    def open(self, path: Path, *texts: str, screenshots: Path | None = None) -> None:
        """Asserts that a page is whole, quiet, inert and fits on a phone.

        Args:
          path: of the page.
          texts: what a reader must see of it.
          screenshots: a folder to put pictures of it into.
        """
        for width in WIDTHS:
            with self._page(width) as (page, complaints):
                requests = []
                page.on("request", lambda request, seen=requests: seen.append(request))
                page.goto(path.absolute().as_uri())
                assert [r.url for r in requests] == [path.absolute().as_uri()]
                assert not complaints, complaints
                assert page.title() not in ("", "owned")
                # Only what is to be seen, closed parts aside.
                seen = " ".join(page.inner_text("body").split())
                for text in texts:
                    assert text in seen, f"{text!r} isn't on the page: {seen[:2000]}"
                assert page.locator("script, iframe, object, embed, img").count() == 0
                wide, room = page.evaluate(
                    "[document.documentElement.scrollWidth,"
                    " document.documentElement.clientWidth]"
                )
                assert wide <= room, f"{wide} px on a screen of {width}"
                ids = page.evaluate(
                    "[...document.querySelectorAll('[id]')].map(e=>e.id)"
                )
                assert len(ids) == len(set(ids)), "two elements with one id"
                unnamed = page.locator("svg:not([aria-label])").count()
                assert unnamed == 0, "a figure without words"
                verdict = page.locator(".verdict").bounding_box()
                assert verdict["y"] < 400, "the verdict comes first"
                if screenshots is not None:
                    name = f"{path.stem}-{width}.png"
                    page.screenshot(path=screenshots / name, full_page=True)

    @contextlib.contextmanager
    def _page(self, width: int):
        context = self._browser.new_context(viewport={"width": width, "height": 900})
        page = context.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("requestfailed", lambda request: complaints.append(request.url))
        try:
            yield page, complaints
        finally:
            context.close()


@contextlib.contextmanager
def chromium() -> Iterator[Chromium]:
    """Yields a browser, for a fixture of one module.

    Skips the tests where there is none, but for CI, which must have one.
    """
    if not os.path.exists(CHROMIUM) and os.environ.get("CI") != "true":
        pytest.skip(f"no {CHROMIUM}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"]
        )
        try:
            yield Chromium(browser)
        finally:
            browser.close()
