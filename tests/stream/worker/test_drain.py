"""Workers that end: in good order with SIGTERM and SIGHUP, and with ``kill -9``. Nobody misses anything."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from shared_state import DeltaId
from testkit.services.process import listening
from testkit.stream_app import EPOCH_MS
from testkit.stream_server import RawClient, StreamServer


class Follower(threading.Thread):
    """A viewer that comes back: keeps the ids it has seen, and heeds the waits it is told."""

    def __init__(self, server: StreamServer, match_id: str) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._match_id = match_id
        self.seen: list[str] = []
        self.gaps = 0
        self.retries: list[int] = []
        self.ended_s = 0.0
        self.done = threading.Event()
        self._client: RawClient | None = None

    def run(self) -> None:
        while not self.done.is_set():
            try:
                self._follow()
            except (OSError, EOFError):
                time.sleep(0.05)

    def stop(self) -> None:
        self.done.set()
        if self._client is not None:
            self._client.abort()
        self.join(10)

    def _follow(self) -> None:
        self._client = client = RawClient(self._server.port)
        try:
            resume = f"Last-Event-ID: {self.seen[-1]}\r\n" if self.seen else ""
            client.send(f"GET /stream/{self._match_id} HTTP/1.1\r\nHost: x\r\n{resume}\r\n")
            if client.head()[0] != 200:
                raise ConnectionError("refused")
            for event in client.events():
                if "retry" in event:
                    self.retries.append(int(event["retry"]))
                if "id" in event:
                    self.seen.append(event["id"])
                    self.gaps += event["event"] == "gap"
            self.ended_s = time.monotonic()
        finally:
            client.close()


def wait_until_seen(followers: list[Follower], id_: str) -> None:
    deadline = time.monotonic() + 20
    while any(not follower.seen or follower.seen[-1] != id_ for follower in followers):
        assert time.monotonic() < deadline, [follower.seen[-1:] for follower in followers]
        time.sleep(0.02)


def test_sigterm_lets_all_go_one_after_another_each_told_its_own_wait(tmp_path: Path) -> None:
    with StreamServer(tmp_path, accept_rate_per_s=40.0, retry_min_ms=1_000) as server:
        server.publish("m1")
        clients: list[RawClient] = []
        for _ in range(2):
            # Twenty at a time: were 32 accepted in one go, the worker would measure its rate by them.
            clients += [server.stream("m1") for _ in range(20)]
            last = server.publish("m1")
            for client in clients:
                assert client.scores(1) == [last]
        began_s = time.monotonic()
        server.process.signal(signal.SIGTERM)
        waits, ended_s = [], []
        for client in clients:
            final = list(client.events())
            ended_s.append(time.monotonic() - began_s)
            waits.append(int(final[-1]["retry"]))
        assert server.process.stop() == 0
        assert len(set(waits)) > 20  # 40 draws of 1,000 values
        assert all(1_000 <= wait <= 2_000 for wait in waits)
        # Forty viewers, forty a second: not before most of that second is over.
        assert max(ended_s) > 0.5
        assert not listening(server.port)


def test_the_window_keeps_within_gunicorn_s_time(tmp_path: Path) -> None:
    with StreamServer(tmp_path, "--graceful-timeout", "5", accept_rate_per_s=1.0) as server:
        server.publish("m1")
        clients = [server.stream("m1") for _ in range(60)]
        server.process.signal(signal.SIGTERM)
        for client in clients:
            assert "retry" in list(client.events())[-1]
        assert server.process.stop() == 0


def test_while_notice_is_given_it_serves_and_is_not_ready(tmp_path: Path) -> None:
    with StreamServer(tmp_path, drain_notice_s=1.0) as server:
        server.publish("m1")
        assert server.get("/readyz") == b"ready"
        viewer = server.stream("m1")
        page = server.client()
        page.send("GET /page?s=1.5 HTTP/1.1\r\nHost: x\r\n\r\n")  # longer than the notice
        time.sleep(0.1)
        server.process.signal(signal.SIGTERM)
        deadline = time.monotonic() + 5
        while True:
            client = server.client()
            client.send("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
            if client.answer()[0] == 503:
                break
            assert time.monotonic() < deadline
        late = server.stream("m1")
        assert "retry" in list(viewer.events())[-1]
        assert "retry" in list(late.events())[-1]
        assert page.answer()[2] == b"page"
        assert server.process.stop() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_rolling_restart_loses_nobody(tmp_path: Path, workers: int) -> None:
    options = ["--reuse-port"] if workers > 1 else []
    with StreamServer(tmp_path, *options, workers=workers, retry_min_ms=1_000) as server:
        # Each worker has the file's events; what is published reaches the worker that was asked.
        server.publish("m1", "count=5")
        server.process.stop()
        server.restart()
        followers = [Follower(server, "m1") for _ in range(20)]
        try:
            for follower in followers:
                follower.start()
            head = f"{EPOCH_MS}-5"
            wait_until_seen(followers, head)
            server.process.signal(signal.SIGHUP)
            deadline = time.monotonic() + 20
            while any(not follower.ended_s for follower in followers):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            wait_until_seen(followers, head)
            if workers == 1:
                last = server.publish("m1", "count=3")
                wait_until_seen(followers, last)
                assert all(
                    follower.seen[-3:] == [f"{EPOCH_MS}-{n}" for n in (6, 7, 8)] for follower in followers
                )
            assert all(follower.gaps == 1 for follower in followers)  # the first time, as new viewers
        finally:
            for follower in followers:
                follower.stop()


def test_after_kill_9_all_come_back_and_none_misses_an_event(tmp_path: Path) -> None:
    with StreamServer(tmp_path) as server:
        server.publish("m1")
        followers = [Follower(server, "m1") for _ in range(30)]
        try:
            for follower in followers:
                follower.start()
            wait_until_seen(followers, server.publish("m1"))
            for _ in range(3):
                server.process.kill()
                server.restart()
                server.publish("m1", "count=2")
            last = server.publish("m1")
            wait_until_seen(followers, last)
        finally:
            for follower in followers:
                follower.stop()
        for follower in followers:
            seqs = [DeltaId.parse(id_).seq for id_ in follower.seen]
            assert seqs == list(range(seqs[0], DeltaId.parse(last).seq + 1))
            assert follower.gaps == 1


def test_a_killed_worker_is_replaced_and_its_viewers_resume(tmp_path: Path) -> None:
    with StreamServer(tmp_path) as server:
        server.publish("m1")
        follower = Follower(server, "m1")
        try:
            follower.start()
            wait_until_seen([follower], server.publish("m1"))
            children = server.process.children
            assert children
            for pid in children:
                os.kill(pid, signal.SIGKILL)
            deadline = time.monotonic() + 10
            last = ""
            while not last:
                try:
                    last = server.publish("m1")
                except OSError:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
            wait_until_seen([follower], last)
            assert follower.gaps == 1
        finally:
            follower.stop()
