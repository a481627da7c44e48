"""``make demo-cluster`` as its user has it: one command, all tiers, a match through them, and the end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from httpx_sse import ServerSentEvent, connect_sse

from bench.stream import meter
from deploy.cluster.child import ClusterError
from deploy.cluster.status import Line, read_status
from deploy.cluster.tiers import KAFKA_LIBRARIES, Addresses, Cluster
from origin.commands.demo import FINAL, events_of
from origin.ingest.signatures import parse_key, signed_headers
from shared_state.jsontext import JsonObject
from testkit.services.process import listening, require_program, unavailable

pytestmark = pytest.mark.services

ROOT = Path(__file__).parents[2]
EMBARGO_S = 2.0
MATCH = "fra-cro"


def eventually(check: Callable[[], bool], what: Callable[[], str], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)


def require_everything() -> None:
    for name in ("java", "redis-server", "nginx"):
        require_program(name)
    if not any(KAFKA_LIBRARIES.glob("kafka_2.13-*.jar")):
        unavailable("Apache Kafka (mvn -q dependency:copy-dependencies in deploy/kafka)")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    require_everything()
    # Not pytest's own directory: nginx, as another account, does not come through to it.
    with (
        tempfile.TemporaryDirectory(prefix="touchline-cluster-") as directory,
        Cluster(Path(directory), embargo_s=EMBARGO_S, canary_s=0.0, report=print) as cluster,
    ):
        yield cluster


def post(cluster: Cluster, number: int, event: JsonObject) -> None:
    """By the way a vendor has: nginx of the first region, signed."""
    body = json.dumps({"match_id": MATCH, "rev": 1, "op": "ADD", **event}).encode()
    headers = signed_headers(parse_key(cluster.secret), f"cluster-{number}", int(time.time()), body)
    url = f"{cluster.regions[0].url}/ingest/canonical"
    response = httpx.post(url, content=body, headers=headers, timeout=30)
    assert response.status_code == 200, response.text


def get(port: int, path: str) -> tuple[int, str]:
    response = httpx.get(f"http://127.0.0.1:{port}{path}", timeout=10)
    return response.status_code, response.text


def state(port: int, match_id: str = MATCH) -> JsonObject | None:
    status, text = get(port, f"/api/match/{match_id}/state")
    value: JsonObject = json.loads(text)
    return value if status == 200 else None


@contextmanager
def viewer(port: int) -> Iterator[Iterator[ServerSentEvent]]:
    """Whoever watches through nginx, from the start of the match."""
    with (
        httpx.Client(timeout=30) as client,
        connect_sse(client, "GET", f"http://127.0.0.1:{port}/stream/{MATCH}") as source,
    ):
        assert source.response.status_code == 200
        yield source.iter_sse()


def next_score(stream: Iterator[ServerSentEvent]) -> str:
    """The id of the next score event."""
    return next(event.id for event in stream if event.event == "score")


def line(lines: list[Line], tier: str) -> Line:
    return next(line for line in lines if line.tier == tier)


def test_an_event_goes_through_every_tier_to_viewers_of_every_region(cluster: Cluster) -> None:
    teams = {"home": {"name": "France", "code": "FRA"}, "away": {"name": "Croatia", "code": "CRO"}}
    post(cluster, 1, {"event_id": "info", "type": "MATCH_INFO", "period": "PRE", "detail": teams})
    post(
        cluster,
        2,
        {"event_id": "off", "type": "STATUS_CHANGE", "period": "H1", "minute": 1, "detail": {"to": "LIVE"}},
    )
    for region in cluster.regions:
        eventually(
            lambda port=region.port: (found := state(port)) is not None and found["seq"] == 2,  # type: ignore[misc]
            lambda port=region.port: f"{port}: {state(port)}",  # type: ignore[misc]
        )
    ids = []
    held, prompt = cluster.regions[-1], cluster.regions[0]
    with viewer(prompt.port) as here, viewer(held.port) as there:
        sent_s = time.monotonic()
        post(cluster, 3, {"event_id": "g1", "type": "GOAL", "period": "H1", "minute": 18, "team": "home"})
        ids.append(next_score(here))
        ids.append(next_score(there))
        assert time.monotonic() - sent_s >= EMBARGO_S, "the last region is held"
    assert ids[0] == ids[1], "the same id in every region"
    for region in cluster.regions:
        assert "France" in get(region.port, f"/match/{MATCH}")[1]

    def states() -> list[tuple[int, str]]:
        # Not all of it: a held region says that it took each event so much later.
        return [(found["seq"], found["hash"]) for region in cluster.regions if (found := state(region.port))]

    # nginx may show what it has for a second.
    eventually(
        lambda: (found := states())[0][0] == 3 and found == [found[0]] * len(cluster.regions),
        lambda: str(states()),
    )


def test_each_region_is_behind_the_shipped_nginx(cluster: Cluster) -> None:
    """A made-up query is no entry of its own there, and no Host of a reader comes to the origin."""
    for region in cluster.regions:
        first = httpx.get(f"{region.url}/match/{MATCH}", headers={"Host": "evil.example"})
        again = httpx.get(f"{region.url}/match/{MATCH}?utm=1")
        assert (first.status_code, again.status_code) == (200, 200)
        assert "evil" not in first.text + again.text
        assert again.headers["X-Cache"] != "MISS"


def test_the_status_view_shows_each_tier_and_its_lag(cluster: Cluster) -> None:
    def lines() -> list[Line]:
        return read_status(cluster.addresses)

    eventually(
        lambda: all(tier.ok for tier in lines()) and "lag 0" in line(lines(), "fan-out asia").text,
        lambda: str(lines()),
    )
    names = [found.tier for found in lines()]
    regions = [region.name for region in cluster.regions]
    assert names == [
        *(f"nginx {name}" for name in regions),
        *(f"stream {name}" for name in regions),
        *(f"redis {name}" for name in regions),
        *(f"fan-out {name}" for name in regions),
        "kafka",
    ]
    with viewer(cluster.regions[1].port):
        eventually(lambda: line(lines(), "stream us").text.startswith("1 viewers"), lambda: str(lines()))

    # A tier that hangs is found, by name; the others are not blamed.
    redis = cluster.child("redis-us")
    redis.signal(signal.SIGSTOP)
    try:
        eventually(lambda: not line(lines(), "redis us").ok, lambda: str(lines()))
        found = lines()
        assert line(found, "redis eu").ok
        assert line(found, "kafka").ok
    finally:
        redis.signal(signal.SIGCONT)
    eventually(lambda: all(tier.ok for tier in lines()), lambda: str(lines()))


def test_the_addresses_of_a_running_cluster_are_read_back(cluster: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "cluster.json"
    with pytest.raises(ClusterError, match="no cluster runs"):
        Addresses.load(path)
    cluster.addresses.save(path)
    assert Addresses.load(path) == cluster.addresses


def test_a_port_that_is_taken_is_named(cluster: Cluster, tmp_path: Path) -> None:
    taken = cluster.regions[0].port
    with pytest.raises(ClusterError, match=str(taken)):
        Cluster(tmp_path, base_port=taken, report=print)


def test_the_command_plays_a_match_and_leaves_nothing_behind(tmp_path: Path) -> None:
    require_everything()
    base = 23_000 + os.getpid() % 5_000
    log = tmp_path / "command.log"
    command = [
        sys.executable,
        "-m",
        "deploy.cluster",
        "--port",
        str(base),
        "--speed",
        "6000",
        "--embargo",
        "1",
        # Under an embargo some of its beats are always behind, and the lag below is to be none.
        "--canary",
        "0",
    ]
    with log.open("wb") as out:
        child = subprocess.Popen(command, stdout=out, stderr=out, cwd=ROOT, start_new_session=True)
    try:
        eventually(lambda: child.poll() is not None or b"Ctrl-C ends" in log.read_bytes(), log.read_text, 120)
        assert child.poll() is None, log.read_text()
        started = meter.tree(child.pid)
        assert len(started) > 10
        for port in (base, base + 1, base + 2):
            final = state(port, events_of(FINAL)[0].match_id)
            assert final is not None
            assert (final["status"], final["score"]) == ("FT", {"home": 4, "away": 2})
        status = subprocess.run(
            [*command[:3], "--status"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
        assert status.returncode == 0, status.stdout
        assert re.findall(r"lag (\d+)", status.stdout) == ["0", "0", "0"]
        assert "DOWN" not in status.stdout
    finally:
        child.terminate()
        assert child.wait(timeout=60) == 0, log.read_text()
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started), lambda: str(started))
    assert not any(listening(port) for port in (base, base + 1, base + 2))
