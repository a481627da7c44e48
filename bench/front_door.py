"""How long honest clients wait while strangers attack: a page, ``/healthz``, ingest and a new viewer.

    python -m bench.front_door [--attacks NAME,NAME] [--seconds 6] [--files N] [--root DIR]

For each attack of ``testkit/faults/strangers.py`` a ``touchline serve`` is started on its own (SQLite log,
embedded bus, one worker), with the open-files limit that the attack names, or ``--files`` for all of them.
Four times five requests a second are sent to it, each on a fresh connection, from half a second before the
attack until ``--seconds`` after it began; one that has no answer after 5 s has failed, and so has one with a
status other than 200. ``--root`` measures another checkout too, attack by attack in turn, with the attackers
and the probes of this one. A run of all attacks writes ``bench/results/front-door.json`` and ``.md``; one of
some prints its table only.

The goal is an answer within a second, every time, whatever goes on. The exit code is 1 if this checkout
misses it. Server, attackers and probes share the machine, so it has to be idle otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.results import RESULTS, keep
from shared_state.jsontext import JsonObject
from testkit.faults.honest_clients import KINDS, Waited, probe, read_slowly
from testkit.faults.strangers import ATTACKS, MATCH, NAMES, Attack, AttackProcess, Target
from testkit.services.origin import OriginServer

HERE = Path(__file__).parents[1]
GOAL_S = 1.0
TIMEOUT_S = 5.0
EVERY_S = 0.2
LEAD_S = 0.5
# Fast enough for the largest file to arrive within a row, slow enough to wait in the origin for its turns.
SLOW_READER_BYTES_PER_S = 1_000_000
SLOW_READER_TIMEOUT_S = 20.0
TITLES = {"page": "page", "healthz": "/healthz", "ingest": "ingest", "viewer": "new viewer"}


def say(text: str) -> None:
    """Progress goes to standard error."""
    print(text, file=sys.stderr, flush=True)


# one row ------------------------------------------------------------------------------------------


def measure(root: Path, attack: Attack, seconds: float, files: int) -> JsonObject:
    """One attack on one origin.

    Args:
        root: the checkout whose origin it is.
        attack: what the strangers do.
        seconds: how long new probes are sent after the attack has begun.
        files: the origin's open-files limit; 0 for the one of this process.
    """
    file = largest_file(root)
    with tempfile.TemporaryDirectory() as directory:
        server = OriginServer(Path(directory), open_files=files, root=root)
        try:
            server.start()
            teams = {"home": {"name": "Home", "code": "HOM"}, "away": {"name": "Away", "code": "AWY"}}
            info = {"match_id": MATCH, "event_id": "info", "rev": 1, "op": "ADD"}
            if (status := server.post({**info, "type": "MATCH_INFO", "detail": teams})) != 200:
                raise RuntimeError(f"the origin of {root} answered ingest with {status}")
            server.wait_for_seq(MATCH, 1)
            assert server.process is not None
            workers = server.process.children
            probed, report, slow_reader = asyncio.run(_attack(server.port, attack, seconds, file))
            restarted = server.process.children != workers
        finally:
            server.kill()  # its log is thrown away, and a drain would take longer than the row
    row: JsonObject = {
        "attack": attack.name,
        "title": attack.title,
        "open_files": files,
        "probes": {kind: summary([one for one in probed if one.kind == kind]) for kind in KINDS},
        "worker_restarted": restarted,
        "attackers": report,
    }
    if slow_reader is not None:
        row["slow_reader"] = {"received": slow_reader[0], "of": slow_reader[1]}
    return row


async def _attack(
    port: int, attack: Attack, seconds: float, file: str
) -> tuple[list[Waited], JsonObject, tuple[int, int] | None]:
    """Probe an origin while it is attacked."""
    longest_s = LEAD_S + seconds + SLOW_READER_TIMEOUT_S
    probes: list[asyncio.Task[Waited]] = []
    slow_reader: asyncio.Task[tuple[int, int]] | None = None
    process: AttackProcess | None = None
    began_s = time.monotonic()
    try:
        # At fixed times, whether or not earlier ones have their answers: who comes later waits too.
        for number in range(round((LEAD_S + seconds) / EVERY_S)):
            await asyncio.sleep(max(0.0, began_s + number * EVERY_S - time.monotonic()))
            if process is None and number * EVERY_S >= LEAD_S:
                if attack.name == "stuck-readers":
                    reading = read_slowly(port, file, SLOW_READER_BYTES_PER_S, SLOW_READER_TIMEOUT_S)
                    slow_reader = asyncio.create_task(reading)
                process = AttackProcess(attack.name, Target(port, file), seconds=longest_s)
            probes += [asyncio.create_task(probe(kind, port, MATCH, TIMEOUT_S)) for kind in KINDS]
        waited = await asyncio.gather(*probes)  # the attack goes on until all have their answers
        read = await slow_reader if slow_reader is not None else None
        assert process is not None
        report = await asyncio.to_thread(process.finish)
    finally:
        if process is not None:
            process.__exit__(None, None, None)
    return waited, report, read


def largest_file(root: Path) -> str:
    """The path of the largest file of a checkout's widget.

    Raises:
        SystemExit: its widget is not built.
    """
    manifest = root / "widget" / "dist" / "manifest.json"
    if not manifest.exists():
        raise SystemExit(f"{manifest} is missing: run `make runtime` in {root}")
    files = json.loads(manifest.read_bytes())["files"].values()
    return f"/widget/{max(files, key=lambda file: file['bytes'])['path']}"


def summary(probed: Sequence[Waited]) -> JsonObject:
    """One kind of probe; one that failed counts as the whole timeout, however soon it failed."""
    waited_s = [TIMEOUT_S if one.failure else one.seconds for one in probed]
    failures = Counter(one.failure for one in probed if one.failure)
    return {
        "count": len(probed),
        "median_ms": round(statistics.median(waited_s) * 1_000, 1),
        "worst_ms": round(max(waited_s) * 1_000, 1),
        "failed": failures.total(),
        "failures": dict(failures.most_common()),
        "within_goal": max(waited_s) <= GOAL_S,
    }


def misses(row: JsonObject) -> list[str]:
    """What of a row misses the goal."""
    missed = [kind for kind in KINDS if not row["probes"][kind]["within_goal"]]
    if row["worker_restarted"]:
        missed.append("worker restarted")
    if "slow_reader" in row and not _is_whole(row["slow_reader"]):
        missed.append("slow reader cut")
    return missed


def _is_whole(reader: JsonObject) -> bool:
    """Whether a reader got its file; one that was never answered knows no length."""
    return bool(0 < reader["of"] <= reader["received"])


# report -------------------------------------------------------------------------------------------


def table(result: JsonObject) -> str:
    """The results as Markdown."""
    intro = (
        f"Median / worst wait in ms of {result['probes_per_s']} probes a second of each kind, over "
        f"{result['seconds']:g} s of each attack. Bold: over {GOAL_S * 1_000:,.0f} ms, or failed; a failed "
        f"probe counts as {TIMEOUT_S * 1_000:,.0f} ms.\n"
    )
    if (machine := result.get("machine")) is not None:
        intro += (
            f"\n`{result['command']}`, {result['measured_at']}, {machine['cores']} cores, Python "
            f"{machine['python']}, Linux {machine['kernel']}, load at start {machine['load_at_start']}.\n"
        )
    columns = f"| attack | {' | '.join(TITLES[kind] for kind in KINDS)} | |\n|---|{'--:|' * len(KINDS)}---|"
    parts = [intro]
    for name, checkout in result["checkouts"].items():
        rows = "\n".join(_line(row) for row in checkout["rows"])
        parts.append(f"## {name} ({checkout['commit']})\n\n{columns}\n{rows}\n")
    return "\n".join(parts)


def _line(row: JsonObject) -> str:
    cells = [_cell(row["probes"][kind]) for kind in KINDS]
    notes = []
    if row["worker_restarted"]:
        notes.append("**worker restarted**")
    if (stalled_s := row["attackers"]["stalled_s"]) > TIMEOUT_S:
        notes.append(f"at its end a pipeline had stood still for {stalled_s:.0f} s")
    if reader := row.get("slow_reader"):
        share = f"slow reader got {reader['received'] / 1e6:.1f} of {reader['of'] / 1e6:.1f} MB"
        notes.append(share if _is_whole(reader) else f"**{share}**")
    return f"| {row['title']} | {' | '.join(cells)} | {'; '.join(notes)} |"


def _cell(probes: JsonObject) -> str:
    text = f"{probes['median_ms']:,.0f} / {probes['worst_ms']:,.0f}"
    if probes["failed"]:
        text += f" ({probes['failed']} of {probes['count']} failed)"
    return text if probes["within_goal"] else f"**{text}**"


def commit_of(root: Path) -> str:
    """The commit of a checkout, with a mark if it has changes."""
    done = subprocess.run(
        ["git", "-C", str(root), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def main() -> int:
    """Run the attacks that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--attacks", default=",".join(NAMES), help="some of: %(default)s")
    parser.add_argument("--seconds", type=float, default=6.0, help="how long new probes are sent")
    parser.add_argument("--files", type=int, default=0, help="the origin's open-files limit in all rows")
    parser.add_argument("--root", type=Path, help="another checkout, measured in the same run")
    parser.add_argument("--only-root", action="store_true", help="measure the checkout of --root alone")
    chosen = parser.parse_args()
    names = chosen.attacks.split(",")
    for name in names:
        if name not in NAMES:
            parser.error(f"{name!r}: no such attack; there are {', '.join(NAMES)}")
    if chosen.only_root and chosen.root is None:
        parser.error("--only-root needs --root")
    roots = {} if chosen.root is None else {str(chosen.root): chosen.root.resolve()}
    if not chosen.only_root:
        roots["this checkout"] = HERE
    checkouts: dict[str, JsonObject] = {
        name: {"commit": commit_of(root), "rows": []} for name, root in roots.items()
    }
    for attack in ATTACKS:
        if attack.name not in names:
            continue
        for name, root in roots.items():
            row = measure(root, attack, chosen.seconds, chosen.files or attack.open_files)
            checkouts[name]["rows"].append(row)
            say(f"{name}: {_line(row)}")
    result: JsonObject = {
        "goal_ms": GOAL_S * 1_000,
        "seconds": chosen.seconds,
        "probes_per_s": round(1 / EVERY_S),
        "checkouts": checkouts,
    }
    if set(names) == set(NAMES):
        result = json.loads(keep("front-door", result).read_text("utf-8"))
        (RESULTS / "front-door.md").write_text(table(result), encoding="utf-8")
    print(table(result))
    own = checkouts.get("this checkout", {"rows": []})
    return 1 if any(misses(row) for row in own["rows"]) else 0


if __name__ == "__main__":
    sys.exit(main())
