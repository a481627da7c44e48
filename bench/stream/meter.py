"""What the kernel says about processes: CPU time, memory, the machine.

Everything is read from /proc, from outside: no server is asked about itself.
"""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds of a set of processes since each of them began."""

    user_s: float
    system_s: float

    @property
    def total_s(self) -> float:
        return self.user_s + self.system_s

    def since(self, earlier: Usage) -> Usage:
        return Usage(self.user_s - earlier.user_s, self.system_s - earlier.system_s)


def _stat_fields(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command may hold spaces and parentheses; the numbers begin behind the last one.
    return text.rpartition(")")[2].split()


def tree(root: int) -> set[int]:
    """``root`` and all its living descendants."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat_fields(int(entry.name))
            if fields is not None:
                parents[int(entry.name)] = int(fields[1])
    found = {root} if root in parents else set()
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return found
        found |= more


def cpu(pids: set[int]) -> Usage:
    """User and system time, all threads. A process that has gone counts as nothing."""
    user = system = 0
    for pid in pids:
        fields = _stat_fields(pid)
        if fields is not None:
            user += int(fields[11])
            system += int(fields[12])
    return Usage(user / TICKS_PER_SECOND, system / TICKS_PER_SECOND)


def memory_bytes(pids: set[int]) -> int:
    """Anonymous and shared memory, pages shared by several of them counted once.

    Pages of files are left out: how many of them count as whose depends on what else runs on the machine.
    """
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += (
            sum(int(kb) for kb in re.findall(r"^Pss_(?:Anon|Shmem):\s+(\d+) kB", text, re.MULTILINE)) * 1024
        )
    return total


def open_files(pid: int) -> int:
    """How many descriptors a process has: which worker holds which share of the connections."""
    try:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return 0


def machine() -> dict[str, object]:
    """The facts without which no figure means anything."""
    processor = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+) kB", Path("/proc/meminfo").read_text())
    return {
        "processor": processor[1] if processor else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory[1]) / 2**20, 1) if memory else None,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "open_files": os.sysconf("SC_OPEN_MAX"),
        "load_before": [round(value, 2) for value in os.getloadavg()],
    }
