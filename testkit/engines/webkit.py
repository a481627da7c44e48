"""WebKitGTK's MiniBrowser by WebDriver (w3.org/TR/webdriver2), on a screen that only Xvfb sees."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from deploy.ports import free_port
from shared_state.jsontext import Json
from testkit.engines.page import EvaluationError, View, poll_until_true
from testkit.services.process import ServerProcess, listening, require_program, unavailable

__all__ = ["webkit"]

_COMMAND_S: Final = 60.0
#: The window has a bar of this height above the page.
_BAR_PX: Final = 60
_ERROR: Final = re.compile("CONSOLE (?:JS|CONSOLEAPI|SECURITY) ERROR (.*)")
# The answer to a command is JSON, so the value travels as text in a list: undefined has no place in JSON.
_EVALUATE: Final = """
const done = arguments[arguments.length - 1];
(async () => JSON.stringify(await (%s)))().then(
  (text) => done([text ?? "null"]),
  (error) => done([null, String(error)]),
);
"""


class WebKitPage:
    """``EnginePage``."""

    def __init__(self, browser: WebKit, handle: str) -> None:
        self._browser = browser
        self._handle = handle
        self._log_start = 0

    def open(self, url: str) -> None:
        self._log_start = len(self._browser.log())
        self._browser.select(self._handle)
        self._browser.command("POST", "url", {"url": url})

    def evaluate(self, expression: str) -> Json:
        self._browser.select(self._handle)
        answer = self._browser.command(
            "POST", "execute/async", {"script": _EVALUATE % expression, "args": []}
        )
        if answer[0] is None:
            raise EvaluationError(answer[1])
        value: Json = json.loads(answer[0])
        return value

    def wait_until_true(self, expression: str, timeout_s: float = 30.0) -> None:
        poll_until_true(self, expression, timeout_s)

    def screenshot(self, path: Path) -> None:
        self._browser.select(self._handle)
        path.write_bytes(base64.b64decode(self._browser.command("GET", "screenshot")))

    def errors(self) -> list[str]:
        # Of all its pages: the browser's log does not say of which.
        return _ERROR.findall(self._browser.log()[self._log_start :])

    def close(self) -> None:
        self._browser.select(self._handle)
        self._browser.command("DELETE", "window")
        self._browser.select_first()


class WebKit:
    """``Engine``."""

    name = "webkit"

    def __init__(self, port: int, program: str, log_path: Path, view: View) -> None:
        self._port = port
        self._log_path = log_path
        options = {
            "binary": program,
            "args": ["--automation", "--enable-write-console-messages-to-stdout=true"],
        }
        timeouts = {"script": 30_000, "pageLoad": 30_000}
        wanted = {"webkitgtk:browserOptions": options, "timeouts": timeouts}
        self._session = ""
        answer = self.command("POST", "", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/{answer['sessionId']}"
        self._first = self._selected = str(self.command("GET", "window"))
        self._view = view

    def command(self, method: str, path: str, body: Json = None) -> Any:
        """Send a command of the session and return its value.

        Raises:
            RuntimeError: the browser refuses it.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_COMMAND_S)
        try:
            path = f"/session{self._session}" + (f"/{path}" if path else "")
            sent = json.dumps(body if body is not None else {}) if method == "POST" else None
            connection.request(method, path, sent, {"Content-Type": "application/json"})
            response = connection.getresponse()
            value = json.loads(response.read())["value"]
        finally:
            connection.close()
        if response.status >= 400:
            raise RuntimeError(f"{method} {path}: {value['error']}: {value['message']}")
        return value

    def select(self, handle: str) -> None:
        """Commands go to this tab from now on."""
        if self._selected != handle:
            self.command("POST", "window", {"handle": handle})
            self._selected = handle

    def select_first(self) -> None:
        """To the window that stays open: without one, no command is taken."""
        self._selected = ""
        self.select(self._first)

    def log(self) -> str:
        """What the browser has written, console messages among it."""
        return self._log_path.read_text(errors="replace")

    def new_page(self) -> WebKitPage:
        handle = self.command("POST", "window/new", {"type": "window"})["handle"]
        self.select(handle)
        size = {"width": self._view.width, "height": self._view.height + _BAR_PX}
        self.command("POST", "window/rect", {"x": 0, "y": 0, **size})
        return WebKitPage(self, handle)

    def end(self) -> None:
        """Close all windows."""
        self.command("DELETE", "")


@contextmanager
def webkit(view: View) -> Iterator[WebKit]:
    """A running MiniBrowser."""
    driver_program, screen_program = require_program("WebKitWebDriver"), require_program("Xvfb")
    browsers = sorted(Path("/usr/lib").glob("*/webkit*gtk-*/MiniBrowser"))
    if not browsers:
        unavailable("WebKitGTK's MiniBrowser")
    with tempfile.TemporaryDirectory(prefix="webkit-", ignore_cleanup_errors=True) as folder:
        screen_log, log = Path(folder) / "screen.log", Path(folder) / "log"
        # It finds a free number by itself, and writes it once it is ready.
        argv = [screen_program, "-displayfd", "1", "-screen", "0", "1600x1600x24", "-nolisten", "tcp"]
        with ServerProcess(argv, log_path=screen_log) as screen:
            screen.wait_until(lambda: re.search(r"^\d+$", screen_log.read_text(), re.MULTILINE) is not None)
            display = re.findall(r"^\d+$", screen_log.read_text(), re.MULTILINE)[-1]
            env = {
                "DISPLAY": f":{display}",
                "GDK_BACKEND": "x11",
                "GTK_THEME": "Adwaita:dark" if view.dark else "Adwaita",
                "HOME": folder,
                "NO_AT_BRIDGE": "1",
                # What is not on this machine cannot be reached.
                "http_proxy": "http://127.0.0.1:9",
                "https_proxy": "http://127.0.0.1:9",
                "no_proxy": "127.0.0.1,localhost",
                "WEBKIT_DISABLE_COMPOSITING_MODE": "1",
                "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1",
            }
            port = free_port()
            argv = [driver_program, f"--port={port}", "--host=127.0.0.1"]
            with ServerProcess(argv, log_path=log, env=env) as driver:
                driver.wait_until(lambda: listening(port))
                engine = WebKit(port, os.fspath(browsers[-1]), log, view)
                try:
                    yield engine
                finally:
                    engine.end()
