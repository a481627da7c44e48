"""``touchline deletion-cost`` against two calls of Kubernetes' API, and a real origin as a pod."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner

from origin.capacity.deletion_cost import ANNOTATION, ApiError, ClusterApi, DeletionCost, viewers_in
from origin.cli import main
from origin.errors import ConfigError
from shared_state.jsontext import JsonObject
from testkit.services.origin import OriginServer

TOKEN = "token-of-the-account"


@dataclass
class Api:
    """Attributes:
    pods: by name: address, annotations, phase, whether it is about to end.
    patched: what came, in its order.
    asked: selectors.
    status: what is answered to every call.
    """

    pods: dict[str, tuple[str, dict[str, str], str, bool]] = field(default_factory=dict)
    patched: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    status: int = 200
    url: str = ""


@contextmanager
def api_server(api: Api) -> Iterator[Api]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self, status: int, body: object) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if self.headers["Authorization"] != f"Bearer {TOKEN}" or api.status != 200:
                self._answer(401 if api.status == 200 else api.status, {})
                return
            assert parts.path == "/api/v1/namespaces/live/pods"
            api.asked.append(parse_qs(parts.query)["labelSelector"][0])
            items = []
            for name, (address, said, phase, ends) in api.pods.items():
                metadata: dict[str, object] = {"name": name, "annotations": said}
                if ends:
                    metadata["deletionTimestamp"] = "2026-11-27T12:00:00Z"
                items.append({"metadata": metadata, "status": {"phase": phase, "podIP": address}})
            self._answer(200, {"items": items})

        def do_PATCH(self) -> None:
            assert self.headers["Content-Type"] == "application/merge-patch+json"
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = self.path.rpartition("/")[2]
            api.patched.append((name, body))
            api.pods[name][1].update(body["metadata"]["annotations"])
            self._answer(200, {})

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    return path


def costs(api: Api, token: Path, port: int) -> DeletionCost:
    return DeletionCost(
        ClusterApi(api.url, token, None), "live", "tier=stream", admin_port=port, interval_s=0.1
    )


@contextmanager
def viewers(port: int, count: int) -> Iterator[None]:
    """So many SSE viewers of a match, each with its first bytes read."""
    sockets = []
    try:
        for _ in range(count):
            sock = socket.create_connection(("127.0.0.1", port), timeout=20)
            sock.sendall(b"GET /stream/m1 HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
            assert sock.recv(4096).startswith(b"HTTP/1.1 200")
            sockets.append(sock)
        yield
    finally:
        for sock in sockets:
            sock.close()


GOAL: JsonObject = {
    "match_id": "m1",
    "event_id": "g1",
    "rev": 1,
    "op": "ADD",
    "type": "GOAL",
    "period": "H1",
    "minute": 3,
    "stoppage": 0,
    "team": "home",
    "player": "A",
    "player2": None,
    "status": "CONFIRMED",
    "reason": None,
    "detail": {"own_goal": False, "penalty": False},
    "source_ts": None,
    "source": "test",
}


def test_the_viewers_of_a_real_origin_become_its_cost(tmp_path: Path, token: Path) -> None:
    (tmp_path / "origin").mkdir()
    with OriginServer(tmp_path / "origin", admin=True) as origin:
        assert origin.post(GOAL) == 200
        origin.wait_for_seq("m1", 1)
        api = Api({"a": ("127.0.0.1", {}, "Running", False)})
        with api_server(api), viewers(origin.port, 7):
            told = CliRunner().invoke(
                main,
                [
                    *("deletion-cost", "--once", "--namespace", "live", "--selector", "tier=stream"),
                    *("--admin-port", str(origin.admin_port), "--api", api.url, "--token-file", str(token)),
                ],
            )
        assert told.exit_code == 0, told.output
        assert api.patched == [("a", {"metadata": {"annotations": {ANNOTATION: "7"}}})]
        assert api.asked == ["tier=stream"]


@contextmanager
def metrics_of(count: list[int]) -> Iterator[int]:
    """A server of metrics whose number can be changed; the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = (
                "# TYPE touchline_stream_viewers gauge\n"
                f'touchline_stream_viewers{{transport="sse"}} {count[0]}\n'
                'touchline_stream_viewers{transport="websocket"} 0\n'
            ).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_only_what_matters_is_written(token: Path) -> None:
    """Each write wakes the API server and all who watch pods."""
    count = [1_000]
    with metrics_of(count) as port, api_server(Api({"a": ("127.0.0.1", {}, "Running", False)})) as api:
        looked = costs(api, token, port)
        written = []
        for count[0] in (1_000, 1_050, 1_099, 1_200, 1_190, 0, 0, 5, 40):
            looked.look()
            written.append(api.pods["a"][1][ANNOTATION])
    assert written == ["1000", "1000", "1000", "1200", "1200", "0", "0", "5", "40"]


