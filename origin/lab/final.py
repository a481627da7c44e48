"""A goal of a World Cup final to fifty million viewers, simulated. ``python -m origin.lab.final`` prints it.

It takes seconds of one core, so the lab runs it in a process of its own and keeps the outcome: the same
inputs and the same seed give the same figures. Its inputs are fixed; nobody can ask for a larger one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import Final

from origin.capacity.model import Inputs
from origin.errors import RequestError
from shared_state.jsontext import JsonObject

__all__ = ["INPUTS", "main", "simulated_final"]

INPUTS: Final[JsonObject] = {"viewers": 50_000_000, "regions": 6, "matches": 1, "deltas_per_match": 150}
_SEED: Final = 1
_TIMEOUT_S: Final = 60.0

_lock = threading.Lock()
_kept: list[JsonObject] = []


def simulated_final() -> JsonObject:
    """The outcome; the first call takes seconds.

    Raises:
        RequestError: 503 it did not end in time.
    """
    with _lock:
        if not _kept:
            argv = [sys.executable, "-m", "origin.lab.final"]
            try:
                done = subprocess.run(  # noqa: S603
                    argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, check=True
                )
            except (subprocess.SubprocessError, OSError) as error:
                raise RequestError(503, "no_simulation", f"the simulation did not end: {error}") from None
            _kept.append(json.loads(done.stdout))
        return _kept[0]


def main() -> int:
    """Simulate, and print."""
    # Imported here: the origin that serves the lab does not simulate itself.
    from origin.capacity.scenarios import simulate

    outcome = simulate("goal", Inputs.from_json(INPUTS), _SEED)
    json.dump(outcome.to_json(), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
