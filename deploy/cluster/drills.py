"""Drills on a running cluster: end one of its processes or let it hang, from another terminal.

The cluster starts what has ended anew, as systemd or Kubernetes would, and says so. It writes to a file which
processes it has; a drill reaches no others.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from deploy.cluster.child import Child, ClusterError
from deploy.cluster.tiers import ROOT, Cluster

__all__ = ["PROCESSES", "Supervisor", "drill", "processes"]

PROCESSES: Final = ROOT / ".cache" / "cluster-processes.json"
#: How long a process stays ended, seconds: long enough to see what its absence does.
RESTART_AFTER_S: Final = 3.0
#: So often within a minute is no drill; it ends the cluster.
RESTARTS_MAX: Final = 5
_LOOK_EACH_S: Final = 0.2
SIGNALS: Final[Mapping[str, signal.Signals]] = {
    "kill": signal.SIGKILL,
    "hang": signal.SIGSTOP,
    "wake": signal.SIGCONT,
}


class Supervisor:
    """Starts what ends anew, for as long as the block.

    Args:
        cluster: the cluster, whose processes are children of this one.
        report: called with a line about what is done.
        path: where the processes are written for drills.

    Attributes:
        given_up: the process that ended too often; None as long as there is none.
    """

    def __init__(self, cluster: Cluster, report: Callable[[str], None], path: Path = PROCESSES) -> None:
        self._cluster = cluster
        self._report = report
        self._path = path
        self._over = threading.Event()
        self._ended_at_s: dict[str, float] = {}
        self._restarts: dict[str, list[float]] = {}
        self._thread = threading.Thread(target=self._run, name="supervisor")
        self.given_up: Child | None = None

    def __enter__(self) -> Supervisor:
        self._write()
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._over.set()
        self._thread.join()
        self._path.unlink(missing_ok=True)

    def _run(self) -> None:
        while not self._over.wait(_LOOK_EACH_S):
            for child in self._cluster.children:
                if not child.running and self.given_up is None:
                    self._look_after(child, time.monotonic())

    def _look_after(self, child: Child, now_s: float) -> None:
        ended_at_s = self._ended_at_s.setdefault(child.name, now_s)
        if now_s < ended_at_s + RESTART_AFTER_S:
            return
        recent = [at_s for at_s in self._restarts.get(child.name, []) if at_s > now_s - 60]
        if len(recent) >= RESTARTS_MAX:
            self.given_up = child
            return
        self._restarts[child.name] = [*recent, now_s]
        del self._ended_at_s[child.name]
        child.start()
        self._write()
        self._report(f"{child.name} had ended, and is started again")

    def _write(self) -> None:
        found = {child.name: child.pid for child in self._cluster.children}
        written = self._path.with_name(f"{self._path.name}.new")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        written.write_text(json.dumps({"of": os.getpid(), "processes": found}, indent=1) + "\n", "utf-8")
        written.replace(self._path)


def processes(path: Path = PROCESSES) -> Mapping[str, int]:
    """The process ids of the cluster that runs, by name.

    Raises:
        ClusterError: none runs.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
        os.kill(value["of"], 0)
    except (OSError, ValueError):
        raise ClusterError("no cluster runs here; start one with make demo-cluster") from None
    found: Mapping[str, int] = value["processes"]
    return {name: pid for name, pid in found.items() if _parent(pid) == value["of"]}


def drill(action: str, name: str, path: Path = PROCESSES) -> int:
    """Do one thing to one process of the cluster that runs, and to what that has started.

    Args:
        action: ``kill`` (with -9), ``hang`` (it stops where it is, its connections stay open) or ``wake``.
        name: as ``processes`` has it.
        path: where the cluster wrote its processes.

    Returns:
        Its process id.

    Raises:
        ClusterError: no cluster runs, or it has no such process at this moment.
    """
    found = processes(path)
    if name not in found:
        raise ClusterError(f"the cluster has no process {name!r} now; it has {', '.join(sorted(found))}")
    # Each is the leader of a group of its own: nginx and gunicorn go with their workers.
    os.killpg(found[name], SIGNALS[action])
    return found[name]


def _parent(pid: int) -> int | None:
    """The process id of its parent; None if it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("ascii", errors="replace")
    except OSError:
        return None
    state, parent = stat.rpartition(")")[2].split()[:2]
    return None if state == "Z" else int(parent)