def test_pods_that_do_not_run_or_are_about_to_end_are_left_alone(token: Path) -> None:
    pods = {
        "starts": ("127.0.0.1", {}, "Pending", False),
        "ends": ("127.0.0.1", {}, "Running", True),
        "no-address": ("", {}, "Running", False),
        "runs": ("127.0.0.1", {ANNOTATION: "no number"}, "Running", False),
    }
    with metrics_of([3]) as port, api_server(Api(pods)) as api:
        assert costs(api, token, port).look() == 1
    assert [name for name, _ in api.patched] == ["runs"]


def test_a_pod_that_does_not_answer_keeps_its_cost_and_the_others_get_theirs(token: Path) -> None:
    pods = {
        "away": ("127.0.0.2", {ANNOTATION: "9000"}, "Running", False),
        "here": ("127.0.0.1", {}, "Running", False),
    }
    with metrics_of([3]) as port, api_server(Api(pods)) as api:
        costs(api, token, port).look()
    assert api.pods["away"][1] == {ANNOTATION: "9000"}
    assert api.pods["here"][1] == {ANNOTATION: "3"}


@pytest.mark.parametrize("status", [403, 500, 404])
def test_an_api_that_refuses_is_named_and_changes_nothing(status: int, token: Path) -> None:
    with api_server(Api({"a": ("127.0.0.1", {}, "Running", False)}, status=status)) as api:
        with pytest.raises(ApiError, match=f"GET /api/v1/namespaces/live/pods.*: {status}"):
            costs(api, token, 9).look()
        assert api.patched == []


def test_a_look_that_fails_is_followed_by_another(token: Path) -> None:
    with metrics_of([3]) as port:
        api = Api({"a": ("127.0.0.1", {}, "Running", False)}, status=503)
        with api_server(api):
            looking = costs(api, token, port)
            thread = threading.Thread(target=looking.run)
            thread.start()
            try:
                api.status = 200
                deadline = threading.Event()
                for _ in range(300):
                    if api.patched:
                        break
                    deadline.wait(0.1)
            finally:
                looking.stop()
                thread.join(timeout=30)
            assert api.patched


def test_the_token_is_read_anew_for_each_call(token: Path) -> None:
    with api_server(Api()) as api:
        cluster = ClusterApi(api.url, token, None)
        token.write_text("an old one")
        with pytest.raises(ApiError, match="401"):
            cluster.pods("live", "a=b")
        token.write_text(TOKEN)
        assert cluster.pods("live", "a=b") == []


def test_outside_of_a_cluster_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="KUBERNETES_SERVICE_HOST"):
        ClusterApi.of_pod({}, tmp_path)
    with pytest.raises(ConfigError, match="token"):
        ClusterApi.of_pod({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, tmp_path)
    with pytest.raises(ConfigError, match="ftp://x"):
        ClusterApi("ftp://x", tmp_path, None)


def test_metrics_without_viewers_are_no_zero() -> None:
    """A pod that says nothing of its viewers must not look like the one to remove."""
    with pytest.raises(ValueError, match="touchline_stream_viewers"):
        viewers_in("# TYPE x gauge\nx 1\n")
