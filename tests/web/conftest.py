"""A real Chromium, and the stand-in server it talks to; skipped where there is no Chromium."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.web.standin import Standin

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
expect.set_options(timeout=10_000)


@pytest.fixture(scope="module")  # no longer: its event loop is in the way of other modules' asyncio.run
def chromium() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no Chromium: none of {', '.join(NAMES)} is on the PATH; Debian's package is 'chromium'")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def server() -> Iterator[Standin]:
    with Standin() as running:
        yield running


@pytest.fixture
def page(chromium: Browser, server: Standin) -> Iterator[Page]:
    """The page on a desktop, open; fails at the end where it logged an error, also one against its content policy."""
    yield from opened(chromium, server)


@pytest.fixture
def phone(chromium: Browser, server: Standin) -> Iterator[Page]:
    yield from opened(chromium, server, viewport={"width": 360, "height": 720}, is_mobile=True, has_touch=True)


def is_fault(said: ConsoleMessage) -> bool:
    """An answer of 4xx is logged too, and is no fault of the page."""
    return said.type == "error" and "Failed to load resource" not in said.text


def opened(chromium: Browser, server: Standin, **options: object) -> Iterator[Page]:
    context = chromium.new_context(permissions=["clipboard-read", "clipboard-write"], **options)
    page, faults = context.new_page(), list[str]()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: is_fault(said) and faults.append(said.text))
    page.goto(server.url)
    yield page
    context.close()
    assert faults == []
