"""Free loopback ports for servers, no port given to two of them."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from pathlib import Path

__all__ = ["free_port", "is_free"]

LOCAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
# Browsers refuse some below 10,081, and Debian's servers have theirs below 12,000.
LOWEST_PORT = 12_000


def is_free(port: int) -> bool:
    """Whether a loopback port can be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A free loopback port below the range of outgoing connections.

    Thousands of viewers take ports from that range: a server that is started, or killed and started again,
    would find its own taken. A port that was given is free until its server listens, and would be given to
    two: so this user's processes go through the range together, by a number in a locked file, and come back
    to a port after thousands of others.

    Raises:
        OSError: no port of the range is free.
    """
    try:
        end = int(LOCAL_PORTS.read_text("ascii").split()[0])
    except OSError:  # not Linux
        end = 32_768
    size = max(end - LOWEST_PORT, 1_000)
    path = Path(tempfile.gettempdir()) / f"touchline-ports-{os.getuid()}"
    with path.open("a+", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        last = file.read().strip()
        taken = int(last) if last.isdigit() else os.getpid()
        for _ in range(size):
            taken += 1
            port = LOWEST_PORT + taken % size
            if is_free(port):
                file.truncate(0)
                file.write(str(taken % size))
                return port
    raise OSError(f"no free port from {LOWEST_PORT} to {LOWEST_PORT + size - 1}")
