"""``touchline demo``: the whole product as one command, ended like any other."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from deploy.ports import free_port
from testkit.services.process import ServerProcess, listening

MATCH = "2018-07-15-france-croatia"

pytestmark = pytest.mark.services


def state(port: int) -> dict[str, object] | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", f"/api/match/{MATCH}/state")
        response = connection.getresponse()
        body = response.read()
        return json.loads(body) if response.status == 200 else None
    except OSError:
        return None
    finally:
        connection.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_plays_the_final_with_its_corrections_and_ends_on_a_signal(
    tmp_path: Path, number: signal.Signals
) -> None:
    port = free_port()
    command = [sys.executable, "-m", "origin", "demo", "--port", str(port), "--speed", "100000"]
    with ServerProcess(command, log_path=tmp_path / "demo.log") as demo:
        deadline = time.monotonic() + 60
        final: dict[str, object] = {}
        while time.monotonic() < deadline and final.get("status") != "FT":
            final = state(port) or {}
            time.sleep(0.05)
        assert final["score"] == {"home": 4, "away": 2}
        retracted = final["retracted"]
        assert isinstance(retracted, list)
        assert retracted[0]["retraction"]["reason"] == "VAR: offside"
        # It kicks off when it is played: a match that runs since 2018 would be said to be without updates.
        events = final["events"]
        assert isinstance(events, list)
        [info] = [event for event in events if event["type"] == "MATCH_INFO"]
        assert 0 <= time.time() - info["detail"]["kickoff_ms"] / 1_000 < 120
        printed = (tmp_path / "demo.log").read_text()
        found = re.search(r"(http://127\.0\.0\.1:\d+)/console/ \(sign in as (\S+), password (\S+)\)", printed)
        assert found is not None, printed
        url, name, password = found.groups()
        with httpx.Client(base_url=url, headers={"Origin": url}) as client:
            form = {"operator": name, "password": password}
            assert client.post("/console/sign-in", data=form).status_code == 303
            assert client.get("/console/").status_code == 200
        demo.signal(number)
        deadline = time.monotonic() + 40
        while demo.running and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not demo.running
        assert not listening(port)
        assert "Traceback" not in (tmp_path / "demo.log").read_text()


def test_a_taken_port_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "origin", "demo", "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == f"Error: port {port} is taken; give another with --port\n"
