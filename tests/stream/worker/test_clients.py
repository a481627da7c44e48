"""Clients that others wrote: each sees the same ids, whatever happens to the server between them.

The server is killed with -9 and started again on the same port, twice; its bus survives, as Redis would.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import sseclient
from httpx_sse import connect_sse
from playwright.sync_api import Page, sync_playwright

from testkit.services.process import require_program, unavailable
from testkit.stream_app import EPOCH_MS
from testkit.stream_server import ROOT, StreamServer

# The version that the test was written with; npm keeps it beside the other caches of this checkout.
NPM_EVENTSOURCE = "eventsource@5.1.5"
NPM_DIR = ROOT / ".cache" / "npm-eventsource"

NODE_CLIENT = """
import { EventSource } from "eventsource";
const source = new EventSource(process.argv[2]);
source.addEventListener("score", (event) => console.log(event.lastEventId));
process.stdin.on("end", () => process.exit(0)).resume();
"""


class Client(ABC):
    """One reader; ``ids`` is what it has been told, in order."""

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    @abstractmethod
    def ids(self) -> list[str]: ...

    @abstractmethod
    def close(self) -> None: ...


class LoopClient(Client):
    """A library that reads one response: the loop around it is what its documentation says to write."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._ids: list[str] = []
        self.last_id = ""
        self.retry_s = 1.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    @property
    def ids(self) -> list[str]:
        return self._ids

    def close(self) -> None:
        self._done.set()
        self._thread.join(15)
        assert not self._thread.is_alive()

    def _loop(self) -> None:
        while not self._done.is_set():
            headers = {"Last-Event-ID": self.last_id} if self.last_id else {}
            # The read timeout also ends the loop: the server's heartbeat is quicker than it.
            with contextlib.suppress(httpx.HTTPError), httpx.Client(timeout=5) as http:
                self._read(http, headers)
            self._done.wait(self.retry_s)

    def _read(self, http: httpx.Client, headers: dict[str, str]) -> None:
        raise NotImplementedError

    def take(self, id_: str | None, event: str, retry_ms: int | None) -> bool:
        """Handle one event; False once the test is over."""
        if id_:
            self.last_id = id_
        if retry_ms:
            self.retry_s = retry_ms / 1_000
        if event == "score" and id_:
            self._ids.append(id_)
        return not self._done.is_set()


class HttpxSse(LoopClient):
    def _read(self, http: httpx.Client, headers: dict[str, str]) -> None:
        with connect_sse(http, "GET", self.url, headers=headers) as source:
            for event in source.iter_sse():
                if not self.take(event.id, event.event, event.retry):
                    return


class SseclientPy(LoopClient):
    def _read(self, http: httpx.Client, headers: dict[str, str]) -> None:
        headers["Accept"] = "text/event-stream"
        with http.stream("GET", self.url, headers=headers) as response:
            response.raise_for_status()
            for event in sseclient.SSEClient(response.iter_bytes()).events():
                if not self.take(event.id, event.event, event.retry):
                    return


class NpmEventsource(Client):
    def __init__(self, url: str, directory: Path) -> None:
        super().__init__(url)
        script = directory / "client.mjs"
        script.write_text(NODE_CLIENT)
        self._ids: list[str] = []
        self._process = subprocess.Popen(
            ["node", str(script), url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def _loop(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._ids.append(line.strip())

    @property
    def ids(self) -> list[str]:
        return self._ids

    def close(self) -> None:
        self._process.communicate(timeout=15)
        self._thread.join(15)


class BrowserEventSource(Client):
    """The browser's own, on a page of the same origin."""

    def __init__(self, url: str, page: Page, port: int) -> None:
        super().__init__(url)
        self._page = page
        page.goto(f"http://127.0.0.1:{port}/page")
        page.evaluate(
            """url => {
                window.ids = [];
                window.source = new EventSource(url);
                window.source.addEventListener("score", event => window.ids.push(event.lastEventId));
            }""",
            url,
        )

    @property
    def ids(self) -> list[str]:
        found: list[str] = self._page.evaluate("window.ids")
        return found

    def close(self) -> None:
        self._page.close()


def under_kills(server: StreamServer, client: Client) -> None:
    """Publish, kill, start and publish again; the client must have been told everything once."""
    try:
        server.wait_metric('touchline_stream_viewers{transport="sse"}', 1)
        expected: list[str] = []

        def publish(count: int) -> None:
            expected.extend(server.publish("m1") for _ in range(count))

        def wait_for(ids: list[str]) -> None:
            deadline = time.monotonic() + 30
            # Asked for once a round: it grows while it is looked at.
            while (told := list(client.ids)) != ids:
                assert told == ids[: len(told)]
                assert time.monotonic() < deadline, f"{told} is not all of {ids}"
                time.sleep(0.05)

        publish(3)
        wait_for(expected)
        for _ in range(2):
            server.process.kill()
            server.restart()
            publish(2)  # before it is back, as a rule
            wait_for(expected)
            publish(1)
            wait_for(expected)
        assert expected == [f"{EPOCH_MS}-{seq}" for seq in range(2, 11)]
    finally:
        client.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StreamServer]:
    with StreamServer(tmp_path, retry_min_ms=100, heartbeat_s=1.0) as running:
        running.publish("m1")
        yield running


def url_of(server: StreamServer) -> str:
    return f"http://127.0.0.1:{server.port}/stream/m1"


@pytest.mark.parametrize("library", [HttpxSse, SseclientPy])
def test_a_python_client_is_told_everything_once(server: StreamServer, library: type[LoopClient]) -> None:
    under_kills(server, library(url_of(server)))


def test_npm_eventsource_is_told_everything_once(server: StreamServer) -> None:
    require_program("node")
    if not (NPM_DIR / "node_modules" / "eventsource").exists():
        NPM_DIR.mkdir(parents=True, exist_ok=True)
        npm = shutil.which("npm")
        command = [
            npm or "npm",
            "install",
            "--no-audit",
            "--no-fund",
            "--prefix",
            str(NPM_DIR),
            NPM_EVENTSOURCE,
        ]
        if npm is None or subprocess.run(command, capture_output=True, check=False).returncode:
            unavailable(f"npm's {NPM_EVENTSOURCE}")
    under_kills(server, NpmEventsource(url_of(server), NPM_DIR))


@pytest.mark.browser
def test_the_browser_s_eventsource_is_told_everything_once(server: StreamServer) -> None:
    chromium = require_program("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ],
        )
        try:
            under_kills(server, BrowserEventSource(url_of(server), browser.new_page(), server.port))
        finally:
            browser.close()


def test_a_snapshot_s_hash_is_the_heartbeat_s(server: StreamServer) -> None:
    """What a client compares: the heartbeat's hash with the one of the state it holds."""
    with httpx.Client(timeout=10) as http, connect_sse(http, "GET", url_of(server)) as source:
        for event in source.iter_sse():
            if event.event == "heartbeat":
                assert event.json()["hash"] == json.loads(server.get("/state/m1"))["hash"]
                break
