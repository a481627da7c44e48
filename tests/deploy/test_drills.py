"""The drills of docs/drills.md, command by command, while a match is played."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy.cluster.child import ClusterError
from deploy.cluster.drills import PROCESSES, drill, processes
from deploy.ports import free_port
from origin.commands.demo import FINAL, events_of
from tests.deploy.test_cluster import eventually, require_everything, state

pytestmark = [pytest.mark.services, pytest.mark.timeout(420)]

ROOT = Path(__file__).parents[2]
START = "make demo-cluster"


def commands() -> list[str]:
    """The page's commands, one for each block."""
    text = (ROOT / "docs" / "drills.md").read_text(encoding="utf-8")
    return re.findall(r"```sh\n(.*?)```", text, re.DOTALL)


def is_over(port: int) -> bool:
    """Whether this region has the match to its end, with its score."""
    final = state(port, events_of(FINAL)[0].match_id)
    return final is not None and (final["status"], final["score"]) == ("FT", {"home": 4, "away": 2})


def test_every_drill_is_survived(tmp_path: Path) -> None:
    require_everything()
    blocks = commands()
    assert blocks[0].strip() == START
    assert sum("--kill" in block or "--hang" in block for block in blocks) == 6
    port = 20_000 + free_port() % 9_000
    # What ``make demo-cluster`` runs; slowly, so that the match is under way in every drill.
    command = [sys.executable, "-m", "deploy.cluster", "--port", str(port), "--speed", "40", "--embargo", "1"]
    log = tmp_path / "cluster.log"
    with log.open("wb") as out:
        child = subprocess.Popen(command, stdout=out, stderr=out, cwd=ROOT, start_new_session=True)
    try:
        eventually(lambda: child.poll() is not None or b"drill" in log.read_bytes(), log.read_text, 120)
        assert child.poll() is None, log.read_text()
        for block in blocks[1:]:
            done = subprocess.run(
                ["sh", "-e"], input=block, cwd=ROOT, capture_output=True, text=True, timeout=120
            )
            assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        eventually(lambda: b"Ctrl-C ends" in log.read_bytes(), log.read_text, 240)
        for region in range(3):
            # A region whose worker died a moment ago has the end after its session.
            eventually(lambda port=port + region: is_over(port), log.read_text)  # type: ignore[misc]
        assert log.read_text().count("is started again") == 5, log.read_text()
    finally:
        child.terminate()
        assert child.wait(timeout=60) == 0, log.read_text()
    assert not PROCESSES.exists()


def test_a_drill_reaches_only_processes_of_the_cluster(tmp_path: Path) -> None:
    path = tmp_path / "processes.json"
    with pytest.raises(ClusterError, match="no cluster runs here"):
        processes(path)
    other = subprocess.Popen(["sleep", "60"])
    try:
        # The cluster that wrote this is another process than the parent of that one.
        path.write_text(f'{{"of": 1, "processes": {{"kafka": {other.pid}}}}}')
        with pytest.raises(ClusterError, match="no process 'kafka'"):
            drill("kill", "kafka", path)
        time.sleep(0.1)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
