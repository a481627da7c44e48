"""A wall clock that a test can set back, for any server it starts: a preloaded library adds an offset."""

from __future__ import annotations

import struct
import subprocess
import time
from pathlib import Path

from testkit.services.process import require_program

__all__ = ["WallClock"]


class WallClock:
    """The wall clock of the processes that are started with ``env``; their monotonic clock is not changed."""

    def __init__(self, directory: Path) -> None:
        library = directory / "wall_clock.so"
        self._offset = directory / "wall_clock.offset"
        source = Path(__file__).with_name("wall_clock.c")
        compiler = require_program("cc", "gcc", "clang")
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True, timeout=60)
        self._offset.write_bytes(struct.pack("=q", 0))
        self._shifted_ms = 0
        self.env = {"LD_PRELOAD": str(library), "WALL_CLOCK_OFFSET_FILE": str(self._offset)}

    def shift(self, by_ms: int) -> None:
        """Set it to the true time plus ``by_ms`` milliseconds; at once, in all of these processes."""
        with self._offset.open("r+b") as file:
            file.write(struct.pack("=q", by_ms * 1_000))
        self._shifted_ms = by_ms

    def now_ms(self) -> int:
        """What these processes take the time for, UTC milliseconds: for what runs in this process."""
        return time.time_ns() // 1_000_000 + self._shifted_ms
