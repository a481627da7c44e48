"""When a client tries again after a lost connection: a pure schedule.

A million phones lose one server in the same moment. Each waits a time drawn over the whole window
(full jitter) on *every* attempt, so that no two stay in step; the window doubles up to a cap; a server
that knows how fast it can take viewers back says so, and no one comes sooner.
"""

from __future__ import annotations

__all__ = ["BASE_MS", "CAP_MS", "HINT_CAP_MS", "delay_ms"]

BASE_MS = 1_000  # a single dropped connection is back before its reader has noticed
CAP_MS = 30_000  # two heartbeats: no reader is further behind than that once the network is back
# A hint is one header of one answer: a broken proxy's `retry: 999999999` must not silence a page.
HINT_CAP_MS = 300_000


def delay_ms(attempt: int, random_unit: float, hint_ms: int | None = None) -> int:
    """How long to wait before the next attempt.

    Args:
        attempt: 0 for the first try after the connection was lost, then 1, 2, …
        random_unit: a number in [0, 1), drawn by the caller anew for each attempt.
        hint_ms: what the server asked for (``retry:`` or ``Retry-After``), if it did.

    Returns:
        Milliseconds: the hint, and on top of it a share of ``min(CAP_MS, BASE_MS * 2**attempt)``.

    Raises:
        ValueError: ``attempt`` is negative, or ``random_unit`` outside [0, 1).
    """
    if attempt < 0:
        raise ValueError(f"attempt must be 0 or more, got {attempt}")
    if not 0.0 <= random_unit < 1.0:
        raise ValueError(f"random_unit must be in [0, 1), got {random_unit}")
    window_ms = min(CAP_MS, BASE_MS * 2 ** min(attempt, 30))
    floor_ms = 0 if hint_ms is None else max(0, min(hint_ms, HINT_CAP_MS))
    return floor_ms + int(random_unit * window_ms)
