"""The Autobahn fuzzing client against the WebSocket of the stream worker.

    python -m bench.autobahn            (make autobahn)

The suite (PyPI: autobahntestsuite) is written for Python 2.7, so it needs one, on the PATH or pyenv's, and is
installed into ``.cache/autobahn``. That is why it is no part of ``make test``; ``tests/stream`` has the main
rules by hand.

It was made for servers that echo. Ours sends scores of its own accord, and what a viewer sends means nothing.
So this judges anew what the fuzzer recorded: our own messages are taken out, echoes are not asked for, and
all else must be as the case says: pongs in order with their payload, the close, and its code.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from bench.results import keep
from shared_state.jsontext import JsonObject
from testkit.stream_app import EPOCH_MS
from testkit.stream_server import StreamServer

ROOT = Path(__file__).parents[1]
SUITE = ROOT / ".cache" / "autobahn"
# Pings, reserved bits, opcodes, fragments, UTF-8, closing. Not echoes (1), volume (9, 10) and compression
# (12, 13), which is never agreed on.
CASES = ("2.*", "3.*", "4.*", "5.*", "6.*", "7.*")
RUN = "import site; site.addsitedir({suite!r}); import autobahntestsuite.wstest as w; w.run()"
# How many cases those are: a fuzzer that ends early must not pass.
CASE_COUNT = 230
SUITE_VERSION = "25.10.1"


def python2() -> str:
    """A Python 2.7.

    Raises:
        SystemExit: there is none.
    """
    kept = sorted(Path.home().glob(".pyenv/versions/2.7.*/bin/python2.7"))
    found = str(kept[-1]) if kept else shutil.which("python2.7")
    if found is None:
        sys.exit("the Autobahn suite needs a Python 2.7, which is not installed")
    return found


def install(python: str) -> None:
    """Have the suite in ``.cache``."""
    if not (SUITE / "autobahntestsuite").exists():
        command = [python, "-m", "pip", "install", "--quiet", "--target", str(SUITE)]
        command.append(f"autobahntestsuite=={SUITE_VERSION}")
        subprocess.run(command, check=True, timeout=600)


def fuzz(python: str, directory: Path) -> dict[str, Any]:
    """Run all cases; what the suite recorded of each."""
    with StreamServer(directory, heartbeat_s=600) as server:
        server.publish("m1", "count=3")
        at = f"ws://127.0.0.1:{server.port}/ws/match/m1?last_event_id={EPOCH_MS}-3"
        specification = directory / "fuzzingclient.json"
        specification.write_text(
            json.dumps(
                {
                    "outdir": str(directory / "report"),
                    "servers": [{"agent": "touchline", "url": at, "options": {"version": 18}}],
                    "cases": list(CASES),
                    "exclude-cases": [],
                    "exclude-agent-cases": {},
                }
            )
        )
        command = [
            python,
            "-c",
            RUN.format(suite=str(SUITE)),
            "-m",
            "fuzzingclient",
            "-s",
            str(specification),
        ]
        with (directory / "fuzzer.log").open("wb") as log:
            subprocess.run(command, check=True, timeout=900, cwd=directory, stdout=log, stderr=log)
    index = json.loads((directory / "report" / "index.json").read_text())["touchline"]
    return {
        name: json.loads((directory / "report" / found["reportfile"]).read_text())
        for name, found in index.items()
    }


def judge(case: dict[str, Any]) -> str:
    """``right``, ``right, but for the echo``, ``informational``, or what is wrong."""
    received = [event for event in case["received"] if not _ours(event)]
    # "OK", "NON-STRICT", … : any of them is allowed by the RFC.
    allowed = list(case["expected"].values())
    echoes = any(event[0] == "message" for events in allowed for event in events)
    if not any(received == [event for event in events if event[0] != "message"] for events in allowed):
        return f"received {received}, expected one of {allowed}"
    code, wanted = case["remoteCloseCode"], case["expectedClose"]
    if case["behaviorClose"] == "INFORMATIONAL":
        # 7.1.6 sends 256 KB first, which is over our limit; 7.13 sends codes that nobody may send.
        good = case["wasClean"] and code == (1009 if case["id"] == "7.1.6" else 1002)
        return "informational" if good else f"closed with {code}"
    if case["behaviorClose"] == "OK":
        # The suite takes "no code" for the right one; we do not.
        if not wanted["closedByMe"] and code not in wanted["closeCode"]:
            return "failed, but without a code"
        return "right, but for the echo" if echoes else "right"
    # It gave up waiting for the echo and closed: its own code must come back, and no close of ours before.
    gave_up = echoes and wanted["closedByMe"] and case["closedByMe"] and not case["droppedByMe"]
    if gave_up and case["wasClean"] and code == case["localCloseCode"]:
        return "right, but for the echo"
    return f"close: {case['behaviorClose']}, {case['resultClose']}, {code} {case['wasNotCleanReason']}"


def _ours(event: list[Any]) -> bool:
    return event[0] == "message" and str(event[1]).startswith(('{"event":', '{"id":'))


def main() -> int:
    """Run all, keep the result, print what is wrong."""
    python = python2()
    install(python)
    with tempfile.TemporaryDirectory(prefix="touchline-autobahn-") as directory:
        cases = fuzz(python, Path(directory))
    if len(cases) != CASE_COUNT:
        sys.exit(f"{len(cases)} cases were run, not {CASE_COUNT}")
    verdicts = {name: judge(case) for name, case in cases.items()}
    good = ("right", "right, but for the echo", "informational")
    wrong: JsonObject = {name: verdict for name, verdict in verdicts.items() if verdict not in good}
    counts = Counter(verdict if verdict in good else "wrong" for verdict in verdicts.values())
    for name, verdict in wrong.items():
        print(f"{name}: {verdict}")
    print(dict(counts))
    print(keep("autobahn", {"cases": len(cases), **counts, "which_are_wrong": wrong}))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
