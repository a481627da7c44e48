"""Three browser engines behind one small interface: Chromium, Firefox ESR and WebKitGTK.

Most browser tests need Chromium's own tools and use ``testkit.browser``. A test that asks whether the widget
works in every engine uses this package. Chromium is driven by Playwright. Playwright's Firefox and WebKit are
builds of its own, so the ones that readers have are driven by the standard protocols: Firefox by WebDriver
BiDi, WebKitGTK by WebDriver (decision 81). ``testkit/services/install.sh`` installs them.

Pages of one engine share its storage, as tabs do; each launch has a profile of its own. Only this machine can
be reached.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Literal, assert_never

from testkit.engines.chromium import chromium
from testkit.engines.firefox import firefox
from testkit.engines.page import Engine, EnginePage, View
from testkit.engines.webkit import webkit

__all__ = ["ENGINES", "Engine", "EngineName", "EnginePage", "View", "launch_engine"]

EngineName = Literal["chromium", "firefox", "webkit"]
ENGINES: Final[tuple[EngineName, ...]] = ("chromium", "firefox", "webkit")


@contextmanager
def launch_engine(name: EngineName, view: View | None = None) -> Iterator[Engine]:
    """A running browser that ends with the block.

    Args:
        name: which engine.
        view: the size of its window and the reader's colour scheme; None for a phone's, light.

    A browser that is not installed skips the test, and with ``CI`` set fails it.
    """
    view = view or View()
    running: AbstractContextManager[Engine]
    if name == "chromium":
        running = chromium(view)
    elif name == "firefox":
        running = firefox(view)
    elif name == "webkit":
        running = webkit(view)
    else:
        assert_never(name)
    with running as engine:
        yield engine
