"""What a test may do with a page, whatever engine shows it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shared_state.jsontext import Json

__all__ = ["Engine", "EnginePage", "View"]

_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class View:
    """A window.

    Attributes:
        width: in CSS pixels; WebKitGTK's window cannot be narrower than about 450.
        height: in CSS pixels.
        dark: whether the reader prefers a dark page.
    """

    width: int = 390
    height: int = 844
    dark: bool = False


class EnginePage(Protocol):
    """One tab."""

    def open(self, url: str) -> None:
        """Go to an address and wait until it has loaded. ``errors`` begins anew."""

    def evaluate(self, expression: str) -> Json:
        """The value of a JavaScript expression; a promise is waited for.

        Raises:
            EvaluationError: it threw, or the promise was rejected.
        """

    def wait_until_true(self, expression: str, timeout_s: float = 30.0) -> None:
        """Wait until an expression is true in the page.

        Raises:
            AssertionError: it is not within this time; the message has the page's errors.
        """

    def screenshot(self, path: Path) -> None:
        """Write what is in the window to a PNG file."""

    def errors(self) -> list[str]:
        """Uncaught errors and messages of ``console.error`` since ``open``, oldest first."""

    def close(self) -> None:
        """Close the tab."""


class Engine(Protocol):
    """A running browser."""

    @property
    def name(self) -> str:
        """As in ``ENGINES``."""

    def new_page(self) -> EnginePage:
        """A new tab."""


class EvaluationError(Exception):
    """An expression threw in the page; ``str()`` is what it threw."""


def poll_until_true(page: EnginePage, expression: str, timeout_s: float) -> None:
    """``EnginePage.wait_until_true`` by ``evaluate``, which no Content-Security-Policy forbids."""
    deadline_s = time.monotonic() + timeout_s
    while not page.evaluate(f"Boolean(await ({expression}))"):
        if time.monotonic() > deadline_s:
            raise AssertionError(
                f"not within {timeout_s} s: {expression}; errors of the page: {page.errors()}"
            )
        time.sleep(_POLL_S)
