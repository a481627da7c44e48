"""Debian's Firefox ESR by WebDriver BiDi (w3.org/TR/webdriver-bidi), without a driver between."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from websockets.sync.client import ClientConnection, connect

from deploy.ports import free_port
from shared_state.jsontext import Json
from testkit.engines.page import EvaluationError, View, poll_until_true
from testkit.services.process import ServerProcess, listening, require_program

__all__ = ["firefox"]

_COMMAND_S: Final = 60.0
# A proxy where nobody listens: Firefox asks for much by itself, and only this machine can be reached.
_PREFERENCES: Final[dict[str, Json]] = {
    "network.proxy.type": 1,
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 9,
    "network.proxy.no_proxies_on": "127.0.0.1, localhost",
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
}


class FirefoxPage:
    """``EnginePage``."""

    def __init__(self, browser: Firefox, context: str) -> None:
        self._browser = browser
        self._context = context
        self._errors: list[str] = []

    def open(self, url: str) -> None:
        self._errors.clear()
        self._browser.command("browsingContext.navigate", context=self._context, url=url, wait="complete")

    def evaluate(self, expression: str) -> Json:
        answer = self._browser.command(
            "script.evaluate",
            expression=f"(async () => JSON.stringify(await ({expression})))()",
            target={"context": self._context},
            awaitPromise=True,
        )
        if answer["type"] != "success":
            raise EvaluationError(answer["exceptionDetails"]["text"])
        value: Json = json.loads(answer["result"].get("value", "null"))
        return value

    def wait_until_true(self, expression: str, timeout_s: float = 30.0) -> None:
        poll_until_true(self, expression, timeout_s)

    def screenshot(self, path: Path) -> None:
        answer = self._browser.command("browsingContext.captureScreenshot", context=self._context)
        path.write_bytes(base64.b64decode(answer["data"]))

    def errors(self) -> list[str]:
        self.evaluate("null")  # messages that are on their way come before the answer
        return list(self._errors)

    def close(self) -> None:
        self._browser.command("browsingContext.close", context=self._context)

    def on_log(self, entry: dict[str, Any]) -> None:
        """A message of the console."""
        if entry["source"].get("context") == self._context and entry["level"] == "error":
            self._errors.append(entry["text"])


class Firefox:
    """``Engine``."""

    name = "firefox"

    def __init__(self, socket: ClientConnection, view: View) -> None:
        self._socket = socket
        self._view = view
        self._commands = 0
        self._pages: list[FirefoxPage] = []
        self.command("session.new", capabilities={})
        self.command("session.subscribe", events=["log.entryAdded"])

    def command(self, method: str, **params: Json) -> dict[str, Any]:
        """Send a command and wait for its answer.

        Raises:
            RuntimeError: the browser refuses it.
        """
        self._commands += 1
        self._socket.send(json.dumps({"id": self._commands, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=_COMMAND_S))
            if message.get("method") == "log.entryAdded":
                for page in self._pages:
                    page.on_log(message["params"])
            elif message.get("id") == self._commands:
                if message["type"] == "error":
                    raise RuntimeError(f"{method}: {message['error']}: {message['message']}")
                result: dict[str, Any] = message["result"]
                return result

    def new_page(self) -> FirefoxPage:
        context = self.command("browsingContext.create", type="tab")["context"]
        self.command(
            "browsingContext.setViewport",
            context=context,
            viewport={"width": self._view.width, "height": self._view.height},
        )
        page = FirefoxPage(self, context)
        self._pages.append(page)
        return page


@contextmanager
def firefox(view: View) -> Iterator[Firefox]:
    """A running Firefox."""
    program = require_program("firefox-esr", "firefox")
    # Firefox still writes into its profile while it ends.
    with tempfile.TemporaryDirectory(prefix="firefox-", ignore_cleanup_errors=True) as folder:
        profile = Path(folder) / "profile"
        profile.mkdir()
        preferences = {
            **_PREFERENCES,
            "layout.css.prefers-color-scheme.content-override": 0 if view.dark else 1,
        }
        lines = [
            f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in preferences.items()
        ]
        (profile / "user.js").write_text("".join(lines))
        port = free_port()
        argv = [program, "--headless", "--no-remote", "--profile", str(profile)]
        process = ServerProcess(
            [*argv, f"--remote-debugging-port={port}"], log_path=Path(folder) / "log", env={"HOME": folder}
        )
        with process:
            process.wait_until(lambda: listening(port), timeout_s=60)
            with connect(f"ws://127.0.0.1:{port}/session", max_size=None, proxy=None) as socket:
                yield Firefox(socket, view)
