"""``touchline status`` as a shell runs it, on real origins; in a terminal where it is a live table."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import start_http_server

from deploy.ports import free_port
from origin.doctor.tiers import Watch, quantile
from origin.metrics import Metrics
from testkit.command import ROOT, TOUCHLINE, touchline
from testkit.faults.bad_proxies import bad_server
from testkit.services.origin import OriginServer
from testkit.terminal import run_in_terminal

pytestmark = pytest.mark.services

FINAL = Path(__file__).parents[2] / "origin" / "demo" / "final-2018.jsonl"
MATCH = "2018-07-15-france-croatia"


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OriginServer]:
    with OriginServer(tmp_path_factory.mktemp("origin"), admin=True) as server:
        server.post_file(FINAL, last=15)
        server.wait_for_seq(MATCH, 15)
        yield server


@pytest.fixture
def admin(origin: OriginServer) -> str:
    return f"http://127.0.0.1:{origin.admin_port}"


def test_one_look_shows_each_tier(origin: OriginServer, admin: str) -> None:
    viewer = http.client.HTTPConnection("127.0.0.1", origin.port, timeout=10)
    viewer.request("GET", f"/stream/{MATCH}")
    stream = viewer.getresponse()
    assert stream.read1(10)
    ran = touchline("status", f"edge-1={admin}", "--once")
    seen = json.loads(touchline("status", f"edge-1={admin}/metrics", "--once", "--json").out)
    stream.close()
    viewer.close()
    assert (ran.code, ran.err) == (0, "")
    assert [line.split()[:1] for line in ran.lines[1:4]] == [[b"edge-1"], [b"fanout"], [b"ingest"]]
    assert ran.lines[-1] == b"viewers in all: 1"
    [process] = seen["processes"]
    assert (process["name"], process["ok"]) == ("edge-1", True)
    assert process["tiers"]["stream"]["viewers"] == 1
    assert process["tiers"]["ingest"]["events"] == 15
    assert process["tiers"]["fanout"]["lag_p99_s"] > 0
    assert process["tiers"]["ingest"]["events_per_s"] is None  # of one look there is no rate


def test_who_does_not_answer_is_shown_beside_who_does(admin: str) -> None:
    ran = touchline("status", admin, f"away=http://127.0.0.1:{free_port()}", "--once")
    assert ran.code == 1
    assert b"DOWN" in ran.lines[4]
    assert b"refused" in ran.lines[4]


def test_rates_are_of_the_time_between_two_looks(origin: OriginServer, admin: str) -> None:
    watch = Watch({"edge": admin})
    watch.look()
    assert (
        origin.post(
            *[
                {
                    "match_id": "m9",
                    "event_id": f"e{n}",
                    "rev": 1,
                    "op": "ADD",
                    "type": "FOUL",
                    "team": "home",
                    "minute": 5,
                }
                for n in range(40)
            ]
        )
        == 200
    )
    origin.wait_for_seq("m9", 40)
    [seen] = watch.look()
    rate = seen.tiers["ingest"]["events_per_s"]
    assert rate is not None
    assert rate > 0
    assert seen.tiers["fanout"]["published_per_s"]


def test_a_worker_of_webhooks_is_a_tier_of_its_own() -> None:
    metrics = Metrics()
    metrics.webhook_pending.labels("desk").set(3)
    metrics.webhook_oldest.labels("desk").set(61.5)
    server, thread = start_http_server(0, addr="127.0.0.1", registry=metrics.registry)
    try:
        [seen] = Watch({"hooks": f"http://127.0.0.1:{server.server_port}"}).look()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert (seen.ok, set(seen.tiers)) == (True, {"webhooks"})
    assert (seen.tiers["webhooks"]["waiting"], seen.tiers["webhooks"]["oldest_s"]) == (3, 61.5)


def test_an_unready_origin_says_why(tmp_path: Path) -> None:
    with OriginServer(tmp_path, admin=True) as server:
        (tmp_path / "log.db").unlink()
        address = f"http://127.0.0.1:{server.admin_port}"
        deadline = time.monotonic() + 30
        while server.status("/readyz", server.admin_port) != 503 and time.monotonic() < deadline:
            time.sleep(0.1)
        ran = touchline("status", address, "--once")
    assert ran.code == 1
    assert b"UNREADY" in ran.out
    assert b"log" in ran.lines[1]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"<html>no metrics</html>", "nothing of Touchline|cannot be read"),
        (b'touchline_x{a="\x1b[2J"', "cannot be read|nothing"),
        (b"".join(b'touchline_x{a="%d"} 1\n' % n for n in range(60_000)), "more than 50000"),
        (b"\xff" * 100, "nothing|cannot be read"),
    ],
)
def test_what_are_no_metrics(body: bytes, why: str) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    with bad_server(talk) as port:
        ran = touchline("status", f"http://127.0.0.1:{port}", "--once")
    assert ran.code == 1
    assert b"DOWN" in ran.out
    assert b"\x1b" not in ran.out


def test_wrong_addresses_are_refused_by_name() -> None:
    for urls in (["ftp://x"], ["a=http://h", "a=http://g"], [f"http://h{n}" for n in range(65)]):
        ran = touchline("status", *urls, "--once")
        assert (ran.code, ran.out) == (2, b"")


def test_a_pipe_gets_lines_and_a_terminal_a_table(admin: str) -> None:
    with subprocess.Popen(
        [*TOUCHLINE, "status", admin, "--interval", "0.2"],
        stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as piped:  # fmt: skip
        assert piped.stdout is not None
        lines = [piped.stdout.readline() for _ in range(10)]
        piped.terminate()
    assert b"\x1b" not in b"".join(lines)
    assert lines.count(b"viewers in all: 0\n") == 2
    shown = run_in_terminal("status", admin, "--interval", "0.2", until=b"in all")
    assert b"\x1b[" in shown


def test_a_quantile_is_that_of_prometheus() -> None:
    inf = float("inf")
    assert quantile(0.5, {}) is None
    assert quantile(0.5, {1.0: 0, inf: 0}) is None
    assert quantile(0.5, {1.0: 10, 2.0: 10, inf: 10}) == 0.5
    assert quantile(0.75, {1.0: 5, 2.0: 10, inf: 10}) == 1.5
    assert quantile(0.99, {1.0: 5, inf: 10}) == 1.0
