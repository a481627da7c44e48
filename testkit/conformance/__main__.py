"""``python -m testkit.conformance``: try a client, or serve the cases for one that is tried by hand."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from shared_state.jsontext import JsonObject
from testkit.conformance.cases import CASES, Case
from testkit.conformance.server import Kit, running

__all__ = ["Verdict", "main", "try_client"]

TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a client did in a case.

    Attributes:
        case: which.
        faults: what was wrong; none if it passed.
    """

    case: Case
    faults: Sequence[str]


def try_client(kit: Kit, case: Case, command: Sequence[str]) -> Verdict:
    """Run a client once: its last arguments are the address and the match, its last line is JSON."""
    kit.begin(case)
    more = ["--long-poll"] if case.poll else []
    argv = [*command, f"{kit.url}/{case.name}", case.match.match_id, *more]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return Verdict(case, [f"not done after {TIMEOUT_S:.0f} s"])
    faults = []
    if done.returncode:
        faults.append(f"exit code {done.returncode}: {done.stderr.strip()[-400:]}")
    else:
        faults += _compared(done.stdout, case.expected)
    for what, least in (("connections", case.least_connections), ("states", case.least_states)):
        if (found := kit.count(case, what)) < least:
            faults.append(f"{found} {what}, but this takes {least}")
    faults += kit.steps_back(case)
    if (pause_s := kit.shortest_pause_s(case)) < case.least_pause_s:
        faults.append(f"came again after {pause_s:.1f} s, though asked to wait {case.least_pause_s:g}")
    return Verdict(case, faults)


def _compared(output: str, expected: JsonObject) -> list[str]:
    lines = output.strip().splitlines()
    try:
        value = json.loads(lines[-1]) if lines else None
    except ValueError:
        value = None
    if not isinstance(value, dict):
        return [f"the last line printed is no JSON object: {(lines or [''])[-1][:200]!r}"]
    # A client without the reducer has no hash, and is compared by the rest.
    keys = [key for key in expected if key != "hash" or "hash" in value]
    return [
        f"{key} is {value.get(key)!r}, not {expected[key]!r}"
        for key in keys
        if value.get(key) != expected[key]
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code is 1 if the client failed in a case."""
    parser = argparse.ArgumentParser(prog="python -m testkit.conformance", description=__doc__)
    parser.add_argument(
        "--client", help="the command; it gets the address and the match, prints JSON at the end"
    )
    parser.add_argument("--case", action="append", help="these alone", choices=[case.name for case in CASES])
    parser.add_argument("--port", type=int, default=0, help="a free one by default")
    options = parser.parse_args(arguments)
    chosen = [case for case in CASES if not options.case or case.name in options.case]
    with running(chosen, options.port) as kit:
        if options.client is None:
            for case in chosen:
                print(f"{kit.url}/{case.name}  match {case.match.match_id}  {case.title}", flush=True)
            threading.Event().wait()
        failed = 0
        for case in chosen:
            verdict = try_client(kit, case, shlex.split(options.client))
            failed += bool(verdict.faults)
            print(f"{'FAILED' if verdict.faults else 'passed'}  {case.name}: {case.title}", flush=True)
            for fault in verdict.faults:
                print(f"        {fault}", flush=True)
        print(f"{len(chosen) - failed} of {len(chosen)} passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
