"""One Chromium for every browser test and bench: Debian's if it is there, else Playwright's own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Error, Page, Playwright, sync_playwright

from testkit.services.process import unavailable

__all__ = ["CHROMIUM", "launch", "launch_with", "wait_until_true"]

CHROMIUM = Path("/usr/bin/chromium")
# Nothing that a test did not ask for may leave the machine, and containers have no sandbox.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def launch(*, headless: bool = True) -> Iterator[Browser]:
    """A running Chromium; it ends with the block. Skips the test, or with CI fails it, if there is none."""
    with sync_playwright() as playwright:
        browser = launch_with(playwright, headless=headless)
        try:
            yield browser
        finally:
            browser.close()


def launch_with(playwright: Playwright, *, headless: bool = True) -> Browser:
    """The same for a caller who has Playwright running and closes the browser."""
    path = str(CHROMIUM) if CHROMIUM.exists() else None
    try:
        return playwright.chromium.launch(executable_path=path, args=list(FLAGS), headless=headless)
    except Error as error:
        if path is None and "Executable doesn't exist" in str(error):
            unavailable("Chromium")
        raise


def wait_until_true(page: Page, expression: str, timeout_ms: float) -> None:
    """Wait until an expression is true in the page.

    Playwright's own ``wait_for_function`` calls ``eval`` there, which the policy of our pages forbids.
    """
    deadline_s = time.monotonic() + timeout_ms / 1_000
    while not page.evaluate(expression):
        assert time.monotonic() < deadline_s, f"not within {timeout_ms:.0f} ms: {expression}"
        page.wait_for_timeout(25)
