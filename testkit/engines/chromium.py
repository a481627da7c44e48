"""Chromium by Playwright, as in ``testkit.browser``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from playwright.sync_api import BrowserContext, ConsoleMessage, Error, Page

from shared_state.jsontext import Json
from testkit.browser import launch
from testkit.engines.page import EvaluationError, View, poll_until_true

__all__ = ["chromium"]


class ChromiumPage:
    """``EnginePage``."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._errors: list[str] = []
        page.on("pageerror", lambda error: self._errors.append(str(error)))
        page.on("console", self._on_console)

    def open(self, url: str) -> None:
        self._errors.clear()
        self.page.goto(url)

    def evaluate(self, expression: str) -> Json:
        try:
            # As a function: Playwright would call the value of an expression that is a function.
            return cast("Json", self.page.evaluate(f"async () => ({expression})"))
        except Error as error:
            raise EvaluationError(error.message) from None

    def wait_until_true(self, expression: str, timeout_s: float = 30.0) -> None:
        poll_until_true(self, expression, timeout_s)

    def screenshot(self, path: Path) -> None:
        self.page.screenshot(path=path)

    def errors(self) -> list[str]:
        return list(self._errors)

    def close(self) -> None:
        self.page.close()

    def _on_console(self, message: ConsoleMessage) -> None:
        # A request that is refused is no error of a script, and the other engines report none.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self._errors.append(message.text)


class Chromium:
    """``Engine``."""

    name = "chromium"

    def __init__(self, context: BrowserContext) -> None:
        self.context = context

    def new_page(self) -> ChromiumPage:
        return ChromiumPage(self.context.new_page())


@contextmanager
def chromium(view: View) -> Iterator[Chromium]:
    """A running Chromium."""
    with launch() as browser:
        context = browser.new_context(
            viewport={"width": view.width, "height": view.height},
            color_scheme="dark" if view.dark else "light",
        )
        yield Chromium(context)
        context.close()
