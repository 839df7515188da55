"""The built book, opened page by page in headless Chromium: `make book-test`.

Every page must come wholly from the book's own files, over http and straight from disk: nothing is
asked of another server, nothing is missing, no script fails, every formula is drawn, no page is
wider than a phone, and a slider moves its curve.  A page with each of these faults is planted to
show that the crawl sees them.
"""

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.book

BOOK = Path(__file__).resolve().parent.parent / "book" / "_build" / "html"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update"]
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
DRAWN = "() => window.MathJax?.startup?.promise?.then(() => true) ?? true"
# Formulas that Sphinx wrote, minus the ones MathJax drew.
UNDRAWN = """() => [...document.querySelectorAll('.math')]
    .filter(node => !node.querySelector('mjx-container svg')).map(node => node.textContent)"""
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
# Each slider is pushed to its other end; its figure must be drawn anew.
STUCK = """() => [...document.querySelectorAll('input[type=range]')].filter(slider => {
    const figure = slider.closest('figure, .slider') ?? slider.parentElement;
    const before = figure.querySelector('svg')?.innerHTML;
    slider.value = slider.value === slider.max ? slider.min : slider.max;
    slider.dispatchEvent(new Event('input', {bubbles: true}));
    return figure.querySelector('svg')?.innerHTML === before;
}).map(slider => slider.id || 'a slider without id')"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium on PATH: install it or set CHROMIUM=/path/to/chromium")
    from playwright.sync_api import sync_playwright
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=found, args=QUIET)
        yield chromium
        chromium.close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """No line per request."""


class Served:
    """A folder behind a local web server, for a `with` block; gives the base address."""

    def __init__(self, folder: Path) -> None:
        handler = functools.partial(Quiet, directory=str(folder))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def faults(browser: Any, base: str, pages: list[str]) -> list[str]:
    """What is wrong with the pages below `base`, one sentence each."""
    return [f"{name}: {fault}" for name in pages for fault in page_faults(browser, base, name)]


def page_faults(browser: Any, base: str, name: str) -> list[str]:
    page = browser.new_page(viewport=DESK)
    wrong: list[str] = []

    def guard(route: Any) -> None:
        address = route.request.url
        if address.startswith((base, "data:", "blob:")):
            route.continue_()
        else:
            wrong.append(f"asks for {address}")
            route.abort()

    page.route("**/*", guard)
    page.on("pageerror", lambda error: wrong.append(f"script error {error}"))
    page.on("console", lambda line: line.type == "error"
            and wrong.append(f"console error {line.text}"))
    page.on("requestfailed", lambda request: wrong.append(f"no {request.url}"))
    page.on("response", lambda answer: answer.status >= 400
            and wrong.append(f"{answer.status} for {answer.url}"))
    # The index leads on to the first page.
    page.goto(f"{base}/{name}", wait_until="networkidle" if name == "index.html" else "load")
    page.evaluate(DRAWN)
    wrong += [f"formula not drawn {text}" for text in page.evaluate(UNDRAWN)]
    wrong += [f"{slider} moves nothing" for slider in page.evaluate(STUCK)]
    page.set_viewport_size(PHONE)
    if (extra := page.evaluate(OVERFLOW)) > 0:
        wrong.append(f"{extra} pixels wider than a phone")
    page.close()
    return wrong


@pytest.fixture(scope="module")
def pages() -> list[str]:
    """All that were written, and the largest three of the listings, which are made alike."""
    found = [path for path in BOOK.rglob("*.html") if "_static" not in path.parts]
    if not found:
        pytest.skip("the book is not built: make book")
    listings = sorted((path for path in found if "_modules" in path.parts),
                      key=lambda path: path.stat().st_size)
    return sorted(str(path.relative_to(BOOK)) for path in found if path not in listings[:-3])


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_every_page_stands_alone(browser: Any, pages: list[str], scheme: str) -> None:
    """All over http; from disk, where what a page may load is all that differs, every third."""
    assert "intro.html" in pages
    if scheme == "file":
        assert faults(browser, BOOK.as_uri(), pages[::3]) == []
    else:
        with Served(BOOK) as base:
            assert faults(browser, base, pages) == []


def test_the_opening_page_has_a_formula(browser: Any, pages: list[str]) -> None:
    """Else 'no formula undrawn' would say nothing."""
    with Served(BOOK) as base:
        page = browser.new_page()
        page.goto(f"{base}/intro.html", wait_until="load")
        page.evaluate(DRAWN)
        assert page.locator("mjx-container svg").count() > 0
        page.close()


PLANTED = {
    "asks for": '<img src="http://example.invalid/logo.png">',
    "404 for": '<script src="missing.js"></script>',
    "script error": "<script>undefinedFunction()</script>",
    "console error": "<script>console.error('x')</script>",
    "formula not drawn": '<span class="math">\\(x\\)</span>',
    "wider than a phone": '<div style="width: 2000px">x</div>',
    "moves nothing": '<figure><svg><path d="M0 0"/></svg><input type="range"></figure>',
}


@pytest.mark.parametrize("sentence", PLANTED)
def test_the_crawl_sees_a_planted_fault(browser: Any, tmp_path: Path, sentence: str) -> None:
    head = '<!doctype html><link rel="icon" href="data:,"><body>'
    (tmp_path / "bad.html").write_text(head + PLANTED[sentence])
    (tmp_path / "good.html").write_text(head + "plain")
    with Served(tmp_path) as base:
        assert faults(browser, base, ["good.html"]) == []
        assert any(sentence in fault for fault in faults(browser, base, ["bad.html"]))
